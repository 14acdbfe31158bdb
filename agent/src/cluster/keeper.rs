//! The leader keeps Raft's membership in step with the members of the replicated state.
//!
//! ```text
//! row                     -> learner -> (Management Server, caught up, steady) voter
//! tombstone, still voter  -> learner -> told of its end -> out of the group
//! ```
//!
//! One change at a time, and none before the last one is committed. A change that a crash left half done is
//! finished first. A dead voter is never removed by itself: that takes an administrator's command, which
//! leaves a tombstone. What is to be done is decided by [`decide`], a pure function.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use openraft::{ChangeMembers, Instant as _, impls::EmptyNode};
use quorate_license::{NodeId, NodeRole};
use quorate_raft_store::{
    Command,
    command::{RaiseFeatureLevel, Tick},
    state::{RemovalReason, State},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Cluster, recent_end::RecentEnd};

/// A learner is promoted when it has kept up for this long, and at this many looks in a row.
const STEADY_FOR: Duration = Duration::from_secs(2);
const STEADY_LOOKS: u32 = 5;
/// A removed node is kept as a learner for so long that it hears of its end, if it listens.
const TELL_FOR: Duration = Duration::from_secs(1);
const TELL_AT_MOST: Duration = Duration::from_secs(5);
/// A Management Server that does not vote after so long is told of.
const WAITS_LONG: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Between a change of the state and a look, so that a busy cluster is not looked at for each.
const AFTER_CHANGE: Duration = Duration::from_millis(50);
/// How long a leader that was taken out may take to find a successor.
const HAND_OVER: Duration = Duration::from_secs(3);
/// The leader carries the time into the log this often, at least.
const TICK: Duration = Duration::from_secs(3600);
/// Unless something else has carried it there lately.
const TICK_IF_LATE_MS: i64 = 60_000;

/// Runs until `stop`. Does something on the leader only.
pub async fn keep_membership(cluster: Arc<Cluster>, stop: CancellationToken) {
    let mut applied = cluster.views().subscribe();
    let mut tick = tokio::time::interval(TICK);
    tick.tick().await;
    let mut watch = Watch::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {
                // Agreeing on the time does the same.
                let late = cluster.clock().now().ms_since(cluster.view().state.time());
                if cluster.leads()
                    && late >= TICK_IF_LATE_MS
                    && let Err(error) = cluster.propose(Command::Tick(Tick {}), &cluster.itself()).await {
                    tracing::warn!(%error, "the hourly tick was not committed");
                }
            }
            changed = applied.changed() => {
                if changed.is_err() {
                    return;
                }
                // Not with every entry: a look at the group costs more than most changes.
                tokio::time::sleep(AFTER_CHANGE).await;
            }
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        if cluster.leads() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = step(&cluster, &mut watch) => {}
            }
        } else {
            // Another node leads: what was seen counts for nothing.
            watch = Watch::default();
        }
    }
}

/// What the leader sees when it looks.
#[derive(Debug, Clone, Default)]
pub(super) struct Picture {
    /// This node, which leads.
    pub(super) own: NodeId,
    /// Whether the last change of membership is committed.
    pub(super) settled: bool,
    /// Whether that change is only half done.
    pub(super) joint: bool,
    pub(super) voters: BTreeSet<NodeId>,
    /// Voters and learners.
    pub(super) members: BTreeSet<NodeId>,
    /// The rows of the replicated state.
    pub(super) admitted: BTreeMap<NodeId, NodeRole>,
    /// Members of the group that are members of the cluster no more.
    pub(super) gone: BTreeSet<NodeId>,
    /// Members of the group that have heard of their end, or never will.
    pub(super) told: BTreeSet<NodeId>,
    /// Nodes that were heard from lately, this one among them.
    pub(super) heard: BTreeSet<NodeId>,
    /// Learners that have caught up and stayed so.
    pub(super) steady: BTreeSet<NodeId>,
}

/// What is to be changed next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// The second half of a change that a crash left over.
    FinishJoint,
    /// This node was taken out: another one has to lead.
    HandOver,
    /// A voter that was taken out becomes a learner.
    Demote(NodeId),
    /// A learner that was taken out leaves the group.
    Drop(NodeId),
    /// A new node becomes a learner.
    AddLearner(NodeId),
    /// A learner becomes a voter.
    Promote(NodeId),
    /// The change waits: without more voters online nobody could confirm it.
    WaitForVoters,
    /// All is as it should be, or a change is under way.
    Nothing,
}

/// Decides what is to be changed next. Whoever was taken out goes first, so that a replacement never makes
/// the group larger than it was.
pub(super) fn decide(see: &Picture) -> Next {
    if !see.settled {
        return Next::Nothing;
    }
    if see.joint {
        return Next::FinishJoint;
    }
    if see.gone.contains(&see.own) {
        return Next::HandOver;
    }
    let confirmed = |voters: &BTreeSet<NodeId>| voters.intersection(&see.heard).count() > voters.len() / 2;
    if let Some(gone) = see.gone.intersection(&see.voters).next() {
        let rest: BTreeSet<NodeId> = see.voters.iter().copied().filter(|id| id != gone).collect();
        // Both the old and the new voters have to confirm it.
        let possible = confirmed(&see.voters) && confirmed(&rest);
        return if possible { Next::Demote(*gone) } else { Next::WaitForVoters };
    }
    if !confirmed(&see.voters) {
        return Next::Nothing;
    }
    if let Some(gone) = see.gone.intersection(&see.told).next() {
        return Next::Drop(*gone);
    }
    if let Some(new) = see.admitted.keys().find(|id| !see.members.contains(id)) {
        return Next::AddLearner(*new);
    }
    let candidate = see.steady.iter().find(|id| {
        see.admitted.get(id) == Some(&NodeRole::Management)
            && see.members.contains(id)
            && !see.voters.contains(id)
    });
    candidate.map_or(Next::Nothing, |id| Next::Promote(*id))
}

/// What the leader remembers between two looks.
#[derive(Default)]
struct Watch {
    /// Since when each learner has been caught up, and how often that was seen. In one term only.
    steady: BTreeMap<NodeId, (Instant, u32)>,
    /// When each removed node was first seen in the group, and the log's end then.
    leaving: BTreeMap<NodeId, (Instant, u64)>,
    /// Where the log ended a moment ago.
    ends: RecentEnd,
    /// Since when each Management Server has waited for its vote, and whether that was told.
    candidates: BTreeMap<NodeId, (Instant, bool)>,
    /// The change of membership that failed last.
    failing: Option<&'static str>,
    term: u64,
    waits: bool,
    voters: Option<usize>,
}

impl Watch {
    /// What was seen in another term counts for nothing.
    fn enter(&mut self, term: u64) {
        if term != self.term {
            *self = Watch { term, ..Watch::default() };
        }
    }

    /// Looks at the group.
    fn look(&mut self, cluster: &Cluster) -> Picture {
        let view = cluster.view();
        let state = &view.state;
        let mut metrics = cluster.raft_metrics();
        let now = metrics.now();
        self.enter(now.current_term);
        let membership = &now.membership_config;
        let members: BTreeSet<NodeId> = membership.nodes().map(|(id, _)| *id).collect();
        let mut see = Picture {
            own: cluster.node,
            settled: now.membership_config == now.committed_membership_config,
            joint: membership.get_joint_config().len() > 1,
            voters: membership.voter_ids().collect(),
            admitted: state.nodes().values().map(|node| (node.id, node.role)).collect(),
            gone: members.iter().copied().filter(|id| state.is_gone(*id)).collect(),
            members,
            heard: BTreeSet::from([cluster.node]),
            ..Picture::default()
        };
        let end = now.last_log_index.unwrap_or(0);
        let matched = |id: &NodeId| {
            let replication = now.replication.as_ref()?;
            replication.get(id).copied().flatten().map(|id| id.index())
        };
        let heartbeats = now.heartbeat.iter().flatten();
        see.heard.extend(heartbeats.filter_map(|(id, at)| {
            at.as_ref().filter(|at| at.elapsed() < cluster.absent_after).map(|_| *id)
        }));
        let learners = see.members.difference(&see.voters);
        let wanted = self.ends.look(end, Instant::now());
        let caught_up: BTreeSet<NodeId> = learners
            .copied()
            .filter(|id| see.heard.contains(id) && matched(id).is_some_and(|index| index >= wanted))
            .collect();
        see.steady = self.steady(&caught_up);
        self.leaving.retain(|id, _| see.gone.contains(id));
        for id in &see.gone {
            let (since, end) = *self.leaving.entry(*id).or_insert_with(|| (Instant::now(), end));
            let heard_it = matched(id).is_some_and(|index| index >= end) && since.elapsed() >= TELL_FOR;
            if heard_it || since.elapsed() >= TELL_AT_MOST || is_replaced(state, *id) {
                see.told.insert(*id);
            }
        }
        see
    }

    /// Those that have been caught up for long enough; whoever is not now begins anew.
    fn steady(&mut self, caught_up: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        self.steady.retain(|id, _| caught_up.contains(id));
        for id in caught_up {
            self.steady.entry(*id).or_insert_with(|| (Instant::now(), 0)).1 += 1;
        }
        let long = |(since, looks): &(Instant, u32)| since.elapsed() >= STEADY_FOR && *looks >= STEADY_LOOKS;
        self.steady.iter().filter(|(_, seen)| long(seen)).map(|(id, _)| *id).collect()
    }

    /// One line for a Management Server that does not get its vote.
    fn tell_candidates(&mut self, see: &Picture, state: &State) {
        let waits = |id: &NodeId| see.admitted.get(id) == Some(&NodeRole::Management);
        let waiting: BTreeSet<NodeId> =
            see.members.difference(&see.voters).copied().filter(|id| waits(id)).collect();
        self.candidates.retain(|id, _| waiting.contains(id));
        for id in waiting {
            let (since, told) = self.candidates.entry(id).or_insert_with(|| (Instant::now(), false));
            if !*told && since.elapsed() >= WAITS_LONG {
                *told = true;
                let reason = match (see.heard.contains(&id), see.steady.contains(&id)) {
                    (false, _) => "the leader does not hear from it",
                    (true, false) => "it has not caught up with the log, or not for long enough",
                    (true, true) => "the change of membership does not succeed",
                };
                tracing::warn!(node = %id, name = name(state, id), reason, "a Management Server does not vote yet");
            }
        }
    }

    /// One line when the number of voters becomes even: one more than an odd number makes nothing safer.
    fn tell_voters(&mut self, voters: usize) {
        let changed = self.voters.replace(voters).is_some_and(|before| before != voters);
        if changed && voters.is_multiple_of(2) {
            tracing::warn!(
                voters,
                "the number of voting Management Servers is even: the cluster can lose no more of them than with one less"
            );
        }
    }
}

/// Whoever was replaced is dead, and hears nothing.
fn is_replaced(state: &State, node: NodeId) -> bool {
    let gone = state.tombstones().get(&node);
    gone.is_none_or(|gone| matches!(gone.reason, RemovalReason::Replaced { .. }))
}

async fn step(cluster: &Cluster, watch: &mut Watch) {
    if raise_feature_level(cluster).await {
        return;
    }
    cluster.note_behind();
    let see = watch.look(cluster);
    watch.tell_voters(see.voters.len());
    watch.tell_candidates(&see, &cluster.view().state);
    let next = decide(&see);
    if next == Next::WaitForVoters && !watch.waits {
        tracing::warn!("a removed voter stays in the group until more voters are online");
    }
    watch.waits = next == Next::WaitForVoters;
    let name = |id: NodeId| name(&cluster.view().state, id);
    match next {
        Next::FinishJoint => {
            let change = ChangeMembers::AddVoterIds(BTreeSet::new());
            if changed(cluster, change, "finishing a change of membership that was broken off", watch).await {
                tracing::info!("a change of membership that was broken off is finished");
            }
        }
        Next::HandOver => match cluster.hand_over(None, HAND_OVER).await {
            Ok(to) => tracing::info!(%to, "this node was taken out and has handed leadership over"),
            Err(reason) => {
                tracing::warn!(reason, "this node was taken out, and nobody takes leadership over")
            }
        },
        Next::Demote(node) => {
            let change = ChangeMembers::RemoveVoters(BTreeSet::from([node]));
            if changed(cluster, change, "demoting a removed voter", watch).await {
                tracing::info!(%node, name = name(node), "a removed node votes no more");
            }
        }
        Next::Drop(node) => {
            let change = ChangeMembers::RemoveNodes(BTreeSet::from([node]));
            if changed(cluster, change, "taking a removed node out of the group", watch).await {
                tracing::info!(%node, name = name(node), "a removed node has left the group");
            }
        }
        Next::AddLearner(node) => {
            let change = ChangeMembers::AddNodes(BTreeMap::from([(node, EmptyNode::default())]));
            if changed(cluster, change, "adding a node to the group", watch).await {
                tracing::info!(%node, name = name(node), "a node was added to the group");
            }
        }
        Next::Promote(node) => {
            let change = ChangeMembers::AddVoterIds(BTreeSet::from([node]));
            if changed(cluster, change, "promoting a node", watch).await {
                cluster.metrics.learner_promote_successes.inc();
                tracing::info!(%node, name = name(node), "a node has caught up and votes now");
            } else {
                cluster.metrics.learner_promote_failures.inc();
            }
        }
        Next::WaitForVoters | Next::Nothing => {}
    }
}

/// Carries a change of membership out, both its halves. Whoever leaves the voters stays as a learner.
async fn changed(
    cluster: &Cluster,
    change: ChangeMembers<NodeId, EmptyNode>,
    what: &'static str,
    watch: &mut Watch,
) -> bool {
    match cluster.raft.change_membership(change, true).await {
        Ok(_) => {
            watch.failing = None;
            true
        }
        Err(error) if watch.failing == Some(what) => {
            tracing::debug!(%error, "{what} did not succeed again");
            false
        }
        Err(error) => {
            watch.failing = Some(what);
            tracing::warn!(%error, "{what} did not succeed; it is tried again");
            false
        }
    }
}

/// Raises the cluster's feature level once every member reads a higher one. Whether it tried.
async fn raise_feature_level(cluster: &Cluster) -> bool {
    let view = cluster.view();
    let readable = view.state.nodes().values().map(|node| node.feature_level).min();
    let (Some(level), Some(row)) = (readable, view.state.cluster()) else { return false };
    if level <= row.feature_level {
        return false;
    }
    let command = Command::RaiseFeatureLevel(RaiseFeatureLevel { level });
    match cluster.propose(command, &cluster.itself()).await {
        Ok(answer) => match answer.result {
            Ok(_) => tracing::info!(level, "every member reads a higher feature level; it is in use now"),
            Err(refusal) => tracing::debug!(%refusal, "the feature level was not raised"),
        },
        Err(error) => tracing::debug!(%error, "the feature level was not raised"),
    }
    true
}

fn name(state: &State, node: NodeId) -> String {
    let member = state.nodes().get(&node).map(|node| node.name.to_string());
    let gone = || state.tombstones().get(&node).map(|gone| gone.name.to_string());
    member.or_else(gone).unwrap_or_default()
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
