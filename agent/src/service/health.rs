//! Whether the cluster can make changes, and what is wrong if it can't.

use std::time::Duration;

use quorate_license::NodeId;

use super::cluster_status;
use crate::cluster::Cluster;

const DEADLINE: Duration = Duration::from_secs(2);

/// The cluster's health.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// Raft's term.
    pub term: u64,
    /// Voters.
    pub voters: u32,
    /// Voters that the leader has heard from lately.
    pub voters_online: u32,
    /// Voters that are needed for a change.
    pub quorum: u32,
    /// Whether a quorum has just confirmed the leader.
    pub linearizable: bool,
    /// What is wrong, in words.
    pub problems: Vec<String>,
}

/// Looks at the cluster from this node.
pub async fn health(cluster: &Cluster) -> Health {
    let term = cluster.raft_metrics().now().current_term;
    let Some(status) = cluster_status(cluster).await else {
        return Health {
            term,
            problems: vec!["the cluster is not initialized yet".to_owned()],
            ..Health::default()
        };
    };
    let voters: Vec<_> = status.nodes.iter().filter(|node| node.voter).collect();
    let mut health = Health {
        leader: status.leader,
        term,
        voters: voters.len() as u32,
        voters_online: voters.iter().filter(|node| node.online == Some(true)).count() as u32,
        quorum: voters.len() as u32 / 2 + 1,
        ..Health::default()
    };
    match status.leader {
        None => health
            .problems
            .push("no leader is known: changes are refused, what is licensed stays licensed".into()),
        Some(leader) if leader == cluster.node() => match cluster.confirm_leadership(DEADLINE).await {
            Ok(()) => health.linearizable = true,
            Err(reason) => health.problems.push(format!("no quorum confirms the leader: {reason}")),
        },
        // The leader has just answered for the others' presence; what it can confirm it tells there.
        Some(_) => health.linearizable = health.voters_online >= health.quorum,
    }
    for node in &status.nodes {
        let name = &node.node.name;
        if node.online == Some(false) {
            health.problems.push(format!("{name} is offline"));
        } else if node.online == Some(true) && node.applied_index.is_none() {
            health.problems.push(format!("{name} takes part, but does not answer"));
        }
    }
    let furthest = status.nodes.iter().filter_map(|node| node.applied_index).max().unwrap_or(0);
    for node in &status.nodes {
        if node.applied_index.is_some_and(|index| index + 10_000 < furthest) {
            health.problems.push(format!("{} is more than 10000 entries behind", node.node.name));
        }
    }
    health
}
