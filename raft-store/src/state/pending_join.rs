//! Nodes that wait until an administrator accepts them.

use quorate_license::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::command::AdmitNode;

/// A node that has shown a token which needs an administrator's approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingJoin {
    /// What it has said of itself.
    pub joiner: AdmitNode,
    /// When it asked first.
    pub requested_at: Timestamp,
    /// What became of it.
    pub decision: JoinDecision,
}

/// What became of a request to join. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinDecision {
    /// Nobody has decided yet.
    Waiting,
    /// It is a member.
    Accepted {
        /// The id that it was given.
        node: NodeId,
        /// Who decided, in words.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// It is not let in.
    Refused {
        /// Who decided, in words.
        by: String,
        /// When.
        at: Timestamp,
    },
}

impl PendingJoin {
    /// Whether nobody has decided yet.
    pub fn is_waiting(&self) -> bool {
        self.decision == JoinDecision::Waiting
    }
}
