//! openraft's generic types, spelled out once. Nobody else in the workspace names its parameters.

use std::fmt;

use bytes::Bytes;
use openraft::impls::{EmptyNode, leader_id_std};
use quorate_license::NodeId;

use crate::proposal::Answer;

openraft::declare_raft_types!(
    /// How this project uses openraft.
    ///
    /// Membership holds ids only: addresses are in the replicated state and may change without a
    /// change of membership. The standard leader id gives one leader a term.
    pub TypeConfig:
        D = EncodedProposal,
        R = Answer,
        NodeId = NodeId,
        Node = EmptyNode,
        LeaderId = leader_id_std::LeaderId<u64, NodeId>,
);

/// A [`Proposal`](crate::Proposal) in the encoding that disk and wire share: encoded once, where it
/// is proposed, and decoded once, where it is applied.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedProposal(pub Bytes);

impl fmt::Debug for EncodedProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedProposal({} bytes)", self.0.len())
    }
}

impl fmt::Display for EncodedProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Term and index of a log entry.
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
/// A vote: term, candidate, and whether a quorum granted it.
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
/// One log entry.
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
/// What a log entry holds.
pub type EntryPayload = openraft::alias::EntryPayloadOf<TypeConfig>;
/// The voters and learners.
pub type Membership = openraft::Membership<NodeId, EmptyNode>;
/// The membership and the log id that set it.
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
/// First and last id of the log.
pub type LogState = openraft::storage::LogState<TypeConfig>;
/// The callback that reports a finished append.
pub type IoFlushed = openraft::storage::IOFlushed<TypeConfig>;
/// Metrics of the Raft core, its own view of the group.
pub type RaftMetrics = openraft::RaftMetrics<TypeConfig>;

/// Makes a log id.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}
