//! The leader keeps Raft's membership in step with the admitted nodes.
//!
//! A new node becomes a learner first. A Management Server is promoted to voter once it has caught
//! up; a Spooler Controller stays a learner. One change at a time; nobody is removed here: a dead
//! voter is an administrator's decision.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use openraft::{ChangeMembers, Instant as _, impls::EmptyNode};
use quorate_license::{NodeId, NodeRole};
use quorate_raft_store::Command;
use quorate_raft_store::command::Tick;
use tokio_util::sync::CancellationToken;

use super::Cluster;

/// A learner that is this many entries behind or fewer has caught up.
const CAUGHT_UP: u64 = 64;
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// The leader carries the time into the log this often, at least.
const TICK: Duration = Duration::from_secs(3600);

/// Runs until `stop`. Does something on the leader only.
pub async fn keep_membership(cluster: Arc<Cluster>, stop: CancellationToken) {
    let mut applied = cluster.views().subscribe();
    let mut tick = tokio::time::interval(TICK);
    tick.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {
                if cluster.leads() && let Err(error) = cluster.propose(Command::Tick(Tick {})).await {
                    tracing::warn!(%error, "the hourly tick was not committed");
                }
            }
            changed = applied.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        if cluster.leads() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = step(&cluster) => {}
            }
        }
    }
}

/// What is to be changed next.
enum Next {
    AddLearner(NodeId),
    Promote(BTreeSet<NodeId>),
    Nothing,
}

async fn step(cluster: &Cluster) {
    let result = match next(cluster) {
        Next::AddLearner(node) => {
            tracing::info!(%node, "adding a node to the group");
            cluster.raft.add_learner(node, EmptyNode::default(), false).await
        }
        Next::Promote(nodes) => {
            tracing::info!(?nodes, "nodes have caught up and become voters");
            cluster.raft.change_membership(ChangeMembers::AddVoterIds(nodes), true).await
        }
        Next::Nothing => return,
    };
    if let Err(error) = result {
        tracing::debug!(%error, "the membership was not changed; trying again");
    }
}

fn next(cluster: &Cluster) -> Next {
    let mut metrics = cluster.raft_metrics();
    let now = metrics.now();
    // A change under way must end first: it is committed when both views of it agree.
    if now.membership_config != now.committed_membership_config
        || now.membership_config.get_joint_config().len() != 1
    {
        return Next::Nothing;
    }
    let members: BTreeSet<NodeId> = now.membership_config.nodes().map(|(id, _)| *id).collect();
    let voters: BTreeSet<NodeId> = now.membership_config.voter_ids().collect();
    let view = cluster.view();
    let admitted = view.state.nodes();
    if let Some(node) = admitted.values().find(|node| !members.contains(&node.id)) {
        return Next::AddLearner(node.id);
    }
    let end = now.last_log_index.unwrap_or(0);
    let Some(replication) = now.replication.as_ref() else { return Next::Nothing };
    let caught_up: BTreeSet<NodeId> = admitted
        .values()
        .filter(|node| node.role == NodeRole::Management && !voters.contains(&node.id))
        .filter(|node| {
            let matched = replication.get(&node.id).copied().flatten().map(|id| id.index());
            let heartbeat = now.heartbeat.as_ref().and_then(|all| all.get(&node.id)).and_then(Option::as_ref);
            matched.is_some_and(|index| index + CAUGHT_UP >= end)
                && heartbeat.is_some_and(|at| at.elapsed() < cluster.absent_after)
        })
        .map(|node| node.id)
        .collect();
    if caught_up.is_empty() { Next::Nothing } else { Next::Promote(caught_up) }
}
