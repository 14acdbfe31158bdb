//! What a node reads from its data directory and its host before anything runs, and what it refuses then.

use std::sync::Arc;

use quorate_raft_store::{
    disk::{OpenError, SnapshotKey, Store, StoreOptions, read_state},
    state::StartId,
};
use zeroize::Zeroizing;

use super::{AppError, ServeOptions};
use crate::{
    api::{OwnStart, removed},
    cluster::Expelled,
    config::Config,
    data_dir::{DataDir, Lock, NodeFile, check_private_file},
    host::{self, HostComputer},
    metrics::Metrics,
    setup,
};

/// What is read from disk and host before anything runs.
pub(super) struct Prepared {
    pub(super) dir: DataDir,
    pub(super) own: Arc<NodeFile>,
    pub(super) computer: Arc<HostComputer>,
    pub(super) host_report: quorate_raft_store::state::HostReport,
    pub(super) start: OwnStart,
    pub(super) store: Store,
    pub(super) _lock: Lock,
}

/// Reads what a node needs from its data directory and host. Blocks on the disk.
pub(super) fn prepare(
    config: &Config,
    options: ServeOptions,
    metrics: &Metrics,
) -> Result<Prepared, AppError> {
    let dir = DataDir::new(&config.node.data_dir);
    let renamed = |file: &NodeFile| {
        let row = read_state(&dir.store())?.nodes().get(&file.node_id)?.clone();
        Some(row.name)
    };
    let mut own = dir.prepared_for(&config.node.name, renamed)?;
    let lock = dir.lock()?;
    dir.check_private()?;
    let path = dir.path().to_owned();
    if let Some(message) = dir.removed()? {
        return Err(AppError::Removed { message, path });
    }
    if let Some((code, message)) = dir.outdated()? {
        return Err(AppError::Outdated { code, message, name: own.name.clone(), path });
    }
    if dir.store_is_lost()? {
        return Err(AppError::StoreLost { name: own.name.clone(), store: dir.store(), path });
    }
    let found = host::computer_id(&config.identity)?;
    let computer =
        Arc::new(HostComputer::new(config.identity.clone(), dir.clone(), found, options.accept_computer_id));
    let store = Store::open(&StoreOptions {
        folder: dir.store(),
        marker: own.store_marker(),
        metrics: metrics.store.clone(),
        snapshot_key: snapshot_key(config)?,
    })
    .map_err(|error| match error {
        source @ OpenError::Damaged { .. } => {
            let (name, data_dir) = (own.name.clone(), dir.path().to_owned());
            AppError::StoreDamaged { source: Box::new(source), name, data_dir }
        }
        other => other.into(),
    })?;
    let state = &store.views.current().state;
    if let Some(row) = state.nodes().get(&own.node_id) {
        own.name = row.name.clone();
    }
    if own.name != config.node.name {
        tracing::warn!(
            configured = %config.node.name, name = %own.name,
            "the cluster has given this node another name; set node.name to it when you come by"
        );
    }
    if state.is_gone(own.node_id) {
        return Err(AppError::Removed { message: removed(state, own.node_id).message, path });
    }
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| AppError::Randomness(error.to_string()))?;
    let start = OwnStart { counter: dir.count_start()?, id: StartId(u128::from_be_bytes(id)) };
    start.announce(setup::addresses(config).raft);
    let host_report = host::host_report();
    let own = Arc::new(own);
    Ok(Prepared { dir, own, computer, host_report, start, store, _lock: lock })
}

/// Why a node that is no part of the cluster any more does not serve. The directory is marked: the next start would have a
/// number that the cluster has not seen, and would be taken for the node's own.
pub(super) fn expelled_error(expelled: &Expelled, dir: &DataDir, own: &NodeFile) -> AppError {
    let (message, path) = (expelled.message.clone(), dir.path().to_owned());
    let marked = match expelled.code.as_str() {
        "node_removed" => dir.save_removed(&message),
        code @ ("node_start_outdated" | "node_start_repeated") => dir.save_outdated(code, &message),
        // Whether the other copy lives, and whether the log has caught up, is looked at anew each time.
        _ => Ok(()),
    };
    if let Err(error) = marked {
        tracing::warn!(%error, "the data directory could not be marked as one that no node may start on");
    }
    if expelled.is_removed() {
        return AppError::Removed { message, path };
    }
    AppError::Outdated { code: expelled.code.clone(), message, name: own.name.clone(), path }
}

/// The key of snapshots at rest, if one is configured. Nobody else may read its file.
fn snapshot_key(config: &Config) -> Result<Option<SnapshotKey>, AppError> {
    let Some(path) = &config.raft.snapshot_key_file else { return Ok(None) };
    check_private_file(path)?;
    let wrong = |reason: String| AppError::SnapshotKey { path: path.clone(), reason };
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?);
    SnapshotKey::parse(&text).map(Some).map_err(|error| wrong(error.to_string()))
}
