//! The binding: which nodes an installation is. Signed by the portal, one per installation.

use serde::{Deserialize, Serialize};

use crate::{
    BuildNumber, ClusterId, ComputerId, Epoch, Fence, Graces, NodeId, NodePublicKey, NodeRole, Nonce, Serial,
    SupportId, Timestamp,
};

/// A node as the portal bound it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundNode {
    /// Its id at the activation. A node that was set up anew on the same host has another one since.
    pub id: NodeId,
    /// Management Server or Spooler Controller.
    pub role: NodeRole,
    /// The host.
    pub computer_id: ComputerId,
    /// The product's version that is covered there, if one was known.
    pub build: Option<BuildNumber>,
    /// The identity key that the portal pinned.
    pub key: NodePublicKey,
}

/// The nodes that an installation's licenses hold for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The installation.
    pub support_id: SupportId,
    /// The cluster that it is.
    pub cluster_id: ClusterId,
    /// The life of the cluster that was activated.
    pub epoch: Epoch,
    /// The portal's counter after this activation.
    pub fence: Fence,
    /// Counts the installation's bindings up.
    pub serial: Serial,
    /// Names the activation that this is the answer to.
    pub nonce: Nonce,
    /// The bound nodes, sorted by id, each once.
    pub nodes: Vec<BoundNode>,
    /// The Management Server that leads activation.
    pub first_license_node: NodeId,
    /// The host of the first license node, to which the Support ID belongs.
    pub home_computer_id: ComputerId,
    /// How many bound nodes may be missing before the license asks for reactivation.
    pub tolerance: u32,
    /// The times for which the product goes on.
    pub graces: Graces,
    /// When the portal signed it: the portal's signed time.
    pub issued_at: Timestamp,
}

impl Binding {
    /// The bound node on this host, if there is one.
    pub fn node_on(&self, computer_id: &ComputerId) -> Option<&BoundNode> {
        self.nodes.iter().find(|node| node.computer_id == *computer_id)
    }
}
