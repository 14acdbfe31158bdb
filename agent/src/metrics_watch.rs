//! Carries what Raft knows of itself over into the metrics.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Cluster, Presence},
    metrics::Metrics,
};

const EVERY: Duration = Duration::from_secs(1);

/// Runs until `stop`.
pub async fn run(cluster: Arc<Cluster>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut raft = cluster.raft_metrics();
    let mut leader = None;
    let mut known_presence = None;
    loop {
        // Asked first: it looks at the same metrics, and two looks at once can stop Raft for ever.
        let has_leader = cluster.live_leader().is_some();
        if metrics.server_has_leader.get() != i64::from(has_leader) && !has_leader {
            tracing::warn!("no leader is heard from; changes are refused, what is licensed stays licensed");
        }
        metrics.server_has_leader.set(i64::from(has_leader));
        {
            let now = raft.now();
            metrics.server_is_leader.set(i64::from(now.current_leader == Some(cluster.node())));
            metrics.server_is_learner.set(i64::from(now.state.is_learner()));
            if now.current_leader.is_some() && now.current_leader != leader {
                if leader.is_some() {
                    metrics.leader_changes_seen.inc();
                }
                leader = now.current_leader;
                tracing::info!(leader = ?leader.map(|id| id.0), term = now.current_term, "the cluster has a leader");
            }
            let committed = now.cluster_committed.as_ref().map_or(0, |id| id.index());
            Metrics::advance(&metrics.proposals_committed, committed);
            let applied = now.last_applied.as_ref().map_or(0, |id| id.index());
            Metrics::advance(&metrics.proposals_applied, applied);
            let purged = now.purged.as_ref().map_or(0, |id| id.index());
            metrics.log_entries.set(now.last_log_index.unwrap_or(0).saturating_sub(purged).cast_signed());
            let members = now.membership_config.nodes().count();
            metrics.known_peers.set(members.saturating_sub(1) as i64);
        }
        let presence = cluster.own_presence();
        let online =
            presence.as_ref().map_or(0, |nodes| nodes.values().filter(|up| **up == Some(true)).count());
        metrics.active_peers.set(online.saturating_sub(1) as i64);
        tell_changes(&cluster, known_presence.as_ref(), presence.as_ref());
        known_presence = presence;
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

/// Logs who came and who went, as the leader sees it.
fn tell_changes(cluster: &Cluster, before: Option<&Presence>, now: Option<&Presence>) {
    let (Some(before), Some(now)) = (before, now) else { return };
    for (id, online) in now {
        let Some(online) = online else { continue };
        let was = before.get(id).copied().flatten();
        // A new leader that finds a node missing says so, one that finds it there does not.
        if was.map_or(!*online && before.contains_key(id), |was| was != *online) {
            let view = cluster.view();
            let name = view.state.nodes().get(id).map(|node| node.name.to_string()).unwrap_or_default();
            if *online {
                tracing::info!(node = %id, name, "a node is back");
            } else {
                tracing::warn!(node = %id, name, "a node does not answer");
            }
        }
    }
}
