//! The two threads that write the database, and the first of them.
//!
//! **raft-io** takes vote, append, truncate and purge in order. It writes all that waits as one
//! batch, syncs the write-ahead log once for all of it (group commit), then completes the callbacks
//! in order. **raft-apply** writes what applied entries changed: see [`super::apply`].
//!
//! A write or sync that fails is final: nobody tries again, every request from then on fails with the
//! first reason, openraft stops, and the node stops with it. What a failed sync left in the page cache
//! can't be known.
//!
//! ```text
//! group of requests ─> [before a truncate: lower the floor] ─> write ─> sync ─> raise the floor
//!                   ─> callbacks, in order
//! ```

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use rocksdb::WriteBatch;
use tokio::sync::{mpsc, oneshot};

use super::{
    apply::{self, Applied, ApplyOp, RaftApply},
    db::{Db, Family, meta_key},
    failure::Failure,
    floor::Floor,
    log_cache::LogCache,
    metrics::StoreMetrics,
    quarantine::Quarantine,
};
use crate::{
    failpoint,
    mutant::{self, Mutant},
    raft_types::{IoFlushed, LogId, Vote},
    records::{LogIdRecord, VoteRecord},
};

/// Requests that may wait for raft-io before callers are held back.
const QUEUE: usize = 4096;
/// Requests that become one batch at most.
const MAX_GROUP: usize = 1024;
/// Bytes that become one batch, about.
const MAX_GROUP_BYTES: usize = 8 << 20;

pub(super) type Done = oneshot::Sender<io::Result<()>>;

/// One request to raft-io.
pub(super) enum RaftOp {
    /// Save the vote; done once it is synced.
    Vote(Vote, Done),
    /// Append encoded entries, the last of which is `last`; the callback once they are synced.
    Append { entries: Vec<(u64, Vec<u8>)>, last: LogId, flushed: IoFlushed },
    /// Remove all entries behind `last` up to `end`, exclusive; done once it is written.
    Truncate { last: Option<LogId>, end: u64, done: Done },
    /// Remove all entries from `begin` to `upto`, inclusive; done once it is written.
    Purge { begin: u64, upto: LogId, done: Done },
    /// Remember the committed id; nobody waits.
    Committed(Option<LogId>),
}

/// The way to the two threads. Dropping it lets them finish what waits, and end.
pub(super) struct IoThreads {
    raft: Option<mpsc::Sender<RaftOp>>,
    apply: Option<mpsc::Sender<ApplyOp>>,
    failure: Failure,
    threads: Vec<JoinHandle<()>>,
}

impl IoThreads {
    /// Starts both threads.
    pub(super) fn start(cache: &Arc<Mutex<LogCache>>, disk: Disk) -> io::Result<IoThreads> {
        let (raft, raft_requests) = mpsc::channel(QUEUE);
        let (apply, apply_requests) = mpsc::channel(apply::QUEUE);
        let failure = disk.failure.clone();
        let raft_io = RaftIo { disk: disk.clone(), cache: cache.clone() };
        let raft_apply = RaftApply::new(disk);
        let threads = vec![
            thread::Builder::new().name("raft-io".into()).spawn(move || raft_io.run(raft_requests))?,
            thread::Builder::new().name("raft-apply".into()).spawn(move || raft_apply.run(apply_requests))?,
        ];
        Ok(IoThreads { raft: Some(raft), apply: Some(apply), failure, threads })
    }

    /// Hands a request to raft-io, in the order of the calls.
    pub(super) async fn raft(&self, op: RaftOp) -> io::Result<()> {
        match &self.raft {
            Some(raft) => raft.send(op).await.map_err(|_| ended("raft-io")),
            None => Err(ended("raft-io")),
        }
    }

    /// Hands over what applied entries changed. It is written later, in the order of the calls.
    ///
    /// # Errors
    /// The store's first failure: what was handed over before may not have been written.
    pub(super) async fn applied(&self, applied: Applied) -> io::Result<()> {
        self.failure.check()?;
        self.to_apply(ApplyOp::Applied(applied)).await
    }

    /// Hands over an installed snapshot, which covers the log up to `upto`, and waits until it is synced.
    pub(super) async fn installed(&self, batch: WriteBatch, upto: Option<LogId>) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        self.to_apply(ApplyOp::Installed(batch, upto, done)).await?;
        result.await.map_err(|_| ended("raft-apply"))?
    }

    /// Waits until everything that was applied before is written.
    pub(super) async fn written(&self) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        self.to_apply(ApplyOp::Written(done)).await?;
        result.await.map_err(|_| ended("raft-apply"))?
    }

    /// Waits until everything that was applied before is synced, and whatever was written of the log: a truncation
    /// that was done is one for ever then.
    pub(super) async fn synced(&self) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        self.to_apply(ApplyOp::Synced(done)).await?;
        result.await.map_err(|_| ended("raft-apply"))?
    }

    async fn to_apply(&self, op: ApplyOp) -> io::Result<()> {
        match &self.apply {
            Some(apply) => apply.send(op).await.map_err(|_| ended("raft-apply")),
            None => Err(ended("raft-apply")),
        }
    }
}

impl Drop for IoThreads {
    fn drop(&mut self) {
        self.raft = None;
        self.apply = None;
        for thread in self.threads.drain(..) {
            // A panic in the thread was printed by the panic hook already.
            let _ = thread.join();
        }
    }
}

/// Waits for the answer to a request that reports by [`Done`].
pub(super) async fn finished(result: oneshot::Receiver<io::Result<()>>) -> io::Result<()> {
    result.await.map_err(|_| ended("raft-io"))?
}

fn ended(thread: &str) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, format!("the {thread} thread has ended"))
}

/// What both threads write to.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) db: Arc<Db>,
    pub(super) floor: Arc<Floor>,
    pub(super) metrics: StoreMetrics,
    pub(super) failure: Failure,
    pub(super) quarantine: Quarantine,
}

impl Disk {
    pub(super) fn sync(&self) -> io::Result<()> {
        let started = Instant::now();
        self.db.sync()?;
        self.metrics.wal_fsync.observe(started.elapsed().as_secs_f64());
        self.metrics.syncs.inc();
        Ok(())
    }

    /// Remembers a failure, once, and says so.
    pub(super) fn fail_on(&self, result: &io::Result<()>, what: &str) {
        if let Err(error) = result
            && self.failure.check().is_ok()
        {
            tracing::error!(%error, "{what} failed; this node stops");
            self.quarantine.look_at(error);
            self.failure.set(error);
        }
    }
}

struct RaftIo {
    disk: Disk,
    cache: Arc<Mutex<LogCache>>,
}

impl RaftIo {
    fn run(self, mut requests: mpsc::Receiver<RaftOp>) {
        let mut ops = Vec::new();
        while let Some(first) = requests.blocking_recv() {
            let mut bytes = op_bytes(&first);
            ops.push(first);
            while ops.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
                let Ok(next) = requests.try_recv() else { break };
                bytes += op_bytes(&next);
                ops.push(next);
            }
            self.serve(ops.drain(..));
        }
    }

    /// Writes a group of requests as one batch, syncs if one of them needs it, completes them.
    fn serve(&self, ops: impl Iterator<Item = RaftOp>) {
        let mut group = Group::default();
        for op in ops {
            group.add(&self.disk, op);
        }
        let steps = group.steps;
        steps.pass("begun");
        let mut result = self.write(&mut group);
        complete(group.written, &result);
        if mutant::active(Mutant::CallbackBeforeSync) {
            complete(std::mem::take(&mut group.synced), &result);
        }
        if result.is_ok() && group.needs_sync {
            result = self.disk.sync();
            steps.pass("synced");
            // Before anybody hears of it: what was acknowledged is never above the floor.
            result = result.and_then(|()| self.disk.floor.raise(group.last, group.vote));
        }
        complete(group.synced, &result);
        self.disk.fail_on(&result, "writing the log");
    }

    fn write(&self, group: &mut Group) -> io::Result<()> {
        self.disk.failure.check()?;
        std::mem::replace(&mut group.encoded, Ok(()))?;
        if let Some(truncated) = group.truncated {
            self.disk.floor.lower(truncated)?;
        }
        self.disk.db.write(std::mem::take(&mut group.batch))?;
        if let Some(last) = group.appended {
            self.cache.lock().unwrap_or_else(PoisonError::into_inner).set_written(last);
        }
        group.steps.pass("written");
        Ok(())
    }
}

/// Requests that are written and synced together.
struct Group {
    batch: WriteBatch,
    encoded: io::Result<()>,
    /// Those who wait for the write.
    written: Vec<Waiter>,
    /// Those who wait for the sync.
    synced: Vec<Waiter>,
    needs_sync: bool,
    /// The log's last id after the group, if the group changes it.
    last: Option<LogId>,
    /// The last appended id.
    appended: Option<LogId>,
    /// The lowest end to which the group truncates the log.
    truncated: Option<Option<LogId>>,
    vote: Option<Vote>,
    steps: Steps,
}

impl Default for Group {
    fn default() -> Self {
        Group {
            batch: WriteBatch::default(),
            encoded: Ok(()),
            written: Vec::new(),
            synced: Vec::new(),
            needs_sync: false,
            last: None,
            appended: None,
            truncated: None,
            vote: None,
            steps: Steps::default(),
        }
    }
}

impl Group {
    fn add(&mut self, disk: &Disk, op: RaftOp) {
        if self.encoded.is_ok() {
            self.encoded = self.put(disk, &op);
        }
        match op {
            RaftOp::Vote(vote, done) => {
                self.vote = Some(vote);
                self.needs_sync = true;
                self.synced.push(Waiter::Done(done));
            }
            RaftOp::Append { last, flushed, .. } => {
                (self.last, self.appended) = (Some(last), Some(last));
                self.needs_sync = true;
                self.synced.push(Waiter::Flushed(flushed));
            }
            RaftOp::Truncate { last, done, .. } => {
                self.last = last;
                self.truncated = Some(self.truncated.map_or(last, |lowest| lowest.min(last)));
                self.written.push(Waiter::Done(done));
            }
            RaftOp::Purge { done, .. } => self.written.push(Waiter::Done(done)),
            RaftOp::Committed(_) => {}
        }
    }

    fn put(&mut self, disk: &Disk, op: &RaftOp) -> io::Result<()> {
        let (db, batch) = (&disk.db, &mut self.batch);
        match op {
            RaftOp::Vote(vote, _) => {
                self.steps.vote = true;
                db.put_meta(batch, meta_key::VOTE, &VoteRecord::from(*vote))
            }
            RaftOp::Append { entries, .. } => {
                self.steps.append = true;
                disk.metrics.appended_entries.inc_by(entries.len() as u64);
                let bytes: usize = entries.iter().map(|(_, record)| record.len()).sum();
                disk.metrics.wal_write_bytes.inc_by(bytes as u64);
                entries
                    .iter()
                    .try_for_each(|(index, record)| db.put(batch, Family::Log, &log_key(*index), record))
            }
            RaftOp::Truncate { last, end, .. } => {
                self.steps.truncate = true;
                let from = last.map_or(0, |id| id.index() + 1);
                db.delete_range(batch, Family::Log, &log_key(from), &log_key(*end))
            }
            RaftOp::Purge { begin, upto, .. } => {
                self.steps.purge = true;
                db.delete_range(batch, Family::Log, &log_key(*begin), &log_key(upto.index() + 1))?;
                db.put_meta(batch, meta_key::PURGED, &LogIdRecord::from(*upto))
            }
            RaftOp::Committed(id) => db.put_meta(batch, meta_key::COMMITTED, &id.map(LogIdRecord::from)),
        }
    }
}

/// What a group does, for the failpoints.
#[derive(Debug, Clone, Copy, Default)]
struct Steps {
    vote: bool,
    append: bool,
    truncate: bool,
    purge: bool,
}

impl Steps {
    fn pass(self, stage: &str) {
        // Neither a truncate nor a purge is synced by itself.
        let points: [(bool, &[&'static str]); 4] = [
            (self.vote, &["store.vote.begun", "store.vote.written", "store.vote.synced"]),
            (self.append, &["store.append.begun", "store.append.written", "store.append.synced"]),
            (self.truncate, &["store.truncate.begun", "store.truncate.written"]),
            (self.purge, &["store.purge.begun", "store.purge.written"]),
        ];
        for (_, names) in points.into_iter().filter(|(does, _)| *does) {
            for name in names.iter().filter(|name| name.ends_with(stage)) {
                failpoint::pass(name);
            }
        }
    }
}

/// Somebody who waits for a request.
enum Waiter {
    Done(Done),
    Flushed(IoFlushed),
}

fn complete(waiters: Vec<Waiter>, result: &io::Result<()>) {
    for waiter in waiters {
        let result = match result {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        match waiter {
            // Whoever asked may have gone away; the write stands all the same.
            Waiter::Done(done) => drop(done.send(result)),
            Waiter::Flushed(flushed) => flushed.io_completed(result),
        }
    }
}

fn op_bytes(op: &RaftOp) -> usize {
    match op {
        RaftOp::Append { entries, .. } => entries.iter().map(|(_, record)| record.len() + 8).sum(),
        _ => 64,
    }
}

/// The key of a log entry: big-endian, so that key order is log order.
pub(super) fn log_key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}
