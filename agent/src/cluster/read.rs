//! Linearizable reads from any node: by ReadIndex, never by a lease, and never without a deadline.

use std::time::Duration;

use openraft::{ReadPolicy, errors::RaftError};
use quorate_license::NodeId;
use quorate_proto::node::v1::{ReadIndexRequest, cluster_service_client::ClusterServiceClient};
use tokio::time::Instant;
use tonic::Request;

use super::Cluster;
use crate::{api::addressed, net::Use};

/// A linearizable read that takes longer is counted.
const SLOW: Duration = Duration::from_millis(500);

/// Why a read can't be linearizable now.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nobody is known to lead.
    #[error("no leader is known")]
    NoLeader,
    /// The node that was asked does not lead, or no quorum confirmed it.
    #[error("the leader is not confirmed: {0}")]
    NotConfirmed(String),
    /// No quorum answered within the deadline.
    #[error("no quorum answered in time")]
    NoQuorum,
    /// The leader did not answer.
    #[error("the leader, node {leader}, did not answer: {reason}")]
    LeaderSilent {
        /// Which one.
        leader: NodeId,
        /// The transport's reason.
        reason: String,
    },
    /// This node has not applied what the leader has committed within the deadline.
    #[error("this node is behind: it has applied entry {applied}, the leader has committed entry {index}")]
    Behind {
        /// What was applied here.
        applied: u64,
        /// What had to be.
        index: u64,
    },
}

impl Cluster {
    /// Waits until this node's view holds every change that was acknowledged anywhere before this
    /// call: asks the leader how far that is, which confirms with a quorum that it leads, and waits
    /// until as much is applied here. Gives that log index. Works on every node.
    ///
    /// # Errors
    /// [`ReadError`], after `deadline` at the latest.
    pub async fn read_index(&self, deadline: Duration) -> Result<u64, ReadError> {
        let asked = Instant::now();
        let read = self.confirmed_index(deadline).await;
        if read.is_err() {
            self.metrics.read_indexes_failed.inc();
        }
        if asked.elapsed() > SLOW {
            self.metrics.slow_read_indexes.inc();
        }
        read
    }

    async fn confirmed_index(&self, deadline: Duration) -> Result<u64, ReadError> {
        let until = Instant::now() + deadline;
        let leader = self.leader().ok_or(ReadError::NoLeader)?;
        let index = if leader == self.node {
            self.own_read_index(deadline).await?
        } else {
            self.leaders_read_index(leader, deadline).await?
        };
        let mut applied = self.views.subscribe();
        match tokio::time::timeout_at(until, applied.wait_for(|applied| *applied >= index)).await {
            Ok(_) => Ok(index),
            Err(_) => Err(ReadError::Behind { applied: self.view().applied_index(), index }),
        }
    }

    /// Confirms with a quorum that this node leads, and gives the index up to which the log must be
    /// applied for a linearizable read. It does not wait until it is.
    ///
    /// # Errors
    /// [`ReadError::NotConfirmed`] if this node does not lead, [`ReadError::NoQuorum`] after
    /// `deadline`.
    pub async fn own_read_index(&self, deadline: Duration) -> Result<u64, ReadError> {
        match tokio::time::timeout(deadline, self.raft.get_read_linearizer(ReadPolicy::ReadIndex)).await {
            Ok(Ok(linearizer)) => Ok(linearizer.read_log_id().log_id().index()),
            Ok(Err(RaftError::APIError(error))) => Err(ReadError::NotConfirmed(error.to_string())),
            Ok(Err(error)) => Err(ReadError::NotConfirmed(error.to_string())),
            Err(_) => Err(ReadError::NoQuorum),
        }
    }

    async fn leaders_read_index(&self, leader: NodeId, deadline: Duration) -> Result<u64, ReadError> {
        let silent = |reason: String| ReadError::LeaderSilent { leader, reason };
        let channel = self.peers.channel(leader, Use::Service).map_err(|error| silent(error.to_string()))?;
        let mut request = Request::new(ReadIndexRequest {});
        request.set_timeout(deadline);
        addressed(request.metadata_mut(), &self.view().state, self.node, leader);
        let mut client = ClusterServiceClient::new(channel);
        let answer = match tokio::time::timeout(deadline, client.read_index(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return Err(silent(status.message().to_owned())),
            Err(_) => return Err(silent("no answer in time".to_owned())),
        };
        if answer.confirmed { Ok(answer.index) } else { Err(ReadError::NotConfirmed(answer.reason)) }
    }
}
