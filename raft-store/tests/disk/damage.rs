//! What is refused: other nodes' stores, newer ones, damaged ones. Nothing of them is deleted.

use std::{fs, path::Path};

use openraft::RaftLogReader;
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use quorate_license::NodeId;
use quorate_raft_store::{
    disk::{OpenError, Store, recompute_digest},
    raft_types::{Vote, log_id},
};

use super::{append, apply, blank, marker, open, options, proposal, write_ahead_log};

const FAMILIES: [&str; 4] = ["default", "log", "meta", "state"];

/// The reason and the files that a damaged store is refused with.
fn damage(folder: &Path) -> (String, Vec<String>) {
    match open(folder) {
        Err(OpenError::Damaged { reason, files, .. }) => (reason, files),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the damaged store was opened"),
    }
}

async fn filled(folder: &Path) {
    let mut store = open(folder).unwrap();
    store.log.save_vote(&Vote::new_committed(2, NodeId(1))).await.unwrap();
    let entries: Vec<_> = (0..50).map(|index| proposal(2, index)).collect();
    append(&mut store.log, entries.clone()).await;
    apply(&mut store, entries).await;
}

fn raw(folder: &Path) -> rocksdb::DB {
    rocksdb::DB::open_cf(&rocksdb::Options::default(), folder.join("db"), FAMILIES).unwrap()
}

#[test]
fn a_database_of_another_node_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let mut other = options(folder.path());
    other.marker = marker(2);
    match Store::open(&other) {
        Err(OpenError::Foreign { found, expected, .. }) => {
            assert!(found.starts_with("node 1 ") && expected.starts_with("node 2 "), "{found}, {expected}");
        }
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_changed_byte_of_a_row_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut store = open(folder.path()).unwrap();
        let entries: Vec<_> = (0..50).map(|index| proposal(1, index)).collect();
        append(&mut store.log, entries.clone()).await;
        apply(&mut store, entries).await;
    }
    let intact = recompute_digest(folder.path()).unwrap();
    assert_eq!(intact.stored, intact.recomputed);
    assert_eq!(intact.applied, Some(log_id(1, 49)));

    change_one_row(&folder.path().join("db"));
    let damaged = recompute_digest(folder.path()).unwrap();
    assert_ne!(damaged.stored, damaged.recomputed);
    assert!(matches!(open(folder.path()), Err(OpenError::Damaged { .. })));
}

/// Changes the last byte of one row of the state, behind the store's back.
fn change_one_row(path: &Path) {
    let families = ["default", "log", "meta", "state"];
    let db = rocksdb::DB::open_cf(&rocksdb::Options::default(), path, families).unwrap();
    let state = db.cf_handle("state").unwrap();
    let (key, mut row) = db.iterator_cf(state, rocksdb::IteratorMode::End).next().unwrap().unwrap();
    *row.last_mut().unwrap() ^= 1;
    db.put_cf(state, key, row).unwrap();
}

#[test]
fn a_database_of_a_newer_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    {
        let db = raw(folder.path());
        let newer = quorate_raft_store::codec::encode(&99u32).unwrap();
        db.put_cf(db.cf_handle("meta").unwrap(), b"format", newer).unwrap();
    }
    assert!(matches!(open(folder.path()), Err(OpenError::NewerFormat { found: 99, .. })));
}

#[test]
fn a_database_of_a_newer_format_is_left_alone_even_if_its_log_would_have_to_be_cut() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    {
        let db = raw(folder.path());
        let newer = quorate_raft_store::codec::encode(&99u32).unwrap();
        db.put_cf(db.cf_handle("meta").unwrap(), b"format", newer).unwrap();
    }
    let log = write_ahead_log(folder.path());
    // A whole record of a recycled log: RocksDB would not come back from it.
    let mut bytes = fs::read(&log).unwrap();
    bytes.extend([1, 2, 3, 4, 4, 0, 5, 0, 0, 0, 0, 9, 9, 9, 9]);
    fs::write(&log, &bytes).unwrap();
    let list = || {
        let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        files.collect::<std::collections::BTreeSet<_>>()
    };
    let before = list();
    for _ in 0..2 {
        assert!(matches!(open(folder.path()), Err(OpenError::NewerFormat { found: 99, .. })));
        assert!(fs::read(&log).unwrap() == bytes, "its log was changed");
        assert_eq!(list(), before);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_its_floor_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    fs::remove_file(folder.path().join("floor")).unwrap();
    assert!(damage(folder.path()).0.contains("'floor' is gone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_floor_that_cant_be_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    fs::write(folder.path().join("floor"), [0; 8192]).unwrap();
    assert!(damage(folder.path()).0.contains("neither of its slots is whole"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    fs::remove_dir_all(folder.path().join("db")).unwrap();
    assert!(damage(folder.path()).0.contains("the database is gone"));
    assert!(!folder.path().join("db").exists(), "and none is made in its place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_the_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let older = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let (db, copy) = (folder.path().join("db"), older.path().join("db"));
    assert!(std::process::Command::new("cp").arg("-r").args([&db, &copy]).status().unwrap().success());
    {
        let mut store = open(folder.path()).unwrap();
        store.log.save_vote(&Vote::new(7, NodeId(3))).await.unwrap();
    }
    fs::remove_dir_all(&db).unwrap();
    fs::rename(&copy, &db).unwrap();
    let (reason, _) = damage(folder.path());
    assert!(reason.contains("its vote is") && reason.contains("was synced"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_under_another_nodes_floor_is_refused_by_name() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    filled(one.path()).await;
    let mut other = options(two.path());
    other.marker = marker(2);
    drop(Store::open(&other).unwrap());
    fs::copy(one.path().join("floor"), two.path().join("floor")).unwrap();
    fs::remove_dir_all(one.path().join("db")).unwrap();
    fs::rename(two.path().join("db"), one.path().join("db")).unwrap();
    assert!(matches!(open(one.path()), Err(OpenError::Foreign { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_of_a_table_is_refused_with_the_files_name() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    // Opened once more, so that all is in tables; by another program, whose cache is not ours.
    drop(raw(folder.path()));
    let table = largest_table(folder.path());
    let mut bytes = fs::read(&table).unwrap();
    bytes[100] ^= 1;
    fs::write(&table, bytes).unwrap();
    let (reason, files) = damage(folder.path());
    let name = table.file_name().unwrap().to_string_lossy().into_owned();
    assert!(reason.contains("mismatch"), "{reason}");
    assert_eq!(files, [format!("db/{name}")]);
    assert_eq!(damage(folder.path()), (reason, files), "and so at every start");
    assert!(table.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_table_is_refused_with_the_files_name() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    drop(open(folder.path()).unwrap());
    let table = largest_table(folder.path());
    fs::remove_file(&table).unwrap();
    let (reason, files) = damage(folder.path());
    let name = table.file_name().unwrap().to_string_lossy().into_owned();
    assert!(reason.contains(&name), "{reason}");
    assert!(!files.is_empty());
}

fn largest_table(folder: &Path) -> std::path::PathBuf {
    let files = fs::read_dir(folder.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|extension| extension == "sst"));
    tables.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synced_log_from_which_rocksdb_would_not_come_back_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let log = write_ahead_log(folder.path());
    let mut bytes = fs::read(&log).unwrap();
    // The second record's kind becomes that of a recycled log.
    let second = 7 + usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
    bytes[second + 6] = 5;
    fs::write(&log, &bytes).unwrap();

    let damaged = recompute_digest(folder.path()).unwrap_err().to_string();
    assert!(damaged.contains(&format!("no record can begin at byte {second}")), "{damaged}");
    assert_eq!(fs::read(&log).unwrap(), bytes, "reading changes nothing");
    let (reason, _) = damage(folder.path());
    assert!(reason.contains("were synced") || reason.contains("was synced"), "{reason}");
    let name = log.file_name().unwrap().to_string_lossy().into_owned();
    let kept = folder.path().join("set-aside").join(format!("{name}.from-{second}"));
    assert_eq!(fs::read(kept).unwrap(), bytes[second..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_entry_in_the_middle_of_the_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    {
        let db = raw(folder.path());
        db.delete_cf(db.cf_handle("log").unwrap(), 17u64.to_be_bytes()).unwrap();
    }
    assert!(damage(folder.path()).0.contains("log entry 17 is missing"));
}

/// The only thread for blocking work is kept busy between a read's begin and its turn.
#[test]
fn what_is_truncated_while_it_is_read_from_disk_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        append(&mut open(folder.path()).unwrap().log, (0..50).map(|index| blank(1, index)).collect()).await;
        // Nothing of what a restarted node finds is in its cache.
        let mut store = open(folder.path()).unwrap();
        let mut reader = store.log.get_log_reader().await;
        for (kept, with) in [(40, None), (20, Some(2)), (10, Some(3))] {
            let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
            let busy = tokio::task::spawn_blocking(move || wait.recv());
            let mut read = std::pin::pin!(reader.try_get_log_entries(0..50));
            assert!(futures::poll!(&mut read).is_pending());
            store.log.truncate_after(Some(log_id(1, kept))).await.unwrap();
            let added = with.map(|term| (kept + 1..kept + 6).map(move |index| blank(term, index)));
            let end = if let Some(added) = added {
                append(&mut store.log, added.collect()).await;
                kept + 6
            } else {
                kept + 1
            };
            go.send(()).unwrap();
            busy.await.unwrap().unwrap();
            let found = read.await.unwrap();
            assert!(found.iter().map(|entry| entry.log_id.index()).eq(0..end), "truncated to {kept}");
        }
    });
    assert!(!folder.path().join("quarantine").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_that_is_met_while_the_node_runs_leads_into_quarantine() {
    let folder = tempfile::tempdir().unwrap();
    {
        let mut store = open(folder.path()).unwrap();
        // More than the cache holds, so that the first ones are read from disk.
        for start in (0..10_000).step_by(1_000) {
            append(&mut store.log, (start..start + 1_000).map(|index| blank(1, index)).collect()).await;
        }
    }
    {
        let db = raw(folder.path());
        db.put_cf(db.cf_handle("log").unwrap(), 3u64.to_be_bytes(), [1, 250, 250]).unwrap();
    }
    let mut store = open(folder.path()).unwrap();
    let refused = store.log.try_get_log_entries(0..10).await.unwrap_err();
    drop(store);
    assert_eq!(damage(folder.path()).0, refused.to_string());
    // Whoever has put it right removes the note, and the store is checked again.
    {
        let db = raw(folder.path());
        let good =
            quorate_raft_store::codec::encode(&quorate_raft_store::records::EntryRecord::from(&blank(1, 3)));
        db.put_cf(db.cf_handle("log").unwrap(), 3u64.to_be_bytes(), good.unwrap()).unwrap();
    }
    fs::remove_file(folder.path().join("quarantine")).unwrap();
    let mut store = open(folder.path()).unwrap();
    assert_eq!(store.log.try_get_log_entries(0..10).await.unwrap().len(), 10);
    assert!(store.machine.applied_state().await.unwrap().0.is_none());
    assert_eq!(store.log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 9_999)));
}
