//! Tokens of people: whose one is, and what it lets its bearer do.

use quorate_license::Timestamp;
use quorate_raft_store::{
    State,
    state::{TokenId, TokenPurpose},
};
use subtle::ConstantTimeEq;

use super::{ApiError, ErrorKind, auth::Access};
use crate::pki::{AdminToken, secret_hash};

/// Whose token it is, in words, and what it lets its bearer do, if it is valid.
///
/// # Errors
/// Denied: malformed, unknown, expired, revoked, or no administrator's token.
pub(super) fn check_token(
    token: &str,
    state: &State,
    now: Timestamp,
) -> Result<(TokenId, String, Access), ApiError> {
    let refused = |message: &str| {
        ApiError::new(
            ErrorKind::Denied,
            "token_invalid",
            message,
            "`quorate token list` on a Management Server shows the valid ones",
        )
    };
    let token: AdminToken = token.parse().map_err(|_| refused("the administrator's token is malformed"))?;
    let hash = secret_hash(&token.secret);
    let found = state.tokens().get(&token.id).filter(|known| bool::from(known.secret_hash.ct_eq(&hash)));
    let (access, label) = match found {
        Some(known) if !known.is_valid(state.time().max(now)) => {
            return Err(refused("the administrator's token has expired or was revoked"));
        }
        Some(known) => match &known.purpose {
            TokenPurpose::Admin { label } => (Access::Administrator, label),
            TokenPurpose::Viewer { label } => (Access::Viewer, label),
            TokenPurpose::Join { .. } | TokenPurpose::JoinWithApproval { .. } => {
                return Err(refused("a join token does not make an administrator"));
            }
        },
        None => return Err(refused("the administrator's token is not known to this cluster")),
    };
    Ok((token.id, format!("{label} (token {})", token.id), access))
}
