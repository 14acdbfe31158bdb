//! Whether the cluster can make changes, and what is wrong if it can't.

use std::time::Duration;

use quorate_license::{NodeId, NodeName, NodeRole, Timestamp};
use quorate_raft_store::state::Tombstone;

use super::{ClusterStatus, NodeStatus, cluster_status};
use crate::{
    clock,
    cluster::{Alarm, Cluster, LeaderView, MemberView},
};

const DEADLINE: Duration = Duration::from_secs(2);
/// Whoever is more entries behind is a problem.
const FAR_BEHIND: u64 = 10_000;
/// So is whoever does not keep up for so long, however little is missing.
const BEHIND_FOR: Duration = Duration::from_secs(10);
/// With less free disk a node can't be expected to keep up.
const LOW_DISK_BYTES: u64 = 512 << 20;

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
    /// How many more voters can be lost before changes stop.
    pub failure_tolerance: u32,
    /// Whether a quorum has just confirmed the leader.
    pub linearizable: bool,
    /// Whether a change of Raft's membership is under way.
    pub membership_changing: bool,
    /// What is wrong, in words.
    pub problems: Vec<String>,
    /// What is not wrong but should be looked at, in words.
    pub warnings: Vec<String>,
    /// The nodes by id.
    pub nodes: Vec<NodeHealth>,
}

/// One node's health.
#[derive(Debug, Clone)]
pub struct NodeHealth {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Its role.
    pub role: NodeRole,
    /// Whether it votes.
    pub voter: bool,
    /// How it is.
    pub condition: Condition,
    /// How many entries it is behind the leader's log; none if nobody knows.
    pub lag_entries: Option<u64>,
    /// Since when it has been in this condition, if known.
    pub since: Option<Timestamp>,
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It keeps up.
    Healthy,
    /// Without a leader nobody can tell, nor can one that was elected just now.
    Unknown,
    /// The leader does not hear from it.
    Offline,
    /// It takes part in Raft, and does not answer questions.
    NotAnswering,
    /// Its disk is almost full.
    DiskFull,
    /// It is behind, and gets a snapshot.
    CatchingUp,
    /// It is behind, for no other reason.
    Slow,
    /// It is a member of the cluster, and not of Raft's group yet.
    Joining,
}

impl Condition {
    /// The stable name, in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Condition::Healthy => "healthy",
            Condition::Unknown => "unknown",
            Condition::Offline => "offline",
            Condition::NotAnswering => "not_answering",
            Condition::DiskFull => "disk_full",
            Condition::CatchingUp => "catching_up",
            Condition::Slow => "slow",
            Condition::Joining => "joining",
        }
    }
}

/// Looks at the cluster from this node.
pub async fn health(cluster: &Cluster) -> Health {
    let (term, now) = (cluster.raft_metrics().now().current_term, clock::now());
    let expelled = cluster.expelled().map(|expelled| expelled.message.clone());
    // A leader that was elected just now can't tell yet who is there, and that is no illness.
    let seen = cluster.settled_leader_view().await;
    let Some(status) = cluster_status(cluster).await else {
        let problem = expelled.unwrap_or_else(|| "the cluster is not initialized yet".to_owned());
        return Health { term, problems: vec![problem], ..Health::default() };
    };
    let voters: Vec<_> = status.nodes.iter().filter(|node| node.voter).collect();
    let online = voters.iter().filter(|node| node.online == Some(true)).count() as u32;
    let quorum = voters.len() as u32 / 2 + 1;
    let mut health = Health {
        leader: status.leader,
        term,
        voters: voters.len() as u32,
        voters_online: online,
        quorum,
        failure_tolerance: if status.leader.is_some() { online.saturating_sub(quorum) } else { 0 },
        membership_changing: seen.as_ref().is_some_and(|seen| seen.changing),
        problems: expelled.into_iter().collect(),
        warnings: even_voters(voters.len()).into_iter().collect(),
        nodes: status.nodes.iter().map(|node| node_health(node, seen.as_ref(), now)).collect(),
        ..Health::default()
    };
    match status.leader {
        None => health
            .problems
            .push("no leader is known: changes are refused, what is licensed stays licensed".into()),
        Some(_) => match cluster.read_index(DEADLINE).await {
            Ok(_) => health.linearizable = true,
            Err(error) => health.problems.push(format!("a linearizable read is not possible: {error}")),
        },
    }
    health.warnings.extend(leaving(&status, seen.as_ref()));
    health.problems.extend(status.alarms.iter().map(Alarm::words));
    let problems: Vec<String> = health.nodes.iter().filter_map(NodeHealth::problem).collect();
    health.problems.extend(problems);
    health
}

/// What is said about an even number of voters.
pub fn even_voters(voters: usize) -> Option<String> {
    (voters > 0 && voters.is_multiple_of(2)).then(|| {
        format!(
            "{voters} Management Servers vote, an even number: the cluster can lose {} of them, no more than with {}",
            (voters - 1) / 2,
            voters - 1
        )
    })
}

/// Removed nodes that the leader has not taken out of Raft's group yet.
fn leaving<'s>(status: &'s ClusterStatus, seen: Option<&'s LeaderView>) -> impl Iterator<Item = String> + 's {
    let still_there = move |gone: &&Tombstone| seen.is_some_and(|seen| seen.members.contains_key(&gone.id));
    status
        .removed
        .iter()
        .filter(still_there)
        .map(|gone| format!("{} ({}) was removed and has not left Raft's group yet", gone.name, gone.id))
}

fn node_health(node: &NodeStatus, seen: Option<&LeaderView>, now: Timestamp) -> NodeHealth {
    let member = seen.and_then(|seen| seen.members.get(&node.node.id));
    let lag = |member: &MemberView| Some(seen?.last_index.saturating_sub(member.matched?));
    let lag_entries = member.and_then(lag);
    let condition = match (seen, member) {
        (None, _) => Condition::Unknown,
        (Some(_), None) => Condition::Joining,
        (Some(_), Some(member)) => member_condition(node, member, lag_entries, now),
    };
    let since = match condition {
        Condition::Offline => member.and_then(|member| member.heard_at),
        Condition::CatchingUp | Condition::Slow => member.and_then(|member| member.behind_since),
        _ => None,
    };
    let NodeStatus { node, voter, .. } = node;
    NodeHealth {
        id: node.id,
        name: node.name.clone(),
        role: node.role,
        voter: *voter,
        condition,
        lag_entries,
        since,
    }
}

fn member_condition(node: &NodeStatus, member: &MemberView, lag: Option<u64>, now: Timestamp) -> Condition {
    match member.online {
        None => return Condition::Unknown,
        Some(false) => return Condition::Offline,
        Some(true) => {}
    }
    if node.applied_index.is_none() {
        return Condition::NotAnswering;
    }
    if node.free_disk_bytes.is_some_and(|free| free < LOW_DISK_BYTES) {
        return Condition::DiskFull;
    }
    if member.needs_snapshot {
        return Condition::CatchingUp;
    }
    let long = |since: Timestamp| now.ms_since(since) >= BEHIND_FOR.as_millis() as i64;
    if lag.is_none_or(|lag| lag > FAR_BEHIND) || member.behind_since.is_some_and(long) {
        Condition::Slow
    } else {
        Condition::Healthy
    }
}

impl NodeHealth {
    /// What is wrong with the node, in words.
    fn problem(&self) -> Option<String> {
        let name = &self.name;
        let since = self.since.map(|at| format!(" since {at}")).unwrap_or_default();
        let behind = match self.lag_entries {
            Some(lag) if lag > 0 => format!(", {lag} entries behind"),
            _ => String::new(),
        };
        match self.condition {
            Condition::Healthy | Condition::Unknown | Condition::Joining => None,
            Condition::Offline => Some(format!("{name} is offline{since}{behind}")),
            Condition::NotAnswering => Some(format!("{name} takes part, but does not answer{behind}")),
            Condition::DiskFull => Some(format!("the disk of {name} is almost full{behind}")),
            Condition::CatchingUp => Some(format!("{name} is catching up by a snapshot{since}{behind}")),
            Condition::Slow => Some(format!("{name} is slow{since}{behind}")),
        }
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
