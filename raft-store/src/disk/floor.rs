//! The floor: what this node has promised to have on disk, kept beside the database.
//!
//! RocksDB can't tell a torn tail, which was never synced and may be dropped, from a cut inside what
//! was synced. So the last synced log id and vote are written into a small file of their own, after
//! the sync that they tell of and never before, and a node whose database holds less refuses to start:
//! it would vote twice in a term, or deny what it has acknowledged.
//!
//! ```text
//! file := slot (4096) | slot (4096)
//! slot := magic (8) | length u32 little endian | record | SHA-256 of all before (32) | zeros
//! ```
//!
//! One slot holds what was synced last. The other takes every write until it is synced itself: a
//! power loss may tear it, and then the first one counts.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{failure::Failure, open::Marker};
use crate::{
    codec, failpoint,
    raft_types::{LogId, Vote},
    records::{LogIdRecord, VoteRecord},
};

const MAGIC: &[u8; 8] = b"QRSTFLOR";
const SLOT_BYTES: usize = 4096;
const HEAD_BYTES: usize = 12;
const HASH_BYTES: usize = 32;
/// A written floor is synced after this time at the latest.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// What a node has promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FloorRecord {
    /// Counts the writes: the higher of two slots is the newer one.
    sequence: u64,
    /// Whose promise it is.
    pub(super) marker: Marker,
    /// The last log id that was synced.
    last: Option<LogIdRecord>,
    /// The vote that was synced.
    vote: Option<VoteRecord>,
}

impl FloorRecord {
    /// The floor of a store that holds this.
    pub(super) fn new(marker: Marker, last: Option<LogId>, vote: Option<Vote>) -> Self {
        FloorRecord { sequence: 0, marker, last: last.map(Into::into), vote: vote.map(Into::into) }
    }

    /// The last log id that was synced.
    pub(super) fn last(&self) -> Option<LogId> {
        self.last.map(LogId::from)
    }

    /// The vote that was synced.
    pub(super) fn vote(&self) -> Option<Vote> {
        self.vote.map(Vote::from)
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        let record = codec::encode(self)?;
        let mut slot = Vec::with_capacity(HEAD_BYTES + record.len() + HASH_BYTES);
        slot.extend_from_slice(MAGIC);
        slot.extend_from_slice(&(record.len() as u32).to_le_bytes());
        slot.extend_from_slice(&record);
        let hash = Sha256::digest(&slot);
        slot.extend_from_slice(&hash);
        Ok(slot)
    }

    /// Reads a slot; none if it is empty, torn, or of no format that this version reads.
    fn decode(slot: &[u8]) -> Option<Self> {
        let length = u32::from_le_bytes(slot.get(8..HEAD_BYTES)?.try_into().ok()?) as usize;
        let end = HEAD_BYTES.checked_add(length)?;
        let hash = slot.get(end..end.checked_add(HASH_BYTES)?)?;
        if !slot.starts_with(MAGIC) || Sha256::digest(&slot[..end])[..] != *hash {
            return None;
        }
        codec::decode(&slot[HEAD_BYTES..end]).ok()
    }
}

/// What the file beside the database says.
pub(super) enum FloorFile {
    /// There is none.
    Missing,
    /// Neither slot can be read.
    Damaged,
    /// The newer of its slots, and which one that is.
    Found(FloorRecord, usize),
}

impl FloorFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it is there and the disk refuses to read it.
    pub(super) fn read(path: &Path) -> io::Result<FloorFile> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FloorFile::Missing),
            Err(error) => return Err(error),
        };
        let newest = bytes
            .chunks(SLOT_BYTES)
            .take(2)
            .enumerate()
            .filter_map(|(slot, bytes)| FloorRecord::decode(bytes).map(|record| (record, slot)))
            .max_by_key(|(record, _)| record.sequence);
        Ok(match newest {
            Some((record, slot)) => FloorFile::Found(record, slot),
            None => FloorFile::Damaged,
        })
    }
}

/// The floor of an open store.
pub(super) struct Floor {
    shared: Arc<Shared>,
    syncer: Option<JoinHandle<()>>,
}

struct Shared {
    file: File,
    state: Mutex<FloorState>,
    changed: Condvar,
    failure: Failure,
}

struct FloorState {
    record: FloorRecord,
    /// The slot that holds what was synced last; the other one is written.
    synced: usize,
    /// Whether something was written since.
    dirty: bool,
    closing: bool,
}

impl Floor {
    /// Where the floor of the store in `folder` is.
    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join("floor")
    }

    /// Makes the file, whole or not at all, synced.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub(super) fn create(path: &Path, record: &FloorRecord) -> io::Result<()> {
        let mut content = record.encode()?;
        content.resize(2 * SLOT_BYTES, 0);
        let new = path.with_extension("new");
        let file = File::create(&new)?;
        file.write_all_at(&content, 0)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        sync_folder(path)
    }

    /// Opens the file that holds `record` in `slot`. What is written from now on is synced within a
    /// second; if that fails, so does the store, by `failure`.
    ///
    /// # Errors
    /// Whatever the system answers.
    pub(super) fn open(path: &Path, record: FloorRecord, slot: usize, failure: Failure) -> io::Result<Floor> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        // What was read may be in the page cache alone: a power loss must find it, or the slot before.
        file.sync_data()?;
        let state = FloorState { record, synced: slot, dirty: false, closing: false };
        let shared = Arc::new(Shared { file, state: Mutex::new(state), changed: Condvar::new(), failure });
        let syncing = shared.clone();
        let syncer = thread::Builder::new().name("raft-floor".into()).spawn(move || syncing.keep_synced())?;
        Ok(Floor { shared, syncer: Some(syncer) })
    }

    /// Follows a completed sync of the database: up to `last`, and of `vote` if one was saved, which is
    /// synced here at once.
    ///
    /// # Errors
    /// Whatever the disk answers; it is final.
    pub(super) fn raise(&self, last: Option<LogId>, vote: Option<Vote>) -> io::Result<()> {
        let mut state = self.shared.state();
        if let Some(last) = last {
            // A snapshot that covers less than the log takes nothing back.
            state.record.last = state.record.last().max(Some(last)).map(Into::into);
        }
        if let Some(vote) = vote {
            state.record.vote = Some(vote.into());
        }
        self.shared.write(&mut state)?;
        failpoint::pass("store.floor.written");
        if vote.is_some() { self.shared.sync(&mut state) } else { Ok(()) }
    }

    /// Takes back what is promised behind `last`, durably: what follows there is about to be truncated.
    ///
    /// # Errors
    /// Whatever the disk answers; it is final.
    pub(super) fn lower(&self, last: Option<LogId>) -> io::Result<()> {
        let mut state = self.shared.state();
        if state.record.last() <= last {
            return Ok(());
        }
        state.record.last = last.map(Into::into);
        self.shared.write(&mut state)?;
        self.shared.sync(&mut state)?;
        failpoint::pass("store.floor.lowered");
        Ok(())
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.changed.notify_one();
        if let Some(syncer) = self.syncer.take() {
            // A panic in the thread was printed by the panic hook already.
            let _ = syncer.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, FloorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, state: &mut FloorState) -> io::Result<()> {
        state.record.sequence += 1;
        let slot = 1 - state.synced;
        self.file.write_all_at(&state.record.encode()?, (slot * SLOT_BYTES) as u64)?;
        if !state.dirty {
            state.dirty = true;
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Syncs what was written. Writers wait meanwhile: a slot must not change under its sync.
    fn sync(&self, state: &mut FloorState) -> io::Result<()> {
        if state.dirty {
            self.file.sync_data()?;
            state.synced = 1 - state.synced;
            state.dirty = false;
            failpoint::pass("store.floor.synced");
        }
        Ok(())
    }

    fn keep_synced(&self) {
        let mut state = self.state();
        loop {
            while !state.dirty && !state.closing {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let since = state.record.sequence;
            // Until a second has passed, or the store closes.
            let waiting = |state: &mut FloorState| !state.closing;
            let waited = self.changed.wait_timeout_while(state, SYNC_AFTER, waiting);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = self.sync(&mut state) {
                tracing::error!(%error, since, "the floor can't be synced; this node stops");
                self.failure.set(&error);
                return;
            }
            if state.closing {
                return;
            }
        }
    }
}

/// Syncs the folder that holds `path`.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use quorate_license::{ClusterId, Epoch, EpochId, NodeId};

    use super::*;
    use crate::raft_types::log_id;

    fn marker() -> Marker {
        let epoch = Epoch { number: 1, id: EpochId([2; 16]) };
        Marker { cluster_id: ClusterId([1; 16]), epoch, node: NodeId(1) }
    }

    fn found(path: &Path) -> (FloorRecord, usize) {
        match FloorFile::read(path).unwrap() {
            FloorFile::Found(record, slot) => (record, slot),
            _ => panic!("no floor"),
        }
    }

    fn reopen(path: &Path) -> Floor {
        let (record, slot) = found(path);
        Floor::open(path, record, slot, Failure::default()).unwrap()
    }

    #[test]
    fn what_was_raised_is_there_and_lowered_only_on_purpose() {
        let folder = tempfile::tempdir().unwrap();
        let path = Floor::path(folder.path());
        assert!(matches!(FloorFile::read(&path).unwrap(), FloorFile::Missing));
        Floor::create(&path, &FloorRecord::new(marker(), None, None)).unwrap();
        let vote = Vote::new_committed(3, NodeId(2));
        {
            let floor = reopen(&path);
            floor.raise(Some(log_id(1, 7)), None).unwrap();
            floor.raise(None, Some(vote)).unwrap();
            floor.raise(Some(log_id(3, 9)), None).unwrap();
            floor.raise(Some(log_id(2, 8)), None).unwrap();
            floor.lower(Some(log_id(3, 12))).unwrap();
        }
        let (record, _) = found(&path);
        assert_eq!((record.last(), record.vote()), (Some(log_id(3, 9)), Some(vote)));
        {
            let floor = reopen(&path);
            floor.lower(Some(log_id(1, 7))).unwrap();
        }
        assert_eq!(found(&path).0.last(), Some(log_id(1, 7)));
    }

    #[test]
    fn a_torn_write_leaves_what_was_synced_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = Floor::path(folder.path());
        Floor::create(&path, &FloorRecord::new(marker(), Some(log_id(1, 1)), None)).unwrap();
        let synced = std::fs::read(&path).unwrap();
        // Many writes and no sync: all go into one slot.
        let shared = Shared {
            file: OpenOptions::new().write(true).open(&path).unwrap(),
            state: Mutex::new(FloorState { record: found(&path).0, synced: 0, dirty: false, closing: false }),
            changed: Condvar::new(),
            failure: Failure::default(),
        };
        for index in 2..100 {
            let mut state = shared.state();
            state.record.last = Some(log_id(1, index).into());
            shared.write(&mut state).unwrap();
        }
        let written = std::fs::read(&path).unwrap();
        assert_eq!(found(&path).0.last(), Some(log_id(1, 99)));
        for cut in SLOT_BYTES..SLOT_BYTES + 200 {
            let torn = [&written[..cut], &synced[cut..]].concat();
            std::fs::write(&path, torn).unwrap();
            let last = found(&path).0.last();
            assert!(last == Some(log_id(1, 1)) || last == Some(log_id(1, 99)), "cut at {cut}: {last:?}");
        }
    }
}
