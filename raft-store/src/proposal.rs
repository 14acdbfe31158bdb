//! What is proposed to the group, and what comes back.
//!
//! ```text
//! Proposal { request, time, asked_by, command } ── log ──> apply ──> Answer { revision, result }
//! ```

use std::fmt;

use quorate_license::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    audit::AskedBy,
    codec::{self, CodecError},
    command::{Command, Outcome},
    raft_types::EncodedProposal,
    refusal::Refusal,
};

/// The version of a proposal's record that tells who asked. Version 1, which does not, stays readable.
const WITH_ASKER: u8 = 2;

/// Names one request, so that a repeated one is applied once and answered twice. Random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u128);

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({:032x})", self.0)
    }
}

/// A command on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Which request it is; a repeated id gets the first answer.
    pub request: RequestId,
    /// The cluster's time as the proposing leader reckons it (its clock's, up to feature level 3): apply never reads
    /// a clock.
    pub time: Timestamp,
    /// Who asked for it, for the audit. None in entries from before feature level 3, and in proposals to a cluster
    /// that is not there yet: its older members could not read it.
    pub asked_by: Option<AskedBy>,
    /// What to do.
    pub command: Command,
}

impl Proposal {
    /// The feature level from which on a proposal may tell who asked.
    pub const ASKER_LEVEL: u32 = 3;

    /// The proposal in the encoding that disk and wire share.
    ///
    /// # Errors
    /// [`CodecError::Unencodable`], which no command gives.
    pub fn encode(&self) -> Result<EncodedProposal, CodecError> {
        let record = match &self.asked_by {
            None => codec::encode(&(self.request, self.time, &self.command)),
            Some(asked_by) => {
                codec::encode_as(WITH_ASKER, &(self.request, self.time, asked_by, &self.command))
            }
        };
        record.map(|record| EncodedProposal(record.into()))
    }

    /// Reads a proposal, of either version.
    ///
    /// # Errors
    /// [`CodecError`], if the bytes are none.
    pub fn decode(record: &[u8]) -> Result<Self, CodecError> {
        if record.first() == Some(&codec::VERSION) {
            let (request, time, command) = codec::decode(record)?;
            return Ok(Proposal { request, time, asked_by: None, command });
        }
        let (request, time, asked_by, command) = codec::decode_as(WITH_ASKER, record)?;
        Ok(Proposal { request, time, asked_by: Some(asked_by), command })
    }
}

/// A point in the cluster's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Revision {
    /// The epoch's number; 0 before the cluster is initialized.
    pub epoch: u32,
    /// The log index.
    pub index: u64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.index)
    }
}

/// What applying an entry gave. A refusal is data, the same on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Where in the history the request was decided.
    pub revision: Revision,
    /// What came of it.
    pub result: Result<Outcome, Refusal>,
}
