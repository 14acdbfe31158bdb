//! Why a store can't be opened.

use std::path::PathBuf;

use super::format::FORMAT;

/// Why a store could not be opened. Nothing was changed on disk, but for the note of a quarantine
/// and a torn tail of the write-ahead log that was set aside.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// RocksDB can't open the folder: it is locked, or the disk refuses.
    #[error("the database in {} can't be opened: {source}", path.display())]
    Rocks {
        /// The database's folder.
        path: PathBuf,
        /// RocksDB's reason.
        source: rocksdb::Error,
    },
    /// The store was written by a newer version of this software.
    #[error(
        "the store in {} has format {found}, written by a newer version; this version reads up to format {FORMAT}. \
         Install the newer version again; nothing was changed",
        path.display()
    )]
    NewerFormat {
        /// The store's folder.
        path: PathBuf,
        /// The format found on disk.
        found: u32,
    },
    /// The store belongs to another node, cluster or epoch.
    #[error("the store in {} belongs to {found}, not to {expected}; nothing was changed", path.display())]
    Foreign {
        /// The store's folder.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// What is on disk is damaged or incomplete, now or at an earlier start: the store is in quarantine.
    #[error("the store in {} is damaged and in quarantine: {reason}{}; nothing was deleted", path.display(), named(files))]
    Damaged {
        /// The store's folder.
        path: PathBuf,
        /// What is wrong, in words.
        reason: String,
        /// The files that it was found in, relative to the folder.
        files: Vec<String>,
    },
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

fn named(files: &[String]) -> String {
    if files.is_empty() { String::new() } else { format!(" (in {})", files.join(", ")) }
}
