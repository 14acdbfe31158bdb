//! openraft's state machine: a thin adaptor over the pure [`Applier`].

use std::{io, sync::Arc, time::Instant};

use futures::{Stream, StreamExt};
use openraft::{
    OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine, Snapshot},
};
use rocksdb::WriteBatch;

use super::{
    apply::{Applied, Position},
    db::{Db, Family, meta_key},
    io::IoThreads,
    log_cache::payload_bytes,
    metrics::StoreMetrics,
    quarantine::Quarantine,
    snapshot::{SnapshotBuilder, SnapshotFolder},
    snapshot_file::SnapshotFile,
};
use crate::{
    applier::{Applier, ApplyError},
    command::Outcome,
    digest::Digest,
    failpoint,
    proposal::{Answer, Revision},
    raft_types::{EntryPayload, LogId, SnapshotMeta, StoredMembership, TypeConfig},
    records::{LogIdRecord, StoredMembershipRecord},
    state::State,
    view::{View, Views},
};

/// Entries that are written as one batch at most.
const MAX_BATCH: usize = 1024;

/// Rows that a snapshot may write for each entry that it covers beyond the one before.
const ROWS_FOR_EACH_ENTRY: u64 = 4;

/// A state of fewer rows is written whenever openraft asks: that costs next to nothing.
const LARGE_STATE_ROWS: u64 = 40_000;

/// Whether a snapshot is worth its writing: it writes every row, so that each change would pay for all of them if it were
/// built after a fixed number of entries. The log grows in proportion to a large state instead, up to a quarter of its
/// rows.
fn pays(entries: u64, rows: u64) -> bool {
    rows < LARGE_STATE_ROWS || entries.saturating_mul(ROWS_FOR_EACH_ENTRY) >= rows
}

/// The state machine of one node.
pub struct StateMachine {
    applier: Applier,
    applied: Option<LogId>,
    membership: Arc<StoredMembership>,
    /// Whether the membership was changed since the last write.
    membership_changed: bool,
    /// Bytes of the entries that were applied since the start.
    applied_bytes: u64,
    views: Arc<Views>,
    db: Arc<Db>,
    threads: Arc<IoThreads>,
    snapshots: Arc<SnapshotFolder>,
    quarantine: Quarantine,
    metrics: StoreMetrics,
}

/// What the state machine was when the node stopped.
pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) digest: Digest,
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
}

/// Reads the state from the database, and checks it against its digest.
pub(super) fn recover(db: &Db) -> io::Result<Recovered> {
    let mut state = State::default();
    let mut digest = Digest::default();
    db.scan(Family::State, &[], |key, row| {
        state.load(key, row)?;
        digest.add(key, row);
        Ok(true)
    })?;
    let stored: Digest = db.get_meta(meta_key::DIGEST)?.unwrap_or_default();
    if stored != digest {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the state's digest is {digest}, it should be {stored}: a row was changed or lost"),
        ));
    }
    let applied: Option<LogIdRecord> = db.get_meta(meta_key::APPLIED)?;
    let membership: Option<StoredMembershipRecord> = db.get_meta(meta_key::MEMBERSHIP)?;
    Ok(Recovered {
        state,
        digest,
        applied: applied.map(LogId::from),
        membership: membership.map(StoredMembership::from).unwrap_or_default(),
    })
}

impl StateMachine {
    pub(super) fn new(
        recovered: Recovered,
        db: Arc<Db>,
        threads: Arc<IoThreads>,
        snapshots: Arc<SnapshotFolder>,
        quarantine: Quarantine,
        metrics: StoreMetrics,
    ) -> StateMachine {
        let Recovered { state, digest, applied, membership } = recovered;
        let membership = Arc::new(membership);
        let applier = Applier::resume(state, digest);
        let views = Arc::new(Views::new(View {
            state: applier.state().for_readers(),
            applied,
            membership: membership.clone(),
            digest,
        }));
        StateMachine {
            applier,
            applied,
            membership,
            membership_changed: false,
            applied_bytes: 0,
            views,
            db,
            threads,
            snapshots,
            quarantine,
            metrics,
        }
    }

    /// Where readers find what was applied.
    pub fn views(&self) -> Arc<Views> {
        self.views.clone()
    }

    fn publish(&self) {
        self.views.publish(self.view(self.applier.state().for_readers()));
    }

    /// All of the state as it is now, to be written into a snapshot.
    pub fn whole(&self) -> View {
        self.view(self.applier.state().clone())
    }

    fn view(&self, state: State) -> View {
        View {
            state,
            applied: self.applied,
            membership: self.membership.clone(),
            digest: self.applier.digest(),
        }
    }

    /// Applies one entry in memory.
    fn apply_entry(&mut self, id: LogId, payload: &EntryPayload) -> io::Result<Answer> {
        let answer = match payload {
            EntryPayload::Normal(proposal) => {
                self.applier.apply(id.index(), proposal).map_err(|error| self.broken(error))?
            }
            EntryPayload::Blank => self.nothing(id),
            EntryPayload::Membership(membership) => {
                self.membership = Arc::new(StoredMembership::new(Some(id), membership.clone()));
                self.membership_changed = true;
                self.nothing(id)
            }
        };
        self.applied = Some(id);
        Ok(answer)
    }

    /// An entry that this version can't read is damaged, or was written by a newer one.
    fn broken(&self, error: ApplyError) -> io::Error {
        let error = io::Error::new(io::ErrorKind::InvalidData, error);
        self.quarantine.look_at(&error);
        error
    }

    fn nothing(&self, id: LogId) -> Answer {
        let epoch = self.applier.state().cluster().map_or(0, |cluster| cluster.epoch.number);
        Answer { revision: Revision { epoch, index: id.index() }, result: Ok(Outcome::Nothing) }
    }

    /// Hands over what was applied since the last call, to be written as one batch with where it ends.
    async fn hand_over_applied(&mut self) -> io::Result<()> {
        let rows = self.applier.take_changes().map_err(io::Error::other)?;
        let position = self.position();
        self.threads.applied(Applied { rows, position }).await
    }

    fn position(&mut self) -> Position {
        let changed = std::mem::take(&mut self.membership_changed);
        Position {
            applied: self.applied,
            membership: changed.then(|| self.membership.clone()),
            digest: self.applier.digest(),
        }
    }

    /// Waits until everything that was applied is in the database.
    ///
    /// # Errors
    /// The store's first failure.
    pub async fn written(&self) -> io::Result<()> {
        self.threads.written().await
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, (*self.membership).clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.ready_chunks(MAX_BATCH);
        while let Some(chunk) = chunks.next().await {
            let mut answers = Vec::new();
            for item in chunk {
                let (entry, responder) = item?;
                self.applied_bytes += payload_bytes(&entry) as u64;
                let answer = self.apply_entry(entry.log_id, &entry.payload)?;
                if let Some(responder) = responder {
                    answers.push((responder, answer));
                }
            }
            // Nobody waits for the disk: what a crash takes of it is applied again from the log.
            self.hand_over_applied().await?;
            self.publish();
            for (responder, answer) in answers {
                responder.send(answer);
            }
        }
        Ok(())
    }

    /// openraft asks whenever the log has grown by what the configuration says; a large state says no more often, and
    /// a snapshot that is being sent stays the newest.
    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        let covered = self.snapshots.current().and_then(|snapshot| snapshot.meta().last_log_id);
        let covered = covered.map_or(0, |id| id.index());
        let entries = self.applied.map_or(0, |id| id.index()).saturating_sub(covered);
        let due = pays(entries, self.applier.state().row_count())
            && !self.snapshots.should_stay(self.applied_bytes);
        let due = due || force;
        if due { Some(self.get_snapshot_builder().await) } else { None }
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let (folder, metrics) = (self.snapshots.clone(), self.metrics.clone());
        SnapshotBuilder::new(self.whole(), self.applied_bytes, folder, &self.threads, metrics)
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        failpoint::pass("store.install.begun");
        let (started, bytes) = (Instant::now(), snapshot.bytes());
        self.metrics.snapshot_apply_in_progress.set(1);
        let db = self.db.clone();
        let read = snapshot.clone();
        let (state, digest, mut batch) = tokio::task::spawn_blocking(move || -> io::Result<_> {
            let mut batch = WriteBatch::default();
            db.delete_range(&mut batch, Family::State, &[], &[u8::MAX; 64])?;
            let (mut state, mut digest) = (State::default(), Digest::default());
            read.rows(|key, row| {
                state.load(key, row)?;
                digest.add(key, row);
                db.put(&mut batch, Family::State, key, row)
            })
            .map_err(io::Error::other)?;
            Ok((state, digest, batch))
        })
        .await
        .map_err(io::Error::other)??;

        // First: after a crash in between, openraft installs the newer snapshot again, while a newer
        // state with an older snapshot could never be sent to a follower.
        self.snapshots.adopt(snapshot, self.applied_bytes, &self.threads).await?;
        failpoint::pass("store.install.adopted");
        self.applier = Applier::resume(state, digest);
        self.applied = meta.last_log_id;
        self.membership = Arc::new(meta.last_membership.clone());
        self.membership_changed = true;
        self.position().put(&self.db, &mut batch)?;
        // The log behind a snapshot is gone, so nothing could repeat what is not synced.
        self.threads.installed(batch, self.applied).await?;
        failpoint::pass("store.install.written");
        self.publish();
        self.metrics.snapshot_apply_in_progress.set(0);
        let (index, milliseconds) = (meta.last_log_id.map(|id| id.index()), started.elapsed().as_millis());
        tracing::info!(index, bytes, milliseconds, "a snapshot was installed");
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<
        Option<
            Snapshot<
                openraft::alias::CommittedLeaderIdOf<TypeConfig>,
                quorate_license::NodeId,
                openraft::impls::EmptyNode,
                SnapshotFile,
            >,
        >,
        io::Error,
    > {
        let folder = self.snapshots.clone();
        let lost = tokio::task::spawn_blocking(move || folder.current_is_lost());
        if lost.await.map_err(io::Error::other)?? {
            self.get_snapshot_builder().await.build_snapshot().await?;
        }
        let snapshot = self.snapshots.lend();
        Ok(snapshot.map(|snapshot| Snapshot { meta: snapshot.meta().clone(), snapshot }))
    }
}
