//! The receipt: a node's signed word that it was in touch with its cluster at a time.

use prost::Message;
use serde::{Deserialize, Serialize};

use super::{FileRefusal, read_json, to_pretty_json};
use crate::{
    BadSignature, ClusterId, ComputerId, Fence, NodeId, NodeKey, NodePublicKey, NodeSignature, Serial,
    SignatureDomain, SupportId, TenantId, Timestamp, wire,
};

/// What a node knew, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The installation.
    pub support_id: SupportId,
    /// The cluster.
    pub cluster_id: ClusterId,
    /// Whose license.
    pub tenant: TenantId,
    /// The license's serial.
    pub serial: Serial,
    /// The binding's fence.
    pub fence: Fence,
    /// Cluster time at the signing.
    pub cluster_time: Timestamp,
    /// The node's host.
    pub computer_id: ComputerId,
    /// The node.
    pub node: NodeId,
    /// Until when the installation has to be reactivated, if it has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reactivation_until: Option<Timestamp>,
}

impl Receipt {
    /// The bytes that are signed: canonical protobuf with the fields in the order above, numbered from
    /// 1, ids as bytes, times in milliseconds since the Unix epoch.
    fn message(&self) -> Vec<u8> {
        wire::ReceiptBody {
            support_id: self.support_id.to_string(),
            cluster_id: self.cluster_id.0.to_vec(),
            tenant: self.tenant.to_string(),
            serial: self.serial.0,
            fence: self.fence.0,
            cluster_time_unix_ms: self.cluster_time.as_unix_ms(),
            computer_id: self.computer_id.as_bytes().to_vec(),
            node: self.node.0,
            reactivation_until_unix_ms: self.reactivation_until.map(Timestamp::as_unix_ms),
        }
        .encode_to_vec()
    }
}

/// A receipt with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReceipt {
    /// What is signed.
    pub receipt: Receipt,
    /// By the node's identity key.
    pub signature: NodeSignature,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceiptJson {
    format: String,
    receipt: Receipt,
    signature: NodeSignature,
}

impl SignedReceipt {
    /// The format that this release writes and reads.
    pub const FORMAT: &'static str = "quorate-receipt/1";

    /// Signs a receipt.
    pub fn sign(receipt: Receipt, key: &NodeKey) -> Self {
        let signature = key.sign(SignatureDomain::Receipt, &receipt.message());
        SignedReceipt { receipt, signature }
    }

    /// Checks the signature.
    ///
    /// # Errors
    ///
    /// [`BadSignature`] if it is not by this key over this content.
    pub fn verify(&self, key: &NodePublicKey) -> Result<(), BadSignature> {
        key.verify(SignatureDomain::Receipt, &self.receipt.message(), &self.signature)
    }

    /// The text of the file: JSON, one field a line.
    pub fn to_text(&self) -> String {
        to_pretty_json(&ReceiptJson {
            format: Self::FORMAT.to_owned(),
            receipt: self.receipt.clone(),
            signature: self.signature,
        })
    }

    /// Reads the text of a file. The signature is not checked here.
    ///
    /// # Errors
    ///
    /// [`FileRefusal::Unreadable`], or [`FileRefusal::UnknownFormat`] if another release wrote it.
    pub fn from_text(text: &str) -> Result<Self, FileRefusal> {
        let ReceiptJson { receipt, signature, .. } = read_json("receipt", Self::FORMAT, text)?;
        Ok(SignedReceipt { receipt, signature })
    }
}
