//! What an activation would bind: shown, and confirmed by the administrator.

use quorate_license::{IntegrityScope, NodeId, NodeRole};
use quorate_raft_store::{Refusal, State, state::Node};

use crate::api::{ApiError, ErrorKind};

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

    /// Whether the first license node is on the computer to which further orders belong: the one of the first
    /// activation.
    ///
    /// # Errors
    /// It is on another one; both are named.
    pub fn at_home(&self, state: &State) -> Result<(), ApiError> {
        let Some(installed) = state.binding() else { return Ok(()) };
        let binding = &installed.binding.claims;
        let (home, found) = (binding.home_computer_id, self.leader.computer_id);
        if home == found {
            return Ok(());
        }
        let name = &self.leader.name;
        Err(ApiError::new(
            ErrorKind::Refused,
            "first_license_node_changed",
            format!(
                "further orders of {} are added on the computer {home}, where it was activated first; {name}, the first license node, is on {found}",
                binding.support_id
            ),
            format!("run {name} on its former computer, or move the installation by a transfer"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::licensing::samples;

    #[test]
    fn a_further_order_is_refused_away_from_the_first_computer_by_name() {
        let view = samples::Installation::licensed().view(9);
        let state = &view.state;
        let mut plan = Plan::make(state).unwrap();
        plan.at_home(state).unwrap();
        plan.leader.computer_id = samples::computer_id(9);
        let refusal = plan.at_home(state).unwrap_err();
        assert_eq!(refusal.code, "first_license_node_changed");
        let home = state.binding().unwrap().binding.claims.home_computer_id.to_string();
        for word in [plan.leader.name.to_string(), home, samples::computer_id(9).to_string()] {
            assert!(refusal.message.contains(&word), "{} lacks {word}", refusal.message);
        }
    }
}
