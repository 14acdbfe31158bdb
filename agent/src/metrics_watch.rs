//! Carries what Raft knows of itself over into the metrics.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{cluster::Cluster, metrics::Metrics};

const EVERY: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub async fn run(cluster: Arc<Cluster>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut raft = cluster.raft_metrics();
    let mut leader = None;
    loop {
        // Asked first: it looks at the same metrics, and two looks at once can stop Raft for ever.
        metrics.server_has_leader.set(i64::from(cluster.live_leader().is_some()));
        {
            let now = raft.now();
            metrics.server_is_leader.set(i64::from(now.current_leader == Some(cluster.node())));
            metrics.server_is_learner.set(i64::from(now.state.is_learner()));
            if now.current_leader.is_some() && now.current_leader != leader {
                if leader.is_some() {
                    metrics.leader_changes_seen.inc();
                }
                leader = now.current_leader;
            }
            let committed = now.cluster_committed.as_ref().map_or(0, |id| id.index());
            Metrics::advance(&metrics.proposals_committed, committed);
            let applied = now.last_applied.as_ref().map_or(0, |id| id.index());
            Metrics::advance(&metrics.proposals_applied, applied);
            let members = now.membership_config.nodes().count();
            metrics.known_peers.set(members.saturating_sub(1) as i64);
        }
        let present = cluster.own_presence().map_or(0, |online| online.values().filter(|up| **up).count());
        metrics.active_peers.set(present.saturating_sub(1) as i64);
        tokio::select! {
            () = stop.cancelled() => return,
            changed = raft.changed() => {
                if !changed {
                    return;
                }
                // Not more often than somebody could look.
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(EVERY / 10) => {}
                }
            }
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
