//! The store on a real RocksDB.
#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod bounded;
mod damage;
mod formats;
mod recovery;
mod snapshots;
mod suite;

use std::path::{Path, PathBuf};

use openraft::{RaftLogReader, entry::RaftEntry, storage::RaftLogStorage, type_config::TypeConfigExt};
use prometheus::Registry;
use quorate_license::{ClusterId, Epoch, EpochId, NodeId, Timestamp};
use quorate_raft_store::{
    Command, Proposal, RequestId,
    command::Tick,
    disk::{LogStore, Marker, OpenError, Store, StoreMetrics, StoreOptions},
    raft_types::{Entry, EntryPayload, IoFlushed, TypeConfig, log_id},
};

fn marker(node: u64) -> Marker {
    let epoch = Epoch { number: 1, id: EpochId([2; 16]) };
    Marker { cluster_id: ClusterId([1; 16]), epoch, node: NodeId(node) }
}

fn options(folder: &Path) -> StoreOptions {
    let metrics = StoreMetrics::register(&Registry::new()).unwrap();
    StoreOptions { folder: folder.to_owned(), marker: marker(1), metrics }
}

fn open(folder: &Path) -> Result<Store, OpenError> {
    Store::open(&options(folder))
}

/// The newest write-ahead log of a closed store.
fn write_ahead_log(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder.join("db")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().unwrap()
}

/// An entry that holds a proposal. Before the cluster is initialized its answer is a refusal, which
/// is remembered, so that it changes the state.
fn proposal(term: u64, index: u64) -> Entry {
    let proposal = Proposal {
        request: RequestId(u128::from(index)),
        time: Timestamp::from_unix_ms(index as i64),
        asked_by: None,
        command: Command::Tick(Tick {}),
    };
    Entry::new(log_id(term, index), EntryPayload::Normal(proposal.encode().unwrap()))
}

fn blank(term: u64, index: u64) -> Entry {
    Entry::new(log_id(term, index), EntryPayload::Blank)
}

/// Appends entries and waits until they are synced.
async fn append(log: &mut LogStore, entries: Vec<Entry>) {
    let (sender, receiver) = TypeConfig::oneshot();
    log.append(entries, IoFlushed::signal(sender)).await.unwrap();
    receiver.await.unwrap().unwrap();
}

async fn indexes(log: &mut LogStore, from: u64, to: u64) -> Vec<u64> {
    let entries = log.try_get_log_entries(from..to).await.unwrap();
    entries.iter().map(|entry| entry.log_id.index()).collect()
}

/// Applies entries as openraft does, without anybody waiting for answers.
async fn apply(store: &mut Store, entries: Vec<Entry>) {
    use openraft::storage::{EntryResponder, RaftStateMachine};
    let items: Vec<Result<EntryResponder<TypeConfig>, std::io::Error>> =
        entries.into_iter().map(|entry| Ok((entry, None))).collect();
    store.machine.apply(futures::stream::iter(items)).await.unwrap();
}
