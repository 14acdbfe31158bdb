//! What a node does by itself as long as it serves: for its group, and to know how it is.

use std::sync::Arc;

use quorate_license::NodeRole;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cluster::{Cluster, agree_on_time, keep_membership, watch_clones, watch_standing},
    data_dir::DataDir,
    host::disk_space,
    metrics::Metrics,
    metrics_watch,
    service::{keep_rotation, keep_time},
};

/// Starts it as tasks of `tracker`, which end with `stop`. What only a leader does, every Management Server is ready for.
pub(super) fn keep_group(
    cluster: &Arc<Cluster>,
    role: NodeRole,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) {
    tracker.spawn(watch_clones(cluster.clone(), stop.clone()));
    if role == NodeRole::Management {
        tracker.spawn(keep_rotation(cluster.clone(), stop.clone()));
        tracker.spawn(keep_membership(cluster.clone(), stop.clone()));
        tracker.spawn(agree_on_time(cluster.clone(), stop.clone()));
    }
}

/// Starts the tasks of `tracker` that look after the node's disk, time, standing and figures, and end with `stop`.
pub(super) fn watch_itself(
    cluster: &Arc<Cluster>,
    dir: &DataDir,
    metrics: &Arc<Metrics>,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) {
    let group = cluster.clone();
    let measured = move |free| group.measured_free_disk(free);
    tracker.spawn(disk_space::watch(dir.path().to_owned(), metrics.clone(), measured, stop.clone()));
    tracker.spawn(keep_time(cluster.clone(), dir.clone(), metrics.clone(), stop.clone()));
    tracker.spawn(metrics_watch::run(cluster.clone(), metrics.clone(), stop.clone()));
    tracker.spawn(watch_standing(cluster.clone(), dir.clone(), stop.clone()));
}
