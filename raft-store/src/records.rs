//! How openraft's types are written to disk and wire.
//!
//! openraft promises nothing about the serde form of its types, so each has a record of ours, and
//! the conversions are here alone.

use std::collections::BTreeSet;

use bytes::Bytes;
use openraft::{impls::EmptyNode, vote::RaftLeaderId as _};
use quorate_license::NodeId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::raft_types::{
    EncodedProposal, Entry, EntryPayload, LogId, Membership, SnapshotMeta, StoredMembership, Vote, log_id,
};

/// Bytes that are written as one run with their length, and read without copying each one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Bytes);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Blob;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Bytes::copy_from_slice(bytes)))
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes.into()))
            }
        }

        deserializer.deserialize_byte_buf(Visitor)
    }
}

/// A [`LogId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogIdRecord {
    term: u64,
    index: u64,
}

impl From<LogId> for LogIdRecord {
    fn from(id: LogId) -> Self {
        LogIdRecord { term: id.committed_leader_id().term, index: id.index() }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(record: LogIdRecord) -> Self {
        log_id(record.term, record.index)
    }
}

/// A [`Vote`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteRecord {
    term: u64,
    node: NodeId,
    committed: bool,
}

impl VoteRecord {
    /// The candidate or leader that the vote names.
    pub fn node(&self) -> NodeId {
        self.node
    }
}

impl From<Vote> for VoteRecord {
    fn from(vote: Vote) -> Self {
        VoteRecord {
            term: vote.leader_id().term(),
            node: *vote.leader_id().node_id(),
            committed: vote.is_committed(),
        }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Self {
        if record.committed {
            Vote::new_committed(record.term, record.node)
        } else {
            Vote::new(record.term, record.node)
        }
    }
}

/// A [`Membership`]: one configuration, or two while they are joint, and all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipRecord {
    configurations: Vec<BTreeSet<NodeId>>,
    nodes: BTreeSet<NodeId>,
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        MembershipRecord {
            configurations: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, _)| *id).collect(),
        }
    }
}

impl From<MembershipRecord> for Membership {
    fn from(record: MembershipRecord) -> Self {
        let nodes = record.nodes.into_iter().map(|id| (id, EmptyNode::default()));
        Membership::new_with_defaults(record.configurations, nodes.map(|(id, _)| id).collect::<BTreeSet<_>>())
    }
}

/// A [`StoredMembership`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMembershipRecord {
    log_id: Option<LogIdRecord>,
    membership: MembershipRecord,
}

impl From<&StoredMembership> for StoredMembershipRecord {
    fn from(stored: &StoredMembership) -> Self {
        StoredMembershipRecord {
            log_id: stored.log_id().map(LogIdRecord::from),
            membership: stored.membership().into(),
        }
    }
}

impl From<StoredMembershipRecord> for StoredMembership {
    fn from(record: StoredMembershipRecord) -> Self {
        StoredMembership::new(record.log_id.map(LogId::from), record.membership.into())
    }
}

/// A [`SnapshotMeta`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMetaRecord {
    last_log_id: Option<LogIdRecord>,
    last_membership: StoredMembershipRecord,
}

impl From<&SnapshotMeta> for SnapshotMetaRecord {
    fn from(meta: &SnapshotMeta) -> Self {
        SnapshotMetaRecord {
            last_log_id: meta.last_log_id.map(LogIdRecord::from),
            last_membership: (&meta.last_membership).into(),
        }
    }
}

impl From<SnapshotMetaRecord> for SnapshotMeta {
    fn from(record: SnapshotMetaRecord) -> Self {
        SnapshotMeta {
            last_log_id: record.last_log_id.map(LogId::from),
            last_membership: record.last_membership.into(),
        }
    }
}

/// What a log entry holds. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PayloadRecord {
    /// Nothing: a new leader's first entry.
    Blank,
    /// An encoded proposal.
    Proposal(Blob),
    /// A change of membership.
    Membership(MembershipRecord),
}

/// An [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecord {
    log_id: LogIdRecord,
    payload: PayloadRecord,
}

impl EntryRecord {
    /// Term and index of the entry.
    pub fn log_id(&self) -> LogIdRecord {
        self.log_id
    }
}

impl From<&Entry> for EntryRecord {
    fn from(entry: &Entry) -> Self {
        EntryRecord {
            log_id: entry.log_id.into(),
            payload: match &entry.payload {
                EntryPayload::Blank => PayloadRecord::Blank,
                EntryPayload::Normal(proposal) => PayloadRecord::Proposal(Blob(proposal.0.clone())),
                EntryPayload::Membership(membership) => PayloadRecord::Membership(membership.into()),
            },
        }
    }
}

impl From<EntryRecord> for Entry {
    fn from(record: EntryRecord) -> Self {
        Entry {
            log_id: record.log_id.into(),
            payload: match record.payload {
                PayloadRecord::Blank => EntryPayload::Blank,
                PayloadRecord::Proposal(blob) => EntryPayload::Normal(EncodedProposal(blob.0)),
                PayloadRecord::Membership(membership) => EntryPayload::Membership(membership.into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn every_record_comes_back_as_it_was() {
        let vote = Vote::new_committed(7, NodeId(3));
        let record: VoteRecord = codec::decode(&codec::encode(&VoteRecord::from(vote)).unwrap()).unwrap();
        assert_eq!(Vote::from(record), vote);

        let voters = BTreeSet::from([NodeId(1), NodeId(2)]);
        let nodes = BTreeSet::from([NodeId(1), NodeId(2), NodeId(9)]);
        let membership = Membership::new_with_defaults(vec![voters], nodes);
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(EncodedProposal(Bytes::from_static(b"proposal"))),
            EntryPayload::Membership(membership),
        ] {
            let entry = Entry { log_id: log_id(2, 40), payload };
            let bytes = codec::encode(&EntryRecord::from(&entry)).unwrap();
            let back = Entry::from(codec::decode::<EntryRecord>(&bytes).unwrap());
            assert_eq!((back.log_id, back.payload), (entry.log_id, entry.payload));
        }
    }
}
