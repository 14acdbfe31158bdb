//! Bringing a change to the leader, wherever it is, and its answer back.
//!
//! On the leader a change goes to Raft as it comes, without a task in between: Raft merges what
//! waits into one append, and raft-io syncs once for it. On any other node it goes by the
//! [lane](super::lane) to the leader.
//!
//! A request keeps its id over every repeat, and apply answers a repeated one as the first: so a
//! lost answer or a new leader in between never applies a change twice.

use std::time::Duration;

use openraft::errors::{ClientWriteError, RaftError};
use prometheus::IntGauge;
use quorate_license::{NodeId, NodeRole};
use quorate_raft_store::{Answer, Command, Proposal, RequestId, State, audit::AskedBy, codec};
use tokio::time::Instant;
use tonic::codegen::Bytes;

use super::{Cluster, lane::Attempt, room::NoRoom};

/// How long a change may take, leader changes included.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long one attempt at the leader may take.
const ATTEMPT: Duration = Duration::from_secs(4);
/// A change is at most so large: what carries several fits into a message between nodes.
pub(super) const MAX_COMMAND_BYTES: usize = 960 << 10;
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Why a change has no answer. It may have been applied all the same, unless `NotProposed`.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// No leader was found in time: nothing was proposed.
    #[error(
        "no leader: {voters_reachable} of {voters} voting Management Servers can be reached, {needed} are needed"
    )]
    NoLeader {
        /// Voters that answer, this node included.
        voters_reachable: usize,
        /// All voters.
        voters: usize,
        /// How many are needed.
        needed: usize,
    },
    /// No answer came in time.
    #[error("no answer within {} seconds; whether the change was made is not known: {last}", DEADLINE.as_secs())]
    Unknown {
        /// What the last attempt met.
        last: String,
    },
    /// This node has stopped.
    #[error("this node's consensus has stopped: {0}")]
    Stopped(String),
    /// The change can't be encoded.
    #[error("the change can't be encoded: {0}")]
    Encoding(#[from] codec::CodecError),
    /// The change is larger than what fits into a message between nodes.
    #[error("the change has {bytes} bytes, and {MAX_COMMAND_BYTES} are the most")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The leader will never take the change from this node.
    #[error("the leader refuses the change: {0}")]
    Refused(String),
    /// The leader's disk is almost full.
    #[error(
        "the disk of {}, which leads, is almost full: {} MiB are free, and {} MiB must be before new changes are taken",
        _0.node, _0.free_bytes >> 20, _0.needed_bytes.div_ceil(1 << 20)
    )]
    NoRoom(NoRoom),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Randomness(String),
}

/// Whether a proposal may tell who asked: every member has to be able to read it.
pub(super) fn tells_asker(state: &State, command: &Command) -> bool {
    match (state.cluster(), command) {
        (Some(cluster), _) => cluster.feature_level >= Proposal::ASKER_LEVEL,
        (None, Command::InitCluster(init)) => init.feature_level >= Proposal::ASKER_LEVEL,
        (None, _) => false,
    }
}

/// Counts one in a gauge as long as it lives: callers may go away while they wait.
struct Counted(IntGauge);

impl Counted {
    fn in_gauge(gauge: &IntGauge) -> Self {
        gauge.inc();
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Cluster {
    /// Makes a change that `asked_by` asks for, on whichever node leads, and returns its answer.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, command: Command, asked_by: &AskedBy) -> Result<Answer, ProposeError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| ProposeError::Randomness(error.to_string()))?;
        self.propose_request(RequestId(u128::from_le_bytes(id)), command, asked_by).await
    }

    /// Says that this node itself asks for a change.
    pub fn itself(&self) -> AskedBy {
        AskedBy::node(self.node)
    }

    /// As [`Cluster::propose`], under the caller's request id.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose_request(
        &self,
        request: RequestId,
        command: Command,
        asked_by: &AskedBy,
    ) -> Result<Answer, ProposeError> {
        let _pending = self.pending.acquire().await.map_err(|_| ProposeError::Stopped("it ended".into()))?;
        let _counted = Counted::in_gauge(&self.metrics.proposals_pending);
        let result = self.propose_until_answered(request, command, asked_by).await;
        if result.is_err() {
            self.metrics.proposals_failed.inc();
        }
        result
    }

    async fn propose_until_answered(
        &self,
        request: RequestId,
        command: Command,
        asked_by: &AskedBy,
    ) -> Result<Answer, ProposeError> {
        let deadline = Instant::now() + DEADLINE;
        let record = Bytes::from(codec::encode(&command)?);
        let asker = Bytes::from(codec::encode(asked_by)?);
        if record.len() > MAX_COMMAND_BYTES {
            return Err(ProposeError::TooLarge { bytes: record.len() });
        }
        let mut pause = PAUSE_MIN;
        let (mut hint, mut round) = (None, 0);
        // What the last attempt met that a leader may have taken up.
        let mut unknown = None;
        // This node took itself for the leader, and no quorum follows it.
        let mut deposed = false;
        loop {
            let leader =
                hint.take().or_else(|| self.leader_to_ask()).filter(|id| *id != self.node || !deposed);
            // Nobody is heard from: another Management Server may know who leads, above all if this
            // node's address has changed and the leader looks for it at the old one.
            let ask = leader.or_else(|| self.other_server(round));
            round += usize::from(leader.is_none());
            deposed = false;
            let attempt = match ask {
                Some(node) if node == self.node => {
                    let attempt = self.propose_here(request, command.clone(), asked_by).await?;
                    deposed = matches!(attempt, Attempt::Again { leader: None, unknown: None });
                    attempt
                }
                Some(node) => self.lanes.ask(node, request, [record.clone(), asker.clone()], ATTEMPT).await,
                None => Attempt::NOT_SENT,
            };
            match attempt {
                Attempt::Answered(answer) => {
                    if ask != Some(self.node) {
                        self.catch_up(answer.revision.index, deadline).await;
                    }
                    return Ok(*answer);
                }
                Attempt::Refused(reason) => return Err(ProposeError::Refused(reason)),
                // An attempt before this one may have made it.
                Attempt::NoRoom(no_room) => {
                    return Err(match unknown {
                        Some(last) => ProposeError::Unknown { last },
                        None => ProposeError::NoRoom(no_room),
                    });
                }
                Attempt::Again { leader, unknown: met } => {
                    // Who does not lead does not know it of this node, which would know.
                    hint = leader.filter(|leader| *leader != self.node && Some(*leader) != ask);
                    unknown = met.or(unknown);
                }
            }
            if Instant::now() + pause >= deadline {
                return Err(match unknown {
                    Some(last) => ProposeError::Unknown { last },
                    None => self.no_leader().await,
                });
            }
            if hint.is_none() {
                pause = if self.leader_changes_within(pause).await {
                    PAUSE_MIN
                } else {
                    (pause * 2).min(PAUSE_MAX)
                };
            }
        }
    }

    /// The leader, if it is worth asking: this node, or one that was heard from lately.
    fn leader_to_ask(&self) -> Option<NodeId> {
        let leader = self.leadership.borrow().leader?;
        (leader == self.node || self.heard_lately()).then_some(leader)
    }

    /// The other Management Servers, one after the other.
    fn other_server(&self, round: usize) -> Option<NodeId> {
        let view = self.view();
        let others = view
            .state
            .nodes()
            .values()
            .filter(|node| node.role == NodeRole::Management && node.id != self.node);
        let others: Vec<NodeId> = others.map(|node| node.id).collect();
        others.get(round % others.len().max(1)).copied()
    }

    /// Waits until this node has applied what the leader has, so that whoever made a change finds it
    /// here. The change stands even if that takes too long.
    async fn catch_up(&self, index: u64, deadline: Instant) {
        let mut applied = self.views.subscribe();
        let _ = tokio::time::timeout_at(deadline, applied.wait_for(|applied| *applied >= index)).await;
    }

    /// Waits for `pause`, or less if another leader turns up; whether one did.
    async fn leader_changes_within(&self, pause: Duration) -> bool {
        let mut leadership = self.leadership.clone();
        let known = leadership.borrow_and_update().leader;
        let turned_up = leadership.wait_for(|now| now.leader.is_some() && now.leader != known);
        match tokio::time::timeout(pause, turned_up).await.map(|turned_up| turned_up.is_ok()) {
            Ok(true) => true,
            // Raft has ended: nothing will turn up.
            Ok(false) => {
                tokio::time::sleep(pause).await;
                false
            }
            Err(_) => false,
        }
    }

    async fn propose_here(
        &self,
        request: RequestId,
        command: Command,
        asked_by: &AskedBy,
    ) -> Result<Attempt, ProposeError> {
        if self.leads()
            && let Err(no_room) = self.has_room_for(&command)
        {
            return Ok(Attempt::NoRoom(no_room));
        }
        let asked_by = tells_asker(&self.view().state, &command).then(|| asked_by.clone());
        let proposal = Proposal { request, time: self.clock.now(), asked_by, command }.encode()?;
        Ok(match tokio::time::timeout(ATTEMPT, self.raft.client_write(proposal)).await {
            Ok(Ok(response)) => Attempt::Answered(Box::new(response.data)),
            Ok(Err(RaftError::Fatal(fatal))) => return Err(ProposeError::Stopped(fatal.to_string())),
            // Refused before it came into the log.
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Attempt::Again { leader: forward.leader_id, unknown: None }
            }
            // It was in the log when another node became leader; whether that one has it is not known.
            Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(forward)))) => {
                Attempt::Again { leader: forward.leader_id, unknown: Some("the leader changed".to_owned()) }
            }
            Ok(Err(RaftError::APIError(error))) => Attempt::unknown(error.to_string()),
            Err(_) => Attempt::unknown("no quorum confirmed it in time"),
        })
    }

    async fn no_leader(&self) -> ProposeError {
        let voters = self.voters();
        let mut reachable = usize::from(voters.contains(&self.node));
        let states = self.ask_node_states(voters.iter().copied().filter(|id| *id != self.node)).await;
        reachable += states.values().filter(|state| state.is_some()).count();
        ProposeError::NoLeader {
            voters_reachable: reachable,
            voters: voters.len(),
            needed: voters.len() / 2 + 1,
        }
    }
}
