//! Rows of the audit: what was asked for, by whom, and what came of it, each tied to the one before.

use quorate_license::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    audit::{Actor, Face},
    proposal::Revision,
};

/// One change that somebody asked for. Names are those of that time: what they name may be gone since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Counts from 1, without a gap.
    pub number: u64,
    /// When, in the cluster's time.
    pub at: Timestamp,
    /// Where in the cluster's history.
    pub revision: Revision,
    /// Who asked.
    pub actor: Actor,
    /// Who asked, in words.
    pub who: String,
    /// The node that was asked.
    pub node: NodeId,
    /// Its name.
    pub node_name: String,
    /// The face that was asked.
    pub face: Face,
    /// Where the request came from, over TCP.
    pub address: Option<String>,
    /// The command's name.
    pub command: String,
    /// What it was about, without anything secret: names and values.
    pub particulars: Vec<(String, String)>,
    /// The refusal's code; none if it was done.
    pub refusal: Option<String>,
    /// SHA-256 over the hash of the record before and this record's fields; see [`crate::audit::hash`].
    pub hash: [u8; 32],
}

/// What the first record that is kept follows on: the last one that was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AuditAnchor {
    /// The last dropped record's number; 0 if none was.
    pub number: u64,
    /// Its hash; zeros if none was.
    pub hash: [u8; 32],
}
