//! Tokens as text: what an administrator carries from one node to another.
//!
//! ```text
//! join token   qj1-<id, 16 hex digits>-<secret, 52 base32>-<SHA-256 of the CA's certificate, 52 base32>
//! admin token  qa1-<id, 16 hex digits>-<secret, 52 base32>
//! ```

use std::{fmt, str::FromStr};

use data_encoding::BASE32_NOPAD;
use quorate_raft_store::state::TokenId;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The text is not a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTokenError {
    /// It does not begin as this kind of token does.
    #[error("this is not {what}: it should begin with \"{prefix}-\"")]
    Kind {
        /// The expected kind.
        what: &'static str,
        /// How it begins.
        prefix: &'static str,
    },
    /// A part is missing or damaged.
    #[error("the {what} is incomplete or mistyped: copy it again, as a whole")]
    Damaged {
        /// The expected kind.
        what: &'static str,
    },
}

/// SHA-256 of a token's secret: what the cluster keeps.
pub fn secret_hash(secret: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"quorate/token/v1");
    hash.update(secret);
    hash.finalize().into()
}

/// What a new node shows.
#[derive(Clone)]
pub struct JoinToken {
    /// Names the token.
    pub id: TokenId,
    /// Proves that the bearer was given it.
    pub secret: Zeroizing<[u8; 32]>,
    /// The CA that the bearer shall trust.
    pub ca_fingerprint: [u8; 32],
}

/// What an administrator shows.
#[derive(Clone)]
pub struct AdminToken {
    /// Names the token.
    pub id: TokenId,
    /// Proves that the bearer was given it.
    pub secret: Zeroizing<[u8; 32]>,
}

const JOIN: (&str, &str) = ("a join token", "qj1");
const ADMIN: (&str, &str) = ("an administrator's token", "qa1");

impl JoinToken {
    /// The token's text. Secret.
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "{}-{}-{}-{}",
            JOIN.1,
            self.id,
            BASE32_NOPAD.encode(self.secret.as_slice()).to_lowercase(),
            BASE32_NOPAD.encode(&self.ca_fingerprint).to_lowercase()
        ))
    }
}

impl AdminToken {
    /// The token's text. Secret.
    pub fn expose(&self) -> Zeroizing<String> {
        let secret = BASE32_NOPAD.encode(self.secret.as_slice()).to_lowercase();
        Zeroizing::new(format!("{}-{}-{secret}", ADMIN.1, self.id))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}, redacted)", self.id)
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AdminToken({}, redacted)", self.id)
    }
}

fn parts<const N: usize>(
    text: &str,
    (what, prefix): (&'static str, &'static str),
) -> Result<[String; N], ParseTokenError> {
    let rest = text
        .trim()
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .ok_or(ParseTokenError::Kind { what, prefix })?;
    let parts: Vec<String> = rest.split('-').map(str::to_owned).collect();
    parts.try_into().map_err(|_| ParseTokenError::Damaged { what })
}

fn bytes(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let decoded = Zeroizing::new(BASE32_NOPAD.decode(text.to_uppercase().as_bytes()).ok()?);
    <[u8; 32]>::try_from(decoded.as_slice()).ok().map(Zeroizing::new)
}

impl FromStr for JoinToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let [id, secret, fingerprint] = parts(text, JOIN)?;
        let parse = || {
            Some(JoinToken {
                id: id.parse().ok()?,
                secret: bytes(&secret)?,
                ca_fingerprint: *bytes(&fingerprint)?,
            })
        };
        parse().ok_or(ParseTokenError::Damaged { what: JOIN.0 })
    }
}

impl FromStr for AdminToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let [id, secret] = parts(text, ADMIN)?;
        let parse = || Some(AdminToken { id: id.parse().ok()?, secret: bytes(&secret)? });
        parse().ok_or(ParseTokenError::Damaged { what: ADMIN.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_from_their_text() {
        let token = JoinToken { id: TokenId(7), secret: Zeroizing::new([1; 32]), ca_fingerprint: [2; 32] };
        let back: JoinToken = token.expose().parse().unwrap();
        assert_eq!((back.id, *back.secret, back.ca_fingerprint), (token.id, *token.secret, [2; 32]));
        let admin = AdminToken { id: TokenId(u64::MAX), secret: Zeroizing::new([3; 32]) };
        let back: AdminToken = admin.expose().parse().unwrap();
        assert_eq!((back.id, *back.secret), (admin.id, *admin.secret));
        assert_eq!(format!("{admin:?}"), "AdminToken(ffffffffffffffff, redacted)");
    }

    #[test]
    fn wrong_tokens_are_refused_by_name() {
        let admin = AdminToken { id: TokenId(1), secret: Zeroizing::new([3; 32]) }.expose();
        assert!(matches!(admin.parse::<JoinToken>(), Err(ParseTokenError::Kind { .. })));
        let cut = &admin[..admin.len() - 1];
        assert!(matches!(cut.parse::<AdminToken>(), Err(ParseTokenError::Damaged { .. })));
        assert!(matches!("".parse::<AdminToken>(), Err(ParseTokenError::Kind { .. })));
    }
}
