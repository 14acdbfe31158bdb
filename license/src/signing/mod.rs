//! What the vendor signs, and how it is checked: PASETO v4.public tokens (Ed25519).
//!
//! ```text
//! root key --certifies--> issuing key --signs--> binding, licenses
//!    |                        |                       |
//! pinned by agents and     its certificate,     JSON claims, footer {"kid", "crt"},
//! products (TrustRoots)    a token by itself    implicit assertion = the claims' type
//! ```
//!
//! Installations know root keys only, so issuing keys rotate without touching them. A token of one
//! type never passes for another: the type is part of what is signed. No clock is asked: a
//! certificate has to be valid at the time that the portal signed into the claims.
//!
//! Source: <https://github.com/paseto-standard/paseto-spec>, version 4, purpose `public`; keys as
//! PASERK (`k4.public.`, `k4.secret.`, `k4.pid.`).

mod certificate;
mod claims;
mod keys;
mod token;

use serde::{Deserialize, Serialize};

pub use certificate::{IssuingCertificate, IssuingKey, TrustRoots};
pub use claims::Claims;
pub use keys::{IssuingPublicKey, IssuingSecret, ParseKeyError, RootKey, RootPublicKey};
pub use token::MAX_TOKEN_BYTES;

use crate::Timestamp;

/// Claims together with the token that carries them.
///
/// Made by [`IssuingKey::sign`] and [`TrustRoots::verify`]. Reading one back from storage doesn't
/// verify it again; verify the token where the storage is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// What is signed.
    pub claims: T,
    /// The token, as the portal gave it out.
    pub token: String,
}

/// A token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is larger than any token of this format.
    #[error(
        "the {what} has {bytes} bytes, more than the {MAX_TOKEN_BYTES} that are allowed; check where it comes from"
    )]
    TooLong {
        /// What the token should be.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// It is no token, or cut off.
    #[error("the {what} is not readable; copy it again, completely")]
    Malformed {
        /// What the token should be.
        what: &'static str,
    },
    /// The issuing key is certified by none of the trusted roots.
    #[error(
        "the {what} is signed by issuing key {key_id}, which none of the trusted root keys has certified; compare license.trust_roots with the vendor's root key"
    )]
    UntrustedIssuer {
        /// What the token should be.
        what: &'static str,
        /// The issuing key as the token names it.
        key_id: String,
    },
    /// The issuing key's certificate was not valid when the token was issued.
    #[error(
        "the {what} was issued at {issued_at}, but issuing key {key_id} is certified from {not_before} until {expires_at} only; report it to the vendor"
    )]
    IssuerNotValid {
        /// What the token should be.
        what: &'static str,
        /// The issuing key.
        key_id: String,
        /// When the token was issued, by its claims.
        issued_at: Timestamp,
        /// The certificate's begin.
        not_before: Timestamp,
        /// The certificate's end.
        expires_at: Timestamp,
    },
    /// The content was changed, or it is a token of another type, or another key signed it.
    #[error("the signature of the {what} doesn't match its content; get it from the vendor again")]
    BadSignature {
        /// What the token should be.
        what: &'static str,
    },
    /// The signature is good, but the claims can't be used.
    #[error(
        "the {what} is signed well, but not usable: {reason}; update this release or report it to the vendor"
    )]
    Claims {
        /// What the token should be.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Something can't be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The secret key is unusable.
    #[error("the signing key can't be used: {0}")]
    Key(#[from] ParseKeyError),
    /// The certificate belongs to another issuing key.
    #[error("the certificate is for issuing key {certified}, not for {key_id}; certify this key first")]
    CertificateMismatch {
        /// The key that is to sign.
        key_id: String,
        /// The key that the certificate is for.
        certified: String,
    },
    /// The certificate doesn't cover the time of issue, so nobody would accept the token.
    #[error(
        "issuing key {key_id} is certified from {not_before} until {expires_at}, not at {issued_at}; certify it again or use the current one"
    )]
    CertificateNotValid {
        /// The key that is to sign.
        key_id: String,
        /// When the claims say that they are issued.
        issued_at: Timestamp,
        /// The certificate's begin.
        not_before: Timestamp,
        /// The certificate's end.
        expires_at: Timestamp,
    },
    /// The claims break a rule of their type.
    #[error("the {what} can't be signed: {reason}")]
    Claims {
        /// What was to be signed.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}
