//! The receiving side of Raft between nodes: gRPC `RaftService`.
//!
//! Every call's certificate must name the node that the message claims to come from, of the same
//! cluster, and a Management Server: Spooler Controllers neither vote nor append.

use std::sync::Arc;

use futures::{Stream, StreamExt, stream::BoxStream};
use openraft::storage::Snapshot;
use quorate_license::NodeRole;
use quorate_proto::node::v1::{
    Frame, SnapshotChunk,
    raft_service_server::{RaftService, RaftServiceServer},
};
use quorate_raft_store::{codec, codec::CodecError, disk::SnapshotFile, wire};
use tokio::time::Instant;
use tonic::{
    Request, Response, Status, Streaming,
    service::{Interceptor, interceptor::InterceptedService},
};

use super::{Cluster, network::MAX_MESSAGE_BYTES};
use crate::api::{NodeCaller, NodeGate};

/// Serves `RaftService` for one node.
pub struct RaftReceiver {
    cluster: Arc<Cluster>,
    gate: NodeGate,
}

impl RaftReceiver {
    /// The service, ready for a listener.
    ///
    /// Who calls is looked at before a message is read, and again by every call.
    pub fn service(
        cluster: Arc<Cluster>,
        gate: NodeGate,
    ) -> InterceptedService<RaftServiceServer<Self>, impl Interceptor + Clone> {
        let service = RaftServiceServer::new(RaftReceiver { cluster, gate: gate.clone() })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        InterceptedService::new(service, move |request: Request<()>| gate.node(&request).map(|_| request))
    }

    fn voter<T>(&self, request: &Request<T>) -> Result<NodeCaller, Status> {
        let caller = self.gate.node(request)?;
        if caller.role == NodeRole::Management {
            Ok(caller)
        } else {
            Err(Status::permission_denied("a Spooler Controller can't take part in elections or replication"))
        }
    }

    /// Takes a snapshot in, chunk by chunk, into a file that is checked before Raft hears of it.
    async fn receive_snapshot(
        &self,
        mut chunks: Streaming<SnapshotChunk>,
        caller: NodeCaller,
    ) -> Result<(wire::SnapshotHeader, SnapshotFile), Status> {
        let first =
            chunks.message().await?.ok_or_else(|| Status::invalid_argument("the snapshot is empty"))?;
        let header: wire::SnapshotHeader = codec::decode(&first.header).map_err(bad_message)?;
        check_sender(caller, wire_node(header.vote()))?;
        let incoming = self.cluster.incoming.clone();
        let mut receiver = blocking(move || incoming.receive()).await?;
        let began = Instant::now();
        let mut received = 0u64;
        while let Some(chunk) = chunks.message().await? {
            received += chunk.data.len() as u64;
            if received > header.bytes {
                return Err(Status::invalid_argument("the snapshot is larger than announced"));
            }
            receiver = blocking(move || receiver.write(&chunk.data).map(|()| receiver)).await?;
        }
        if received != header.bytes {
            return Err(Status::invalid_argument("the snapshot is incomplete"));
        }
        let snapshot = blocking(move || receiver.finish()).await?;
        self.cluster.metrics.snapshot_receive.observe(began.elapsed().as_secs_f64());
        if *snapshot.meta() == header.meta() {
            Ok((header, snapshot))
        } else {
            Err(Status::invalid_argument("the snapshot is not the announced one"))
        }
    }
}

fn wire_node(vote: quorate_raft_store::raft_types::Vote) -> quorate_license::NodeId {
    quorate_raft_store::records::VoteRecord::from(vote).node()
}

/// The certificate must name the node that the message comes from.
fn check_sender(caller: NodeCaller, claimed: quorate_license::NodeId) -> Result<(), Status> {
    if caller.node == claimed {
        Ok(())
    } else {
        Err(Status::permission_denied(format!(
            "the certificate is node {}'s, the message claims to come from node {claimed}",
            caller.node
        )))
    }
}

fn bad_message(error: CodecError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn fatal(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

fn frame(record: Result<Vec<u8>, CodecError>) -> Result<Response<Frame>, Status> {
    let record = record.map_err(|error| Status::internal(error.to_string()))?;
    Ok(Response::new(Frame { record: record.into() }))
}

async fn blocking<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Status::aborted(error.to_string())),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

/// Decodes appends as they arrive; the first that is wrong ends the stream.
fn appends(
    frames: Streaming<Frame>,
    caller: NodeCaller,
    cluster: Arc<Cluster>,
) -> impl Stream<Item = wire::Append> {
    frames
        .map(move |frame| -> Result<wire::Append, Status> {
            let append = wire::decode_append(&frame?.record).map_err(bad_message)?;
            check_sender(caller, wire_node(append.vote))?;
            cluster.hear();
            Ok(append)
        })
        .take_while(|append| {
            if let Err(status) = append {
                tracing::debug!(%status, "an append stream ended");
            }
            std::future::ready(append.is_ok())
        })
        .filter_map(|append| std::future::ready(append.ok()))
}

#[tonic::async_trait]
impl RaftService for RaftReceiver {
    type AppendStream = BoxStream<'static, Result<Frame, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let caller = self.voter(&request)?;
        let results =
            self.cluster.raft.stream_append(appends(request.into_inner(), caller, self.cluster.clone()));
        let frames = results.map(|result| match result {
            Ok(result) => wire::encode_append_result(&result)
                .map(|record| Frame { record: record.into() })
                .map_err(|error| Status::internal(error.to_string())),
            Err(error) => Err(fatal(error)),
        });
        Ok(Response::new(frames.boxed()))
    }

    async fn heartbeat(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let caller = self.voter(&request)?;
        let append = wire::decode_append(&request.into_inner().record).map_err(bad_message)?;
        check_sender(caller, wire_node(append.vote))?;
        self.cluster.hear();
        let previous = append.prev_log_id;
        let last = append.entries.last().map(|entry| entry.log_id).or(previous);
        let response = self.cluster.raft.append_entries(append).await.map_err(fatal)?;
        frame(wire::encode_append_result(&response.into_stream_result(previous, last)))
    }

    async fn vote(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let caller = self.voter(&request)?;
        let asked = wire::decode_vote(&request.into_inner().record).map_err(bad_message)?;
        check_sender(caller, wire_node(asked.vote))?;
        // It may have been away for a while, and its leader will want to call it.
        self.cluster.peers.heard_from(caller.node);
        let given = self.cluster.raft.vote(asked).await.map_err(fatal)?;
        frame(wire::encode_vote_given(&given))
    }

    async fn pre_vote(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let caller = self.voter(&request)?;
        let asked = wire::decode_vote(&request.into_inner().record).map_err(bad_message)?;
        check_sender(caller, wire_node(asked.vote))?;
        // It may have been away for a while, and its leader will want to call it.
        self.cluster.peers.heard_from(caller.node);
        let given = self.cluster.raft.pre_vote(asked).await.map_err(fatal)?;
        frame(wire::encode_vote_given(&given))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<Frame>, Status> {
        let caller = self.voter(&request)?;
        let (header, snapshot) = self.receive_snapshot(request.into_inner(), caller).await?;
        let snapshot = Snapshot { meta: header.meta(), snapshot };
        let taken = self.cluster.raft.install_full_snapshot(header.vote(), snapshot).await.map_err(fatal)?;
        frame(wire::encode_snapshot_taken(&taken))
    }

    async fn transfer_leader(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let caller = self.voter(&request)?;
        let hand_over = wire::decode_hand_over(&request.into_inner().record).map_err(bad_message)?;
        check_sender(caller, wire_node(*hand_over.from_leader()))?;
        match self.cluster.raft.handle_transfer_leader(hand_over).await.map_err(fatal)? {
            Ok(()) => Ok(Response::new(Frame::default())),
            Err(error) => Err(Status::failed_precondition(error.to_string())),
        }
    }
}
