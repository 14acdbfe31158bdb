//! RocksDB: column families, settings, reading and writing.

use std::{ffi::CStr, io, path::Path};

use rocksdb::{
    BlockBasedOptions, BoundColumnFamily, Cache, ColumnFamilyDescriptor, DBRecoveryMode, DBWithThreadMode,
    DEFAULT_COLUMN_FAMILY_NAME, MultiThreaded, Options, ReadOptions, WriteBatch, WriteOptions,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{error::OpenError, wal};
use crate::{
    codec,
    mutant::{self, Mutant},
};

const BACKGROUND_ERRORS: &CStr = c"rocksdb.background-errors";

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

/// An open database. Every method may block on the disk.
pub(crate) struct Db {
    rocks: Rocks,
}

/// Why RocksDB can't open a folder.
pub(super) enum RocksError {
    /// What is in it is damaged.
    Damaged(io::Error),
    /// It is locked, or the disk refuses.
    Unusable(OpenError),
}

impl Db {
    /// Whether `path` holds a database with all its families; making it may have been broken off.
    pub(super) fn is_complete(path: &Path) -> Result<bool, RocksError> {
        if !path.join("CURRENT").exists() {
            return Ok(false);
        }
        let found = Rocks::list_cf(&database_options(), path).map_err(|source| refused(path, source))?;
        Ok(Family::ALL.iter().all(|family| found.iter().any(|name| name == family.name())))
    }

    /// Opens the database in `path`, making it if the folder has none.
    pub(super) fn open(path: &Path) -> Result<Db, RocksError> {
        Rocks::open_cf_descriptors(&database_options(), path, families())
            .map(|rocks| Db { rocks })
            .map_err(|source| refused(path, source))
    }

    /// Opens the database in `path` for reading: nothing is changed in the folder. One whose log must be cut
    /// first is not read; starting the node does that.
    pub(super) fn open_read_only(path: &Path) -> Result<Db, RocksError> {
        let io_error = |source| RocksError::Unusable(OpenError::Io { path: path.to_owned(), source });
        if let Some((log, offset)) = wal::stuck_at(path).map_err(io_error)? {
            let reason = format!("no record can begin at byte {offset} of {}", log.display());
            return Err(io_error(io::Error::new(io::ErrorKind::InvalidData, reason)));
        }
        let mut options = database_options();
        options.create_if_missing(false);
        options.create_missing_column_families(false);
        Rocks::open_cf_descriptors_read_only(&options, path, families(), false)
            .map(|rocks| Db { rocks })
            .map_err(|source| refused(path, source))
    }

    fn family(&self, family: Family) -> io::Result<std::sync::Arc<BoundColumnFamily<'_>>> {
        self.rocks
            .cf_handle(family.name())
            .ok_or_else(|| io::Error::other(format!("column family '{}' is missing", family.name())))
    }

    /// Reads and decodes a record of [`Family::Meta`].
    pub(crate) fn get_meta<T: DeserializeOwned>(&self, key: &[u8]) -> io::Result<Option<T>> {
        match self.rocks.get_pinned_cf(&self.family(Family::Meta)?, key).map_err(failed)? {
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
    ) -> io::Result<()> {
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
    ) -> io::Result<()> {
        batch.put_cf(&self.family(family)?, key, value);
        Ok(())
    }

    /// Adds the removal of one key to `batch`.
    pub(crate) fn delete(&self, batch: &mut WriteBatch, family: Family, key: &[u8]) -> io::Result<()> {
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
    ) -> io::Result<()> {
        batch.delete_range_cf(&self.family(family)?, from, to);
        Ok(())
    }

    /// Writes `batch` to the write-ahead log's page cache and the memtables, without a sync.
    pub(crate) fn write(&self, batch: WriteBatch) -> io::Result<()> {
        self.rocks.write_opt(batch, &WriteOptions::default()).map_err(failed)
    }

    /// Syncs the write-ahead log: everything written before is on disk afterwards.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if mutant::active(Mutant::SkipSync) {
            return Ok(());
        }
        self.rocks.flush_wal(true).map_err(failed)
    }

    /// # Errors
    /// RocksDB could not write a table or its journal in the background. It would go on and try again by itself;
    /// we don't.
    pub(crate) fn check_background(&self) -> io::Result<()> {
        match self.rocks.property_int_value(BACKGROUND_ERRORS).map_err(failed)? {
            None | Some(0) => Ok(()),
            Some(count) => Err(io::Error::other(format!(
                "RocksDB met {count} errors in writing its tables; its reasons are in the file db/LOG"
            ))),
        }
    }

    /// Calls `each` for every key and value of `family` from the key `from` on, in key order, until
    /// it returns false or an error. A read error is an error, never a short read.
    pub(crate) fn scan(
        &self,
        family: Family,
        from: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> io::Result<bool>,
    ) -> io::Result<()> {
        let mut iterator = self.rocks.raw_iterator_cf_opt(&self.family(family)?, ReadOptions::default());
        iterator.seek(from);
        while let Some((key, value)) = iterator.item() {
            if !each(key, value)? {
                return Ok(());
            }
            iterator.next();
        }
        iterator.status().map_err(failed)
    }

    /// The last key and value of `family`.
    pub(crate) fn last(&self, family: Family) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let mut iterator = self.rocks.raw_iterator_cf_opt(&self.family(family)?, ReadOptions::default());
        iterator.seek_to_last();
        let found = iterator.item().map(|(key, value)| (key.to_vec(), value.to_vec()));
        iterator.status().map_err(failed)?;
        Ok(found)
    }
}

/// What RocksDB says, as the system would: damage is [`io::ErrorKind::InvalidData`].
fn failed(error: rocksdb::Error) -> io::Error {
    match error.kind() {
        rocksdb::ErrorKind::Corruption => io::Error::new(io::ErrorKind::InvalidData, error),
        _ => io::Error::other(error),
    }
}

fn refused(path: &Path, source: rocksdb::Error) -> RocksError {
    match source.kind() {
        rocksdb::ErrorKind::Corruption => RocksError::Damaged(failed(source)),
        _ => RocksError::Unusable(OpenError::Rocks { path: path.to_owned(), source }),
    }
}

/// Settings for a small, careful database. Sources: RocksDB's tuning guide and the figures in
/// `ARCHITECTURE.md`.
fn database_options() -> Options {
    let mut options = family_options();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // A torn tail that was never synced is dropped; every synced record is there.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_db_write_buffer_size(12 << 20);
    options.set_max_total_wal_size(16 << 20);
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
    // Also where no table is ever made: the default would bring a cache of its own, of many megabytes.
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(2 << 20);
    options.set_max_write_buffer_number(2);
    options
}

/// All families, and RocksDB's own, which stays empty.
fn families() -> Vec<ColumnFamilyDescriptor> {
    let names = Family::ALL.map(Family::name).into_iter().chain([DEFAULT_COLUMN_FAMILY_NAME]);
    names.map(|name| ColumnFamilyDescriptor::new(name, family_options())).collect()
}

/// One block cache for all families of all stores in this process.
fn shared_cache() -> &'static Cache {
    static CACHE: std::sync::OnceLock<Cache> = std::sync::OnceLock::new();
    CACHE.get_or_init(|| Cache::new_lru_cache(4 << 20))
}
