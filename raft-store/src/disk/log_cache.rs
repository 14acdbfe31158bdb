//! The newest log entries in memory.
//!
//! An appended entry is readable from here at once, before the raft-io thread has written it. What
//! has not been written yet is never evicted; what has been may be, oldest first, by size.

use std::{collections::VecDeque, ops::Range};

use crate::raft_types::{Entry, EntryPayload, LogId};

/// Beyond this many payload bytes, written entries leave the cache.
const CAPACITY_BYTES: usize = 4 << 20;
/// Beyond this many entries, written entries leave the cache.
const CAPACITY_ENTRIES: usize = 8192;

/// A run of consecutive entries at the end of the log, and where the log begins and ends.
#[derive(Default)]
pub(super) struct LogCache {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Index of the first entry of a log from which nothing was purged yet.
    first: u64,
    /// Last purged id.
    pub(super) purged: Option<LogId>,
    /// Last id of the log, cached or not.
    pub(super) last: Option<LogId>,
    /// Everything up to this index is in RocksDB.
    written: u64,
}

impl LogCache {
    /// A cache for a log that is on disk from behind `purged` to `last`.
    pub(super) fn new(purged: Option<LogId>, last: Option<LogId>) -> Self {
        let last = last.max(purged);
        LogCache { purged, last, written: last.map_or(0, |id| id.index()), ..Self::default() }
    }

    /// Index of the first cached entry, or one behind the log's end if none is cached.
    pub(super) fn first_cached(&self) -> u64 {
        self.entries.front().map_or_else(|| self.end(), |entry| entry.log_id.index())
    }

    /// One behind the index of the last entry.
    pub(super) fn end(&self) -> u64 {
        self.last.map_or(0, |id| id.index() + 1)
    }

    /// The first index that the log holds.
    pub(super) fn begin(&self) -> u64 {
        self.purged.map_or(self.first, |id| id.index() + 1)
    }

    /// The entries that only the disk has: what is not written yet never leaves the cache.
    pub(super) fn on_disk(&self) -> Range<u64> {
        self.begin()..self.first_cached().min(self.end())
    }

    /// Adds an entry at the end. False, and nothing done, if it would leave a hole.
    #[must_use]
    pub(super) fn push(&mut self, entry: Entry) -> bool {
        let id = entry.log_id;
        if self.last.is_some() && id.index() != self.end() {
            return false;
        }
        if self.last.is_none() {
            self.first = id.index();
        }
        self.bytes += payload_bytes(&entry);
        self.entries.push_back(entry);
        self.last = Some(id);
        true
    }

    /// The cached entries in `from..to`.
    pub(super) fn read(&self, from: u64, to: u64) -> Vec<Entry> {
        let first = self.first_cached();
        let skip = from.saturating_sub(first) as usize;
        let take = to.saturating_sub(from.max(first)) as usize;
        self.entries.iter().skip(skip).take(take).cloned().collect()
    }

    /// Everything up to `id` is written now, and may be evicted. Nothing happens if the log holds
    /// another entry there: it was truncated since, and the write of its successor is still to come.
    pub(super) fn set_written(&mut self, id: LogId) {
        let index = id.index();
        let same = match index.checked_sub(self.first_cached()) {
            Some(offset) => self.entries.get(offset as usize).is_some_and(|entry| entry.log_id == id),
            None => false,
        };
        if !same {
            return;
        }
        self.written = self.written.max(index);
        while self.bytes > CAPACITY_BYTES || self.entries.len() > CAPACITY_ENTRIES {
            match self.entries.front() {
                Some(entry) if entry.log_id.index() <= self.written => self.pop_front(),
                _ => break,
            }
        }
    }

    /// Drops everything behind `last`.
    pub(super) fn truncate_after(&mut self, last: Option<LogId>) {
        let end = last.map_or(0, |id| id.index() + 1);
        while self.entries.back().is_some_and(|entry| entry.log_id.index() >= end) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= payload_bytes(&entry);
            }
        }
        self.last = last.min(self.last).max(self.purged);
        self.written = self.written.min(self.end().saturating_sub(1));
    }

    /// Drops everything up to `id`, which becomes the purged one. The log may end before it: then
    /// it continues behind `id`.
    pub(super) fn purge(&mut self, id: LogId) {
        while self.entries.front().is_some_and(|entry| entry.log_id.index() <= id.index()) {
            self.pop_front();
        }
        self.purged = self.purged.max(Some(id));
        self.last = self.last.max(Some(id));
        self.written = self.written.max(id.index());
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= payload_bytes(&entry);
        }
    }
}

/// Bytes of an entry's payload, about.
pub(super) fn payload_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft_types::{EncodedProposal, log_id};

    fn entry(index: u64, bytes: usize) -> Entry {
        Entry {
            log_id: log_id(1, index),
            payload: EntryPayload::Normal(EncodedProposal(vec![0; bytes].into())),
        }
    }

    fn indexes(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.log_id.index()).collect()
    }

    #[test]
    fn what_is_not_written_is_never_evicted() {
        let mut cache = LogCache::new(None, None);
        for index in 0..10 {
            assert!(cache.push(entry(index, CAPACITY_BYTES / 4)));
        }
        cache.set_written(log_id(1, 2));
        assert_eq!(cache.first_cached(), 3);
        cache.set_written(log_id(1, 9));
        assert_eq!(cache.first_cached(), 6);
        assert_eq!(indexes(&cache.read(0, 8)), [6, 7]);
    }

    #[test]
    fn a_late_report_on_a_truncated_entry_does_not_free_its_successor() {
        let mut cache = LogCache::new(None, None);
        for index in 0..3 {
            assert!(cache.push(entry(index, CAPACITY_BYTES)));
        }
        cache.truncate_after(Some(log_id(1, 1)));
        let mut successor = entry(2, CAPACITY_BYTES);
        successor.log_id = log_id(2, 2);
        assert!(cache.push(successor));
        cache.set_written(log_id(1, 2));
        assert_eq!(indexes(&cache.read(0, 3)), [0, 1, 2]);
        cache.set_written(log_id(2, 2));
        assert_eq!(indexes(&cache.read(0, 3)), [2]);
    }

    #[test]
    fn a_hole_is_refused() {
        let mut cache = LogCache::new(None, Some(log_id(1, 4)));
        assert!(!cache.push(entry(6, 1)));
        assert!(cache.push(entry(5, 1)));
    }

    #[test]
    fn truncate_and_purge_move_the_ends() {
        let mut cache = LogCache::new(None, None);
        for index in 0..10 {
            assert!(cache.push(entry(index, 1)));
        }
        cache.truncate_after(Some(log_id(1, 6)));
        assert_eq!((cache.begin(), cache.end()), (0, 7));
        cache.purge(log_id(1, 3));
        assert_eq!(indexes(&cache.read(0, 100)), [4, 5, 6]);
        cache.purge(log_id(2, 20));
        assert_eq!((cache.begin(), cache.end()), (21, 21));
        assert!(cache.push(entry(21, 1)));
    }
}
