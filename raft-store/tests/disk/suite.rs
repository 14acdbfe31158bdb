//! openraft's own storage suite.

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use quorate_raft_store::{
    disk::{LogStore, StateMachine},
    raft_types::TypeConfig,
};
use tempfile::TempDir;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let folder = tempfile::tempdir().unwrap();
        let store = super::open(folder.path()).unwrap();
        Ok((folder, store.log, store.machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_storage_suite_passes() {
    Suite::test_all(Builder).await.unwrap();
}
