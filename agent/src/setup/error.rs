//! What can go wrong while a data directory is prepared.

use quorate_license::NodeRole;
use quorate_raft_store::{codec::CodecError, seal::SealError};

use crate::{
    data_dir::DataDirError,
    host::IdentityError,
    pki::{FilesError, ParseTokenError, PkiError},
};

/// Why `init` or `join` did nothing, or did not end.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// This host has no usable machine id.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Keys or certificates can't be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The certificate that this node is to bring can't be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The token is not one.
    #[error(transparent)]
    Token(#[from] ParseTokenError),
    /// A secret can't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A record can't be made.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Randomness(String),
    /// The token is for another role.
    #[error("the token is for a node of the role {token}, you asked to join as {asked}")]
    Role {
        /// The token's role.
        token: NodeRole,
        /// The asked one.
        asked: NodeRole,
    },
    /// No server is reachable.
    #[error("no node of the cluster could be reached: {0}")]
    Unreachable(String),
    /// The cluster refused.
    #[error("{message}")]
    Refused {
        /// Stable code.
        code: String,
        /// The reason.
        message: String,
        /// What to do.
        hint: String,
    },
    /// The cluster's answer makes no sense.
    #[error("the cluster's answer can't be used: {0}")]
    Answer(String),
}

impl SetupError {
    /// Stable code, for scripts.
    pub fn code(&self) -> &str {
        match self {
            SetupError::DataDir(DataDirError::Prepared { .. }) => "already_prepared",
            SetupError::DataDir(_) => "data_dir",
            SetupError::Identity(_) => "computer_id_unavailable",
            SetupError::Pki(_) | SetupError::Seal(_) | SetupError::Codec(_) | SetupError::Randomness(_) => {
                "internal"
            }
            SetupError::Files(error) => error.code(),
            SetupError::Token(_) => "token_malformed",
            SetupError::Role { .. } => "token_role_mismatch",
            SetupError::Unreachable(_) => "unreachable",
            SetupError::Refused { code, .. } => code,
            SetupError::Answer(_) => "bad_answer",
        }
    }
}

/// Fills an array with random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], SetupError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| SetupError::Randomness(error.to_string()))?;
    Ok(bytes)
}
