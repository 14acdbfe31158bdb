//! Opening RocksDB: column families, settings, format version.

use std::path::{Path, PathBuf};

use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DBRecoveryMode, DBWithThreadMode,
    MultiThreaded, Options, ReadOptions, WriteBatch, WriteOptions,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::codec::{self, CodecError};

/// The format of the database as a whole: families, keys, meaning. Higher ones are refused.
const FORMAT: u32 = 1;

type Rocks = DBWithThreadMode<MultiThreaded>;

/// A column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Log entries: big-endian index to entry record.
    Log,
    /// Vote, committed, purged, applied, membership, digest, marker, format.
    Meta,
    /// The replicated state: table tag and key to row.
    State,
}

impl Family {
    const ALL: [Family; 3] = [Family::Log, Family::Meta, Family::State];

    const fn name(self) -> &'static str {
        match self {
            Family::Log => "log",
            Family::Meta => "meta",
            Family::State => "state",
        }
    }
}

/// The keys of [`Family::Meta`].
pub(crate) mod meta_key {
    pub(crate) const FORMAT: &[u8] = b"format";
    pub(crate) const MARKER: &[u8] = b"marker";
    pub(crate) const VOTE: &[u8] = b"vote";
    pub(crate) const COMMITTED: &[u8] = b"committed";
    pub(crate) const PURGED: &[u8] = b"purged";
    pub(crate) const APPLIED: &[u8] = b"applied";
    pub(crate) const MEMBERSHIP: &[u8] = b"membership";
    pub(crate) const DIGEST: &[u8] = b"digest";
}

/// Why a store could not be opened. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// RocksDB can't open the folder.
    #[error("the database in {} can't be opened: {source}", path.display())]
    Rocks {
        /// The database's folder.
        path: PathBuf,
        /// RocksDB's reason.
        source: rocksdb::Error,
    },
    /// The database was written by a newer version of this software.
    #[error(
        "the database in {} has format {found}, written by a newer version; this version reads format {FORMAT}. \
         Install the newer version again; nothing was changed",
        path.display()
    )]
    NewerFormat {
        /// The database's folder.
        path: PathBuf,
        /// The format found on disk.
        found: u32,
    },
    /// The database belongs to another node, cluster or epoch.
    #[error("the database in {} belongs to {found}, not to {expected}; nothing was changed", path.display())]
    Foreign {
        /// The database's folder.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// What is on disk contradicts itself.
    #[error("the database in {} is damaged: {reason}; nothing was changed", path.display())]
    Damaged {
        /// The database's folder.
        path: PathBuf,
        /// What is wrong, in words.
        reason: String,
    },
    /// A file beside the database can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// An open database. Every method may block on the disk.
pub(crate) struct Db {
    rocks: Rocks,
    path: PathBuf,
}

impl Db {
    /// Opens the database in `path`, making it if the folder has none.
    pub(crate) fn open(path: &Path) -> Result<Db, OpenError> {
        let families = Family::ALL.map(|family| ColumnFamilyDescriptor::new(family.name(), family_options()));
        let rocks = Rocks::open_cf_descriptors(&database_options(), path, families)
            .map_err(|source| OpenError::Rocks { path: path.to_owned(), source })?;
        let db = Db { rocks, path: path.to_owned() };
        db.check_format()?;
        Ok(db)
    }

    fn check_format(&self) -> Result<(), OpenError> {
        let found: Option<u32> = self.get_meta(meta_key::FORMAT).map_err(|e| self.damaged(&e))?;
        match found {
            Some(FORMAT) => Ok(()),
            Some(found) => Err(OpenError::NewerFormat { path: self.path.clone(), found }),
            None => {
                let mut batch = WriteBatch::default();
                self.put_meta(&mut batch, meta_key::FORMAT, &FORMAT).map_err(|e| self.damaged(&e))?;
                self.write(batch).and_then(|()| self.sync()).map_err(|e| self.damaged(&e))
            }
        }
    }

    /// An error that says that this database's content is wrong.
    pub(crate) fn damaged(&self, reason: &dyn std::fmt::Display) -> OpenError {
        OpenError::Damaged { path: self.path.clone(), reason: reason.to_string() }
    }

    /// An error that says that this database is somebody else's.
    pub(crate) fn foreign(&self, found: String, expected: String) -> OpenError {
        OpenError::Foreign { path: self.path.clone(), found, expected }
    }

    fn family(&self, family: Family) -> std::io::Result<std::sync::Arc<BoundColumnFamily<'_>>> {
        self.rocks
            .cf_handle(family.name())
            .ok_or_else(|| std::io::Error::other(format!("column family '{}' is missing", family.name())))
    }

    /// Reads and decodes a record of [`Family::Meta`].
    pub(crate) fn get_meta<T: DeserializeOwned>(&self, key: &[u8]) -> std::io::Result<Option<T>> {
        match self.rocks.get_pinned_cf(&self.family(Family::Meta)?, key).map_err(std::io::Error::other)? {
            Some(record) => Ok(Some(codec::decode(&record)?)),
            None => Ok(None),
        }
    }

    /// Adds a record of [`Family::Meta`] to `batch`.
    pub(crate) fn put_meta<T: Serialize>(
        &self,
        batch: &mut WriteBatch,
        key: &[u8],
        value: &T,
    ) -> std::io::Result<()> {
        batch.put_cf(&self.family(Family::Meta)?, key, codec::encode(value)?);
        Ok(())
    }

    /// Adds one key and value to `batch`.
    pub(crate) fn put(
        &self,
        batch: &mut WriteBatch,
        family: Family,
        key: &[u8],
        value: &[u8],
    ) -> std::io::Result<()> {
        batch.put_cf(&self.family(family)?, key, value);
        Ok(())
    }

    /// Adds the removal of one key to `batch`.
    pub(crate) fn delete(&self, batch: &mut WriteBatch, family: Family, key: &[u8]) -> std::io::Result<()> {
        batch.delete_cf(&self.family(family)?, key);
        Ok(())
    }

    /// Adds the removal of `from..to` to `batch`.
    pub(crate) fn delete_range(
        &self,
        batch: &mut WriteBatch,
        family: Family,
        from: &[u8],
        to: &[u8],
    ) -> std::io::Result<()> {
        batch.delete_range_cf(&self.family(family)?, from, to);
        Ok(())
    }

    /// Writes `batch` to the write-ahead log's page cache and the memtables, without a sync.
    pub(crate) fn write(&self, batch: WriteBatch) -> std::io::Result<()> {
        self.rocks.write_opt(batch, &WriteOptions::default()).map_err(std::io::Error::other)
    }

    /// Syncs the write-ahead log: everything written before is on disk afterwards.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.rocks.flush_wal(true).map_err(std::io::Error::other)
    }

    /// Calls `each` for every key and value of `family` from the key `from` on, in key order, until
    /// it returns false or an error. A read error is an error, never a short read.
    pub(crate) fn scan(
        &self,
        family: Family,
        from: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> std::io::Result<bool>,
    ) -> std::io::Result<()> {
        let mut iterator = self.rocks.raw_iterator_cf_opt(&self.family(family)?, ReadOptions::default());
        iterator.seek(from);
        while let Some((key, value)) = iterator.item() {
            if !each(key, value)? {
                return Ok(());
            }
            iterator.next();
        }
        iterator.status().map_err(std::io::Error::other)
    }

    /// The last key and value of `family`.
    pub(crate) fn last(&self, family: Family) -> std::io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let mut iterator = self.rocks.raw_iterator_cf_opt(&self.family(family)?, ReadOptions::default());
        iterator.seek_to_last();
        let found = iterator.item().map(|(key, value)| (key.to_vec(), value.to_vec()));
        iterator.status().map_err(std::io::Error::other)?;
        Ok(found)
    }
}

impl From<CodecError> for OpenError {
    fn from(error: CodecError) -> Self {
        OpenError::Damaged { path: PathBuf::new(), reason: error.to_string() }
    }
}

/// Settings for a small, careful database. Sources: RocksDB's tuning guide and the figures in
/// `ARCHITECTURE.md`.
fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // A torn tail that was never synced is dropped; every synced record is there.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_db_write_buffer_size(12 << 20);
    options.set_max_total_wal_size(32 << 20);
    options.set_max_open_files(128);
    options.set_max_background_jobs(2);
    options.set_max_log_file_size(1 << 20);
    options.set_keep_log_file_num(3);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn family_options() -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(shared_cache());
    blocks.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(2 << 20);
    options.set_max_write_buffer_number(2);
    options
}

/// One block cache for all families of all stores in this process.
fn shared_cache() -> &'static Cache {
    static CACHE: std::sync::OnceLock<Cache> = std::sync::OnceLock::new();
    CACHE.get_or_init(|| Cache::new_lru_cache(4 << 20))
}
