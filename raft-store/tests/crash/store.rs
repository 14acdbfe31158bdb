//! Opening the store that is tested.

use std::path::Path;

use prometheus::Registry;
use quorate_license::{ClusterId, Epoch, EpochId, NodeId};
use quorate_raft_store::disk::{Marker, OpenError, Store, StoreMetrics, StoreOptions};

/// Opens the store in `folder`, always the same node's.
pub(crate) fn open(folder: &Path) -> Result<Store, OpenError> {
    let epoch = Epoch { number: 1, id: EpochId([2; 16]) };
    let marker = Marker { cluster_id: ClusterId([1; 16]), epoch, node: NodeId(1) };
    let metrics = StoreMetrics::register(&Registry::new()).unwrap();
    Store::open(&StoreOptions { folder: folder.to_owned(), marker, metrics, snapshot_key: None })
}
