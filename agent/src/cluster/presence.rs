//! Who is there: by Raft's own traffic, never by log entries.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use openraft::Instant as _;
use quorate_license::NodeId;
use quorate_proto::node::v1::{
    NodeStateRequest, NodeStateResponse, PresenceRequest, cluster_service_client::ClusterServiceClient,
};
use tonic::Request;

use super::Cluster;
use crate::{api::addressed, net::Use};

const DEADLINE: Duration = Duration::from_secs(1);

/// Which nodes the leader has heard from lately.
pub type Presence = BTreeMap<NodeId, bool>;

impl Cluster {
    /// Which nodes this node has heard from lately; none if it does not lead.
    pub fn own_presence(&self) -> Option<Presence> {
        let mut metrics = self.raft_metrics();
        let now = metrics.now();
        let heartbeats = now.heartbeat.as_ref()?;
        let mut presence: Presence = heartbeats
            .iter()
            .map(|(id, acknowledged)| {
                let online = acknowledged.as_ref().is_some_and(|at| at.elapsed() < self.absent_after);
                (*id, online)
            })
            .collect();
        presence.insert(self.node, true);
        Some(presence)
    }

    /// Which nodes the leader has heard from lately; none if there is no leader, or it does not
    /// answer.
    pub async fn presence(&self) -> Option<Presence> {
        if let Some(presence) = self.own_presence() {
            return Some(presence);
        }
        let leader = self.leader()?;
        let channel = self.peers.channel(leader, Use::Service).ok()?;
        let mut request = Request::new(PresenceRequest {});
        request.set_timeout(DEADLINE);
        addressed(request.metadata_mut(), &self.view().state, self.node, leader);
        let mut client = ClusterServiceClient::new(channel);
        let asked = tokio::time::timeout(DEADLINE, client.presence(request)).await;
        let response = asked.ok()?.ok()?.into_inner();
        response
            .leads
            .then(|| response.nodes.into_iter().map(|node| (NodeId(node.id), node.online)).collect())
    }

    /// Asks nodes for their own state, all at once. None for those that don't answer in time.
    pub async fn ask_node_states(
        &self,
        nodes: impl Iterator<Item = NodeId>,
    ) -> BTreeMap<NodeId, Option<NodeStateResponse>> {
        let view = self.view();
        let asked = nodes.map(|node| {
            let channel = self.peers.channel(node, Use::Service);
            let mut request = Request::new(NodeStateRequest {});
            request.set_timeout(DEADLINE);
            addressed(request.metadata_mut(), &view.state, self.node, node);
            async move {
                let Ok(channel) = channel else { return (node, None) };
                let mut client = ClusterServiceClient::new(channel);
                let response = tokio::time::timeout(DEADLINE, client.node_state(request)).await;
                (node, response.ok().and_then(Result::ok).map(tonic::Response::into_inner))
            }
        });
        join_all(asked).await.into_iter().collect()
    }
}
