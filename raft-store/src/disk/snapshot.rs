//! The folder of snapshots, and building one from a view.
//!
//! The newest snapshot is kept; older ones and unfinished ones are removed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use openraft::{RaftSnapshotBuilder, storage::Snapshot};

use super::{
    io::IoThreads,
    metrics::StoreMetrics,
    snapshot_error::SnapshotError,
    snapshot_file::{Loans, SnapshotFile, SnapshotReceiver},
    snapshot_key::SnapshotKey,
};
use crate::{failpoint, raft_types::TypeConfig, view::View};

const SUFFIX: &str = "snapshot";
const UNFINISHED: &str = "unfinished";
const DAMAGED: &str = "damaged";
/// So many damaged ones are kept for whoever looks into them.
const DAMAGED_KEPT: usize = 2;

/// So much of the log is kept for a follower that is being sent a snapshot, as what it needs next; or twice the
/// snapshot, if that is more. Beyond it the disk counts for more.
const MOST_LOG_BYTES: u64 = 64 << 20;

/// Whether a snapshot of so many bytes should stay the newest if somebody has it and the log behind it has `log_bytes`.
fn stays(bytes: u64, log_bytes: u64) -> bool {
    log_bytes < MOST_LOG_BYTES.max(2 * bytes)
}

/// Where a node keeps its snapshot.
pub(super) struct SnapshotFolder {
    path: PathBuf,
    key: Option<SnapshotKey>,
    /// Whether one was put aside at the start.
    put_aside: bool,
    current: Mutex<Option<SnapshotFile>>,
    /// Held while files get other names. Nobody who holds `current` waits for it, or for the disk.
    names: Mutex<()>,
    unfinished: AtomicU64,
    loans: Loans,
    /// Bytes of log entries that were applied since the start and are covered by the newest snapshot.
    covered_bytes: AtomicU64,
}

impl SnapshotFolder {
    /// Opens the folder: removes what is unfinished, checks the newest snapshot. One that is damaged
    /// is renamed and reported; the state does not depend on it.
    pub(super) fn open(path: &Path, key: Option<SnapshotKey>) -> io::Result<SnapshotFolder> {
        fs::create_dir_all(path)?;
        let mut finished = Vec::new();
        for entry in fs::read_dir(path)? {
            let file = entry?.path();
            match file.extension().and_then(|extension| extension.to_str()) {
                Some(SUFFIX) => finished.push(file),
                Some(UNFINISHED) => fs::remove_file(&file)?,
                _ => {}
            }
        }
        finished.sort();
        let (mut current, mut put_aside) = (None, false);
        while let Some(file) = finished.pop() {
            match SnapshotFile::open(&file, key.as_ref()) {
                Ok(snapshot) => {
                    current = Some(snapshot);
                    break;
                }
                Err(error) if !error.tells_of_the_file() => return Err(io::Error::other(error)),
                Err(error) => {
                    tracing::warn!(%error, "a snapshot that can't be read is put aside; another one is built");
                    fs::rename(&file, file.with_extension(DAMAGED))?;
                    put_aside = true;
                }
            }
        }
        finished.iter().try_for_each(fs::remove_file)?;
        forget_older_damaged(path)?;
        Ok(SnapshotFolder {
            path: path.to_owned(),
            key,
            put_aside,
            current: Mutex::new(current),
            names: Mutex::default(),
            unfinished: AtomicU64::new(0),
            loans: Loans::default(),
            covered_bytes: AtomicU64::new(0),
        })
    }

    /// Builds a snapshot of `view` in the place of one that was put aside at the start: the log that it stands for is
    /// gone. The log on disk must be synced. May block on the disk.
    pub(super) fn replace_put_aside(&self, view: &View) -> io::Result<()> {
        if self.put_aside && self.current().is_none() && view.applied.is_some() {
            self.keep(self.write(view)?)?;
        }
        Ok(())
    }

    /// The newest snapshot.
    pub(super) fn current(&self) -> Option<SnapshotFile> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks whether the newest snapshot is still the one that was checked, before it is offered to anybody; it is
    /// read through only if it is not, for openraft asks again at every attempt, and applies nothing meanwhile.
    /// Whether it is lost: another one must take its place. May block on the disk.
    pub(super) fn current_is_lost(&self) -> io::Result<bool> {
        // Otherwise a newer one is being put into its place.
        let Ok(_names) = self.names.try_lock() else { return Ok(false) };
        let Some(snapshot) = self.current().filter(|snapshot| !snapshot.is_as_checked()) else {
            return Ok(false);
        };
        let path = snapshot.path();
        match SnapshotFile::open(path, self.key.as_ref()) {
            Ok(again) => {
                self.set_current(Some(again));
                return Ok(false);
            }
            Err(error) if error.is_gone() => {
                tracing::error!(path = %path.display(), "the snapshot is gone: another one is built");
            }
            Err(error) if error.tells_of_the_file() => {
                let aside = path.with_extension(DAMAGED);
                fs::rename(path, &aside)?;
                forget_older_damaged(&self.path)?;
                tracing::error!(
                    %error,
                    put_aside = %aside.display(),
                    "the snapshot was damaged on the disk: another one is built; look at the disk"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "the snapshot can't be read now");
                return Ok(false);
            }
        }
        self.set_current(None);
        Ok(true)
    }

    /// The newest snapshot, to be sent: see [`SnapshotFolder::should_stay`].
    pub(super) fn lend(&self) -> Option<SnapshotFile> {
        self.current().map(|snapshot| snapshot.lent(&self.loans))
    }

    /// Whether no newer snapshot should be built now, unless somebody insists, where entries of `applied_bytes` were
    /// applied since the start: the newest is being sent, and a newer one would take away the entries behind it. A
    /// follower that is slow to take it would need another one, again and again.
    pub(super) fn should_stay(&self, applied_bytes: u64) -> bool {
        let log_bytes = applied_bytes.saturating_sub(self.covered_bytes.load(Ordering::Relaxed));
        self.loans.any() && self.current().is_some_and(|newest| stays(newest.bytes(), log_bytes))
    }

    fn set_current(&self, snapshot: Option<SnapshotFile>) -> Option<SnapshotFile> {
        std::mem::replace(&mut *self.current.lock().unwrap_or_else(PoisonError::into_inner), snapshot)
    }

    /// Begins to take in a snapshot. May block on the disk.
    pub(super) fn receive(&self) -> Result<SnapshotReceiver, SnapshotError> {
        SnapshotReceiver::create(self.unfinished_path(), self.key.clone())
    }

    fn unfinished_path(&self) -> PathBuf {
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        self.path.join(format!("{number}.{UNFINISHED}"))
    }

    /// Writes a snapshot of `view`, which nobody finds yet. May block on the disk.
    fn write(&self, view: &View) -> io::Result<SnapshotFile> {
        let path = self.unfinished_path();
        SnapshotFile::write(view, &path, self.key.as_ref()).map_err(io::Error::other)
    }

    /// Makes a finished snapshot the current one, once the log on disk fits it: entries of an earlier term that
    /// were truncated must not come back beside it, or the node would refuse to start. It covers entries of
    /// `applied_bytes` that were applied since the start.
    pub(super) async fn adopt(
        self: &Arc<Self>,
        snapshot: SnapshotFile,
        applied_bytes: u64,
        threads: &IoThreads,
    ) -> io::Result<SnapshotFile> {
        threads.synced().await?;
        let folder = self.clone();
        let kept = tokio::task::spawn_blocking(move || folder.keep(snapshot));
        let kept = kept.await.map_err(io::Error::other)??;
        self.covered_bytes.fetch_max(applied_bytes, Ordering::Relaxed);
        Ok(kept)
    }

    /// Gives a finished file its name, makes it the current one, and removes the one before.
    fn keep(&self, snapshot: SnapshotFile) -> io::Result<SnapshotFile> {
        let (term, index) =
            snapshot.meta().last_log_id.map_or((0, 0), |id| (id.committed_leader_id().term, id.index()));
        let path = self.path.join(format!("{index:020}-{term}.{SUFFIX}"));
        let _names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was installed while this one was built covers more: it stays.
        let newer = self.current().filter(|it| it.meta().last_log_id > snapshot.meta().last_log_id);
        if let Some(newer) = newer {
            return Ok(newer);
        }
        fs::rename(snapshot.path(), &path)?;
        failpoint::pass("store.snapshot.renamed");
        fs::File::open(&self.path)?.sync_all()?;
        let snapshot = snapshot.kept_at(path.clone());
        if let Some(before) = self.set_current(Some(snapshot.clone()))
            && before.path() != path
        {
            // It may be being sent; the open handle keeps its bytes until then.
            fs::remove_file(before.path()).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
        }
        Ok(snapshot)
    }
}

/// Removes all damaged snapshots but the newest: a disk that damages each of them must not be full of them, too.
fn forget_older_damaged(folder: &Path) -> io::Result<()> {
    let mut damaged = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == DAMAGED) {
            damaged.push(path);
        }
    }
    damaged.sort();
    damaged.iter().rev().skip(DAMAGED_KEPT).try_for_each(fs::remove_file)
}

/// Builds a snapshot of the view that was current when it was made.
pub struct SnapshotBuilder {
    view: Arc<View>,
    applied_bytes: u64,
    folder: Arc<SnapshotFolder>,
    /// A building that goes on does not keep the store open.
    threads: Weak<IoThreads>,
    metrics: StoreMetrics,
}

impl SnapshotBuilder {
    pub(super) fn new(
        view: View,
        applied_bytes: u64,
        folder: Arc<SnapshotFolder>,
        threads: &Arc<IoThreads>,
        metrics: StoreMetrics,
    ) -> Self {
        let (view, threads) = (Arc::new(view), Arc::downgrade(threads));
        SnapshotBuilder { view, applied_bytes, folder, threads, metrics }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(
        &mut self,
    ) -> Result<openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>, io::Error> {
        let (view, folder) = (self.view.clone(), self.folder.clone());
        let started = Instant::now();
        let written = tokio::task::spawn_blocking(move || folder.write(&view)).await;
        let written = written.map_err(io::Error::other)??;
        let threads = self.threads.upgrade().ok_or_else(|| io::Error::other("the store is closed"))?;
        let snapshot = self.folder.adopt(written, self.applied_bytes, &threads).await?;
        let took = started.elapsed();
        self.metrics.snapshot_save.observe(took.as_secs_f64());
        let index = snapshot.meta().last_log_id.map(|id| id.index());
        let (bytes, milliseconds) = (snapshot.bytes(), took.as_millis());
        tracing::info!(index, bytes, milliseconds, "a snapshot was built");
        Ok(Snapshot { meta: snapshot.meta().clone(), snapshot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_stays_until_the_log_behind_it_is_too_long() {
        let most = MOST_LOG_BYTES;
        for (bytes, log_bytes, expected) in
            [(1, 0, true), (1, most - 1, true), (1, most, false), (most, most, true), (most, 2 * most, false)]
        {
            assert_eq!(stays(bytes, log_bytes), expected, "{bytes}, {log_bytes}");
        }
    }
}
