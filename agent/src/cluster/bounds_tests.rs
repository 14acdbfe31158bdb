//! Messages between nodes are bounded in bytes, however large and many the entries are.

use openraft::{
    RaftLogReader as _,
    storage::{IOFlushed, RaftLogStorage as _},
};
use quorate_license::{ClusterId, Epoch, EpochId, NodeId};
use quorate_raft_store::{
    disk::{Marker, Store, StoreMetrics, StoreOptions},
    raft_types::{EncodedProposal, Entry, EntryPayload, Vote, log_id},
    wire,
};

use super::{network::MAX_MESSAGE_BYTES, propose::MAX_COMMAND_BYTES};

#[tokio::test]
async fn an_append_of_many_large_entries_is_never_larger_than_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let epoch = Epoch { number: 1, id: EpochId([2; 16]) };
    let mut store = Store::open(&StoreOptions {
        folder: folder.path().to_owned(),
        marker: Marker { cluster_id: ClusterId([1; 16]), epoch, node: NodeId(1) },
        metrics: StoreMetrics::register(&prometheus::Registry::new()).unwrap(),
        snapshot_key: None,
    })
    .unwrap();
    let entries: Vec<Entry> = (0..64)
        .map(|index| Entry {
            log_id: log_id(1, index),
            payload: EntryPayload::Normal(EncodedProposal(vec![7; MAX_COMMAND_BYTES].into())),
        })
        .collect();
    store.log.append(entries, IOFlushed::noop()).await.unwrap();
    let mut reader = store.log.get_log_reader().await;
    let mut from = 0;
    while from < 64 {
        let entries = reader.limited_get_log_entries(from, 64).await.unwrap();
        from += entries.len() as u64;
        let append = wire::Append {
            vote: Vote::new_committed(1, NodeId(1)),
            prev_log_id: None,
            leader_commit: None,
            entries,
        };
        let bytes = wire::encode_append(&append).unwrap().len();
        assert!(bytes <= MAX_MESSAGE_BYTES / 2, "{bytes}");
    }
}
