//! Clones and ghosts: two live holders of one identity, a host that is another one now, a node that was
//! rolled back.
//!
//! ```text
//! a start calls that the log does not know ─> who answers where the node is registered? ─ another ─> refused
//! the leader asks every node who it is ────> one computer ID, one node key twice; fewer answers, or a shorter
//!                                            log, than the node had already
//! what was found ─────────────────────────> a line of the log, a metric, status, health; no activation
//! ```
//!
//! What calls have shown is kept for a while after the last of them; what the leader sees is looked at again
//! with every round. Nothing of it is replicated: it is about who lives now.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_license::{NodeId, NodePublicKey, NodeRole, Timestamp};
use quorate_proto::node::v1::{
    IdentityAlarm, NodeStateRequest, NodeStateResponse, cluster_service_client::ClusterServiceClient,
};
use quorate_raft_store::{
    State, Views,
    state::{Node, StartId},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::Request;

use super::{
    Cluster,
    alarms::{ALARM_CODES, Alarm, Sightings, Told, alarm_hint, cloned_directory, compare, merged, told_by},
};
use crate::{
    api::{ApiError, ErrorKind, OwnStart, addressed, vetting},
    host::HostComputer,
    net::Peers,
};

/// How long whoever is registered may take to show that it lives.
const VET_DEADLINE: Duration = Duration::from_millis(900);
/// Calls of one node that may wait until it is clear whose they are.
const MOST_LOOKS: usize = 32;
/// Between two looks at what was found.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Between two rounds of questions, and how much longer for each node.
const ROUND: Duration = Duration::from_secs(2);
const ROUND_FOR_EACH: Duration = Duration::from_millis(25);

/// What this process says of who it is.
#[derive(Clone)]
pub struct OwnIdentity {
    /// The public half of its node key.
    pub key: NodePublicKey,
    /// Which computer it is on.
    pub computer: Arc<HostComputer>,
    /// Where other nodes reach it.
    pub address: String,
    /// Which start of the agent it is.
    pub start: OwnStart,
    /// Since when it has run.
    pub started_at: Timestamp,
}

/// Who is who, as this node sees it.
pub struct Clones {
    node: NodeId,
    own: OwnIdentity,
    views: Arc<Views>,
    peers: Arc<Peers>,
    known: Mutex<Sightings>,
    /// By node: ids are never given twice, and there are few of them.
    looks: Mutex<BTreeMap<NodeId, Arc<Looks>>>,
    answers: AtomicU64,
}

/// Looks at who answers where one node is registered.
struct Looks {
    turn: Semaphore,
    /// Those that wait for their turn, and the one whose it is.
    places: Semaphore,
}

impl Default for Looks {
    fn default() -> Self {
        Looks { turn: Semaphore::new(1), places: Semaphore::new(MOST_LOOKS) }
    }
}

impl Looks {
    /// Waits for the turn; none if too many wait already.
    async fn turn(&self) -> Option<[SemaphorePermit<'_>; 2]> {
        let place = self.places.try_acquire().ok()?;
        Some([self.turn.acquire().await.ok()?, place])
    }
}

fn unclear(row: &Node) -> ApiError {
    ApiError::new(
        ErrorKind::Unavailable,
        "identity_unclear",
        format!("many calls of node {} come from starts that the log does not know", row.name),
        "the node asks again by itself; if this lasts, look at who uses its certificate",
    )
}

impl Clones {
    /// Nothing is found yet.
    pub fn new(node: NodeId, own: OwnIdentity, views: Arc<Views>, peers: Arc<Peers>) -> Self {
        Clones {
            node,
            own,
            views,
            peers,
            known: Mutex::default(),
            looks: Mutex::default(),
            answers: AtomicU64::new(0),
        }
    }

    fn looks_at(&self, node: NodeId) -> Arc<Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).entry(node).or_default().clone()
    }

    fn known(&self) -> MutexGuard<'_, Sightings> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a start of a node in that the log does not know, if nobody else is that node. One look at a time for each
    /// node: it opens a connection to wherever the node says that it is.
    ///
    /// # Errors
    /// Denied: `data_directory_cloned`, naming both; unavailable: `identity_unclear`, if too many such calls wait.
    pub async fn vet(&self, node: NodeId, start: OwnStart, address: &str) -> Result<(), ApiError> {
        let view = self.views.current();
        let Some(row) = view.state.nodes().get(&node) else { return Ok(()) };
        let Some(known) = view.state.starts().get(&node) else { return Ok(()) };
        if known.id == start.id || self.known().was_let_in(node, start.id) {
            return Ok(());
        }
        let looks = self.looks_at(node);
        let _turn = looks.turn().await.ok_or_else(|| unclear(row))?;
        if self.known().was_let_in(node, start.id) {
            return Ok(());
        }
        let Some(holder) = self.other_holder(row, start.id).await else {
            self.known().let_in(node, start.id);
            return Ok(());
        };
        let alarm = cloned_directory(row, &holder, address);
        self.note(alarm.clone());
        Err(ApiError::new(ErrorKind::Denied, &alarm.code, alarm.message, alarm_hint("data_directory_cloned")))
    }

    /// Notes that a start called which the log knows to be over: a copy, if the present one lives; otherwise the
    /// node was rolled back.
    pub async fn outdated(&self, node: NodeId, start: OwnStart, address: &str) {
        let view = self.views.current();
        let Some(row) = view.state.nodes().get(&node) else { return };
        let looks = self.looks_at(node);
        // The same is found again by one of those that wait.
        let Some(_turn) = looks.turn().await else { return };
        let alarm = match self.other_holder(row, start.id).await {
            Some(holder) => cloned_directory(row, &holder, address),
            None => Alarm::new(
                "node_rolled_back",
                &row.name,
                format!(
                    "node {} was started at {address} from a data directory that is older than its last start ({})",
                    row.name, row.start_counter
                ),
            ),
        };
        self.note(alarm);
    }

    /// That a node's log holds what it has acknowledged.
    ///
    /// # Errors
    /// Denied: `node_rolled_back`.
    pub fn check_log(&self, node: NodeId, last_log_index: u64) -> Result<(), ApiError> {
        let reached = self.known().acknowledged(node);
        if last_log_index >= reached {
            return Ok(());
        }
        let name = self.peers.name(node);
        let message = format!(
            "the log of node {name} ends at entry {last_log_index}, and the node has acknowledged entry {reached}: its \
             data directory was rolled back, or is an older copy"
        );
        self.note(Alarm::new("node_rolled_back", &name, message.clone()));
        let hint = alarm_hint("node_rolled_back");
        Err(ApiError::new(ErrorKind::Denied, "node_rolled_back", message, hint))
    }

    /// Who else than `start` is the node now: this process, or who answers where it is registered.
    async fn other_holder(&self, row: &Node, start: StartId) -> Option<Told> {
        if row.id == self.node {
            return Some(self.own_told(0)).filter(|own| own.start != start);
        }
        let channel = self.peers.channel_at(row.id, row.addresses.raft.clone()).ok()?;
        let mut request = Request::new(NodeStateRequest { vetting: true, last_log_index: None });
        request.set_timeout(VET_DEADLINE);
        addressed(request.metadata_mut(), &self.views.current().state, self.node, row.id);
        vetting(request.metadata_mut());
        let mut client = ClusterServiceClient::new(channel);
        let asked = tokio::time::timeout(VET_DEADLINE, client.node_state(request)).await;
        let told = Told::read(&asked.ok()?.ok()?.into_inner())?;
        (told.start != start).then_some(told)
    }

    fn own_told(&self, last_log_index: u64) -> Told {
        Told {
            start: self.own.start.id,
            computer_id: self.own.computer.found(),
            key: self.own.key,
            address: self.own.address.clone(),
            since: self.own.started_at,
            answers: self.answers.load(Ordering::Relaxed),
            last_log_index,
        }
    }

    /// Adds who this process is to its answer.
    pub fn tell(&self, last_log_index: u64, answer: &mut NodeStateResponse) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        let own = self.own_told(last_log_index);
        answer.start_id = own.start.to_string();
        answer.computer_id = own.computer_id.to_string();
        answer.node_key = own.key.0.to_vec().into();
        answer.raft_address = own.address;
        answer.started_at_ms = own.since.as_unix_ms();
        answer.answers = own.answers;
        answer.last_log_index = last_log_index;
        answer.alarms = self.heard().iter().map(IdentityAlarm::from).collect();
    }

    fn note(&self, alarm: Alarm) {
        self.known().note(alarm, Instant::now());
    }

    /// What calls have shown lately.
    pub fn heard(&self) -> Vec<Alarm> {
        self.known().heard(Instant::now())
    }

    /// All that this node knows of: what calls have shown, and what it sees as the leader.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.known().alarms(Instant::now())
    }
}

/// What a node may tell: one that this state does not know, as little as a Spooler Controller.
fn role_of(state: &State, id: NodeId) -> NodeRole {
    state.nodes().get(&id).map_or(NodeRole::Spooler, |node| node.role)
}

impl Cluster {
    /// Who is who, as this node sees it.
    pub fn clones(&self) -> &Arc<Clones> {
        &self.clones
    }

    /// Index of the last entry of this node's log.
    pub fn last_log_index(&self) -> u64 {
        self.raft_metrics().now().last_log_index.unwrap_or(0)
    }

    /// What is wrong with who is who, by what the leader sees, what every node answers now, and what has called this
    /// node.
    pub async fn identity_alarms(&self, states: &BTreeMap<NodeId, Option<NodeStateResponse>>) -> Vec<Alarm> {
        let view = self.view();
        let answers = states.iter().filter_map(|(id, answer)| Some((*id, answer.as_ref()?)));
        let mut told: BTreeMap<NodeId, Told> =
            answers.clone().filter_map(|(id, answer)| Some((id, Told::read(answer)?))).collect();
        told.insert(self.node, self.clones.own_told(self.last_log_index()));
        let heard = answers.flat_map(|(id, answer)| told_by(role_of(&view.state, id), answer.alarms.clone()));
        let leader = self.leader_view().await.map(|seen| seen.alarms).unwrap_or_default();
        let now = compare(&view.state, &told, None);
        merged(self.clones.alarms().into_iter().chain(now).chain(heard).chain(leader))
    }
}

/// Asks every node who it is while this node leads, and tells what is found and what is over, until `stop`.
pub async fn watch_clones(cluster: Arc<Cluster>, stop: CancellationToken) {
    let mut told_before: BTreeMap<(String, String), Alarm> = BTreeMap::new();
    let mut asked: Option<Instant> = None;
    loop {
        let view = cluster.view();
        let others: Vec<NodeId> =
            view.state.nodes().values().map(|node| node.id).filter(|id| *id != cluster.node).collect();
        let round = ROUND + ROUND_FOR_EACH * u32::try_from(others.len()).unwrap_or(u32::MAX);
        if !cluster.leads() {
            cluster.clones.known().look(&view.state, None, 0, &BTreeMap::new());
        } else if asked.is_none_or(|at| at.elapsed() >= round) {
            asked = Some(Instant::now());
            let leader = cluster.own_leader_view();
            let committed =
                cluster.raft_metrics().now().cluster_committed.as_ref().map_or(0, |id| id.index());
            let states = tokio::select! {
                () = stop.cancelled() => return,
                states = cluster.ask_node_states(others.into_iter()) => states,
            };
            let mut told: BTreeMap<NodeId, Told> = BTreeMap::new();
            for (id, answer) in states {
                let Some(answer) = answer else { continue };
                cluster.hear_clock(id, &answer);
                told.extend(Told::read(&answer).map(|told| (id, told)));
                // What has called another Management Server is known here, too.
                told_by(role_of(&view.state, id), answer.alarms).for_each(|alarm| cluster.clones.note(alarm));
            }
            told.insert(cluster.node, cluster.clones.own_told(cluster.last_log_index()));
            cluster.clones.known().look(&view.state, leader.as_ref(), committed, &told);
        }
        let now: BTreeMap<(String, String), Alarm> = cluster
            .clones
            .alarms()
            .into_iter()
            .map(|alarm| ((alarm.code.clone(), alarm.subject.clone()), alarm))
            .collect();
        for (key, alarm) in &now {
            if !told_before.contains_key(key) {
                tracing::error!(code = alarm.code, "who is who is not clear: {}", alarm.message);
            }
        }
        for (key, alarm) in &told_before {
            if !now.contains_key(key) {
                tracing::info!(code = alarm.code, subject = alarm.subject, "that is over: {}", alarm.message);
            }
        }
        for code in ALARM_CODES {
            let count = now.values().filter(|alarm| alarm.code == code).count();
            let gauge = cluster.metrics.identity_alarms.with_label_values(&[code]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        told_before = now;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}
