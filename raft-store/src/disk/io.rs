//! The two threads that write the database.
//!
//! **raft-io** takes vote, append, truncate and purge in order. It writes all that waits as one
//! batch, syncs the write-ahead log once for all of it (group commit), then completes the callbacks
//! in order. **raft-apply** writes what applied entries changed, without a sync. A quorum may have
//! an entry before this node has written it, so a crash can leave a state that is ahead of the log:
//! openraft finds that at start and drops the log up to there.
//!
//! A write or sync that fails is final: the thread never tries again, every request from then on
//! fails with the first reason, openraft stops, and the node stops with it. What a failed sync left
//! in the page cache can't be known.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use rocksdb::WriteBatch;
use tokio::sync::{mpsc, oneshot};

use super::{
    db::{Db, Family, meta_key},
    log_cache::LogCache,
    metrics::StoreMetrics,
};
use crate::{
    raft_types::{IoFlushed, LogId, Vote},
    records::{LogIdRecord, VoteRecord},
};

/// Requests that may wait for a thread before callers are held back.
const QUEUE: usize = 4096;
/// Requests that become one batch at most.
const MAX_GROUP: usize = 1024;
/// Bytes that become one batch, about.
const MAX_GROUP_BYTES: usize = 8 << 20;

type Done = oneshot::Sender<io::Result<()>>;

/// One request to raft-io.
pub(super) enum RaftOp {
    /// Save the vote; done once it is synced.
    Vote(Vote, Done),
    /// Append encoded entries, the last of which is `last`; the callback once they are synced.
    Append { entries: Vec<(u64, Vec<u8>)>, last: LogId, flushed: IoFlushed },
    /// Remove all entries from `from` to `end`, exclusive; done once it is written.
    Truncate { from: u64, end: u64, done: Done },
    /// Remove all entries from `begin` to `upto`, inclusive; done once it is written.
    Purge { begin: u64, upto: LogId, done: Done },
    /// Remember the committed id; nobody waits.
    Committed(Option<LogId>),
}

/// One request to raft-apply.
pub(super) struct ApplyOp {
    /// What to write.
    pub(super) batch: WriteBatch,
    /// Sync before it is done: for an installed snapshot, whose log is not there to repeat it.
    pub(super) sync: bool,
    /// Told once it is written.
    pub(super) done: Done,
}

/// The way to the two threads. Dropping it lets them finish what waits, and end.
pub(super) struct IoThreads {
    raft: Option<mpsc::Sender<RaftOp>>,
    apply: Option<mpsc::Sender<ApplyOp>>,
    threads: Vec<JoinHandle<()>>,
}

impl IoThreads {
    /// Starts both threads.
    pub(super) fn start(
        db: &Arc<Db>,
        cache: &Arc<Mutex<LogCache>>,
        metrics: &StoreMetrics,
    ) -> io::Result<IoThreads> {
        let (raft, raft_requests) = mpsc::channel(QUEUE);
        let (apply, apply_requests) = mpsc::channel(QUEUE);
        let raft_io = RaftIo { db: db.clone(), cache: cache.clone(), metrics: metrics.clone(), failed: None };
        let raft_apply = RaftApply { db: db.clone(), metrics: metrics.clone(), failed: None };
        let threads = vec![
            thread::Builder::new().name("raft-io".into()).spawn(move || raft_io.run(raft_requests))?,
            thread::Builder::new().name("raft-apply".into()).spawn(move || raft_apply.run(apply_requests))?,
        ];
        Ok(IoThreads { raft: Some(raft), apply: Some(apply), threads })
    }

    /// Hands a request to raft-io, in the order of the calls.
    pub(super) async fn raft(&self, op: RaftOp) -> io::Result<()> {
        match &self.raft {
            Some(raft) => raft.send(op).await.map_err(|_| ended("raft-io")),
            None => Err(ended("raft-io")),
        }
    }

    /// Hands a batch to raft-apply and waits until it is written.
    pub(super) async fn apply(&self, batch: WriteBatch, sync: bool) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        match &self.apply {
            Some(apply) => {
                apply.send(ApplyOp { batch, sync, done }).await.map_err(|_| ended("raft-apply"))?;
            }
            None => return Err(ended("raft-apply")),
        }
        result.await.map_err(|_| ended("raft-apply"))?
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

/// The first failure, repeated to everyone after it.
fn repeat(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the store stopped after a failed write: {error}"))
}

struct RaftIo {
    db: Arc<Db>,
    cache: Arc<Mutex<LogCache>>,
    metrics: StoreMetrics,
    failed: Option<io::Error>,
}

impl RaftIo {
    fn run(mut self, mut requests: mpsc::Receiver<RaftOp>) {
        let mut group = Vec::new();
        while let Some(first) = requests.blocking_recv() {
            let mut bytes = op_bytes(&first);
            group.push(first);
            while group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
                let Ok(next) = requests.try_recv() else { break };
                bytes += op_bytes(&next);
                group.push(next);
            }
            self.serve(group.drain(..));
        }
    }

    /// Writes a group of requests as one batch, syncs if one of them needs it, completes them.
    fn serve(&mut self, group: impl Iterator<Item = RaftOp>) {
        let mut batch = WriteBatch::default();
        let mut written = Vec::new();
        let mut synced = Vec::new();
        let mut last = None;
        let mut result = match &self.failed {
            Some(error) => Err(repeat(error)),
            None => Ok(()),
        };
        for op in group {
            if result.is_ok() {
                result = self.add(&mut batch, &op);
            }
            match op {
                RaftOp::Vote(_, done) => synced.push(Waiter::Done(done)),
                RaftOp::Append { last: id, flushed, .. } => {
                    last = Some(id);
                    synced.push(Waiter::Flushed(flushed));
                }
                RaftOp::Truncate { done, .. } | RaftOp::Purge { done, .. } => {
                    written.push(Waiter::Done(done))
                }
                RaftOp::Committed(_) => {}
            }
        }
        if result.is_ok() {
            result = self.db.write(batch);
        }
        if let (Ok(()), Some(last)) = (&result, last) {
            self.cache.lock().unwrap_or_else(PoisonError::into_inner).set_written(last);
        }
        complete(written, &result);
        if result.is_ok() && !synced.is_empty() {
            let started = Instant::now();
            result = self.db.sync();
            self.metrics.wal_fsync.observe(started.elapsed().as_secs_f64());
            self.metrics.syncs.inc();
        }
        complete(synced, &result);
        if let (Err(error), None) = (result, &self.failed) {
            tracing::error!(%error, "writing the log failed; this node stops");
            self.failed = Some(error);
        }
    }

    fn add(&self, batch: &mut WriteBatch, op: &RaftOp) -> io::Result<()> {
        let db = &self.db;
        match op {
            RaftOp::Vote(vote, _) => db.put_meta(batch, meta_key::VOTE, &VoteRecord::from(*vote)),
            RaftOp::Append { entries, .. } => {
                self.metrics.appended_entries.inc_by(entries.len() as u64);
                entries
                    .iter()
                    .try_for_each(|(index, record)| db.put(batch, Family::Log, &log_key(*index), record))
            }
            RaftOp::Truncate { from, end, .. } => {
                db.delete_range(batch, Family::Log, &log_key(*from), &log_key(*end))
            }
            RaftOp::Purge { begin, upto, .. } => {
                db.delete_range(batch, Family::Log, &log_key(*begin), &log_key(upto.index() + 1))?;
                db.put_meta(batch, meta_key::PURGED, &LogIdRecord::from(*upto))
            }
            RaftOp::Committed(id) => db.put_meta(batch, meta_key::COMMITTED, &id.map(LogIdRecord::from)),
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

struct RaftApply {
    db: Arc<Db>,
    metrics: StoreMetrics,
    failed: Option<io::Error>,
}

impl RaftApply {
    fn run(mut self, mut requests: mpsc::Receiver<ApplyOp>) {
        while let Some(ApplyOp { batch, sync, done }) = requests.blocking_recv() {
            let started = Instant::now();
            let mut result = match &self.failed {
                Some(error) => Err(repeat(error)),
                None => self.db.write(batch),
            };
            if sync && result.is_ok() {
                result = self.db.sync();
            }
            self.metrics.apply_commit.observe(started.elapsed().as_secs_f64());
            if let (Err(error), None) = (&result, &self.failed) {
                tracing::error!(%error, "writing applied entries failed; this node stops");
                self.failed = Some(io::Error::new(error.kind(), error.to_string()));
            }
            drop(done.send(result));
        }
    }
}
