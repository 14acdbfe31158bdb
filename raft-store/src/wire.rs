//! Raft's messages between nodes, in the same encoding as on disk.

use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendError, TransferLeaderRequest, VoteRequest,
    VoteResponse,
};
use quorate_license::NodeId;
use serde::{Deserialize, Serialize};

use crate::{
    codec::{self, CodecError},
    raft_types::{LogId, SnapshotMeta, TypeConfig, Vote},
    records::{EntryRecord, LogIdRecord, SnapshotMetaRecord, VoteRecord},
};

/// Entries of the leader.
pub type Append = AppendEntriesRequest<TypeConfig>;
/// What a follower says to one [`Append`].
pub type AppendResult = Result<Option<LogId>, StreamAppendError<TypeConfig>>;
/// A candidate's request.
pub type VoteAsked = VoteRequest<TypeConfig>;
/// What a voter says.
pub type VoteGiven = VoteResponse<TypeConfig>;
/// A leader hands over.
pub type HandOver = TransferLeaderRequest<TypeConfig>;
/// What a receiver of a snapshot says.
pub type SnapshotTaken = SnapshotResponse<TypeConfig>;

#[derive(Serialize, Deserialize)]
struct AppendRecord {
    vote: VoteRecord,
    previous: Option<LogIdRecord>,
    committed: Option<LogIdRecord>,
    entries: Vec<EntryRecord>,
}

/// Encodes an append.
///
/// # Errors
/// [`CodecError::Unencodable`], which no message gives; here and below.
pub fn encode_append(append: &Append) -> Result<Vec<u8>, CodecError> {
    codec::encode(&AppendRecord {
        vote: append.vote.into(),
        previous: append.prev_log_id.map(LogIdRecord::from),
        committed: append.leader_commit.map(LogIdRecord::from),
        entries: append.entries.iter().map(EntryRecord::from).collect(),
    })
}

/// Decodes an append.
///
/// # Errors
/// [`CodecError`] if the bytes are no append; here and below for the other messages.
pub fn decode_append(bytes: &[u8]) -> Result<Append, CodecError> {
    let record: AppendRecord = codec::decode(bytes)?;
    Ok(Append {
        vote: record.vote.into(),
        prev_log_id: record.previous.map(LogId::from),
        leader_commit: record.committed.map(LogId::from),
        entries: record.entries.into_iter().map(Into::into).collect(),
    })
}

#[derive(Serialize, Deserialize)]
enum AppendResultRecord {
    Appended(Option<LogIdRecord>),
    Conflict(LogIdRecord),
    HigherVote(VoteRecord),
}

/// Encodes the answer to an append.
///
/// # Errors
/// See [`encode_append`].
pub fn encode_append_result(result: &AppendResult) -> Result<Vec<u8>, CodecError> {
    codec::encode(&match result {
        Ok(last) => AppendResultRecord::Appended(last.map(LogIdRecord::from)),
        Err(StreamAppendError::Conflict(id)) => AppendResultRecord::Conflict((*id).into()),
        Err(StreamAppendError::HigherVote(vote)) => AppendResultRecord::HigherVote((*vote).into()),
    })
}

/// Decodes the answer to an append.
///
/// # Errors
/// See [`decode_append`].
pub fn decode_append_result(bytes: &[u8]) -> Result<AppendResult, CodecError> {
    Ok(match codec::decode(bytes)? {
        AppendResultRecord::Appended(last) => Ok(last.map(LogId::from)),
        AppendResultRecord::Conflict(id) => Err(StreamAppendError::Conflict(id.into())),
        AppendResultRecord::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote.into())),
    })
}

#[derive(Serialize, Deserialize)]
struct VoteAskedRecord {
    vote: VoteRecord,
    last: Option<LogIdRecord>,
    hand_over: bool,
}

/// Encodes a candidate's request.
///
/// # Errors
/// See [`encode_append`].
pub fn encode_vote(asked: &VoteAsked) -> Result<Vec<u8>, CodecError> {
    codec::encode(&VoteAskedRecord {
        vote: asked.vote.into(),
        last: asked.last_log_id.map(LogIdRecord::from),
        hand_over: asked.leadership_transfer,
    })
}

/// Decodes a candidate's request.
///
/// # Errors
/// See [`decode_append`].
pub fn decode_vote(bytes: &[u8]) -> Result<VoteAsked, CodecError> {
    let record: VoteAskedRecord = codec::decode(bytes)?;
    let mut asked = VoteAsked::new(record.vote.into(), record.last.map(LogId::from));
    asked.leadership_transfer = record.hand_over;
    Ok(asked)
}

#[derive(Serialize, Deserialize)]
struct VoteGivenRecord {
    vote: VoteRecord,
    granted: bool,
    last: Option<LogIdRecord>,
}

/// Encodes a voter's answer.
///
/// # Errors
/// See [`encode_append`].
pub fn encode_vote_given(given: &VoteGiven) -> Result<Vec<u8>, CodecError> {
    codec::encode(&VoteGivenRecord {
        vote: given.vote.into(),
        granted: given.vote_granted,
        last: given.last_log_id.map(LogIdRecord::from),
    })
}

/// Decodes a voter's answer.
///
/// # Errors
/// See [`decode_append`].
pub fn decode_vote_given(bytes: &[u8]) -> Result<VoteGiven, CodecError> {
    let record: VoteGivenRecord = codec::decode(bytes)?;
    Ok(VoteGiven::new(Vote::from(record.vote), record.last.map(LogId::from), record.granted))
}

#[derive(Serialize, Deserialize)]
struct HandOverRecord {
    from: VoteRecord,
    to: NodeId,
    last: Option<LogIdRecord>,
}

/// Encodes a leader's handing over.
///
/// # Errors
/// See [`encode_append`].
pub fn encode_hand_over(request: &HandOver) -> Result<Vec<u8>, CodecError> {
    codec::encode(&HandOverRecord {
        from: (*request.from_leader()).into(),
        to: *request.to_node_id(),
        last: request.last_log_id().copied().map(LogIdRecord::from),
    })
}

/// Decodes a leader's handing over.
///
/// # Errors
/// See [`decode_append`].
pub fn decode_hand_over(bytes: &[u8]) -> Result<HandOver, CodecError> {
    let record: HandOverRecord = codec::decode(bytes)?;
    Ok(HandOver::new(record.from.into(), record.to, record.last.map(LogId::from)))
}

/// What came before a snapshot's bytes in the first version of the wire. [`SnapshotOffer`] has taken its
/// place; this one stays readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    vote: VoteRecord,
    meta: SnapshotMetaRecord,
    /// Size of the snapshot.
    pub bytes: u64,
}

impl SnapshotHeader {
    /// The header of a snapshot that the leader with this vote sends.
    pub fn new(vote: Vote, meta: &SnapshotMeta, bytes: u64) -> Self {
        SnapshotHeader { vote: vote.into(), meta: meta.into(), bytes }
    }

    /// The leader's vote.
    pub fn vote(&self) -> Vote {
        self.vote.into()
    }

    /// What the snapshot covers.
    pub fn meta(&self) -> SnapshotMeta {
        self.meta.clone().into()
    }
}

/// What comes before a snapshot's bytes: enough to refuse it before the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotOffer {
    /// The vote of the leader that sends it.
    pub vote: Vote,
    /// What the snapshot covers.
    pub meta: SnapshotMeta,
    /// The format of the file.
    pub format: u32,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the file without its last 32 bytes, which are this checksum.
    pub checksum: [u8; 32],
}

/// Append-only.
#[derive(Serialize, Deserialize)]
enum SnapshotOfferRecord {
    File { vote: VoteRecord, meta: SnapshotMetaRecord, format: u32, bytes: u64, checksum: [u8; 32] },
}

/// Encodes the offer of a snapshot.
///
/// # Errors
/// See [`encode_append`].
pub fn encode_snapshot_offer(offer: &SnapshotOffer) -> Result<Vec<u8>, CodecError> {
    codec::encode(&SnapshotOfferRecord::File {
        vote: offer.vote.into(),
        meta: (&offer.meta).into(),
        format: offer.format,
        bytes: offer.bytes,
        checksum: offer.checksum,
    })
}

/// Decodes the offer of a snapshot.
///
/// # Errors
/// See [`decode_append`].
pub fn decode_snapshot_offer(bytes: &[u8]) -> Result<SnapshotOffer, CodecError> {
    let SnapshotOfferRecord::File { vote, meta, format, bytes, checksum } = codec::decode(bytes)?;
    Ok(SnapshotOffer { vote: vote.into(), meta: meta.into(), format, bytes, checksum })
}

/// Encodes the answer to a snapshot: the receiver's vote.
///
/// # Errors
/// See [`encode_append`].
pub fn encode_snapshot_taken(taken: &SnapshotTaken) -> Result<Vec<u8>, CodecError> {
    codec::encode(&VoteRecord::from(taken.vote))
}

/// Decodes the answer to a snapshot.
///
/// # Errors
/// See [`decode_append`].
pub fn decode_snapshot_taken(bytes: &[u8]) -> Result<SnapshotTaken, CodecError> {
    let vote: VoteRecord = codec::decode(bytes)?;
    Ok(SnapshotTaken { vote: vote.into() })
}
