//! Opening a store: database, log, state machine, snapshots, threads.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use quorate_license::{ClusterId, Epoch, NodeId};
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::{
    db::{Db, Family, OpenError, meta_key},
    io::IoThreads,
    log_store::{LogStore, load_cache},
    metrics::StoreMetrics,
    snapshot::SnapshotFolder,
    snapshot_file::{SnapshotError, SnapshotReceiver},
    state_machine::{StateMachine, recover},
};
use crate::{digest::Digest, raft_types::LogId, records::LogIdRecord, view::Views};

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
}

impl Store {
    /// Opens the store, or makes it if the folder is empty. Blocks on the disk.
    ///
    /// # Errors
    /// Every [`OpenError`]. Nothing is changed on disk then.
    pub fn open(options: &StoreOptions) -> Result<Store, OpenError> {
        let folder_error = |source| OpenError::Io { path: options.folder.clone(), source };
        std::fs::create_dir_all(&options.folder).map_err(folder_error)?;
        let db = Arc::new(Db::open(&database_path(&options.folder))?);
        check_marker(&db, &options.marker)?;
        let cache = load_cache(&db).map_err(|error| db.damaged(&error))?;
        let recovered = recover(&db).map_err(|error| db.damaged(&error))?;
        let snapshots =
            Arc::new(SnapshotFolder::open(&options.folder.join("snapshots")).map_err(folder_error)?);
        let cache = Arc::new(Mutex::new(cache));
        let threads = Arc::new(IoThreads::start(&db, &cache, &options.metrics).map_err(folder_error)?);
        let log = LogStore::new(db.clone(), cache, threads.clone()).map_err(|error| db.damaged(&error))?;
        let machine = StateMachine::new(recovered, db, threads, snapshots.clone());
        let views = machine.views();
        Ok(Store { log, machine, views, incoming: IncomingSnapshots { folder: snapshots } })
    }
}

fn database_path(folder: &Path) -> PathBuf {
    folder.join("db")
}

fn check_marker(db: &Db, marker: &Marker) -> Result<(), OpenError> {
    match db.get_meta::<Marker>(meta_key::MARKER).map_err(|error| db.damaged(&error))? {
        Some(found) if found == *marker => Ok(()),
        Some(found) => Err(db.foreign(found.to_string(), marker.to_string())),
        None => {
            let mut batch = WriteBatch::default();
            db.put_meta(&mut batch, meta_key::MARKER, marker)
                .and_then(|()| db.write(batch))
                .and_then(|()| db.sync())
                .map_err(|error| db.damaged(&error))
        }
    }
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

/// Recomputes the digest of a stopped node's state from its rows. Blocks on the disk.
///
/// # Errors
/// Every [`OpenError`]; the database of a running node is locked.
pub fn recompute_digest(folder: &Path) -> Result<RecomputedDigest, OpenError> {
    let db = Db::open(&database_path(folder))?;
    let (mut recomputed, mut rows) = (Digest::default(), 0);
    db.scan(Family::State, &[], |key, row| {
        recomputed.add(key, row);
        rows += 1;
        Ok(true)
    })
    .map_err(|error| db.damaged(&error))?;
    let read = || -> std::io::Result<_> {
        let applied: Option<LogIdRecord> = db.get_meta(meta_key::APPLIED)?;
        Ok((db.get_meta(meta_key::MARKER)?, applied, db.get_meta(meta_key::DIGEST)?))
    };
    let (marker, applied, stored) = read().map_err(|error| db.damaged(&error))?;
    Ok(RecomputedDigest {
        marker,
        applied: applied.map(LogId::from),
        stored: stored.unwrap_or_default(),
        recomputed,
        rows,
    })
}
