//! An administrator takes a token back.

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{State, Token, TokenId, TokenState},
};

/// Revokes a token. One that was used stays used: the node that joined with it remains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeToken {
    /// The token.
    pub id: TokenId,
}

impl RevokeToken {
    pub(super) fn apply(self, state: &mut State) -> Result<Outcome, Refusal> {
        let token = state.tokens.get(&self.id).ok_or(Refusal::TokenUnknown)?.clone();
        if token.state == TokenState::Open {
            state.tokens.put(self.id, Token { state: TokenState::Revoked, ..token });
        }
        Ok(Outcome::TokenRevoked)
    }
}
