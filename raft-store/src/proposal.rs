//! What is proposed to the group, and what comes back.
//!
//! ```text
//! Proposal { request, time, command } ── log ──> apply ──> Answer { revision, result }
//! ```

use std::fmt;

use quorate_license::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    codec::{self, CodecError},
    command::{Command, Outcome},
    raft_types::EncodedProposal,
    refusal::Refusal,
};

/// Names one request, so that a repeated one is applied once and answered twice. Random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u128);

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({:032x})", self.0)
    }
}

/// A command on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Who asks; a repeated id gets the first answer.
    pub request: RequestId,
    /// The proposing leader's clock: apply never reads one.
    pub time: Timestamp,
    /// What to do.
    pub command: Command,
}

impl Proposal {
    /// The proposal in the encoding that disk and wire share.
    ///
    /// # Errors
    /// [`CodecError::Unencodable`], which no command gives.
    pub fn encode(&self) -> Result<EncodedProposal, CodecError> {
        codec::encode(self).map(|record| EncodedProposal(record.into()))
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
