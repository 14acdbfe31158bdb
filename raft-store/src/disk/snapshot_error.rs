//! Why a snapshot file was refused.

use std::{io, path::PathBuf};

use super::snapshot_file::{PLAIN, SEALED};
use crate::codec::CodecError;

/// The system's number for a disk that can't read what it should hold.
const EIO: i32 = 5;

/// Why a snapshot file was refused.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is no snapshot, or of a newer format.
    #[error("{} is not a snapshot of format {PLAIN} or {SEALED}", .0.display())]
    Format(PathBuf),
    /// The file is sealed, and this node can't open it.
    #[error("the snapshot {} is encrypted, and {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why it can't be read here.
        reason: &'static str,
    },
    /// The file was cut off or changed.
    #[error("the snapshot {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// A record in it can't be read.
    #[error("the snapshot {} holds a wrong record: {source}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CodecError,
    },
    /// A row of it was refused.
    #[error("the snapshot {} can't be installed: {source}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SnapshotError {
    /// Whether the file is not there any more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, SnapshotError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether this tells something of the file, and not only of the system: that there were too many open files.
    pub(super) fn tells_of_the_file(&self) -> bool {
        match self {
            SnapshotError::Io { source, .. } => self.is_gone() || source.raw_os_error() == Some(EIO),
            _ => true,
        }
    }
}
