//! A node is set up anew on the computer of one whose data is lost.

use quorate_license::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{AdmitNode, Outcome};
use crate::{
    refusal::Refusal,
    state::{Node, Only, RemovalReason, State, bury},
};

/// Admits a node in the place of another one: same name, same role, same computer; a new id and a new key.
/// The replaced node becomes a tombstone. If it was the first license node, the new one is now.
///
/// Another computer is no replacement but a transfer: it changes what the license is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaceNode {
    /// The node whose place is taken.
    pub replaced: NodeId,
    /// The new node.
    pub joiner: AdmitNode,
}

impl ReplaceNode {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let ReplaceNode { replaced, joiner } = self;
        let token = match joiner.token(state)? {
            Ok(token) => token,
            // A repeat by a joiner that crashed.
            Err(node) => return Ok(Outcome::NodeReplaced { node, replaced }),
        };
        joiner.check_token(&token, false, now)?;
        let old = match (state.nodes.get(&replaced), state.tombstones.get(&replaced)) {
            (Some(old), _) => old.clone(),
            (None, Some(gone)) => {
                return Err(Refusal::NodeRemoved { node: gone.name.clone(), at: gone.removed_at });
            }
            (None, None) => return Err(Refusal::NodeUnknown(replaced)),
        };
        check_same(&old, &joiner)?;
        joiner.check_level(state)?;
        joiner.check_unique(state, Some(replaced))?;
        if joiner.key == old.key {
            return Err(Refusal::NodeKeyInUse { holder: old.name });
        }

        let mut cluster = state.cluster().ok_or(Refusal::NotInitialized)?.clone();
        let was_first = cluster.first_license_node == replaced;
        let id = joiner.put(state, &mut cluster, token, now);
        if was_first {
            cluster.first_license_node = id;
        }
        state.cluster.put(Only, cluster);
        bury(state, old, now, RemovalReason::Replaced { by: id });
        Ok(Outcome::NodeReplaced { node: id, replaced })
    }
}

fn check_same(old: &Node, joiner: &AdmitNode) -> Result<(), Refusal> {
    if joiner.name != old.name {
        return Err(Refusal::ReplacedNameDiffers { node: old.name.clone(), asked: joiner.name.clone() });
    }
    if joiner.role != old.role {
        return Err(Refusal::ReplacedRoleDiffers {
            node: old.name.clone(),
            role: old.role,
            asked: joiner.role,
        });
    }
    if joiner.computer_id != old.computer_id {
        return Err(Refusal::ReplacedComputerDiffers {
            node: old.name.clone(),
            registered: old.computer_id.to_string(),
            found: joiner.computer_id.to_string(),
        });
    }
    Ok(())
}
