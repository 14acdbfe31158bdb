//! What Raft writes to disk and sends: entries, votes, memberships, messages.

use std::collections::BTreeSet;

use openraft::raft::StreamAppendError;
use quorate_raft_store::{
    Command, Proposal, RequestId,
    codec::{self, CodecError},
    command::Tick,
    raft_types::{
        EncodedProposal, Entry, EntryPayload, Membership, SnapshotMeta, StoredMembership, Vote, log_id,
    },
    records::{EntryRecord, LogIdRecord, SnapshotMetaRecord, StoredMembershipRecord, VoteRecord},
    wire::{self, Append, HandOver, SnapshotHeader, SnapshotOffer, SnapshotTaken, VoteAsked, VoteGiven},
};

use super::{Reread, Specimen, specimen};
use crate::sample;

fn memberships() -> [(&'static str, Membership); 2] {
    let voters = |ids: &[u8]| ids.iter().map(|index| sample::node_id(*index)).collect::<BTreeSet<_>>();
    let nodes = voters(&[1, 2, 3, 4]);
    [
        ("uniform", Membership::new_with_defaults(vec![voters(&[1, 2, 3])], nodes.clone())),
        ("joint", Membership::new_with_defaults(vec![voters(&[1, 2]), voters(&[1, 2, 3])], nodes)),
    ]
}

/// One entry of each kind.
fn entries() -> Vec<(&'static str, Entry)> {
    let command = Command::Tick(Tick {});
    let proposal = Proposal { request: RequestId(9), time: sample::start(), asked_by: None, command };
    let [uniform, joint] = memberships();
    [
        ("blank", EntryPayload::Blank),
        ("proposal", EntryPayload::Normal(proposal.encode().unwrap())),
        ("empty_proposal", EntryPayload::Normal(EncodedProposal(Vec::new().into()))),
        (uniform.0, EntryPayload::Membership(uniform.1)),
        (joint.0, EntryPayload::Membership(joint.1)),
    ]
    .into_iter()
    .zip(70_000..)
    .map(|((name, payload), index)| (name, Entry { log_id: log_id(3, index), payload }))
    .collect()
}

fn reread_entry(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    codec::encode(&EntryRecord::from(&Entry::from(codec::decode::<EntryRecord>(bytes)?)))
}

fn reread_vote(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    codec::encode(&VoteRecord::from(Vote::from(codec::decode::<VoteRecord>(bytes)?)))
}

fn reread_stored_membership(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    let stored = StoredMembership::from(codec::decode::<StoredMembershipRecord>(bytes)?);
    codec::encode(&StoredMembershipRecord::from(&stored))
}

fn reread_snapshot_meta(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    let meta = SnapshotMeta::from(codec::decode::<SnapshotMetaRecord>(bytes)?);
    codec::encode(&SnapshotMetaRecord::from(&meta))
}

fn snapshot_meta() -> SnapshotMeta {
    let [_, (_, joint)] = memberships();
    let last_membership = StoredMembership::new(Some(log_id(3, 70)), joint);
    SnapshotMeta { last_log_id: Some(log_id(3, 71)), last_membership }
}

/// What Raft's part of the disk holds.
pub(super) fn records() -> Vec<Specimen> {
    let bytes = |record: &dyn Fn() -> Result<Vec<u8>, CodecError>| record().unwrap();
    let mut records: Vec<Specimen> = entries()
        .into_iter()
        .map(|(name, entry)| Specimen {
            name: format!("record/entry.{name}"),
            bytes: bytes(&|| codec::encode(&EntryRecord::from(&entry))),
            reread: reread_entry,
        })
        .collect();
    let (vote, committed) = (Vote::new(7, sample::node_id(2)), Vote::new_committed(7, sample::node_id(2)));
    for (name, vote) in [("vote", vote), ("vote.committed", committed)] {
        let bytes = bytes(&|| codec::encode(&VoteRecord::from(vote)));
        records.push(Specimen { name: format!("record/{name}"), bytes, reread: reread_vote });
    }
    let id = LogIdRecord::from(log_id(3, 70_000));
    records.push(specimen("record/log_id".to_owned(), &id));
    records.push(specimen("record/log_id.some".to_owned(), &Some(id)));
    records.push(specimen("record/log_id.none".to_owned(), &None::<LogIdRecord>));
    for (name, stored) in [("none", StoredMembership::default()), ("joint", snapshot_meta().last_membership)]
    {
        let bytes = bytes(&|| codec::encode(&StoredMembershipRecord::from(&stored)));
        let name = format!("record/membership.{name}");
        records.push(Specimen { name, bytes, reread: reread_stored_membership });
    }
    for (name, meta) in [("none", SnapshotMeta::default()), ("some", snapshot_meta())] {
        let bytes = bytes(&|| codec::encode(&SnapshotMetaRecord::from(&meta)));
        let name = format!("record/snapshot_meta.{name}");
        records.push(Specimen { name, bytes, reread: reread_snapshot_meta });
    }
    records
}

/// What nodes say to each other.
pub(super) fn messages() -> Vec<Specimen> {
    let vote = Vote::new_committed(7, sample::node_id(1));
    let append = Append {
        vote,
        prev_log_id: Some(log_id(2, 69_999)),
        leader_commit: Some(log_id(2, 60_000)),
        entries: entries().into_iter().map(|(_, entry)| entry).collect(),
    };
    let heartbeat = Append { vote, prev_log_id: None, leader_commit: None, entries: Vec::new() };
    let asked = VoteAsked::new(Vote::new(8, sample::node_id(2)), Some(log_id(3, 70_000)));
    let mut handed_over = asked.clone();
    handed_over.leadership_transfer = true;
    let given = VoteGiven::new(Vote::new(8, sample::node_id(2)), None, true);
    let hand_over = HandOver::new(vote, sample::node_id(2), Some(log_id(3, 70_000)));
    let taken = SnapshotTaken::new(vote);

    let append_again: Reread = |bytes| wire::encode_append(&wire::decode_append(bytes)?);
    let result_again: Reread = |bytes| wire::encode_append_result(&wire::decode_append_result(bytes)?);
    let vote_again: Reread = |bytes| wire::encode_vote(&wire::decode_vote(bytes)?);
    let given_again: Reread = |bytes| wire::encode_vote_given(&wire::decode_vote_given(bytes)?);
    let hand_over_again: Reread = |bytes| wire::encode_hand_over(&wire::decode_hand_over(bytes)?);
    let taken_again: Reread = |bytes| wire::encode_snapshot_taken(&wire::decode_snapshot_taken(bytes)?);
    let header_again: Reread = |bytes| {
        let header: SnapshotHeader = codec::decode(bytes)?;
        codec::encode(&SnapshotHeader::new(header.vote(), &header.meta(), header.bytes))
    };
    let offer = SnapshotOffer { vote, meta: snapshot_meta(), format: 1, bytes: 1 << 20, checksum: [7; 32] };
    let offer_again: Reread = |bytes| wire::encode_snapshot_offer(&wire::decode_snapshot_offer(bytes)?);
    let conflict = Err(StreamAppendError::Conflict(log_id(2, 69_999)));
    let higher = Err(StreamAppendError::HigherVote(Vote::new(9, sample::node_id(3))));
    [
        ("append", wire::encode_append(&append), append_again),
        ("append.heartbeat", wire::encode_append(&heartbeat), append_again),
        ("append_result.appended", wire::encode_append_result(&Ok(Some(log_id(3, 70_000)))), result_again),
        ("append_result.conflict", wire::encode_append_result(&conflict), result_again),
        ("append_result.higher_vote", wire::encode_append_result(&higher), result_again),
        ("vote", wire::encode_vote(&asked), vote_again),
        ("vote.handed_over", wire::encode_vote(&handed_over), vote_again),
        ("vote_given", wire::encode_vote_given(&given), given_again),
        ("hand_over", wire::encode_hand_over(&hand_over), hand_over_again),
        ("snapshot_taken", wire::encode_snapshot_taken(&taken), taken_again),
        ("snapshot", codec::encode(&SnapshotHeader::new(vote, &snapshot_meta(), 1 << 20)), header_again),
        ("snapshot_offer", wire::encode_snapshot_offer(&offer), offer_again),
    ]
    .into_iter()
    .map(|(name, bytes, reread)| Specimen { name: format!("wire/{name}"), bytes: bytes.unwrap(), reread })
    .collect()
}
