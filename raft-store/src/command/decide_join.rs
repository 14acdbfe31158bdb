//! An administrator accepts a node that waits, or refuses it.

use quorate_license::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Outcome, admit_node::MAX_NODES};
use crate::{
    refusal::Refusal,
    state::{JoinDecision, Only, PendingJoin, State, Token, TokenId, TokenState},
};

/// Decides on a request to join. The same decision again is answered in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecideJoin {
    /// The token that the node has shown: the name of its request.
    pub token: TokenId,
    /// Whether it may join.
    pub accept: bool,
    /// Who decides, in words.
    pub decided_by: String,
}

impl DecideJoin {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let DecideJoin { token: id, accept, decided_by: by } = self;
        let pending = state.pending_joins.get(&id).ok_or(Refusal::NoPendingJoin(id))?.clone();
        match (&pending.decision, accept) {
            (JoinDecision::Waiting, _) => {}
            (JoinDecision::Accepted { node, .. }, true) => return Ok(Outcome::NodeAdmitted { node: *node }),
            (JoinDecision::Refused { .. }, false) => return Ok(Outcome::JoinRefused),
            (JoinDecision::Accepted { by, at, .. } | JoinDecision::Refused { by, at }, _) => {
                return Err(Refusal::JoinDecided {
                    name: pending.joiner.name,
                    accepted: !accept,
                    by: by.clone(),
                    at: *at,
                });
            }
        }
        let token = state.tokens.get(&id).ok_or(Refusal::TokenUnknown)?.clone();
        if !accept {
            let decision = JoinDecision::Refused { by, at: now };
            state.pending_joins.put(id, PendingJoin { decision, ..pending });
            state.tokens.put(id, Token { state: TokenState::Revoked, ..token });
            return Ok(Outcome::JoinRefused);
        }
        // The token was good when it was shown; an administrator may take longer than it lasts.
        if token.state == TokenState::Revoked {
            return Err(Refusal::TokenRevoked(id));
        }
        if state.nodes.len() as u64 >= MAX_NODES {
            return Err(Refusal::TooManyNodes(MAX_NODES));
        }
        let PendingJoin { joiner, requested_at, .. } = pending;
        joiner.check_level(state)?;
        joiner.check_unique(state, None)?;
        let mut cluster = state.cluster().ok_or(Refusal::NotInitialized)?.clone();
        let node = joiner.clone().put(state, &mut cluster, token, now);
        state.cluster.put(Only, cluster);
        let decision = JoinDecision::Accepted { node, by, at: now };
        state.pending_joins.put(id, PendingJoin { joiner, requested_at, decision });
        Ok(Outcome::NodeAdmitted { node })
    }
}
