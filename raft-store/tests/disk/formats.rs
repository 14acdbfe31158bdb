//! Stores that a release has written are opened by newer code: the older ones are upgraded.
//!
//! `QUORATE_BLESS=1` writes the store of the present format, if it is not there yet. What is there is
//! never written again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use openraft::{
    RaftLogReader, RaftSnapshotBuilder,
    storage::{RaftLogStorage, RaftStateMachine},
};
use quorate_license::NodeId;
use quorate_raft_store::{
    Digest,
    disk::{SnapshotFile, SnapshotKey, Store},
    raft_types::{Vote, log_id},
};

use super::{append, apply, blank, indexes, open, proposal};

/// The format that this version writes.
const PRESENT: u32 = 2;

fn golden(format: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/disk/golden/store-{format}"))
}

fn vote() -> Vote {
    Vote::new_committed(3, NodeId(1))
}

/// What every golden store holds.
async fn fill(store: &mut Store) {
    store.log.save_vote(&vote()).await.unwrap();
    append(&mut store.log, (0..20).map(|index| proposal(1, index)).collect()).await;
    append(&mut store.log, vec![blank(3, 20), proposal(3, 21), proposal(3, 22)]).await;
    apply(store, (0..20).map(|index| proposal(1, index)).collect()).await;
    let mut builder = store.machine.try_create_snapshot_builder(true).await.unwrap();
    builder.build_snapshot().await.unwrap();
    store.log.save_committed(Some(log_id(3, 20))).await.unwrap();
    store.log.purge(log_id(1, 4)).await.unwrap();
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Writes the golden store of the present format.
async fn bless() {
    let folder = tempfile::tempdir().unwrap();
    let digest = {
        let mut store = open(folder.path()).unwrap();
        fill(&mut store).await;
        store.views.current().digest.to_string()
    };
    // Opened once more, so that all is in tables.
    drop(open(folder.path()).unwrap());
    for entry in fs::read_dir(folder.path().join("db")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "LOCK" {
            fs::remove_file(path).unwrap();
        }
    }
    fs::write(folder.path().join("digest.txt"), digest).unwrap();
    copy(folder.path(), &golden(PRESENT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_of_every_format_are_opened_and_upgraded() {
    if blessing() && !golden(PRESENT).exists() {
        bless().await;
    }
    for format in 1..=PRESENT {
        let folder = tempfile::tempdir().unwrap();
        copy(&golden(format), folder.path());
        let digest = fs::read_to_string(folder.path().join("digest.txt")).unwrap();
        // The second time it is of the present format.
        for _ in 0..2 {
            let mut store = open(folder.path()).unwrap();
            assert!(folder.path().join("floor").exists(), "format {format}");
            assert_eq!(store.log.read_vote().await.unwrap(), Some(vote()), "format {format}");
            assert_eq!(store.log.read_committed().await.unwrap(), Some(log_id(3, 20)));
            assert_eq!(indexes(&mut store.log, 0, 100).await, (5..23).collect::<Vec<_>>());
            let state = store.log.get_log_state().await.unwrap();
            assert_eq!(
                (state.last_purged_log_id, state.last_log_id),
                (Some(log_id(1, 4)), Some(log_id(3, 22)))
            );
            assert_eq!(store.machine.applied_state().await.unwrap().0, Some(log_id(1, 19)));
            assert_eq!(store.views.current().digest.to_string(), digest);
            let snapshot = store.machine.get_current_snapshot().await.unwrap().unwrap();
            assert_eq!(snapshot.meta.last_log_id, Some(log_id(1, 19)));
        }
    }
}

fn blessing() -> bool {
    std::env::var_os("QUORATE_BLESS").is_some_and(|value| value == "1")
}

/// Each sealed file has a salt of its own, so it is never written the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_snapshot_that_a_release_has_written_is_read_with_its_key() {
    let released = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/disk/golden/sealed-2.snapshot");
    let key = SnapshotKey::parse(&"17".repeat(32)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    copy(&golden(PRESENT), folder.path());
    let whole = open(folder.path()).unwrap().machine.whole();
    if blessing() && !released.exists() {
        let written = SnapshotFile::write(&whole, &folder.path().join("written"), Some(&key)).unwrap();
        fs::copy(written.path(), &released).unwrap();
    }
    assert_eq!(&fs::read(&released).unwrap()[..12], b"QRSTSNAP\x02\0\0\0");
    let snapshot = SnapshotFile::open(&released, Some(&key)).unwrap();
    assert_eq!(snapshot.meta().last_log_id, whole.applied);
    let mut digest = Digest::default();
    snapshot
        .rows(|key, row| {
            digest.add(key, row);
            Ok(())
        })
        .unwrap();
    assert_eq!(digest, whole.digest);
    assert!(SnapshotFile::open(&released, None).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_a_release_has_written_is_written_the_same() {
    let folder = tempfile::tempdir().unwrap();
    copy(&golden(PRESENT), folder.path());
    let kept = fs::read_dir(folder.path().join("snapshots")).unwrap().next().unwrap().unwrap().path();
    let released = fs::read(&kept).unwrap();
    assert_eq!(&released[..12], b"QRSTSNAP\x01\0\0\0");
    // The store has applied what the snapshot covers, and nothing behind it.
    let store = open(folder.path()).unwrap();
    let written = folder.path().join("written");
    let _written = SnapshotFile::write(&store.machine.whole(), &written, None).unwrap();
    assert!(fs::read(&written).unwrap() == released, "the same state is written in other bytes");
}
