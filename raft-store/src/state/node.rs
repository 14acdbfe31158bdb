//! A member's row.

use quorate_license::{
    BuildNumber, ComputerId, NodeId, NodeName, NodePublicKey, NodeRole, NodeRow, RegisteredNode, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::TokenId;

/// One member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its name, unique in the cluster.
    pub name: NodeName,
    /// What it is to the cluster.
    pub role: NodeRole,
    /// Its permanent identity key.
    pub key: NodePublicKey,
    /// The computer that it runs on.
    pub computer_id: ComputerId,
    /// Version of the licensed product, once known.
    pub build: Option<BuildNumber>,
    /// Version of the agent.
    pub agent_version: String,
    /// The highest feature level that its agent can read.
    pub feature_level: u32,
    /// Where it is reached.
    pub addresses: Addresses,
    /// What its host says of itself.
    pub host: HostReport,
    /// How often its agent has started.
    pub start_counter: u64,
    /// When it was admitted.
    pub joined_at: Timestamp,
    /// The token that admitted it; none for the first node.
    pub joined_by: Option<TokenId>,
    /// When it last reported something new.
    pub reported_at: Timestamp,
}

impl Node {
    /// The row that goes into an integrity key.
    pub fn row(&self) -> NodeRow {
        NodeRow {
            id: self.id,
            role: self.role,
            computer_id: self.computer_id,
            build: self.build.clone(),
            agent_version: self.agent_version.clone(),
            key: self.key,
            start_counter: self.start_counter,
        }
    }

    /// What the license status depends on.
    pub fn registered(&self) -> RegisteredNode {
        RegisteredNode {
            id: self.id,
            role: self.role,
            computer_id: self.computer_id,
            build: self.build.clone(),
            joined_at: self.joined_at,
        }
    }
}

/// Where a node is reached, as `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Node-to-node gRPC.
    pub raft: String,
    /// Management HTTPS.
    pub http: String,
}

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostReport {
    /// Operating system and version.
    pub os: String,
    /// Kernel version.
    pub kernel: String,
    /// When the machine was started.
    pub booted_at: Timestamp,
    /// Hash of the product and board names, to tell the same hardware from a copied disk.
    pub hardware: Option<String>,
}
