//! Remembered answers: a request that is repeated after a timeout is applied once.

use quorate_license::Timestamp;
use serde::{Deserialize, Serialize};

use crate::proposal::Answer;

/// How long an answer is remembered, in milliseconds: longer than any caller repeats a request.
pub(crate) const RETENTION_MS: i64 = 120_000;

/// The answers of this many entries are remembered even longer. So a leader whose clock is ahead, and
/// with it the cluster's time, makes no answer be forgotten that somebody still waits for.
pub(crate) const MIN_ENTRIES: u64 = 16_384;

/// How many answers are remembered at most; the oldest are forgotten first.
pub(crate) const MAX_REQUESTS: usize = 200_000;

/// Forgotten per applied entry at most, so that no entry pays for many.
pub(crate) const FORGET_AT_ONCE: usize = 4;

/// A request that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredRequest {
    /// The answer that it got.
    pub answer: Answer,
    /// When it was applied, in the cluster's time.
    pub at: Timestamp,
}
