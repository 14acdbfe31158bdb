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
use quorate_raft_store::{codec::CodecError, wire};
use tonic::{Request, Response, Status, Streaming};

use super::{Cluster, network::MAX_MESSAGE_BYTES, snapshot_transfer::Received};
use crate::api::{Asked, NodeCaller, NodeGate};

/// Serves `RaftService` for one node.
pub struct RaftReceiver {
    cluster: Arc<Cluster>,
    gate: NodeGate,
}

impl RaftReceiver {
    /// The service, ready for a listener. Who calls is looked at by the gate in front, before a message is read.
    pub fn service(cluster: Arc<Cluster>, gate: NodeGate) -> RaftServiceServer<Self> {
        RaftServiceServer::new(RaftReceiver { cluster, gate })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    async fn voter(&self, asked: Asked) -> Result<NodeCaller, Status> {
        let caller = self.gate.vetted(asked).await?;
        if caller.role == NodeRole::Management {
            Ok(caller)
        } else {
            Err(Status::permission_denied("a Spooler Controller can't take part in elections or replication"))
        }
    }
}

pub(super) fn wire_node(vote: quorate_raft_store::raft_types::Vote) -> quorate_license::NodeId {
    quorate_raft_store::records::VoteRecord::from(vote).node()
}

/// The certificate must name the node that the message comes from.
pub(super) fn check_sender(caller: NodeCaller, claimed: quorate_license::NodeId) -> Result<(), Status> {
    if caller.node == claimed {
        Ok(())
    } else {
        Err(Status::permission_denied(format!(
            "the certificate is node {}'s, the message claims to come from node {claimed}",
            caller.node
        )))
    }
}

pub(super) fn bad_message(error: CodecError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn fatal(error: impl std::fmt::Display) -> Status {
    Status::unavailable(error.to_string())
}

fn frame(record: Result<Vec<u8>, CodecError>) -> Result<Response<Frame>, Status> {
    let record = record.map_err(|error| Status::internal(error.to_string()))?;
    Ok(Response::new(Frame { record: record.into() }))
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
        let caller = self.voter(self.gate.asked(&request)).await?;
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
        let caller = self.voter(self.gate.asked(&request)).await?;
        let append = wire::decode_append(&request.into_inner().record).map_err(bad_message)?;
        check_sender(caller, wire_node(append.vote))?;
        self.cluster.hear();
        let previous = append.prev_log_id;
        let last = append.entries.last().map(|entry| entry.log_id).or(previous);
        let response = self.cluster.raft.append_entries(append).await.map_err(fatal)?;
        frame(wire::encode_append_result(&response.into_stream_result(previous, last)))
    }

    async fn vote(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let caller = self.voter(self.gate.asked(&request)).await?;
        let asked = wire::decode_vote(&request.into_inner().record).map_err(bad_message)?;
        check_sender(caller, wire_node(asked.vote))?;
        // It may have been away for a while, and its leader will want to call it.
        self.cluster.peers.heard_from(caller.node);
        let given = self.cluster.raft.vote(asked).await.map_err(fatal)?;
        frame(wire::encode_vote_given(&given))
    }

    async fn pre_vote(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let caller = self.voter(self.gate.asked(&request)).await?;
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
        let caller = self.voter(self.gate.asked(&request)).await?;
        let taken = match self.cluster.receive_snapshot(caller, request.into_inner()).await? {
            Received::Whole(offer, snapshot) => {
                let snapshot = Snapshot { meta: offer.meta, snapshot: *snapshot };
                self.cluster.raft.install_full_snapshot(offer.vote, snapshot).await.map_err(fatal)?
            }
            Received::Known => wire::SnapshotTaken { vote: self.cluster.leadership.borrow().vote },
        };
        frame(wire::encode_snapshot_taken(&taken))
    }

    async fn transfer_leader(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let caller = self.voter(self.gate.asked(&request)).await?;
        let hand_over = wire::decode_hand_over(&request.into_inner().record).map_err(bad_message)?;
        check_sender(caller, wire_node(*hand_over.from_leader()))?;
        match self.cluster.raft.handle_transfer_leader(hand_over).await.map_err(fatal)? {
            Ok(()) => Ok(Response::new(Frame::default())),
            Err(error) => Err(Status::failed_precondition(error.to_string())),
        }
    }
}
