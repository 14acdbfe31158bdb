//! The cluster's own row, and its clock.

use quorate_license::{ClusterId, Epoch, IntegrityScope, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::seal::Sealed;

/// What the cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// The cluster's id, from `init` on.
    pub id: ClusterId,
    /// The present life of its history.
    pub epoch: Epoch,
    /// The certificate of the cluster's CA, PEM.
    pub ca_certificate: String,
    /// The CA's private key, PEM, sealed to the management key.
    pub sealed_ca_key: Sealed,
    /// The Management Server that leads activation.
    pub first_license_node: NodeId,
    /// The index that the next node gets.
    pub next_node_index: u64,
    /// What every member can read: nobody proposes an entry beyond it.
    pub feature_level: u32,
    /// What the administrator decided for the whole cluster.
    pub policy: Policy,
    /// Whether telemetry may be sent.
    pub telemetry: bool,
    /// When the cluster was initialized.
    pub created_at: Timestamp,
}

/// What the administrator decided for the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Whose computer IDs are bound, and who must be online in an activation.
    pub integrity_scope: IntegrityScope,
    /// An activation with fewer nodes is refused.
    pub expected_nodes: Option<u32>,
}

/// The cluster's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The latest time that apply has seen or the clocks have agreed on. It never goes back.
    pub time: Timestamp,
}
