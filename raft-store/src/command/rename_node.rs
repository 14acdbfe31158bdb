//! A node gets another name.

use quorate_license::{NodeId, NodeName};
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{Node, State},
};

/// Gives a member another name. Nothing else knows a node by its name: certificates, the group and the
/// license know its id, its key and its computer. Giving it the name that it has changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenameNode {
    /// The node.
    pub node: NodeId,
    /// Its new name.
    pub name: NodeName,
}

impl RenameNode {
    pub(super) fn apply(self, state: &mut State) -> Result<Outcome, Refusal> {
        let Some(node) = state.nodes.get(&self.node).cloned() else {
            return Err(match state.tombstones.get(&self.node) {
                Some(gone) => Refusal::NodeRemoved { node: gone.name.clone(), at: gone.removed_at },
                None => Refusal::NodeUnknown(self.node),
            });
        };
        if let Some(holder) = state.node_named(&self.name).filter(|holder| holder.id != self.node) {
            return Err(Refusal::NodeNameTaken { name: self.name, holder: holder.id });
        }
        if node.name != self.name {
            state.nodes.put(self.node, Node { name: self.name, ..node });
        }
        Ok(Outcome::NodeRenamed { node: self.node })
    }
}
