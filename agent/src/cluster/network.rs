//! openraft's network: calls to the other nodes' `RaftService`.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, stream::BoxStream};
use openraft::{
    OptionalSend,
    alias::SnapshotOf,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    impls::EmptyNode,
    network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2},
    raft::{AppendEntriesResponse, TransferLeaderError},
};
use quorate_license::NodeId;
use quorate_proto::node::v1::{Frame, raft_service_client::RaftServiceClient};
use quorate_raft_store::{
    Views,
    codec::CodecError,
    disk::SnapshotFile,
    raft_types::{TypeConfig, Vote},
    wire,
};
use tokio::time::Instant;
use tonic::{Code, Request, Status, transport::Channel};

use super::{
    snapshot_transfer::{Pace, Sending},
    unanswered::Unanswered,
};
use crate::{
    api::addressed,
    metrics::Metrics,
    net::{Peers, Use, pauses},
};

type Rpc<T> = Result<T, RPCError<TypeConfig>>;
type AppendResults<'s> = BoxStream<'s, Rpc<wire::AppendResult>>;

/// The largest message that is taken: an append of some large entries.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Makes the clients of one node.
pub(super) struct NetworkFactory {
    node: NodeId,
    peers: Arc<Peers>,
    views: Arc<Views>,
    metrics: Arc<Metrics>,
    /// How fast snapshots are sent, to all nodes together.
    pace: Arc<Pace>,
}

impl NetworkFactory {
    pub(super) fn new(
        node: NodeId,
        peers: Arc<Peers>,
        views: Arc<Views>,
        metrics: Arc<Metrics>,
        pace: Pace,
    ) -> Self {
        NetworkFactory { node, peers, views, metrics, pace: Arc::new(pace) }
    }

    fn client(&self, target: NodeId, purpose: Use) -> PeerNetwork {
        let (peers, views, metrics) = (self.peers.clone(), self.views.clone(), self.metrics.clone());
        let (pace, hangs) = (self.pace.clone(), AtomicBool::new(false));
        PeerNetwork { node: self.node, target, purpose, peers, views, metrics, pace, hangs }
    }
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: NodeId, _node: &EmptyNode) -> PeerNetwork {
        self.client(target, Use::Append)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, _node: &EmptyNode) -> PeerNetwork {
        self.client(target, Use::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: NodeId, _node: &EmptyNode) -> PeerNetwork {
        self.client(target, Use::Snapshot)
    }
}

/// The way to one node, for one use.
pub(super) struct PeerNetwork {
    node: NodeId,
    target: NodeId,
    purpose: Use,
    peers: Arc<Peers>,
    views: Arc<Views>,
    metrics: Arc<Metrics>,
    /// How fast snapshots are sent, to all nodes together.
    pace: Arc<Pace>,
    /// Whether its appends were not answered in time.
    hangs: AtomicBool,
}

impl PeerNetwork {
    fn raft_client(&self) -> Rpc<RaftServiceClient<Channel>> {
        self.client_for(self.purpose)
    }

    /// openraft asks for votes, and hands over, with the client for appends: those calls must not wait
    /// behind entries.
    fn urgent_client(&self) -> Rpc<RaftServiceClient<Channel>> {
        self.client_for(Use::Heartbeat)
    }

    fn client_for(&self, purpose: Use) -> Rpc<RaftServiceClient<Channel>> {
        let channel = self.peers.channel(self.target, purpose).map_err(|error| unreachable(&error))?;
        Ok(RaftServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    /// A request that names cluster, epoch, sender and receiver.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        addressed(request.metadata_mut(), &self.views.current().state, self.node, self.target);
        request
    }

    /// The target's name, for metrics.
    fn target_name(&self) -> String {
        let view = self.views.current();
        let node = view.state.nodes().get(&self.target);
        node.map_or_else(|| self.target.to_string(), |node| node.name.to_string())
    }

    /// Counts a message that did not arrive: openraft backs off.
    fn failed(&self, status: &Status) -> RPCError<TypeConfig> {
        self.metrics.peer_sent_failures.with_label_values(&[&self.target_name()]).inc();
        if self.purpose == Use::Heartbeat {
            self.metrics.heartbeat_send_failures.inc();
        }
        unreachable(status)
    }

    /// The node takes appends and answers none: openraft backs off, and what is kept for it alone may go.
    fn takes_nothing(&self) -> RPCError<TypeConfig> {
        if !self.hangs.swap(true, Ordering::Relaxed) {
            let to = self.target_name();
            tracing::warn!(
                to,
                "a node has confirmed no entries for long, though it is connected; look at its disk"
            );
        }
        self.failed(&Status::deadline_exceeded("no append was answered in time"))
    }

    /// The node has answered an append.
    fn takes_entries(&self) {
        if self.hangs.swap(false, Ordering::Relaxed) {
            tracing::info!(to = self.target_name(), "a node confirms entries again");
        }
    }

    fn frame(&self, record: Result<Vec<u8>, CodecError>, deadline: Duration) -> Rpc<Request<Frame>> {
        let record = record.map_err(|error| network_error(&error))?.into();
        let mut request = self.request(Frame { record });
        request.set_timeout(deadline);
        Ok(request)
    }
}

/// Whether a receiver has refused a snapshot because of what came: what is sent may be damaged.
fn says_damaged(status: &Status) -> bool {
    matches!(status.code(), Code::Aborted | Code::InvalidArgument)
}

/// The node can't be reached: openraft backs off.
fn unreachable(error: &(impl std::error::Error + 'static)) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(error))
}

fn network_error(error: &(impl std::error::Error + 'static)) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(error))
}

impl RaftNetworkV2<TypeConfig> for PeerNetwork {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: wire::Append,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        let request = self.frame(wire::encode_append(&rpc), option.soft_ttl())?;
        let frame = self.raft_client()?.heartbeat(request).await.map_err(|status| self.failed(&status))?;
        let result = wire::decode_append_result(&frame.into_inner().record);
        result.map(Into::into).map_err(|error| network_error(&error))
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        _option: RPCOption,
    ) -> futures::future::BoxFuture<'s, Rpc<AppendResults<'s>>>
    where
        S: Stream<Item = wire::Append> + OptionalSend + Unpin + 'static,
    {
        // Appends go out as they come, and answers come back in order: one does not wait for the
        // other. A peer that is gone is noticed by the connection's keepalive, one that takes appends and
        // answers none by how long its answers are due.
        let this: &'s PeerNetwork = self;
        Box::pin(async move {
            // openraft waits out its backoff where the first request is taken: a call that failed
            // before that would be repeated at once, for ever.
            let Some(first) = input.next().await else {
                return Ok::<AppendResults<'s>, _>(futures::stream::empty().boxed());
            };
            let unanswered = Unanswered::new();
            let counted = unanswered.clone();
            let appends = futures::stream::once(std::future::ready(first)).chain(input);
            let frames = appends.filter_map(move |append| {
                let frame = wire::encode_append(&append).map(|record| Frame { record: record.into() });
                match &frame {
                    Ok(_) => counted.sent(),
                    Err(error) => tracing::error!(%error, "an append can't be encoded"),
                }
                std::future::ready(frame.ok())
            });
            let request = this.request(frames);
            let sent = Instant::now();
            let mut client = this.raft_client()?;
            let answers = tokio::select! {
                answers = client.append(request) => answers.map_err(|status| this.failed(&status))?,
                () = unanswered.clone().overdue() => return Err(this.takes_nothing()),
            };
            // A heartbeat is one message and one answer: its time is the round trip's.
            let mut round_trip = (this.purpose == Use::Heartbeat)
                .then(|| this.metrics.peer_round_trip.with_label_values(&[&this.target_name()]));
            let counted = unanswered.clone();
            let results = answers.into_inner().map(move |answer| {
                counted.answered();
                this.takes_entries();
                if let Some(round_trip) = round_trip.take() {
                    round_trip.observe(sent.elapsed().as_secs_f64());
                }
                let frame = answer.map_err(|status: Status| this.failed(&status))?;
                wire::decode_append_result(&frame.record).map_err(|error| network_error(&error))
            });
            Ok(unanswered.limit(results, || Err(this.takes_nothing())).boxed())
        })
    }

    async fn vote(&mut self, rpc: wire::VoteAsked, option: RPCOption) -> Rpc<wire::VoteGiven> {
        let request = self.frame(wire::encode_vote(&rpc), option.soft_ttl())?;
        let frame = self.urgent_client()?.vote(request).await.map_err(|status| self.failed(&status))?;
        wire::decode_vote_given(&frame.into_inner().record).map_err(|error| network_error(&error))
    }

    async fn pre_vote(&mut self, rpc: wire::VoteAsked, option: RPCOption) -> Rpc<wire::VoteGiven> {
        let request = self.frame(wire::encode_vote(&rpc), option.soft_ttl())?;
        let frame = self.urgent_client()?.pre_vote(request).await.map_err(|status| self.failed(&status))?;
        wire::decode_vote_given(&frame.into_inner().record).map_err(|error| network_error(&error))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        // Not used: a deadline for the whole would be wrong for a large one at a low rate.
        _option: RPCOption,
    ) -> Result<wire::SnapshotTaken, StreamingError<TypeConfig>> {
        // Held to the end: what follows the snapshot is kept until the receiver has installed it.
        let (name, sent, snapshot) = (self.target_name(), Instant::now(), snapshot.snapshot);
        let sending = Sending::begin(vote, snapshot.clone(), self.pace.clone(), name.clone());
        let (chunks, progress) = sending.await.map_err(|error| network_error(&error))?;
        let request = self.request(chunks);
        let mut client = self.raft_client()?;
        let answer = tokio::select! {
            closed = cancel => return Err(closed.into()),
            answer = client.install_snapshot(request) => answer,
            () = progress.stalled() => Err(Status::deadline_exceeded("no chunk of the snapshot was taken in time")),
        };
        if answer.as_ref().is_err_and(says_damaged) {
            // Away from Raft's path; if it is damaged, another one is offered at the next attempt.
            let suspect = snapshot.clone();
            let verified = tokio::task::spawn_blocking(move || suspect.verify()).await;
            if let Ok(Err(error)) = verified {
                tracing::error!(%error, "the snapshot that was sent is damaged");
            }
        }
        let answer = answer.map_err(|status| {
            // A node that can't even be reached is told of elsewhere.
            if progress.begun() {
                self.metrics.snapshot_send_failures.inc();
                tracing::warn!(to = name, reason = status.message(), "a snapshot was not taken");
            }
            self.failed(&status)
        })?;
        self.metrics.snapshot_send.observe(sent.elapsed().as_secs_f64());
        tracing::info!(to = name, milliseconds = sent.elapsed().as_millis(), "a snapshot was sent");
        wire::decode_snapshot_taken(&answer.into_inner().record).map_err(|error| network_error(&error).into())
    }

    async fn transfer_leader(
        &mut self,
        req: wire::HandOver,
        option: RPCOption,
    ) -> Rpc<Result<(), TransferLeaderError<TypeConfig>>> {
        let request = self.frame(wire::encode_hand_over(&req), option.soft_ttl())?;
        self.urgent_client()?.transfer_leader(request).await.map_err(|status| self.failed(&status))?;
        Ok(Ok(()))
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(pauses()))
    }
}
