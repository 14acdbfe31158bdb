//! Making and revoking tokens.

use quorate_license::Timestamp;
use quorate_raft_store::{
    Command, Outcome, Refusal, RequestId,
    command::{CreateToken, RevokeToken},
    state::{TokenId, TokenPurpose},
};
use zeroize::Zeroizing;

use super::admission::unexpected;
use crate::{
    api::{ApiError, Caller, ErrorKind},
    cluster::Cluster,
    pki::{AdminToken, JoinToken, ca_fingerprint, secret_hash},
};

/// The longest life of a token.
const MAX_TTL_SECONDS: u64 = 10 * 365 * 24 * 3600;

/// A new token.
pub struct NewToken {
    /// Its id.
    pub id: TokenId,
    /// Its text; none if the request is a repeat of one that was answered before.
    pub text: Option<Zeroizing<String>>,
    /// From then on it is refused.
    pub expires_at: Timestamp,
}

/// Makes a token.
///
/// # Errors
/// The refusal, by name.
pub async fn create_token(
    cluster: &Cluster,
    purpose: TokenPurpose,
    ttl_seconds: u64,
    caller: &Caller,
    request: Option<RequestId>,
) -> Result<NewToken, ApiError> {
    if ttl_seconds == 0 || ttl_seconds > MAX_TTL_SECONDS {
        return Err(ApiError::new(
            ErrorKind::Invalid,
            "ttl_out_of_range",
            format!("a token can't be valid for {ttl_seconds} seconds"),
            "give 1 second to 10 years",
        ));
    }
    let view = cluster.view();
    let ca = &view.state.cluster().ok_or(Refusal::NotInitialized)?.ca_certificate;
    let id = TokenId(u64::from_le_bytes(random()?));
    let secret = Zeroizing::new(random()?);
    let secret_hash = secret_hash(&secret);
    let text = match &purpose {
        TokenPurpose::Join { .. } | TokenPurpose::JoinWithApproval { .. } => {
            JoinToken { id, secret, ca_fingerprint: ca_fingerprint(ca)?.0 }.expose()
        }
        TokenPurpose::Admin { .. } | TokenPurpose::Viewer { .. } => AdminToken { id, secret }.expose(),
    };
    let expires_at = cluster.clock().now().plus_ms(ttl_seconds as i64 * 1000);
    let command = Command::CreateToken(CreateToken {
        id,
        purpose,
        secret_hash,
        created_by: caller.name.clone(),
        expires_at,
    });
    let request = match request {
        Some(request) => request,
        None => RequestId(u128::from_le_bytes(random()?)),
    };
    match cluster.propose_request(request, command, &caller.asked_by).await?.result? {
        Outcome::TokenCreated { token } if token == id => Ok(NewToken { id, text: Some(text), expires_at }),
        // The same request was answered before: its token is the one that exists.
        Outcome::TokenCreated { token } => Ok(NewToken { id: token, text: None, expires_at }),
        other => Err(unexpected(&other)),
    }
}

/// Revokes a token.
///
/// # Errors
/// The refusal, by name.
pub async fn revoke_token(cluster: &Cluster, id: TokenId, caller: &Caller) -> Result<(), ApiError> {
    match cluster.propose(Command::RevokeToken(RevokeToken { id }), &caller.asked_by).await?.result? {
        Outcome::TokenRevoked => Ok(()),
        other => Err(unexpected(&other)),
    }
}

fn random<const N: usize>() -> Result<[u8; N], ApiError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        ApiError::new(
            ErrorKind::Internal,
            "internal",
            format!("the system gives no random bytes: {error}"),
            "see the log of this node, and ask again",
        )
    })?;
    Ok(bytes)
}
