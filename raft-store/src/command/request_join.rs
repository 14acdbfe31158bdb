//! A node asks to join with a token that needs an administrator's approval.

use quorate_license::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AdmitNode, Outcome};
use crate::{
    refusal::Refusal,
    state::{JoinDecision, PendingJoin, State},
};

/// The most requests that may wait at once.
const MAX_WAITING: usize = 256;

/// Puts a request to join, which waits for [`super::DecideJoin`]. A repeat with the same token and node key learns what
/// became of it; what the first one said is what an administrator sees, and what counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestJoin {
    /// What the node says of itself.
    pub joiner: AdmitNode,
}

impl RequestJoin {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let RequestJoin { joiner } = self;
        let token = match joiner.token(state)? {
            Ok(token) => token,
            Err(node) => return Ok(Outcome::NodeAdmitted { node }),
        };
        if let Some(known) = state.pending_joins.get(&token.id) {
            let is_same = known.joiner.key == joiner.key
                && known.joiner.name == joiner.name
                && known.joiner.role == joiner.role;
            return match &known.decision {
                JoinDecision::Refused { by, at } if is_same => {
                    Err(Refusal::JoinRefused { name: joiner.name, by: by.clone(), at: *at })
                }
                JoinDecision::Waiting if is_same => Ok(Outcome::JoinPending { token: token.id }),
                _ => Err(Refusal::TokenShownByOther { token: token.id, holder: known.joiner.name.clone() }),
            };
        }
        joiner.check_token(&token, true, now)?;
        let waiting = state.pending_joins.values().filter(|pending| pending.is_waiting()).count();
        if waiting >= MAX_WAITING {
            return Err(Refusal::TooManyPendingJoins(waiting as u64));
        }
        joiner.check_level(state)?;
        joiner.check_unique(state, None)?;
        let pending = PendingJoin { joiner, requested_at: now, decision: JoinDecision::Waiting };
        state.pending_joins.put(token.id, pending);
        Ok(Outcome::JoinPending { token: token.id })
    }
}
