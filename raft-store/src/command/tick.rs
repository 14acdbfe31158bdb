//! Time passes.

use quorate_license::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Outcome, create_token};
use crate::{refusal::Refusal, state::State};

/// Carries the time into the log when nothing else does: while the voters' clocks can't be read, and up to feature
/// level 3. The proposal's own time is what counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {}

impl Tick {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        create_token::forget_outdated(state, now);
        Ok(Outcome::Ticked { time: now })
    }
}
