//! However long a node writes, its disk holds the state, the newest snapshot and the end of the log.

use std::{fs, path::Path};

use openraft::{
    RaftSnapshotBuilder,
    storage::{RaftLogStorage, RaftStateMachine},
};
use quorate_raft_store::raft_types::log_id;

use super::{append, apply, indexes, open, proposal};

/// As the agent is configured: a snapshot every so many entries, so many kept behind it.
const SNAPSHOT_AFTER: u64 = 10_000;
const KEEP: u64 = 2_000;
const ENTRIES: u64 = 400_000;
const STEP: u64 = 1_000;

/// Bytes of all files in a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            // It was deleted meanwhile.
            Err(_) => 0,
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_stays_bounded_however_long_a_node_writes() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).unwrap();
    let (mut largest, mut purged) = ([0; 2], 0);
    for start in (0..ENTRIES).step_by(STEP as usize) {
        let entries: Vec<_> = (start..start + STEP).map(|index| proposal(1, index)).collect();
        append(&mut store.log, entries.clone()).await;
        apply(&mut store, entries).await;
        let end = start + STEP;
        if end.is_multiple_of(SNAPSHOT_AFTER)
            && let Some(mut builder) = store.machine.try_create_snapshot_builder(false).await
        {
            builder.build_snapshot().await.unwrap();
            purged = end - KEEP;
            store.log.purge(log_id(1, purged)).await.unwrap();
        }
        let half = usize::from(start >= ENTRIES / 2);
        largest[half] = size(folder.path()).max(largest[half]);
    }
    // The WAL's bound, the state and its snapshots, and what waits for a compaction.
    assert!(largest[0] < 48 << 20, "the folder had up to {} MiB", largest[0] >> 20);
    assert!(
        largest[1] <= largest[0] + largest[0] / 4,
        "it had up to {} bytes in the first half, and up to {} in the second",
        largest[0],
        largest[1]
    );
    let kept = indexes(&mut store.log, 0, ENTRIES).await;
    assert_eq!((kept[0], kept.len() as u64), (purged + 1, ENTRIES - purged - 1));
    let rows = store.machine.whole().state.row_count();
    assert!(ENTRIES - purged <= KEEP + SNAPSHOT_AFTER + rows / 4, "{rows} rows, purged up to {purged}");
}
