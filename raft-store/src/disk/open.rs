//! Opening a store: checks that change nothing, then database, floor, log, state machine, snapshots, threads.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use quorate_license::{ClusterId, Epoch, NodeId};
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::{
    db::{Db, Family, RocksError, meta_key},
    error::OpenError,
    failure::Failure,
    floor::{Floor, FloorFile, FloorRecord},
    format::{FORMAT, WITH_FLOOR},
    io::{Disk, IoThreads},
    log_store::{LogStore, load_cache},
    metrics::StoreMetrics,
    quarantine::Quarantine,
    snapshot::SnapshotFolder,
    snapshot_error::SnapshotError,
    snapshot_file::SnapshotReceiver,
    snapshot_key::SnapshotKey,
    state_machine::{StateMachine, recover},
    wal,
};
use crate::{
    codec,
    digest::Digest,
    failpoint,
    raft_types::{LogId, Vote},
    records::{EntryRecord, LogIdRecord, VoteRecord},
    state::State,
    view::Views,
};

/// Whose a store is. Written once, when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The node.
    pub node: NodeId,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}, epoch {}", self.node, self.cluster_id, self.epoch)
    }
}

/// What a store needs to be opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The folder that holds the database and the snapshots.
    pub folder: PathBuf,
    /// Whose it is, or will be.
    pub marker: Marker,
    /// Where it counts.
    pub metrics: StoreMetrics,
    /// Seals its snapshots at rest, if there is one. The same on all nodes.
    pub snapshot_key: Option<SnapshotKey>,
}

/// An open store. openraft takes `log` and `machine`; everybody reads `views`.
pub struct Store {
    /// Log and vote.
    pub log: LogStore,
    /// State machine.
    pub machine: StateMachine,
    /// What was applied.
    pub views: Arc<Views>,
    /// Where snapshots are taken in.
    pub incoming: IncomingSnapshots,
    /// The first failed write or sync.
    pub failure: Failure,
}

/// Takes in snapshots that a leader sends.
#[derive(Clone)]
pub struct IncomingSnapshots {
    folder: Arc<SnapshotFolder>,
}

impl IncomingSnapshots {
    /// Begins to take in a snapshot. May block on the disk.
    ///
    /// # Errors
    /// If the file can't be made.
    pub fn receive(&self) -> Result<SnapshotReceiver, SnapshotError> {
        self.folder.receive()
    }

    /// How many bytes the newest snapshot has; 0 if there is none.
    pub fn newest_bytes(&self) -> u64 {
        self.folder.current().map_or(0, |snapshot| snapshot.bytes())
    }
}

impl Store {
    /// Index of the last log entry that the store holds, or stands for by a snapshot; 0 if there is none.
    pub fn last_log_index(&self) -> u64 {
        self.log.last_index()
    }

    /// Opens the store, or makes it if the folder is empty. Blocks on the disk.
    ///
    /// # Errors
    /// Every [`OpenError`]. Nothing is changed on disk then, but for the note of a quarantine and a torn tail of
    /// the write-ahead log that was set aside.
    pub fn open(options: &StoreOptions) -> Result<Store, OpenError> {
        let folder_error = |source| OpenError::Io { path: options.folder.clone(), source };
        std::fs::create_dir_all(&options.folder).map_err(folder_error)?;
        let quarantine = Quarantine::new(&options.folder);
        let damaged = |error: io::Error| quarantine.enter(&error);
        quarantine.check()?;
        let floor_path = Floor::path(&options.folder);
        let floor_error = |source| OpenError::Io { path: floor_path.clone(), source };
        let floor = FloorFile::read(&floor_path).map_err(floor_error)?;
        if let FloorFile::Found(record, _) = &floor {
            check_owner(options, record.marker)?;
        }
        look_before_cutting(options)?;
        set_tails_aside(options, &quarantine)?;
        check(options, &quarantine, &floor)?;
        wal::forget_tails(&options.folder).map_err(folder_error)?;

        let db = Arc::new(open_database(&quarantine, Db::open(&database_path(&options.folder)))?);
        failpoint::pass("store.open.database");
        let failure = Failure::default();
        let floor = settle(&db, options, floor, &failure).map_err(floor_error)?;
        let cache = load_cache(&db).map_err(damaged)?;
        failpoint::pass("store.open.log");
        let recovered = recover(&db).map_err(damaged)?;
        failpoint::pass("store.open.state");
        let snapshots = Arc::new(
            SnapshotFolder::open(&options.folder.join("snapshots"), options.snapshot_key.clone())
                .map_err(folder_error)?,
        );
        let cache = Arc::new(Mutex::new(cache));
        let disk = Disk {
            db: db.clone(),
            floor: Arc::new(floor),
            metrics: options.metrics.clone(),
            failure: failure.clone(),
            quarantine: quarantine.clone(),
        };
        let threads = Arc::new(IoThreads::start(&cache, disk).map_err(folder_error)?);
        let log = LogStore::new(db.clone(), cache, threads.clone(), quarantine.clone()).map_err(damaged)?;
        let machine =
            StateMachine::new(recovered, db, threads, snapshots.clone(), quarantine, options.metrics.clone());
        let views = machine.views();
        snapshots.replace_put_aside(&machine.whole()).map_err(folder_error)?;
        Ok(Store { log, machine, views, incoming: IncomingSnapshots { folder: snapshots }, failure })
    }
}

/// Where a copy lies while a store is looked at that can't be read as it is.
const LOOK: &str = "look";

fn database_path(folder: &Path) -> PathBuf {
    folder.join("db")
}

fn open_database<T>(quarantine: &Quarantine, opened: Result<T, RocksError>) -> Result<T, OpenError> {
    opened.map_err(|error| match error {
        RocksError::Damaged(error) => quarantine.enter(&error),
        RocksError::Unusable(error) => error,
    })
}

fn check_owner(options: &StoreOptions, found: Marker) -> Result<(), OpenError> {
    if found == options.marker {
        return Ok(());
    }
    let (found, expected) = (found.to_string(), options.marker.to_string());
    Err(OpenError::Foreign { path: options.folder.clone(), found, expected })
}

fn check_format(options: &StoreOptions, format: Option<u32>) -> Result<(), OpenError> {
    match format.filter(|format| *format > FORMAT) {
        Some(found) => Err(OpenError::NewerFormat { path: options.folder.clone(), found }),
        None => Ok(()),
    }
}

/// A store whose log must be cut before it can be read at all may be a newer version's, or another node's: then it is
/// refused as it is. That is found in a copy.
fn look_before_cutting(options: &StoreOptions) -> Result<(), OpenError> {
    let path = database_path(&options.folder);
    let io_error = |source| OpenError::Io { path: path.clone(), source };
    if wal::stuck_at(&path).map_err(io_error)?.is_none() {
        return Ok(());
    }
    let copy = options.folder.join(LOOK);
    let remove = || match std::fs::remove_dir_all(&copy) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(error)),
        _ => Ok(()),
    };
    remove()?;
    wal::copy_without_tails(&path, &copy).map_err(io_error)?;
    let found = Db::open_read_only(&copy).ok().and_then(|db| {
        let format: Option<u32> = db.get_meta(meta_key::FORMAT).ok()?;
        Some((format, db.get_meta(meta_key::MARKER).ok()?))
    });
    remove()?;
    // What can't be read there is damaged, which is found and told once the tail is set aside.
    let (format, marker) = found.unwrap_or_default();
    check_format(options, format)?;
    marker.map_or(Ok(()), |marker| check_owner(options, marker))
}

fn set_tails_aside(options: &StoreOptions, quarantine: &Quarantine) -> Result<(), OpenError> {
    let path = database_path(&options.folder);
    wal::set_tails_aside(&options.folder, &path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => quarantine.enter(&error),
        _ => OpenError::Io { path, source: error },
    })
}

/// Looks at what is there without changing it: format, owner, and whether all that was promised is
/// there. What is refused here is found by the next start, and by people, as it was.
fn check(options: &StoreOptions, quarantine: &Quarantine, floor: &FloorFile) -> Result<(), OpenError> {
    let damaged = |error: io::Error| quarantine.enter(&error);
    let path = database_path(&options.folder);
    if !open_database(quarantine, Db::is_complete(&path))? {
        // The floor is made when the database is complete.
        return match floor {
            FloorFile::Missing => Ok(()),
            _ => Err(quarantine.enter(&"the database is gone, though this node has used one")),
        };
    }
    let db = open_database(quarantine, Db::open_read_only(&path))?;
    let format: Option<u32> = db.get_meta(meta_key::FORMAT).map_err(damaged)?;
    let marker: Option<Marker> = db.get_meta(meta_key::MARKER).map_err(damaged)?;
    check_format(options, format)?;
    let promised_to = match floor {
        FloorFile::Found(record, _) => Some(record.marker),
        _ => None,
    };
    if let Some(found) = marker.or(promised_to) {
        check_owner(options, found)?;
    }
    let held = Held::read(&db).map_err(damaged)?;
    if format.is_none() && !held.is_nothing() {
        return Err(quarantine.enter(&"the database has lost the number of its format"));
    }
    match floor {
        FloorFile::Found(record, _) => match held.less_than(record) {
            Some(reason) => Err(quarantine.enter(&reason)),
            None => Ok(()),
        },
        FloorFile::Damaged => {
            Err(quarantine.enter(&"the file 'floor' can't be read: neither of its slots is whole"))
        }
        FloorFile::Missing if format.is_some_and(|format| format >= WITH_FLOOR) && !held.is_nothing() => {
            Err(quarantine.enter(&"the file 'floor' is gone, though the database holds a log"))
        }
        FloorFile::Missing => Ok(()),
    }
}

/// What a database holds of what a node promises.
struct Held {
    last: Option<LogId>,
    vote: Option<Vote>,
}

impl Held {
    fn read(db: &Db) -> io::Result<Held> {
        let logged = match db.last(Family::Log)? {
            Some((_, record)) => Some(LogId::from(codec::decode::<EntryRecord>(&record)?.log_id())),
            None => None,
        };
        let purged: Option<LogIdRecord> = db.get_meta(meta_key::PURGED)?;
        // What was applied from a snapshot was never in the log.
        let applied: Option<LogIdRecord> = db.get_meta(meta_key::APPLIED)?;
        let vote: Option<VoteRecord> = db.get_meta(meta_key::VOTE)?;
        let last = logged.max(purged.map(LogId::from)).max(applied.map(LogId::from));
        Ok(Held { last, vote: vote.map(Vote::from) })
    }

    fn is_nothing(&self) -> bool {
        self.last.is_none() && self.vote.is_none()
    }

    /// Says what is missing, if this is less than what was promised.
    fn less_than(&self, floor: &FloorRecord) -> Option<String> {
        if self.last < floor.last() {
            return Some(format!(
                "its log ends at {}, though entries up to {} were synced",
                shown(self.last),
                shown(floor.last())
            ));
        }
        match floor.vote() {
            // Votes of one term for two candidates have no order: that is no vote kept either.
            Some(promised)
                if self.vote.is_none_or(|vote| vote < promised || vote.partial_cmp(&promised).is_none()) =>
            {
                Some(format!(
                    "its vote is {}, though {promised} was synced",
                    self.vote.map_or_else(|| "none".to_owned(), |vote| vote.to_string())
                ))
            }
            _ => None,
        }
    }
}

fn shown(id: Option<LogId>) -> String {
    id.map_or_else(
        || "nothing".to_owned(),
        |id| format!("index {} of term {}", id.index(), id.committed_leader_id().term),
    )
}

/// Brings a checked store to the present format: marker, floor, format number, in this order, each
/// synced before the next.
fn settle(db: &Db, options: &StoreOptions, floor: FloorFile, failure: &Failure) -> io::Result<Floor> {
    let path = Floor::path(&options.folder);
    if db.get_meta::<Marker>(meta_key::MARKER)?.is_none() {
        put_synced(db, meta_key::MARKER, &options.marker)?;
    }
    let (record, slot) = match floor {
        FloorFile::Found(record, slot) => (record, slot),
        FloorFile::Missing | FloorFile::Damaged => {
            let held = Held::read(db)?;
            // A promise is made only of what is on disk for certain.
            db.sync()?;
            let record = FloorRecord::new(options.marker, held.last, held.vote);
            Floor::create(&path, &record)?;
            (record, 0)
        }
    };
    failpoint::pass("store.open.floor");
    if db.get_meta::<u32>(meta_key::FORMAT)? != Some(FORMAT) {
        put_synced(db, meta_key::FORMAT, &FORMAT)?;
    }
    failpoint::pass("store.open.format");
    let floor = Floor::open(&path, record, slot, failure.clone())?;
    // What a crash has left above the floor was synced by whoever has read it here: it is promised from now on.
    let held = Held::read(db)?;
    db.sync()?;
    floor.raise(held.last, held.vote)?;
    Ok(floor)
}

fn put_synced<T: Serialize>(db: &Db, key: &[u8], value: &T) -> io::Result<()> {
    let mut batch = WriteBatch::default();
    db.put_meta(&mut batch, key, value)?;
    db.write(batch)?;
    db.sync()
}

/// What the note of a quarantine says of the store at `folder`, if there is one: also one that was written while
/// the node ran.
pub fn noted_damage(folder: &Path) -> Option<OpenError> {
    Quarantine::new(folder).check().err()
}

/// What a stopped node's database holds.
#[derive(Debug, Clone)]
pub struct RecomputedDigest {
    /// Whose it is.
    pub marker: Option<Marker>,
    /// The last applied entry.
    pub applied: Option<LogId>,
    /// The digest that was kept up to date while the node ran.
    pub stored: Digest,
    /// The digest of the rows that are there now.
    pub recomputed: Digest,
    /// How many rows there are.
    pub rows: u64,
}

/// The state in the store at `folder`, read without changing anything; none if there is none, or it can't
/// be read, which whoever opens the store is told.
pub fn read_state(folder: &Path) -> Option<State> {
    let db = Db::open_read_only(&database_path(folder)).ok()?;
    recover(&db).ok().map(|recovered| recovered.state)
}

/// Recomputes the digest of a stopped node's state from its rows. Changes nothing, but for the
/// note of a quarantine if it finds damage. Blocks on the disk.
///
/// # Errors
/// [`OpenError::Rocks`] or [`OpenError::Damaged`].
pub fn recompute_digest(folder: &Path) -> Result<RecomputedDigest, OpenError> {
    let quarantine = Quarantine::new(folder);
    let damaged = |error: io::Error| quarantine.enter(&error);
    let db = open_database(&quarantine, Db::open_read_only(&database_path(folder)))?;
    let (mut recomputed, mut rows) = (Digest::default(), 0);
    db.scan(Family::State, &[], |key, row| {
        recomputed.add(key, row);
        rows += 1;
        Ok(true)
    })
    .map_err(damaged)?;
    let read = || -> io::Result<_> {
        let applied: Option<LogIdRecord> = db.get_meta(meta_key::APPLIED)?;
        Ok((db.get_meta(meta_key::MARKER)?, applied, db.get_meta(meta_key::DIGEST)?))
    };
    let (marker, applied, stored) = read().map_err(damaged)?;
    Ok(RecomputedDigest {
        marker,
        applied: applied.map(LogId::from),
        stored: stored.unwrap_or_default(),
        recomputed,
        rows,
    })
}
