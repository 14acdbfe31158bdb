//! The node's part in the Raft group: Raft itself, its network, proposals, membership, presence.
//!
//! ```text
//! service ─ propose ─> leader? ─ yes ─> Raft ─> log ─> apply ─> View
//!                         └─ no ──> lane ─ one stream ─> intake on the leader ─> Raft
//! ```
//!
//! openraft's types are named in this folder and in the store only.

mod alarms;
#[cfg(test)]
mod bounds_tests;
mod chunks;
mod clocks;
mod clones;
mod failover;
mod intake;
mod keeper;
mod lane;
mod leader;
mod member_bounds;
mod network;
mod presence;
mod propose;
mod read;
mod receiver;
mod recent_end;
mod room;
mod runtime;
mod settings;
mod snapshot_transfer;
mod standing;
mod unanswered;
mod watch;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use openraft::{Instant as _, Raft, ServerState};
use quorate_license::{NodeId, NodeRole};
use quorate_raft_store::{
    Command, View, Views, codec,
    disk::{Failure, IncomingSnapshots, StateMachine, Store},
    raft_types::TypeConfig,
};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use alarms::Alarm;
pub use clocks::{agree_on_time, distance, span};
pub use clones::{Clones, OwnIdentity, watch_clones};
pub use failover::watch_closed_connections;
pub use keeper::keep_membership;
pub use presence::{LeaderView, MemberView, Presence};
pub use propose::ProposeError;
pub use read::ReadError;
pub use receiver::RaftReceiver;
pub use room::NoRoom;
pub use runtime::RaftRuntime;
pub use standing::{Expelled, ask_others, watch_standing};
pub use watch::RaftWatch;

use self::{
    clocks::Clocks,
    lane::{LaneOptions, Lanes},
    leader::LeaderWatch,
    member_bounds::MemberBounds,
    presence::Behind,
    room::Room,
    snapshot_transfer::Pace,
};
use crate::{clock::ClusterClock, config, metrics::Metrics, net::Peers};

type QuorateRaft = Raft<TypeConfig, StateMachine>;

/// Proposals of this node that may be under way at once; more wait.
const MAX_PENDING: usize = 4096;

/// The node's part in the Raft group.
pub struct Cluster {
    node: NodeId,
    raft: QuorateRaft,
    views: Arc<Views>,
    peers: Arc<Peers>,
    incoming: IncomingSnapshots,
    store_failure: Failure,
    pending: Semaphore,
    leadership: LeaderWatch,
    lanes: Arc<Lanes>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    /// A peer whose heartbeat is older than this is not there.
    absent_after: Duration,
    /// When a leader was last heard from.
    heard: Mutex<Option<Instant>>,
    /// Why this node is no part of the cluster any more, if so.
    standing: standing::Standing,
    /// Who is behind this node's log, and since when, while it leads.
    behind: Mutex<Behind>,
    /// Who is who.
    clones: Arc<Clones>,
    /// The cluster's time.
    clock: ClusterClock,
    /// What the nodes' own clocks say, as this node has heard while it leads.
    clocks: Mutex<Clocks>,
    /// What members use up.
    members: MemberBounds,
    /// What is left of this node's disk.
    room: Room,
}

/// What a node's part in the group is made with.
pub struct ClusterOptions<'a> {
    /// This node.
    pub node: NodeId,
    /// Its role.
    pub role: NodeRole,
    /// What this process says of who it is.
    pub identity: OwnIdentity,
    /// The cluster's time.
    pub clock: ClusterClock,
    /// Raft's times and sizes.
    pub settings: &'a config::Raft,
    /// The channels to the other nodes.
    pub peers: Arc<Peers>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// Where Raft's tasks run.
    pub runtime: &'a RaftRuntime,
    /// Owns the other tasks.
    pub tracker: &'a TaskTracker,
    /// Ends them.
    pub stop: &'a CancellationToken,
}

/// Raft could not be started, or it has stopped. The node stops with it.
#[derive(Debug, thiserror::Error)]
#[error("consensus has stopped: {0}")]
pub struct RaftStopped(String);

impl Cluster {
    /// Starts Raft on an open store.
    ///
    /// # Errors
    /// [`RaftStopped`] if the settings or what is on disk don't allow it.
    pub async fn start(store: Store, options: ClusterOptions<'_>) -> Result<Arc<Cluster>, RaftStopped> {
        let ClusterOptions { node, role, identity, clock, settings, peers, metrics, runtime, tracker, stop } =
            options;
        let stopped = |error: &dyn std::fmt::Display| RaftStopped(error.to_string());
        let raft_config = settings::raft_config(settings, role).map_err(|error| stopped(&error))?;
        let network = network::NetworkFactory::new(
            node,
            peers.clone(),
            store.views.clone(),
            metrics.clone(),
            Pace::new(settings.snapshot_bytes_per_second),
        );
        let Store { log, machine, views, incoming, failure } = store;
        // Raft spawns its tasks where it is made.
        let made = tracker.spawn_on(Raft::new(node, raft_config, network, log, machine), runtime.handle());
        let raft = made.await.map_err(|error| stopped(&error))?.map_err(|error| stopped(&error))?;
        let (leadership, keep) = leader::follow(raft.server_metrics(), stop.clone());
        tracker.spawn(keep);
        let lanes = Lanes::new(LaneOptions {
            node,
            peers: peers.clone(),
            views: views.clone(),
            leader: leadership.clone(),
            tracker: tracker.clone(),
            stop: stop.clone(),
        });
        let clones = Arc::new(Clones::new(node, identity, views.clone(), peers.clone()));
        Ok(Arc::new(Cluster {
            clones,
            clock,
            clocks: Mutex::default(),
            members: MemberBounds::new(),
            room: Room::new(settings.least_free_bytes),
            node,
            raft,
            views,
            peers,
            incoming,
            store_failure: failure,
            pending: Semaphore::new(MAX_PENDING),
            leadership,
            lanes,
            stop: stop.clone(),
            metrics,
            absent_after: Duration::from_millis(settings.election_max_ms),
            heard: Mutex::new(None),
            standing: standing::Standing::new(None),
            behind: Mutex::default(),
        }))
    }

    /// This node's id.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// What was applied here so far.
    pub fn view(&self) -> Arc<View> {
        self.views.current()
    }

    /// Where views come from.
    pub fn views(&self) -> &Arc<Views> {
        &self.views
    }

    /// The cluster's time.
    pub fn clock(&self) -> &ClusterClock {
        &self.clock
    }

    /// The channels to the other nodes.
    pub fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// Begins the group with this node as its only voter, unless it has begun already.
    ///
    /// # Errors
    /// [`RaftStopped`].
    pub async fn begin(&self) -> Result<(), RaftStopped> {
        let stopped = |error: &dyn std::fmt::Display| RaftStopped(error.to_string());
        if self.raft.is_initialized().await.map_err(|error| stopped(&error))? {
            return Ok(());
        }
        self.raft.initialize(BTreeSet::from([self.node])).await.map_err(|error| stopped(&error))
    }

    /// Notes how much of the disk is free that holds the data directory. Too little of it keeps this node from taking
    /// new changes while it leads.
    pub fn measured_free_disk(&self, free_bytes: u64) {
        let now_short = self.room.measured(free_bytes, self.incoming.newest_bytes());
        match now_short {
            Some(true) => tracing::error!(
                free_bytes,
                "the disk that holds the data directory is almost full: while this node leads, new changes are refused"
            ),
            Some(false) => tracing::info!(free_bytes, "the disk has room again: new changes are taken"),
            None => {}
        }
    }

    /// Whether this node, as the leader, takes the change.
    fn has_room_for(&self, command: &Command) -> Result<(), NoRoom> {
        self.room.check(command, || {
            let view = self.view();
            view.state
                .nodes()
                .get(&self.node)
                .map_or_else(|| self.node.to_string(), |row| row.name.to_string())
        })
    }

    /// As above, for a change as it is sent by another node.
    fn lacks_room_for(&self, record: &[u8]) -> Option<NoRoom> {
        if !self.room.is_short() {
            return None;
        }
        codec::decode(record).ok().and_then(|command| self.has_room_for(&command).err())
    }

    /// The leader that this node knows of.
    pub fn leader(&self) -> Option<NodeId> {
        self.leadership.borrow().leader
    }

    /// The leader, if it is at work: a quorum follows this one, or another has been heard from lately.
    pub fn live_leader(&self) -> Option<NodeId> {
        let mut metrics = self.raft_metrics();
        let now = metrics.now();
        let leader = now.current_leader?;
        let at_work = if leader == self.node {
            let alone = now.membership_config.voter_ids().count() == 1;
            let acknowledged = now.last_quorum_acked.as_ref();
            alone || acknowledged.is_some_and(|at| at.elapsed() < self.absent_after)
        } else {
            self.heard_lately()
        };
        at_work.then_some(leader)
    }

    /// Notes that a leader was heard from.
    fn hear(&self) {
        let now = Instant::now();
        let before = self.heard.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        if let Some(before) = before {
            self.metrics.leader_silence.observe(now.duration_since(before).as_secs_f64());
        }
    }

    /// Whether another leader was heard from lately.
    fn heard_lately(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|at| at.elapsed() < self.absent_after)
    }

    /// Whether a leader was heard from after this time.
    fn heard_since(&self, time: Instant) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|at| at > time)
    }

    /// Whether this node leads.
    pub fn leads(&self) -> bool {
        self.leadership.borrow().leader == Some(self.node)
    }

    /// Raft's own metrics, now and whenever they change.
    pub fn raft_metrics(&self) -> RaftWatch {
        RaftWatch::new(self.raft.metrics())
    }

    /// Whether this node is a learner.
    pub fn is_learner(&self) -> bool {
        self.raft_metrics().now().state == ServerState::Learner
    }

    /// The voters of the present membership.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.view().membership.voter_ids().collect()
    }

    /// Hands leadership to `to`, or to the voter that is furthest along. Returns who leads then.
    ///
    /// # Errors
    /// The reason in words, if this node does not lead or nobody takes over within `deadline`.
    pub async fn hand_over(&self, to: Option<NodeId>, deadline: Duration) -> Result<NodeId, String> {
        if to.is_none() {
            // Whoever has led for a moment only may not have heard from anybody yet.
            let _ = tokio::time::timeout(deadline, self.heard_from_a_voter()).await;
        }
        let mut metrics = self.raft_metrics();
        let to = {
            let now = metrics.now();
            let replication = now.replication.as_ref().ok_or("this node does not lead")?;
            let voters: BTreeSet<NodeId> = now.membership_config.voter_ids().collect();
            match to {
                Some(to) if !voters.contains(&to) => return Err(format!("node {to} is not a voter")),
                Some(to) => to,
                None => replication
                    .iter()
                    .filter(|(id, _)| **id != self.node && voters.contains(id))
                    // In a quiet group a dead voter is as far along as a living one.
                    .filter(|(id, _)| {
                        let heartbeat =
                            now.heartbeat.as_ref().and_then(|all| all.get(id)).and_then(Option::as_ref);
                        heartbeat.is_some_and(|at| at.elapsed() < self.absent_after)
                    })
                    .max_by_key(|(_, matched)| matched.as_ref().map(|id| id.index()))
                    .map(|(id, _)| *id)
                    .ok_or("no other voter is online")?,
            }
        };
        if to == self.node {
            return Ok(to);
        }
        self.raft.trigger().transfer_leader(to).await.map_err(|error| error.to_string())?;
        let node = self.node;
        let changed = metrics.wait_for(|now| now.current_leader.filter(|leader| *leader != node));
        match tokio::time::timeout(deadline, changed).await {
            Ok(Some(leader)) => Ok(leader),
            Ok(None) => Err("consensus has stopped".to_owned()),
            Err(_) => Err(format!("node {to} did not take over in time")),
        }
    }

    /// Waits until Raft or its store has failed, and says why.
    pub async fn failed(&self) -> RaftStopped {
        let mut metrics = self.raft_metrics();
        tokio::select! {
            failed = metrics.wait_for(|now| now.running_state.as_ref().err().map(ToString::to_string)) => {
                RaftStopped(failed.unwrap_or_else(|| "its task has ended".to_owned()))
            }
            error = self.store_failure.happened() => RaftStopped(error.to_string()),
        }
    }

    /// Stops Raft. The store is closed when the last handle is dropped.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "consensus did not stop cleanly");
        }
    }
}
