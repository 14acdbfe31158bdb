//! The cluster as an administrator sees it: who is there, who leads, what is licensed.

use quorate_license::{ClusterId, Epoch, NodeId, NodeRole, TenantId};
use quorate_raft_store::{
    State,
    state::{Node, Tombstone},
};

use crate::cluster::{Alarm, Cluster, LeaderView};

/// The cluster's status.
#[derive(Debug, Clone)]
pub struct ClusterStatus {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// The Management Server that leads activation.
    pub first_license_node: NodeId,
    /// The nodes by id.
    pub nodes: Vec<NodeStatus>,
    /// Nodes that were taken out, as far as they are remembered.
    pub removed: Vec<Tombstone>,
    /// What is wrong with who is who.
    pub alarms: Vec<Alarm>,
}

/// One node's status.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// Its row.
    pub node: Node,
    /// Whether it votes.
    pub voter: bool,
    /// Whether the leader has heard from it lately; none without a leader, or if a new one can't tell yet.
    pub online: Option<bool>,
    /// What it has applied; none if it does not answer.
    pub applied_index: Option<u64>,
    /// Serial of its license of the default tenant; none if it does not answer, 0 without a license.
    pub license_serial: Option<u64>,
    /// Free bytes of its disk; none if it does not answer.
    pub free_disk_bytes: Option<u64>,
}

/// Serial of the default tenant's license; 0 without one.
pub fn default_serial(state: &State) -> u64 {
    state.licenses().get(&TenantId::default_tenant()).map_or(0, |installed| installed.license.claims.serial.0)
}

/// Asks the leader and every node. None before the cluster is initialized.
pub async fn cluster_status(cluster: &Cluster) -> Option<ClusterStatus> {
    let view = cluster.view();
    let row = view.state.cluster()?;
    let own = cluster.node();
    let others = view.state.nodes().values().map(|node| node.id).filter(|id| *id != own);
    let (seen, states) = tokio::join!(cluster.leader_view(), cluster.ask_node_states(others));
    let presence = seen.as_ref().map(LeaderView::presence);
    // Without a leader, what has called this node.
    let alarms = seen.map_or_else(|| cluster.clones().alarms(), |seen| seen.alarms);
    let voters = cluster.voters();
    let nodes = view
        .state
        .nodes()
        .values()
        .map(|node| {
            let answer = states.get(&node.id).and_then(Option::as_ref);
            let is_own = node.id == own;
            NodeStatus {
                node: node.clone(),
                voter: node.role == NodeRole::Management && voters.contains(&node.id),
                online: presence
                    .as_ref()
                    .and_then(|online| online.get(&node.id).copied().unwrap_or(Some(false))),
                applied_index: answer
                    .map(|state| state.applied_index)
                    .or_else(|| is_own.then(|| view.applied_index())),
                license_serial: answer
                    .map(|state| state.license_serial)
                    .or_else(|| is_own.then(|| default_serial(&view.state))),
                free_disk_bytes: answer.and_then(|state| state.free_disk_bytes),
            }
        })
        .collect();
    Some(ClusterStatus {
        cluster_id: row.id,
        epoch: row.epoch,
        leader: presence.is_some().then(|| cluster.live_leader()).flatten(),
        first_license_node: row.first_license_node,
        nodes,
        removed: view.state.tombstones().values().cloned().collect(),
        alarms,
    })
}
