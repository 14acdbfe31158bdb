//! A living node leaves.

use quorate_license::{NodeId, NodeRole, Timestamp};
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{ActivationState, Method, RemovalReason, State, bury},
};

/// Takes a node out of the cluster for good: its row becomes a tombstone, and the leader takes it out of
/// the group.
///
/// The first license node can't be removed: it leads activation, and is moved first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveNode {
    /// The node.
    pub node: NodeId,
    /// Who asked for it, in words.
    pub requested_by: String,
}

impl RemoveNode {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let Some(node) = state.nodes.get(&self.node).cloned() else {
            return Err(match state.tombstones.get(&self.node) {
                Some(gone) => Refusal::NodeRemoved { node: gone.name.clone(), at: gone.removed_at },
                None => Refusal::NodeUnknown(self.node),
            });
        };
        if state.cluster().is_some_and(|cluster| cluster.first_license_node == self.node) {
            return Err(Refusal::FirstLicenseNode { node: node.name });
        }
        let servers = || state.nodes.values().filter(|node| node.role == NodeRole::Management);
        if node.role == NodeRole::Management && servers().count() < 2 {
            return Err(Refusal::LastManagementServer { node: node.name });
        }
        // The portal may be answering a request that names this node.
        let binding = state.activations.values().find(|activation| {
            matches!(activation.state, ActivationState::Requested { .. })
                && activation.method == Method::Online
                && activation.nodes.contains(&self.node)
        });
        if let Some(activation) = binding {
            return Err(Refusal::ActivationInProgress {
                kind: activation.kind.as_str().to_owned(),
                nonce: activation.nonce,
            });
        }
        bury(state, node, now, RemovalReason::Removed { requested_by: self.requested_by });
        Ok(Outcome::NodeRemoved { node: self.node })
    }
}
