//! What is there after a restart.

use std::{fs, io::Write as _};

use openraft::{RaftLogReader, storage::RaftLogStorage, storage::RaftStateMachine};
use quorate_license::NodeId;
use quorate_raft_store::raft_types::{IoFlushed, Vote, log_id};

use super::{append, apply, blank, indexes, open, proposal, write_ahead_log};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let vote = Vote::new_committed(3, NodeId(1));
    let digest = {
        let mut store = open(folder.path()).unwrap();
        store.log.save_vote(&vote).await.unwrap();
        append(&mut store.log, vec![blank(1, 0), proposal(1, 1), proposal(1, 2), proposal(3, 3)]).await;
        store.log.save_committed(Some(log_id(1, 2))).await.unwrap();
        apply(&mut store, vec![blank(1, 0), proposal(1, 1), proposal(1, 2)]).await;
        store.views.current().digest
    };
    let mut store = open(folder.path()).unwrap();
    assert_eq!(store.log.read_vote().await.unwrap(), Some(vote));
    assert_eq!(store.log.read_committed().await.unwrap(), Some(log_id(1, 2)));
    assert_eq!(store.log.get_log_state().await.unwrap().last_log_id, Some(log_id(3, 3)));
    assert_eq!(indexes(&mut store.log, 0, 10).await, [0, 1, 2, 3]);
    assert_eq!(store.machine.applied_state().await.unwrap().0, Some(log_id(1, 2)));
    assert_eq!(store.views.current().digest, digest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncated_and_purged_entries_stay_gone() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut store = open(folder.path()).unwrap();
        append(&mut store.log, (0..20).map(|index| blank(1, index)).collect()).await;
        store.log.truncate_after(Some(log_id(1, 14))).await.unwrap();
        append(&mut store.log, vec![blank(2, 15)]).await;
        store.log.purge(log_id(1, 4)).await.unwrap();
        assert_eq!(indexes(&mut store.log, 0, 100).await, (5..16).collect::<Vec<_>>());
    }
    let mut store = open(folder.path()).unwrap();
    assert_eq!(indexes(&mut store.log, 0, 100).await, (5..16).collect::<Vec<_>>());
    let state = store.log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(1, 4)), Some(log_id(2, 15))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_from_which_rocksdb_would_not_come_back_costs_nothing_that_was_synced() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut store = open(folder.path()).unwrap();
        append(&mut store.log, (0..50).map(|index| proposal(1, index)).collect()).await;
    }
    // A whole record of a recycled log: checksum, length, kind, log number.
    let mut log = fs::OpenOptions::new().append(true).open(write_ahead_log(folder.path())).unwrap();
    log.write_all(&[1, 2, 3, 4, 4, 0, 5, 0, 0, 0, 0, 9, 9, 9, 9]).unwrap();
    let mut store = open(folder.path()).unwrap();
    assert_eq!(indexes(&mut store.log, 0, 100).await, (0..50).collect::<Vec<_>>());
    assert!(!folder.path().join("set-aside").exists(), "nothing that was promised was in it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_would_leave_a_hole_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).unwrap();
    append(&mut store.log, vec![blank(1, 0)]).await;
    let refused = store.log.append(vec![blank(1, 2)], IoFlushed::noop()).await.unwrap_err();
    assert!(refused.to_string().contains("hole"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_older_than_the_cache_are_read_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).unwrap();
    for start in (0..20_000).step_by(1_000) {
        append(&mut store.log, (start..start + 1_000).map(|index| proposal(1, index)).collect()).await;
    }
    assert_eq!(indexes(&mut store.log, 0, 20_000).await, (0..20_000).collect::<Vec<_>>());
    assert_eq!(indexes(&mut store.log, 11_990, 12_010).await, (11_990..12_010).collect::<Vec<_>>());
}

#[test]
fn a_folder_that_is_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store");
    fs::write(&file, "x").unwrap();
    let refused = open(&file).err().unwrap().to_string();
    assert!(refused.contains(&file.display().to_string()), "{refused}");
}
