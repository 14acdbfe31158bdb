//! An administrator confirms that so much time has passed.

use quorate_license::Timestamp;
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{AgreedTime, State},
};

/// Lets the jump count that is held: the cluster's time becomes what the voters' clocks say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmTime {
    /// Which jump: since when it has been held, by the cluster's time.
    pub since: Timestamp,
    /// Who confirms it, in words.
    pub requested_by: String,
}

impl ConfirmTime {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let agreed = state.agreed_time().ok_or(Refusal::NoTimeJumpHeld)?.clone();
        let held = agreed.held.as_ref().ok_or(Refusal::NoTimeJumpHeld)?;
        if held.since != self.since {
            return Err(Refusal::TimeJumpChanged { asked: self.since, current: held.since });
        }
        let median = agreed.clocks_say(now);
        let time = state.agree(AgreedTime { at: now.max(median), median, held: None, ..agreed });
        Ok(Outcome::TimeAgreed { time })
    }
}
