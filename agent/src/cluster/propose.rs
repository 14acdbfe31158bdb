//! Bringing a change to the leader, wherever it is, and its answer back.
//!
//! A request keeps its id over every repeat, and apply answers a repeated one as the first: so a
//! lost answer or a new leader in between never applies a change twice.

use std::{error::Error as _, io, time::Duration};

use openraft::errors::{ClientWriteError, RaftError};
use quorate_license::{NodeId, NodeRole};
use quorate_proto::node::v1::{ProposeRequest, cluster_service_client::ClusterServiceClient};
use quorate_raft_store::{Answer, Command, Proposal, RequestId, codec};
use tokio::time::Instant;
use tonic::{Code, Request, Status};

use super::Cluster;
use crate::{api::addressed, clock, net::Use};

/// How long a change may take, leader changes included.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long one attempt at the leader may take.
const ATTEMPT: Duration = Duration::from_secs(4);
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
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Randomness(String),
}

/// Why a change that another node brought has no answer here.
#[derive(Debug)]
pub enum NotHere {
    /// This node does not lead, and did nothing; who leads, if it knows.
    OtherLeader(Option<NodeId>),
    /// Whether the change was made is not known.
    Unknown(String),
}

/// What one attempt gave.
enum Attempt {
    Answered(Box<Answer>),
    /// Try again, at `leader` if it is known. If the change may have been made all the same, `unknown`
    /// says what happened.
    Again {
        leader: Option<NodeId>,
        unknown: Option<String>,
    },
}

impl Cluster {
    /// Makes a change, on whichever node leads, and returns its answer.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, command: Command) -> Result<Answer, ProposeError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| ProposeError::Randomness(error.to_string()))?;
        self.propose_request(RequestId(u128::from_le_bytes(id)), command).await
    }

    /// As [`Cluster::propose`], under the caller's request id.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose_request(
        &self,
        request: RequestId,
        command: Command,
    ) -> Result<Answer, ProposeError> {
        let _pending = self.pending.acquire().await.map_err(|_| ProposeError::Stopped("it ended".into()))?;
        self.metrics.proposals_pending.inc();
        let result = self.propose_until_answered(request, command).await;
        self.metrics.proposals_pending.dec();
        if result.is_err() {
            self.metrics.proposals_failed.inc();
        }
        result
    }

    async fn propose_until_answered(
        &self,
        request: RequestId,
        command: Command,
    ) -> Result<Answer, ProposeError> {
        let deadline = Instant::now() + DEADLINE;
        let mut pause = PAUSE_MIN;
        let mut hint = None;
        let mut round = 0;
        // What the last attempt met that a leader may have taken up.
        let mut unknown = None;
        loop {
            let leader = hint.take().or_else(|| self.live_leader());
            match leader {
                Some(leader) if leader == self.node => {
                    match self.propose_here(request, command.clone()).await? {
                        Attempt::Answered(answer) => return Ok(*answer),
                        Attempt::Again { leader, unknown: met } => {
                            (hint, unknown) = (leader, met.or(unknown))
                        }
                    }
                }
                Some(leader) => match self.propose_at(leader, request, &command).await? {
                    Attempt::Answered(answer) => {
                        self.catch_up(answer.revision.index, deadline).await;
                        return Ok(*answer);
                    }
                    Attempt::Again { leader, unknown: met } => (hint, unknown) = (leader, met.or(unknown)),
                },
                // Nobody is heard from: another Management Server may know who leads, above all if this
                // node's address has changed and the leader looks for it at the old one.
                None => {
                    if let Some(server) = self.other_server(round) {
                        match self.propose_at(server, request, &command).await? {
                            Attempt::Answered(answer) => {
                                self.catch_up(answer.revision.index, deadline).await;
                                return Ok(*answer);
                            }
                            Attempt::Again { leader, unknown: met } => {
                                (hint, unknown) =
                                    (leader.filter(|leader| *leader != self.node), met.or(unknown));
                            }
                        }
                    }
                    round += 1;
                }
            }
            if Instant::now() + pause >= deadline {
                return Err(match unknown {
                    Some(last) => ProposeError::Unknown { last },
                    None => self.no_leader().await,
                });
            }
            self.wait_for_leader(pause, hint).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
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

    /// Waits a moment, or less if a leader turns up where none was known.
    async fn wait_for_leader(&self, pause: Duration, hint: Option<NodeId>) {
        let mut metrics = self.raft_metrics();
        let known = metrics.now().current_leader;
        if hint.is_some() && hint != known {
            return;
        }
        let turned_up = metrics.wait_for(|now| now.current_leader.filter(|leader| Some(*leader) != known));
        let _ = tokio::time::timeout(pause, turned_up).await;
    }

    async fn propose_here(&self, request: RequestId, command: Command) -> Result<Attempt, ProposeError> {
        if !self.leads() {
            return Ok(Attempt::Again { leader: self.leader(), unknown: None });
        }
        let proposal = Proposal { request, time: clock::now(), command }.encode()?;
        match tokio::time::timeout(ATTEMPT, self.raft.client_write(proposal)).await {
            Ok(Ok(response)) => Ok(Attempt::Answered(Box::new(response.data))),
            Ok(Err(RaftError::Fatal(fatal))) => Err(ProposeError::Stopped(fatal.to_string())),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                // It led when it took the change up; whether its successor has it is not known.
                let unknown = Some("the leader changed".to_owned());
                Ok(Attempt::Again { leader: forward.leader_id, unknown })
            }
            Ok(Err(RaftError::APIError(error))) => {
                Ok(Attempt::Again { leader: None, unknown: Some(error.to_string()) })
            }
            Err(_) => {
                let unknown = Some("no quorum confirmed it in time".to_owned());
                Ok(Attempt::Again { leader: None, unknown })
            }
        }
    }

    /// Proposes here, for another node that took this one for the leader. One attempt.
    ///
    /// # Errors
    /// [`NotHere`].
    pub async fn propose_for(&self, request: RequestId, command: Command) -> Result<Answer, NotHere> {
        match self.propose_here(request, command).await {
            Ok(Attempt::Answered(answer)) => Ok(*answer),
            Ok(Attempt::Again { leader, unknown: None }) => Err(NotHere::OtherLeader(leader)),
            Ok(Attempt::Again { unknown: Some(reason), .. }) => Err(NotHere::Unknown(reason)),
            Err(error) => Err(NotHere::Unknown(error.to_string())),
        }
    }

    async fn propose_at(
        &self,
        leader: NodeId,
        request: RequestId,
        command: &Command,
    ) -> Result<Attempt, ProposeError> {
        let not_sent = Ok(Attempt::Again { leader: None, unknown: None });
        let Ok(channel) = self.peers.channel(leader, Use::Service) else { return not_sent };
        let mut message = Request::new(ProposeRequest {
            command: codec::encode(command)?.into(),
            request_id: request.0.to_be_bytes().to_vec().into(),
        });
        message.set_timeout(ATTEMPT);
        addressed(message.metadata_mut(), &self.view().state, self.node, leader);
        match ClusterServiceClient::new(channel).propose(message).await {
            Ok(response) => Ok(Attempt::Answered(Box::new(codec::decode(&response.into_inner().answer)?))),
            Err(status) if status.code() == Code::FailedPrecondition => {
                let leader = status
                    .metadata()
                    .get("quorate-leader")
                    .and_then(|value| value.to_str().ok())
                    .and_then(|text| text.parse().ok())
                    .map(NodeId);
                Ok(Attempt::Again { leader, unknown: None })
            }
            Err(status) if never_connected(&status) => not_sent,
            Err(status) => {
                let unknown = Some(format!("the leader, node {leader}: {}", status.message()));
                Ok(Attempt::Again { leader: None, unknown })
            }
        }
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

/// Whether a call failed before anything was sent: nobody listens there.
fn never_connected(status: &Status) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = status.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::AddrNotAvailable
            );
        }
        cause = error.source();
    }
    false
}
