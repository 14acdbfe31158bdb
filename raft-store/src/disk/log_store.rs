//! openraft's log storage: an adaptor over the cache, the raft-io thread and RocksDB.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openraft::{OptionalSend, RaftLogReader, storage::RaftLogStorage};
use tokio::sync::oneshot;

use super::{
    db::{Db, Family, meta_key},
    io::{IoThreads, RaftOp, finished, log_key},
    log_cache::{LogCache, payload_bytes},
    quarantine::Quarantine,
};
use crate::{
    codec,
    raft_types::{Entry, IoFlushed, LogId, LogState, TypeConfig, Vote},
    records::{EntryRecord, LogIdRecord, VoteRecord},
};

/// Entries of about this many bytes are sent to a follower at once.
const MAX_APPEND_BYTES: usize = 4 << 20;

/// The log and the vote of one node.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
}

/// Reads entries for replication and apply.
#[derive(Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

struct Shared {
    db: Arc<Db>,
    cache: Arc<Mutex<LogCache>>,
    threads: Arc<IoThreads>,
    vote: Mutex<Option<Vote>>,
    quarantine: Quarantine,
}

impl LogStore {
    pub(super) fn new(
        db: Arc<Db>,
        cache: Arc<Mutex<LogCache>>,
        threads: Arc<IoThreads>,
        quarantine: Quarantine,
    ) -> io::Result<LogStore> {
        let vote: Option<VoteRecord> = db.get_meta(meta_key::VOTE)?;
        let vote = Mutex::new(vote.map(Vote::from));
        Ok(LogStore { shared: Arc::new(Shared { db, cache, threads, vote, quarantine }) })
    }

    /// Index of the last entry, or of the last one that was purged; 0 if there is neither.
    pub(super) fn last_index(&self) -> u64 {
        self.shared.cache().end().saturating_sub(1)
    }
}

/// Reads where the log on disk begins and ends, and checks that it has no hole.
pub(super) fn load_cache(db: &Db) -> io::Result<LogCache> {
    let purged: Option<LogIdRecord> = db.get_meta(meta_key::PURGED)?;
    let purged = purged.map(LogId::from);
    let mut expected = purged.map_or(0, |id| id.index() + 1);
    let first = expected;
    db.scan(Family::Log, &log_key(first), |key, _| {
        if key != log_key(expected) {
            return Err(damaged(format!("log entry {expected} is missing, though later ones are there")));
        }
        expected += 1;
        Ok(true)
    })?;
    let last = match db.last(Family::Log)? {
        Some((_, record)) if expected > first => Some(decode(&record)?.log_id),
        _ => None,
    };
    Ok(LogCache::new(purged, last))
}

fn decode(record: &[u8]) -> io::Result<Entry> {
    Ok(codec::decode::<EntryRecord>(record)?.into())
}

fn damaged(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

impl Shared {
    fn cache(&self) -> MutexGuard<'_, LogCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn vote(&self) -> MutexGuard<'_, Option<Vote>> {
        self.vote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries of `from..to` that the log holds: from the cache, what is older from the disk. The disk gives no
    /// more than `most_bytes` of them, and one at least.
    async fn read(self: &Arc<Self>, from: u64, to: u64, most_bytes: usize) -> io::Result<Vec<Entry>> {
        loop {
            let (from, to, first_cached, mut cached) = {
                let cache = self.cache();
                let (from, to) = (from.max(cache.begin()), to.min(cache.end()));
                if from >= to {
                    return Ok(Vec::new());
                }
                (from, to, cache.first_cached(), cache.read(from, to))
            };
            if from >= first_cached {
                return Ok(cached);
            }
            let shared = self.clone();
            let to = to.min(first_cached);
            let read = tokio::task::spawn_blocking(move || {
                let read = shared.read_disk(from, to, most_bytes);
                read.inspect_err(|error| shared.quarantine.look_at(error))
            });
            // Otherwise the log has become another one meanwhile, and is looked at again.
            let Some(mut entries) = read.await.map_err(io::Error::other)?? else { continue };
            // What the cache has does not follow on what was cut short.
            let cut_short = entries.last().is_some_and(|last| last.log_id.index() + 1 < to);
            if !cut_short {
                entries.append(&mut cached);
            }
            return Ok(entries);
        }
    }

    /// The entries of `from..to`, which the disk held when the caller looked; none if some of them were purged or
    /// truncated since.
    fn read_disk(&self, from: u64, to: u64, most_bytes: usize) -> io::Result<Option<Vec<Entry>>> {
        let mut missing = from;
        // What the disk must hold and does not is looked for twice: it may have been truncated and written again.
        for _ in 0..2 {
            let (mut entries, mut bytes) = (Vec::new(), 0);
            missing = from;
            self.db.scan(Family::Log, &log_key(from), |key, record| {
                if missing == to || key != log_key(missing) {
                    return Ok(false);
                }
                entries.push(decode(record)?);
                bytes += record.len();
                missing += 1;
                Ok(missing < to && bytes < most_bytes)
            })?;
            if missing == to || bytes >= most_bytes {
                return Ok(Some(entries));
            }
            if !self.cache().on_disk().contains(&missing) {
                return Ok(None);
            }
        }
        Err(damaged(format!("log entry {missing} is missing, though the log should hold it")))
    }
}

/// Turns a range into `from..to`.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(&index) => index,
        Bound::Excluded(&index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(&index) => index.saturating_add(1),
        Bound::Excluded(&index) => index,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        self.shared.read(from, to, usize::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(*self.shared.vote())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let mut entries = self.shared.read(start, end, MAX_APPEND_BYTES).await?;
        let mut bytes = 0;
        let fitting = entries.iter().take_while(|entry| {
            bytes += payload_bytes(entry);
            bytes <= MAX_APPEND_BYTES
        });
        // At least one: an entry is never larger than what the network takes.
        let keep = fitting.count().max(1);
        entries.truncate(keep);
        Ok(entries)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = bounds(&range);
        self.shared.read(from, to, usize::MAX).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(*self.shared.vote())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState, io::Error> {
        let cache = self.shared.cache();
        Ok(LogState { last_purged_log_id: cache.purged, last_log_id: cache.last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader { shared: self.shared.clone() }
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, result) = oneshot::channel();
        self.shared.threads.raft(RaftOp::Vote(*vote, done)).await?;
        finished(result).await?;
        *self.shared.vote() = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.shared.threads.raft(RaftOp::Committed(committed)).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let shared = self.shared.clone();
        let committed = tokio::task::spawn_blocking(move || shared.db.get_meta(meta_key::COMMITTED))
            .await
            .map_err(io::Error::other)??;
        Ok(committed.flatten().map(|record: LogIdRecord| record.into()))
    }

    async fn append<I>(&mut self, entries: I, callback: IoFlushed) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut encoded = Vec::new();
        let mut last = None;
        {
            let mut cache = self.shared.cache();
            for entry in entries {
                let id = entry.log_id;
                encoded.push((id.index(), codec::encode(&EntryRecord::from(&entry))?));
                if !cache.push(entry) {
                    return Err(damaged(format!(
                        "appending log entry {} would leave a hole behind {}",
                        id.index(),
                        cache.end()
                    )));
                }
                last = Some(id);
            }
        }
        match last {
            Some(last) => {
                self.shared.threads.raft(RaftOp::Append { entries: encoded, last, flushed: callback }).await
            }
            None => {
                callback.io_completed(Ok(()));
                Ok(())
            }
        }
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let (from, end) = {
            let mut cache = self.shared.cache();
            let end = cache.end();
            cache.truncate_after(last_log_id);
            (last_log_id.map_or(0, |id| id.index() + 1), end)
        };
        if from >= end {
            return Ok(());
        }
        let (done, result) = oneshot::channel();
        self.shared.threads.raft(RaftOp::Truncate { last: last_log_id, end, done }).await?;
        finished(result).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        // The state of what is purged must be written before: no log could repeat it.
        self.shared.threads.written().await?;
        let begin = {
            let mut cache = self.shared.cache();
            let begin = cache.begin();
            cache.purge(log_id);
            begin
        };
        let (done, result) = oneshot::channel();
        self.shared.threads.raft(RaftOp::Purge { begin, upto: log_id, done }).await?;
        finished(result).await
    }
}
