//! Tokens: what lets a node join and an administrator ask. Only hashes are kept.

use std::{fmt, str::FromStr};

use quorate_license::{NodeId, NodeName, NodePublicKey, NodeRole, Timestamp};
use serde::{Deserialize, Serialize};

use super::Key;

/// Names a token. Random, and no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenId(pub u64);

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not a token id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a token id: it is 16 hexadecimal digits")]
pub struct ParseTokenIdError(String);

impl FromStr for TokenId {
    type Err = ParseTokenIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        u64::from_str_radix(text, 16)
            .ok()
            .filter(|_| hex)
            .map(TokenId)
            .ok_or_else(|| ParseTokenIdError(text.to_owned()))
    }
}

impl Key for TokenId {
    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        u64::from_bytes(bytes).map(Self)
    }
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its name.
    pub id: TokenId,
    /// What it is good for.
    pub purpose: TokenPurpose,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it, in words.
    pub created_by: String,
    /// From then on it is refused.
    pub expires_at: Timestamp,
    /// What became of it.
    pub state: TokenState,
}

impl Token {
    /// Whether the token is neither used up, revoked nor expired at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.state == TokenState::Open && now < self.expires_at
    }
}

/// What a token is good for. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenPurpose {
    /// One node of this role may join, under this name if one is given.
    Join {
        /// The joiner's role.
        role: NodeRole,
        /// The joiner's name.
        name: Option<NodeName>,
    },
    /// Its bearer is an administrator.
    Admin {
        /// Whose it is, in the maker's words.
        label: String,
    },
    /// One node of this role may ask to join, under this name if one is given; an administrator decides.
    JoinWithApproval {
        /// The joiner's role.
        role: NodeRole,
        /// The joiner's name.
        name: Option<NodeName>,
    },
    /// Its bearer may read what an administrator may see of the cluster, and change nothing.
    Viewer {
        /// Whose it is, in the maker's words.
        label: String,
    },
}

impl TokenPurpose {
    /// Whose token it is, in the maker's words; none of a join token.
    pub fn label(&self) -> Option<&str> {
        match self {
            TokenPurpose::Join { .. } | TokenPurpose::JoinWithApproval { .. } => None,
            TokenPurpose::Admin { label } | TokenPurpose::Viewer { label } => Some(label),
        }
    }
}

/// What became of a token. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenState {
    /// It can be used.
    Open,
    /// A node joined with it.
    Used {
        /// The node.
        node: NodeId,
        /// The node's key: the same joiner gets the same answer again.
        key: NodePublicKey,
    },
    /// An administrator took it back.
    Revoked,
}
