//! A new token, for a node to join or an administrator to ask.

use quorate_license::Timestamp;
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{State, Token, TokenId, TokenPurpose, TokenState},
};

/// Tokens that may be there at once.
const MAX_TOKENS: usize = 131_072;
/// A token that can't be used any more is kept for this long, to be listed, in milliseconds.
const KEEP_MS: i64 = 7 * quorate_license::DAY_MS;
/// Outdated tokens that one command removes at most.
const FORGET_AT_ONCE: usize = 16;

/// Makes a token. Its secret is known to the caller alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateToken {
    /// The new token's id. Random.
    pub id: TokenId,
    /// What it is good for.
    pub purpose: TokenPurpose,
    /// SHA-256 of its secret.
    pub secret_hash: [u8; 32],
    /// Who makes it, in words.
    pub created_by: String,
    /// From then on it is refused.
    pub expires_at: Timestamp,
}

impl CreateToken {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        if state.tokens.get(&self.id).is_some() {
            return Err(Refusal::TokenIdTaken(self.id));
        }
        if state.tokens.len() >= MAX_TOKENS {
            make_room(state, now);
        }
        if state.tokens.len() >= MAX_TOKENS {
            return Err(Refusal::TooManyTokens(state.tokens.len() as u64));
        }
        state.tokens.put(
            self.id,
            Token {
                id: self.id,
                purpose: self.purpose,
                secret_hash: self.secret_hash,
                created_at: now,
                created_by: self.created_by,
                expires_at: self.expires_at,
                state: TokenState::Open,
            },
        );
        Ok(Outcome::TokenCreated { token: self.id })
    }
}

/// Removes tokens that could not be used for a week. Called by the tick.
pub(super) fn forget_outdated(state: &mut State, now: Timestamp) {
    forget(state, |token| now.ms_since(token.expires_at) > KEEP_MS);
}

/// Removes tokens that nobody can use any more. A used one stays until its end: its node may ask again.
fn make_room(state: &mut State, now: Timestamp) {
    forget(state, |token| token.state == TokenState::Revoked || now >= token.expires_at);
}

fn forget(state: &mut State, outdated: impl Fn(&Token) -> bool) {
    let tokens = state.tokens.values().filter(|token| outdated(token));
    let outdated: Vec<TokenId> = tokens.map(|token| token.id).take(FORGET_AT_ONCE).collect();
    for id in outdated {
        state.tokens.remove(&id);
        state.pending_joins.remove(&id);
    }
}
