//! Who is there: by Raft's own traffic, never by log entries.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::join_all;
use openraft::Instant as _;
use quorate_license::{NodeId, NodeRole, Timestamp};
use quorate_proto::node::v1::{
    AnnounceRequest, IdentityAlarm, NodePresence, NodeStateRequest, NodeStateResponse, PresenceRequest,
    PresenceResponse, cluster_service_client::ClusterServiceClient,
};
use tokio::time::Instant;
use tonic::Request;

use super::{Alarm, Cluster, alarms::told_by, recent_end::RecentEnd};
use crate::{
    api::addressed,
    clock,
    net::{Announced, Use},
};

const DEADLINE: Duration = Duration::from_secs(1);
/// Between two looks whether a new leader has heard from everybody.
const SETTLING: Duration = Duration::from_millis(50);

/// Which nodes the leader has heard from lately; none for those of which it can't tell yet.
pub type Presence = BTreeMap<NodeId, Option<bool>>;

/// The group as its leader sees it.
#[derive(Debug, Clone, Default)]
pub struct LeaderView {
    /// Index of the last log entry.
    pub last_index: u64,
    /// Whether a change of membership is under way.
    pub changing: bool,
    /// Voters.
    pub voters: BTreeSet<NodeId>,
    /// The members of the group.
    pub members: BTreeMap<NodeId, MemberView>,
    /// What is wrong with who is who.
    pub alarms: Vec<Alarm>,
}

impl LeaderView {
    /// Which nodes were heard from lately.
    pub fn presence(&self) -> Presence {
        self.members.iter().map(|(id, member)| (*id, member.online)).collect()
    }
}

/// Who is behind the leader's log.
#[derive(Debug, Default)]
pub(super) struct Behind {
    since: BTreeMap<NodeId, Timestamp>,
    ends: RecentEnd,
}

/// One member as the leader sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemberView {
    /// Whether it was heard from lately; none if the leader has not led for long enough to tell.
    pub online: Option<bool>,
    /// The last entry that it is known to have; none if the leader does not know yet.
    pub matched: Option<u64>,
    /// When it was last heard from; none if never in this term.
    pub heard_at: Option<Timestamp>,
    /// Since when it has been behind.
    pub behind_since: Option<Timestamp>,
    /// The entries that it lacks are no longer in the log: it needs a snapshot.
    pub needs_snapshot: bool,
}

impl Cluster {
    /// Whoever was not heard from for so long is not there.
    pub fn absent_after(&self) -> Duration {
        self.absent_after
    }

    /// Which nodes this node has heard from lately; none if it does not lead.
    pub fn own_presence(&self) -> Option<Presence> {
        Some(self.own_leader_view()?.presence())
    }

    /// The group as this node sees it; none if it does not lead.
    pub fn own_leader_view(&self) -> Option<LeaderView> {
        let behind = self.behind.lock().unwrap_or_else(std::sync::PoisonError::into_inner).since.clone();
        let time = clock::now();
        let mut metrics = self.raft_metrics();
        let now = metrics.now();
        let heartbeats = now.heartbeat.as_ref()?;
        let led_for = self.leadership.borrow().since.elapsed();
        let last_index = now.last_log_index.unwrap_or(0);
        let purged = now.purged.as_ref().map_or(0, |id| id.index());
        let mut seen = LeaderView {
            last_index,
            changing: now.membership_config != now.committed_membership_config
                || now.membership_config.get_joint_config().len() > 1,
            voters: now.membership_config.voter_ids().collect(),
            members: BTreeMap::new(),
            alarms: self.clones.alarms(),
        };
        for (id, acknowledged) in heartbeats {
            let silent = acknowledged.as_ref().map(|at| at.elapsed());
            let matched = now.replication.as_ref().and_then(|all| all.get(id)).copied().flatten();
            let matched = matched.map(|id| id.index());
            let member = MemberView {
                online: match silent {
                    Some(silent) => Some(silent < self.absent_after),
                    None => (led_for >= self.absent_after).then_some(false),
                },
                matched,
                heard_at: silent
                    .map(|silent| time.plus_ms(-i64::try_from(silent.as_millis()).unwrap_or(i64::MAX))),
                behind_since: behind.get(id).copied(),
                needs_snapshot: matched.is_none_or(|index| index < purged) && purged > 0,
            };
            seen.members.insert(*id, member);
        }
        let own = MemberView {
            online: Some(true),
            matched: Some(last_index),
            heard_at: Some(time),
            ..MemberView::default()
        };
        seen.members.insert(self.node, own);
        Some(seen)
    }

    /// The group as its leader sees it, once the leader can tell of everybody whether they are there: a new
    /// one has to hear from them first, or to wait until it is sure that it does not.
    pub async fn settled_leader_view(&self) -> Option<LeaderView> {
        loop {
            let seen = self.leader_view().await?;
            if seen.members.values().all(|member| member.online.is_some()) {
                return Some(seen);
            }
            tokio::time::sleep(SETTLING).await;
        }
    }

    /// Waits until this leader has heard from another voter, or is sure that none is there.
    pub(super) async fn heard_from_a_voter(&self) {
        while let Some(seen) = self.own_leader_view() {
            let others = seen.voters.iter().filter(|id| **id != self.node);
            let mut online = others.map(|id| seen.members.get(id).and_then(|member| member.online));
            if online.clone().any(|online| online == Some(true)) || online.all(|online| online.is_some()) {
                return;
            }
            tokio::time::sleep(SETTLING).await;
        }
    }

    /// Takes note of who is behind, and since when. The leader does it whenever it looks at the group.
    pub(super) fn note_behind(&self) {
        let Some(seen) = self.own_leader_view() else { return };
        let now = clock::now();
        let mut behind = self.behind.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        behind.since.retain(|id, _| seen.members.contains_key(id));
        let wanted = behind.ends.look(seen.last_index, Instant::now());
        for (id, member) in &seen.members {
            if member.matched.is_none_or(|matched| matched < wanted) {
                behind.since.entry(*id).or_insert(now);
            } else {
                behind.since.remove(id);
            }
        }
    }

    /// Which nodes the leader has heard from lately; none if there is no leader, or it does not
    /// answer.
    pub async fn presence(&self) -> Option<Presence> {
        Some(self.leader_view().await?.presence())
    }

    /// The group as its leader sees it; none if there is no leader, or it does not answer.
    pub async fn leader_view(&self) -> Option<LeaderView> {
        if let Some(seen) = self.own_leader_view() {
            return Some(seen);
        }
        let leader = self.leader()?;
        let channel = self.peers.channel(leader, Use::Service).ok()?;
        let mut request = Request::new(PresenceRequest {});
        request.set_timeout(DEADLINE);
        addressed(request.metadata_mut(), &self.view().state, self.node, leader);
        let mut client = ClusterServiceClient::new(channel);
        let asked = tokio::time::timeout(DEADLINE, client.presence(request)).await;
        let response = asked.ok()?.ok()?.into_inner();
        response.leads.then(|| LeaderView::from(response))
    }

    /// Asks nodes for their own state, all at once. None for those that don't answer in time.
    pub async fn ask_node_states(
        &self,
        nodes: impl Iterator<Item = NodeId>,
    ) -> BTreeMap<NodeId, Option<NodeStateResponse>> {
        let view = self.view();
        let asked = nodes.map(|node| {
            let channel = self.peers.channel(node, Use::Service);
            let mut request = Request::new(NodeStateRequest::default());
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

    /// Tells the other Management Servers where this node is now, and hears from them where the others are.
    pub async fn announce(&self, own: &Announced) {
        let view = self.view();
        let servers = view.state.nodes().values().filter(|node| node.role == NodeRole::Management);
        let told = servers.filter(|server| server.id != self.node).map(|server| {
            let channel = self.peers.channel(server.id, Use::Service);
            let Announced { start_counter, address } = own.clone();
            let mut request = Request::new(AnnounceRequest { start_counter, raft_address: address });
            request.set_timeout(DEADLINE);
            addressed(request.metadata_mut(), &view.state, self.node, server.id);
            async move {
                let mut client = ClusterServiceClient::new(channel.ok()?);
                let answer = tokio::time::timeout(DEADLINE, client.announce(request)).await;
                answer.ok()?.ok().map(tonic::Response::into_inner)
            }
        });
        for known in join_all(told).await.into_iter().flatten().flat_map(|answer| answer.nodes) {
            if NodeId(known.id) != self.node {
                let known_address =
                    Announced { start_counter: known.start_counter, address: known.raft_address };
                self.peers.addresses().announce(NodeId(known.id), known_address);
            }
        }
    }
}

impl From<LeaderView> for PresenceResponse {
    fn from(seen: LeaderView) -> Self {
        let ms = |time: Option<Timestamp>| time.map(Timestamp::as_unix_ms);
        let node = |(id, member): (NodeId, MemberView)| NodePresence {
            id: id.0,
            online: member.online,
            matched_index: member.matched,
            heard_at_ms: ms(member.heard_at),
            behind_since_ms: ms(member.behind_since),
            needs_snapshot: member.needs_snapshot,
            voter: seen.voters.contains(&id),
        };
        PresenceResponse {
            leads: true,
            nodes: seen.members.into_iter().map(node).collect(),
            last_index: seen.last_index,
            changing: seen.changing,
            alarms: seen.alarms.iter().map(IdentityAlarm::from).collect(),
        }
    }
}

impl From<PresenceResponse> for LeaderView {
    fn from(response: PresenceResponse) -> Self {
        let time = |ms: Option<i64>| ms.map(Timestamp::from_unix_ms);
        let member = |node: &NodePresence| MemberView {
            online: node.online,
            matched: node.matched_index,
            heard_at: time(node.heard_at_ms),
            behind_since: time(node.behind_since_ms),
            needs_snapshot: node.needs_snapshot,
        };
        LeaderView {
            last_index: response.last_index,
            changing: response.changing,
            voters: response.nodes.iter().filter(|node| node.voter).map(|node| NodeId(node.id)).collect(),
            members: response.nodes.iter().map(|node| (NodeId(node.id), member(node))).collect(),
            alarms: told_by(NodeRole::Management, response.alarms).collect(),
        }
    }
}
