//! Changes on their way to another node: one stream for each, shared by all callers of this agent.
//!
//! ```text
//! callers ── queue ──> stream of batches ───> leader        what waits is one message
//!    ^                                          │
//!    └────── by number <── batches of answers <─┘
//! ```
//!
//! A lane is opened when somebody asks for it. It ends when its stream breaks, when another node has
//! become leader, or when nobody needs it; whoever waits on it is told at once. What was never sent
//! was not made; of the rest nobody knows, and the caller repeats it under its request id.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use quorate_license::NodeId;
use quorate_proto::node::v1::{
    AskAgain, NoRoom as NoRoomMessage, Proposal, ProposalAnswer, ProposeBatch,
    cluster_service_client::ClusterServiceClient, proposal_answer,
};
use quorate_raft_store::{Answer, RequestId, Views, codec};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, codegen::Bytes};

use super::{
    chunks::{Bounds, chunks},
    leader::LeaderWatch,
    room::NoRoom,
};
use crate::{
    api::addressed,
    net::{Peers, Use},
};

/// Changes that wait for a lane before their callers are held back.
const QUEUE: usize = 1024;
/// Changes in one message.
pub(super) const BATCH: Bounds = Bounds { items: 512, bytes: 256 << 10 };
/// What a proposal takes beside its command.
const PROPOSAL_BYTES: usize = 48;
/// From so many unanswered changes on, those whose callers have gone are forgotten.
const MANY_UNANSWERED: usize = 8192;
/// An unused lane to a node that does not lead is closed after once or twice this time.
const IDLE: Duration = Duration::from_secs(30);

/// What one attempt to make a change gave.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It was decided.
    Answered(Box<Answer>),
    /// Try again, at `leader` if it is known. If the change may have been made all the same, `unknown`
    /// says what happened.
    Again {
        /// Who leads.
        leader: Option<NodeId>,
        /// What happened.
        unknown: Option<String>,
    },
    /// The other node will never take it; why.
    Refused(String),
    /// The leader's disk is almost full.
    NoRoom(NoRoom),
}

impl Attempt {
    /// Nothing was sent.
    pub(super) const NOT_SENT: Attempt = Attempt::Again { leader: None, unknown: None };

    /// Whether it was made is not known.
    pub(super) fn unknown(what: impl Into<String>) -> Attempt {
        Attempt::Again { leader: None, unknown: Some(what.into()) }
    }
}

/// What lanes are made with.
pub(super) struct LaneOptions {
    /// This node.
    pub(super) node: NodeId,
    /// The channels.
    pub(super) peers: Arc<Peers>,
    /// The state, for the cluster's id.
    pub(super) views: Arc<Views>,
    /// Who leads.
    pub(super) leader: LeaderWatch,
    /// Owns the lanes' tasks.
    pub(super) tracker: TaskTracker,
    /// Ends them.
    pub(super) stop: CancellationToken,
}

/// The lanes of this node.
pub(super) struct Lanes {
    options: LaneOptions,
    open: Mutex<HashMap<NodeId, mpsc::Sender<Waiting>>>,
}

/// A change that waits to be sent.
struct Waiting {
    request: RequestId,
    command: Bytes,
    asked_by: Bytes,
    done: oneshot::Sender<Attempt>,
}

impl Lanes {
    /// No lanes yet.
    pub(super) fn new(options: LaneOptions) -> Arc<Self> {
        Arc::new(Lanes { options, open: Mutex::default() })
    }

    /// Brings a change, and who asked for it, to `to` and waits for its answer, `limit` at most.
    pub(super) async fn ask(
        self: &Arc<Self>,
        to: NodeId,
        request: RequestId,
        [command, asked_by]: [Bytes; 2],
        limit: Duration,
    ) -> Attempt {
        let deadline = Instant::now() + limit;
        let lane = self.lane(to);
        let (done, answer) = oneshot::channel();
        match tokio::time::timeout_at(deadline, lane.send(Waiting { request, command, asked_by, done })).await
        {
            Ok(Ok(())) => {}
            // It has just ended, or it has been full all the time.
            Ok(Err(_)) | Err(_) => return Attempt::NOT_SENT,
        }
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(attempt)) => attempt,
            Ok(Err(_)) => Attempt::unknown(format!("the stream to node {to} broke")),
            Err(_) => Attempt::unknown(format!("node {to} did not answer in time")),
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<NodeId, mpsc::Sender<Waiting>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(self: &Arc<Self>, to: NodeId) -> mpsc::Sender<Waiting> {
        let mut open = self.open();
        if let Some(lane) = open.get(&to).filter(|lane| !lane.is_closed()) {
            return lane.clone();
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        open.insert(to, sender.clone());
        let lane = Lane { to, lanes: self.clone(), shared: Arc::new(Shared::new(receiver)), greeted: false };
        self.options.tracker.spawn(lane.run());
        sender
    }
}

/// What the two directions of a lane share.
struct Shared {
    queue: Mutex<mpsc::Receiver<Waiting>>,
    sent: Mutex<Sent>,
}

/// What was sent and has no answer.
#[derive(Default)]
struct Sent {
    ended: bool,
    last_number: u64,
    unanswered: HashMap<u64, oneshot::Sender<Attempt>>,
}

impl Shared {
    fn new(queue: mpsc::Receiver<Waiting>) -> Self {
        Shared { queue: Mutex::new(queue), sent: Mutex::default() }
    }

    fn queue(&self) -> MutexGuard<'_, mpsc::Receiver<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, as messages. Read by the connection itself: no task in between.
    fn batches(self: Arc<Self>) -> impl Stream<Item = ProposeBatch> {
        let taken = self.clone();
        let waiting = stream::poll_fn(move |cx| taken.queue().poll_recv(cx));
        let size = |waiting: &Waiting| waiting.command.len() + waiting.asked_by.len() + PROPOSAL_BYTES;
        chunks(waiting, BATCH, size).map(move |group| self.sent().batch(group))
    }

    /// Brings answers to their callers.
    fn answered(&self, answers: Vec<ProposalAnswer>) {
        let mut sent = self.sent();
        for answer in answers {
            if let Some(done) = sent.unanswered.remove(&answer.number) {
                // The caller may have gone away; the change stands all the same.
                drop(done.send(attempt(answer.result)));
            }
        }
    }
}

impl Sent {
    fn batch(&mut self, group: Vec<Waiting>) -> ProposeBatch {
        if self.unanswered.len() >= MANY_UNANSWERED {
            self.unanswered.retain(|_, done| !done.is_closed());
        }
        let mut proposals = Vec::with_capacity(group.len());
        for Waiting { request, command, asked_by, done } in group {
            if self.ended || done.is_closed() {
                continue;
            }
            self.last_number += 1;
            self.unanswered.insert(self.last_number, done);
            let request_id = request.0.to_be_bytes().to_vec().into();
            proposals.push(Proposal { number: self.last_number, request_id, command, asked_by });
        }
        ProposeBatch { proposals }
    }
}

fn attempt(result: Option<proposal_answer::Result>) -> Attempt {
    match result {
        Some(proposal_answer::Result::Answer(record)) => match codec::decode(&record) {
            Ok(answer) => Attempt::Answered(Box::new(answer)),
            Err(error) => Attempt::unknown(format!("the leader's answer can't be read: {error}")),
        },
        Some(proposal_answer::Result::Again(AskAgain { leader, unknown })) => Attempt::Again {
            leader: (leader != 0).then_some(NodeId(leader)),
            unknown: (!unknown.is_empty()).then_some(unknown),
        },
        Some(proposal_answer::Result::Refused(reason)) => Attempt::Refused(reason),
        Some(proposal_answer::Result::NoRoom(message)) => {
            let NoRoomMessage { node, free_bytes, needed_bytes } = message;
            Attempt::NoRoom(NoRoom { node, free_bytes, needed_bytes })
        }
        None => Attempt::unknown("the leader's answer is of a newer version"),
    }
}

/// One stream, from its opening to its end.
struct Lane {
    to: NodeId,
    lanes: Arc<Lanes>,
    shared: Arc<Shared>,
    /// The other node has taken the stream.
    greeted: bool,
}

impl Lane {
    async fn run(mut self) {
        let lanes = self.lanes.clone();
        let options = &lanes.options;
        let (to, leader) = (self.to, options.leader.clone());
        let reason = tokio::select! {
            reason = self.exchange() => reason,
            next = other_leader(leader, to) => format!("node {next} leads now"),
            () = options.stop.cancelled() => "this node stops".to_owned(),
        };
        if self.greeted {
            tracing::info!(node = %to, reason, "changes of this node no longer go to that node");
        } else {
            tracing::debug!(node = %to, reason, "a node does not take changes");
        }
        self.end();
    }

    /// Sends and receives until the stream ends; says why it did.
    async fn exchange(&mut self) -> String {
        let options = &self.lanes.options;
        let channel = match options.peers.channel(self.to, Use::Service) {
            Ok(channel) => channel,
            Err(error) => return error.to_string(),
        };
        let mut request = Request::new(self.shared.clone().batches());
        addressed(request.metadata_mut(), &options.views.current().state, options.node, self.to);
        let mut answers = match ClusterServiceClient::new(channel).propose_stream(request).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return status.message().to_owned(),
        };
        self.greeted = true;
        tracing::info!(node = %self.to, "changes of this node go to that node");
        let mut idle = tokio::time::interval(IDLE);
        let mut number_then = None;
        loop {
            tokio::select! {
                message = answers.message() => match message {
                    Ok(Some(batch)) => self.shared.answered(batch.answers),
                    Ok(None) => return "it has ended the stream".to_owned(),
                    Err(status) => return status.message().to_owned(),
                },
                _ = idle.tick() => {
                    let sent = self.shared.sent();
                    let unused = sent.unanswered.is_empty() && number_then == Some(sent.last_number);
                    if unused && options.leader.borrow().leader != Some(self.to) {
                        return "it was not used".to_owned();
                    }
                    number_then = Some(sent.last_number);
                }
            }
        }
    }

    /// Tells everybody who waits.
    fn end(self) {
        {
            let mut open = self.lanes.open();
            let mut queue = self.shared.queue();
            // From here on a new caller opens a new lane.
            queue.close();
            if open.get(&self.to).is_some_and(mpsc::Sender::is_closed) {
                open.remove(&self.to);
            }
        }
        let mut queue = self.shared.queue();
        while let Ok(waiting) = queue.try_recv() {
            drop(waiting.done.send(Attempt::NOT_SENT));
        }
        // Dropped without an answer: unknown.
        let mut sent = self.shared.sent();
        sent.ended = true;
        sent.unanswered.clear();
    }
}

/// Waits until another node than `to` has become leader.
async fn other_leader(mut leader: LeaderWatch, to: NodeId) -> NodeId {
    leader.mark_unchanged();
    loop {
        if leader.changed().await.is_err() {
            // Raft has ended; the node stops.
            std::future::pending::<()>().await;
        }
        if let Some(next) = leader.borrow_and_update().leader.filter(|next| *next != to) {
            return next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(request: u128) -> (Waiting, oneshot::Receiver<Attempt>) {
        let (done, answer) = oneshot::channel();
        let command = Bytes::from_static(b"command");
        (Waiting { request: RequestId(request), command, asked_by: Bytes::new(), done }, answer)
    }

    fn again(number: u64, leader: u64) -> ProposalAnswer {
        let result = proposal_answer::Result::Again(AskAgain { leader, unknown: String::new() });
        ProposalAnswer { number, result: Some(result) }
    }

    #[test]
    fn answers_find_their_callers_in_any_order_and_two_may_repeat_one_request() {
        let (_, queue) = mpsc::channel(1);
        let shared = Shared::new(queue);
        let (first, mut first_answer) = waiting(7);
        let (second, mut second_answer) = waiting(7);
        let batch = shared.sent().batch(vec![first, second]);
        let numbers: Vec<u64> = batch.proposals.iter().map(|proposal| proposal.number).collect();
        assert_eq!(batch.proposals[0].request_id, batch.proposals[1].request_id);
        shared.answered(vec![again(numbers[1], 2), again(numbers[0], 1), again(99, 9)]);
        for (answer, expected) in [(&mut first_answer, 1), (&mut second_answer, 2)] {
            let attempt = answer.try_recv().unwrap();
            let expected = Some(NodeId(expected));
            assert!(matches!(attempt, Attempt::Again { leader, unknown: None } if leader == expected));
        }
        assert!(shared.sent().unanswered.is_empty());
    }

    #[test]
    fn callers_that_have_gone_leave_nothing_behind() {
        let mut sent = Sent::default();
        let (gone, answer) = waiting(1);
        drop(answer);
        assert!(sent.batch(vec![gone]).proposals.is_empty(), "not even sent");
        let mut answers = Vec::new();
        for request in 0..MANY_UNANSWERED as u128 {
            let (waiting, answer) = waiting(request);
            sent.batch(vec![waiting]);
            answers.push(answer);
        }
        assert_eq!(sent.unanswered.len(), MANY_UNANSWERED);
        answers.truncate(10);
        let (waiting, _answer) = waiting(0);
        sent.batch(vec![waiting]);
        assert_eq!(sent.unanswered.len(), 11, "forgotten when there are many");
    }

    #[test]
    fn what_comes_after_the_end_is_told_at_once() {
        let mut sent = Sent { ended: true, ..Sent::default() };
        let (late, mut answer) = waiting(1);
        assert!(sent.batch(vec![late]).proposals.is_empty());
        assert!(matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    }
}
