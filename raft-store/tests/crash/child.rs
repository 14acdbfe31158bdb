//! The process that is killed: it drives the store as openraft does, and notes what it was told.
//!
//! | note | what it says |
//! |---|---|
//! | `R END APPLIED` | the log found at the start ends before END, APPLIED entries are applied |
//! | `l TERM FROM TO` | a run of it |
//! | `b TERM FROM TO` | the entries of this term were handed over |
//! | `A INDEX` | everything up to there is acknowledged |
//! | `v TERM NODE COMMITTED`, `V ...` | a vote was handed over, and acknowledged |
//! | `t INDEX` | what follows this entry may be gone from now on |
//! | `p INDEX` | everything up to there was applied, and answered |
//! | `P INDEX` | and its effect is written |
//! | `i TERM FROM TO`, `I TO` | a snapshot that covers such entries is installed, and was |
//! | `x INDEX`, `X INDEX` | everything up to there may be purged, and was |
//! | `O REASON` | the store refused to open |
//! | `E` | the end of the task |

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use openraft::{
    RaftLogReader, RaftSnapshotBuilder, StorageHelper,
    storage::{EntryResponder, RaftLogStorage, RaftStateMachine},
    type_config::{TypeConfigExt, alias::OneshotReceiverOf},
};
use quorate_license::NodeId;
use quorate_raft_store::{
    Applier, View,
    disk::{SnapshotFile, Store},
    failpoint,
    raft_types::{EntryPayload, IoFlushed, LogId, StoredMembership, TypeConfig, Vote, log_id},
};

use crate::{
    entries::entry,
    random::Random,
    store::open,
    syscalls::{self, Fault, note},
};

/// Appends that may be under way at once.
const OUTSTANDING: usize = 4;

/// What a child is to do.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) folder: PathBuf,
    pub(crate) seed: u64,
    pub(crate) round: u64,
    pub(crate) steps: u64,
    pub(crate) sync_delay: Duration,
    pub(crate) fault: Option<Fault>,
}

impl Task {
    const VARIABLE: &str = "QUORATE_CRASH_TASK";

    /// The task that this process was started for, if it is a child.
    pub(crate) fn from_environment() -> Option<Task> {
        let text = std::env::var(Self::VARIABLE).ok()?;
        let mut fields = text.split('|');
        let mut next = || fields.next().unwrap().to_owned();
        Some(Task {
            folder: next().into(),
            seed: next().parse().unwrap(),
            round: next().parse().unwrap(),
            steps: next().parse().unwrap(),
            sync_delay: Duration::from_micros(next().parse().unwrap()),
            fault: Fault::from_text(&next()),
        })
    }

    /// The variable by which a child is told.
    pub(crate) fn to_environment(&self) -> (&'static str, String) {
        let fault = self.fault.map_or_else(String::new, Fault::to_text);
        let Task { folder, seed, round, steps, sync_delay, .. } = self;
        let text = format!("{}|{seed}|{round}|{steps}|{}|{fault}", folder.display(), sync_delay.as_micros());
        (Self::VARIABLE, text)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.join("store")
    }

    pub(crate) fn events(&self) -> PathBuf {
        self.folder.join("events")
    }

    pub(crate) fn copies(&self) -> PathBuf {
        self.folder.join("copies")
    }
}

/// Does the task, unless the process is killed before.
pub(crate) fn run(task: &Task) {
    syscalls::watch(&task.events(), &task.copies(), task.sync_delay, task.fault);
    failpoint::arm();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = match open(&task.store()) {
            Ok(store) => store,
            Err(error) => return note(&format!("O {}", error.to_string().replace('\n', " "))),
        };
        let mut node = match Node::start(store, task).await {
            Ok(node) => node,
            Err(reason) => return note(&format!("O openraft: {reason}")),
        };
        for _ in 0..task.steps {
            if let Err(error) = node.step().await {
                node.insist(&error).await;
                return;
            }
        }
        if node.settle().await.is_ok() {
            drop(node);
            note("E");
        }
    });
}

type Acknowledgement = OneshotReceiverOf<TypeConfig, Result<(), std::io::Error>>;

/// A node as far as its store can see: what openraft would do with it.
struct Node {
    store: Store,
    task: Task,
    random: Random,
    vote: Vote,
    last: Option<LogId>,
    applied: u64,
    /// Appends whose callback is to come.
    outstanding: VecDeque<(u64, Acknowledgement)>,
}

fn index(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index())
}

fn next(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index() + 1)
}

/// The log as runs of entries of one term.
async fn runs(store: &mut Store) -> Vec<String> {
    let entries = store.log.try_get_log_entries(..).await.unwrap();
    let ids = entries.iter().map(|entry| (entry.log_id.committed_leader_id().term, entry.log_id.index()));
    let ids: Vec<(u64, u64)> = ids.collect();
    ids.chunk_by(|one, next| one.0 == next.0)
        .map(|run| format!("l {} {} {}", run[0].0, run[0].1, run[run.len() - 1].1))
        .collect()
}

impl Node {
    /// What openraft does first: repairs what a crash may have left, and applies what is committed.
    async fn start(mut store: Store, task: &Task) -> Result<Node, String> {
        let mut helper = StorageHelper::new(&mut store.log, &mut store.machine).with_id(NodeId(1));
        helper.get_initial_state().await.map_err(|error| error.to_string().replace('\n', " "))?;
        let last = store.log.get_log_state().await.unwrap().last_log_id;
        let vote = store.log.read_vote().await.unwrap().unwrap_or_else(|| Vote::new(0, NodeId(1)));
        let applied = store.views.current().applied;
        // What a restarted node finds it takes for flushed.
        for run in runs(&mut store).await {
            note(&run);
        }
        note(&format!("R {} {}", next(last), next(applied)));
        let random = Random::of(task.seed, &[0xc41d, task.round]);
        let outstanding = VecDeque::new();
        let mut node =
            Node { store, task: task.clone(), random, vote, last, applied: index(applied), outstanding };
        // A leader of a later term than everything that is in the log.
        node.vote(true).await.map_err(|error| error.to_string())?;
        Ok(node)
    }

    fn term(&self) -> u64 {
        self.vote.leader_id().term
    }

    async fn step(&mut self) -> std::io::Result<()> {
        match self.random.below(100) {
            0..50 => self.append().await,
            50..75 => self.apply().await,
            75..82 => self.vote(false).await,
            82..88 => self.truncate().await,
            88..94 => self.compact().await,
            94..97 => self.install().await,
            _ => self.settle().await,
        }
    }

    async fn vote(&mut self, committed: bool) -> std::io::Result<()> {
        let (term, node) = (self.term() + 1 + self.random.below(2), NodeId(1 + self.random.below(3)));
        let vote = if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) };
        note(&format!("v {term} {} {committed}", node.0));
        self.store.log.save_vote(&vote).await?;
        note(&format!("V {term} {} {committed}", node.0));
        self.vote = vote;
        Ok(())
    }

    async fn append(&mut self) -> std::io::Result<()> {
        if self.outstanding.len() >= OUTSTANDING {
            self.settle_one().await?;
        }
        let (term, from) = (self.term(), next(self.last));
        let to = from + self.random.below(24);
        note(&format!("b {term} {from} {to}"));
        let entries: Vec<_> = (from..=to).map(|index| entry(self.task.seed, term, index)).collect();
        let (sender, receiver) = TypeConfig::oneshot();
        self.store.log.append(entries, IoFlushed::signal(sender)).await?;
        self.last = Some(log_id(term, to));
        self.outstanding.push_back((to, receiver));
        Ok(())
    }

    async fn settle_one(&mut self) -> std::io::Result<()> {
        if let Some((to, acknowledged)) = self.outstanding.pop_front() {
            acknowledged.await.map_err(std::io::Error::other)??;
            note(&format!("A {to}"));
        }
        Ok(())
    }

    async fn settle(&mut self) -> std::io::Result<()> {
        while !self.outstanding.is_empty() {
            self.settle_one().await?;
        }
        Ok(())
    }

    async fn apply(&mut self) -> std::io::Result<()> {
        self.settle().await?;
        let (from, to) = (self.first_to_apply(), index(self.last));
        if self.last.is_none() || from > to {
            return Ok(());
        }
        let to = to - self.random.below(to - from + 1).min(self.random.below(8));
        let entries = self.store.log.try_get_log_entries(from..to + 1).await?;
        let id = entries.last().unwrap().log_id;
        self.store.log.save_committed(Some(id)).await?;
        let items: Vec<Result<EntryResponder<TypeConfig>, std::io::Error>> =
            entries.into_iter().map(|entry| Ok((entry, None))).collect();
        self.store.machine.apply(futures::stream::iter(items)).await?;
        self.applied = to;
        note(&format!("p {to}"));
        // Nobody waits for the write of what was applied; who does finds it there. Where a call fails, the
        // threads must not be at work at the same time, or it can't be told which of them came first.
        if self.task.fault.is_some() || self.random.one(2) {
            self.store.machine.written().await?;
            note(&format!("P {to}"));
        }
        Ok(())
    }

    fn first_to_apply(&self) -> u64 {
        next(self.store.views.current().applied)
    }

    /// A new leader's log differs from here on.
    async fn truncate(&mut self) -> std::io::Result<()> {
        self.settle().await?;
        let last = index(self.last);
        if last <= self.applied + 1 || self.first_to_apply() == 0 {
            return Ok(());
        }
        self.vote(true).await?;
        let keep = self.applied + self.random.below(last - self.applied);
        let kept = self.store.log.try_get_log_entries(keep..keep + 1).await?;
        // The entry itself may be purged, then the log begins behind it.
        let Some(kept) = kept.first().map(|entry| entry.log_id) else { return Ok(()) };
        note(&format!("t {keep}"));
        self.store.log.truncate_after(Some(kept)).await?;
        self.last = Some(kept);
        Ok(())
    }

    /// Builds a snapshot and purges most of what it covers.
    async fn compact(&mut self) -> std::io::Result<()> {
        if self.first_to_apply() == 0 {
            return Ok(());
        }
        let Some(mut builder) = self.store.machine.try_create_snapshot_builder(true).await else {
            return Ok(());
        };
        let covered = index(builder.build_snapshot().await?.meta.last_log_id);
        let upto = covered.saturating_sub(self.random.below(20));
        let purged = self.store.log.try_get_log_entries(upto..upto + 1).await?;
        let Some(purged) = purged.first().map(|entry| entry.log_id) else { return Ok(()) };
        note(&format!("x {upto}"));
        self.store.log.purge(purged).await?;
        note(&format!("X {upto}"));
        Ok(())
    }

    /// A leader is ahead, and sends its snapshot. Sometimes what it covers ends within this log's own entries, which
    /// nobody else has: openraft drops them first, and nothing else syncs that.
    async fn install(&mut self) -> std::io::Result<()> {
        let conflict = self.first_to_apply() > 0 && self.random.one(2);
        if conflict {
            self.append().await?;
        }
        self.settle().await?;
        self.vote(true).await?;
        let (from, term) = (self.first_to_apply(), self.term());
        let to = if conflict {
            from + self.random.below(next(self.last) - from)
        } else {
            index(self.last).max(1) + 1 + self.random.below(40)
        };
        note(&format!("i {term} {from} {to}"));
        let sent = self.leaders_snapshot(term, from, to)?;
        let mut receiver = self.store.incoming.receive().map_err(std::io::Error::other)?;
        let mut offset = 0;
        loop {
            let chunk = sent.read_at(offset, 4096)?;
            if chunk.is_empty() {
                break;
            }
            offset += chunk.len() as u64;
            receiver.write(&chunk).map_err(std::io::Error::other)?;
        }
        let received = receiver.finish().map_err(std::io::Error::other)?;
        if conflict {
            let applied = self.store.views.current().applied;
            note(&format!("t {}", index(applied)));
            self.store.log.truncate_after(applied).await?;
        }
        let meta = received.meta().clone();
        self.store.machine.install_snapshot(&meta, received).await?;
        self.applied = to;
        self.last = meta.last_log_id;
        note(&format!("I {to}"));
        self.store.log.purge(log_id(term, to)).await?;
        note(&format!("X {to}"));
        Ok(())
    }

    /// What a leader has that applied `from..=to` with entries of `term`.
    fn leaders_snapshot(&self, term: u64, from: u64, to: u64) -> std::io::Result<SnapshotFile> {
        let own = self.store.machine.whole();
        let mut applier = Applier::resume(own.state.clone(), own.digest);
        let mut membership = own.membership.clone();
        for index in from..=to {
            let entry = entry(self.task.seed, term, index);
            match entry.payload {
                EntryPayload::Normal(proposal) => drop(applier.apply(index, &proposal).unwrap()),
                EntryPayload::Membership(changed) => {
                    membership = Arc::new(StoredMembership::new(Some(entry.log_id), changed));
                }
                EntryPayload::Blank => {}
            }
            applier.take_changes().unwrap();
        }
        let applied = Some(log_id(term, to));
        let view = View { state: applier.state().clone(), applied, membership, digest: applier.digest() };
        SnapshotFile::write(&view, &self.task.folder.join("sent"), None).map_err(std::io::Error::other)
    }

    /// After a failed call: every further one must fail with the first reason, and none may reach the
    /// disk. Says so in a last note.
    async fn insist(&mut self, first: &std::io::Error) {
        let reason = first.to_string();
        let mut refused = vec![reason.clone()];
        self.outstanding.clear();
        let vote = Vote::new(self.term() + 1, NodeId(1));
        let save_vote = self.store.log.save_vote(&vote).await.err();
        let appended = self.append().await.err();
        let settled = self.settle().await.err();
        let truncated = self.store.log.truncate_after(None).await.err();
        for (what, error) in [("vote", save_vote), ("append", appended.or(settled)), ("truncate", truncated)]
        {
            match error {
                Some(error) => refused.push(format!("{what}: {error}")),
                None => refused.push(format!("{what}: ACCEPTED")),
            }
        }
        let (failed, after) = syscalls::faults();
        note(&format!("F {failed} {after} {}", refused.join("; ").replace('\n', " ")));
    }
}
