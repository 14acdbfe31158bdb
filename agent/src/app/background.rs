//! What a node does for its group by itself, as long as it serves.

use std::sync::Arc;

use quorate_license::NodeRole;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cluster::{Cluster, agree_on_time, keep_membership, watch_clones},
    service::keep_rotation,
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
