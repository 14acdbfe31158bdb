//! The integrity key: the combination of an installation's computer IDs and its tenant, signed and
//! encoded. It is the whole request to the License Portal; online sends the same bytes as offline.
//!
//! ```text
//! intent -> node statements -> IntegrityKey -> digest -> signed by every Management Server
//!        -> to_bytes (online) or to_text (paste, e-mail) -> portal: from_bytes, verify_signatures
//! ```
//!
//! It holds what stands here and nothing else: no host name, no address, no user. The bytes are
//! canonical protobuf, described in `proto/quorate/v1/integrity_key.proto` for vendors.

mod decode;
mod encode;
mod verify;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

pub use decode::IntegrityKeyError;
pub use verify::IntegrityKeyRefusal;

use crate::{
    ActivationKey, ActivationKind, ClusterId, Epoch, Fence, NodeId, NodeKey, NodeSignature, NodeStatement,
    Nonce, Serial, SignatureDomain, StatementContext, SupportId, TenantId,
};

/// A Management Server's signature of a whole integrity key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ManagementSignature {
    /// Who signed.
    pub node: NodeId,
    /// Over the digest.
    pub signature: NodeSignature,
}

/// The request to the License Portal.
///
/// The lists may be in any order here; the bytes have them sorted, and so has what is read back.
/// [`IntegrityKey::check`] tells whether it keeps its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrityKey {
    /// What is asked for.
    pub kind: ActivationKind,
    /// The cluster, from its `init` on.
    pub cluster_id: ClusterId,
    /// The current life of the cluster.
    pub epoch: Epoch,
    /// The portal's counter as this cluster knows it; 0 before the first activation.
    pub fence: Fence,
    /// The licensee.
    pub tenant: TenantId,
    /// The Management Server that leads the activation.
    pub first_license_node: NodeId,
    /// What each node says of itself; sorted by id.
    pub nodes: Vec<NodeStatement>,
    /// The order's key, where the kind needs one.
    pub activation_key: Option<ActivationKey>,
    /// The installation, once it has been activated.
    pub support_id: Option<SupportId>,
    /// The serials of the current licenses: of this tenant, or of those that the portal has to know
    /// for this request. Not of all tenants: the size is bounded.
    pub serials: BTreeMap<TenantId, Serial>,
    /// The serial of the current binding; 0 before the first activation.
    pub binding_serial: Serial,
    /// Names this activation.
    pub nonce: Nonce,
    /// The nonces of earlier offline intents that this one replaces; sorted.
    pub superseded: Vec<Nonce>,
    /// Whether the administrator agreed to telemetry.
    pub telemetry: bool,
    /// By the Management Servers among the nodes; sorted by id.
    pub signatures: Vec<ManagementSignature>,
}

impl IntegrityKey {
    /// The largest encoding that is written or read.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// The format that this release writes and reads.
    pub const FORMAT_VERSION: u32 = 1;

    /// What the node statements in it have to be signed for.
    pub fn context(&self) -> StatementContext {
        StatementContext {
            cluster_id: self.cluster_id,
            epoch: self.epoch,
            nonce: self.nonce,
            kind: self.kind,
            tenant: self.tenant.clone(),
        }
    }

    /// SHA-256 of the canonical bytes without the Management Servers' signatures: what they sign.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.unsigned_bytes()).into()
    }

    /// A Management Server's signature of this key. It should look at the key first, and at its own
    /// statement in it.
    pub fn signature_by(&self, node: NodeId, key: &NodeKey) -> ManagementSignature {
        let signature = key.sign(SignatureDomain::IntegrityKey, &self.digest());
        ManagementSignature { node, signature }
    }

    /// Adds a signature in its place, instead of an earlier one of the same node.
    pub fn add_signature(&mut self, signature: ManagementSignature) {
        self.signatures.retain(|other| other.node != signature.node);
        self.signatures.push(signature);
        self.signatures.sort_by_key(|signature| signature.node);
    }
}
