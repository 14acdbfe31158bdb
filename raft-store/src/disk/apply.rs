//! The thread that writes what applied entries changed.
//!
//! Without a sync, into the write-ahead log that the entries are in, and nobody waits for it: an answer is
//! as good as the synced entry behind it, and whatever a crash takes of the state is applied again from
//! the log. So what the log no longer holds must be written: a purge waits for it, and an installed
//! snapshot is synced. Before a snapshot gets its name the log is synced too, so that a truncation is never
//! lost under a snapshot that took it for granted.
//!
//! A quorum may have an entry before this node has written it, so a crash can leave a state that is
//! ahead of the log: openraft finds that at start and drops the log up to there.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use rocksdb::WriteBatch;
use tokio::sync::mpsc;

use super::{
    db::{Db, Family, meta_key},
    io::{Disk, Done},
};
use crate::{
    digest::Digest,
    failpoint,
    mutant::{self, Mutant},
    raft_types::{LogId, StoredMembership},
    records::{LogIdRecord, StoredMembershipRecord},
    state::Change,
};

/// Requests that may wait before apply is held back; each may hold the changes of many entries.
pub(super) const QUEUE: usize = 64;
/// Changed rows that become one batch, about.
const MAX_ROWS: usize = 4096;
/// etcd warns of applies that take longer.
const SLOW: Duration = Duration::from_millis(100);

/// What some applied entries changed.
pub(super) struct Applied {
    /// The changed rows.
    pub(super) rows: Vec<Change>,
    /// Where the entries end.
    pub(super) position: Position,
}

/// Where the state is.
pub(super) struct Position {
    /// The last applied entry.
    pub(super) applied: Option<LogId>,
    /// The membership, if one of the entries changed it.
    pub(super) membership: Option<Arc<StoredMembership>>,
    /// Digest of the state.
    pub(super) digest: Digest,
}

impl Position {
    /// Adds the position to a batch that writes the state as of it.
    pub(super) fn put(&self, db: &Db, batch: &mut WriteBatch) -> io::Result<()> {
        if let Some(applied) = self.applied {
            db.put_meta(batch, meta_key::APPLIED, &LogIdRecord::from(applied))?;
        }
        if let Some(membership) = &self.membership {
            db.put_meta(batch, meta_key::MEMBERSHIP, &StoredMembershipRecord::from(&**membership))?;
        }
        db.put_meta(batch, meta_key::DIGEST, &self.digest)
    }
}

/// One request to the thread.
pub(super) enum ApplyOp {
    /// Write what applied entries changed; nobody waits.
    Applied(Applied),
    /// Write an installed snapshot, which covers the log up to this id, and sync it: no log could repeat
    /// it.
    Installed(WriteBatch, Option<LogId>, Done),
    /// Done once everything before is written.
    Written(Done),
    /// Done once everything before is synced, and whatever raft-io has written by then.
    Synced(Done),
}

/// The thread.
pub(super) struct RaftApply {
    disk: Disk,
}

impl RaftApply {
    pub(super) fn new(disk: Disk) -> Self {
        RaftApply { disk }
    }

    /// Serves until the sender is gone, and what waits is done.
    pub(super) fn run(self, mut requests: mpsc::Receiver<ApplyOp>) {
        let mut next = None;
        while let Some(op) = next.take().or_else(|| requests.blocking_recv()) {
            match op {
                ApplyOp::Applied(first) => {
                    let mut group = vec![first];
                    next = gather(&mut group, &mut requests);
                    let result = self.write_applied(&group);
                    self.disk.fail_on(&result, "writing applied entries");
                }
                ApplyOp::Installed(batch, upto, done) => {
                    let result = self.write(batch).and_then(|()| self.sync(upto));
                    self.disk.fail_on(&result, "writing a snapshot");
                    drop(done.send(result));
                }
                ApplyOp::Written(done) => drop(done.send(self.disk.failure.check())),
                ApplyOp::Synced(done) => {
                    let result = self.disk.failure.check().and_then(|()| self.disk.sync());
                    self.disk.fail_on(&result, "syncing the log before a snapshot");
                    drop(done.send(result));
                }
            }
        }
    }

    fn write_applied(&self, group: &[Applied]) -> io::Result<()> {
        let db = &self.disk.db;
        let mut batch = WriteBatch::default();
        for change in group.iter().flat_map(|applied| &applied.rows) {
            match &change.after {
                Some(row) => db.put(&mut batch, Family::State, &change.key, row)?,
                None => db.delete(&mut batch, Family::State, &change.key)?,
            }
        }
        if mutant::active(Mutant::ApplyInTwo) {
            self.write(std::mem::take(&mut batch))?;
        }
        // A later position takes the place of an earlier one, but for a membership that it does not name.
        group.iter().try_for_each(|applied| applied.position.put(db, &mut batch))?;
        self.write(batch)
    }

    fn write(&self, batch: WriteBatch) -> io::Result<()> {
        self.disk.failure.check()?;
        failpoint::pass("store.apply.begun");
        let started = Instant::now();
        self.disk.db.write(batch)?;
        let took = started.elapsed();
        self.disk.metrics.apply_commit.observe(took.as_secs_f64());
        if took > SLOW {
            self.disk.metrics.slow_applies.inc();
        }
        // What fails behind RocksDB's back, in writing tables, is as final as what fails here.
        self.disk.db.check_background()?;
        failpoint::pass("store.apply.written");
        Ok(())
    }

    fn sync(&self, upto: Option<LogId>) -> io::Result<()> {
        self.disk.sync()?;
        self.disk.floor.raise(upto, None)
    }
}

/// Adds what else waits to `group`, up to a request of another kind, which is returned.
fn gather(group: &mut Vec<Applied>, requests: &mut mpsc::Receiver<ApplyOp>) -> Option<ApplyOp> {
    let mut rows: usize = group.iter().map(|applied| applied.rows.len()).sum();
    while rows < MAX_ROWS {
        match requests.try_recv().ok()? {
            ApplyOp::Applied(applied) => {
                rows += applied.rows.len();
                group.push(applied);
            }
            other => return Some(other),
        }
    }
    None
}
