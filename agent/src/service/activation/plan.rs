//! What an activation would bind: shown, and confirmed by the administrator.

use quorate_license::{IntegrityScope, NodeId, NodeRole};
use quorate_raft_store::{Refusal, State, state::Node};

/// One node that would be bound.
pub type PlannedNode = Node;

/// What an activation would bind.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The nodes by id.
    pub nodes: Vec<PlannedNode>,
    /// How many nodes have joined, in scope or not.
    pub joined: u32,
    /// Fewer are refused.
    pub expected_nodes: Option<u32>,
    /// Who leads.
    pub leader: Node,
    /// Whose computer IDs are bound.
    pub scope: IntegrityScope,
}

impl Plan {
    /// The plan as things stand.
    ///
    /// # Errors
    /// [`Refusal::NotInitialized`].
    pub fn make(state: &State) -> Result<Plan, Refusal> {
        let cluster = state.cluster().ok_or(Refusal::NotInitialized)?;
        let scope = cluster.policy.integrity_scope;
        let nodes = state
            .nodes()
            .values()
            .filter(|node| scope == IntegrityScope::All || node.role == NodeRole::Management)
            .cloned()
            .collect();
        let first = cluster.first_license_node;
        let leader = state.nodes().get(&first).ok_or(Refusal::NodeUnknown(first))?.clone();
        let joined = state.nodes().len() as u32;
        Ok(Plan { nodes, joined, expected_nodes: cluster.policy.expected_nodes, leader, scope })
    }

    /// The ids of the nodes, in order.
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| node.id).collect()
    }
}
