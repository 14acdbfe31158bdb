//! What an activation knows of one node: a row of the integrity key, and later of the binding.

use serde::{Deserialize, Serialize};

use crate::{BuildNumber, ComputerId, NodeId, NodePublicKey, NodeRole};

/// One node as it describes itself. It holds no host name, no address and no user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// The cluster's id of the node.
    pub id: NodeId,
    /// Management Server or Spooler Controller.
    pub role: NodeRole,
    /// The host that it runs on.
    pub computer_id: ComputerId,
    /// The version of the licensed product there, if known.
    pub build: Option<BuildNumber>,
    /// The agent's version: 1 to 64 letters, digits and `. _ + -`.
    pub agent_version: String,
    /// The public half of its identity key.
    pub key: NodePublicKey,
    /// How often the node has been started. Two living holders of one data directory differ here.
    pub start_counter: u64,
}
