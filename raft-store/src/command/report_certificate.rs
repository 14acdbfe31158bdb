//! A node tells about the certificate that it shows.

use quorate_license::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{CaFingerprint, NodeCertificate, State},
};

/// Brings the row of a node's certificate up to date. The rotation of the CA goes by these rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportCertificate {
    /// The node.
    pub node: NodeId,
    /// The certificate's serial number, hexadecimal.
    pub serial: String,
    /// The CA that issued it; none if it is none of the cluster's.
    pub issuer: Option<CaFingerprint>,
    /// From then on it is valid.
    pub not_before: Timestamp,
    /// Until then.
    pub not_after: Timestamp,
    /// The cluster's CAs that the node trusts.
    pub trusts: Vec<CaFingerprint>,
}

impl ReportCertificate {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let ReportCertificate { node, serial, issuer, not_before, not_after, trusts } = self;
        if state.nodes.get(&node).is_none() {
            return Err(match state.tombstones.get(&node) {
                Some(gone) => Refusal::NodeRemoved { node: gone.name.clone(), at: gone.removed_at },
                None => Refusal::NodeUnknown(node),
            });
        }
        let told = NodeCertificate { serial, issuer, not_before, not_after, trusts, reported_at: now };
        state.certificates.put(node, told);
        Ok(Outcome::CertificateReported)
    }
}
