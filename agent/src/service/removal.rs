//! Taking a living node out of the cluster.

use std::time::Duration;

use quorate_license::{NodeId, NodeRole};
use quorate_raft_store::{Command, Outcome, Refusal, command::RemoveNode, state::Node};

use super::admission::unexpected;
use crate::{
    api::{ApiError, Caller, ErrorKind},
    cluster::Cluster,
};

/// How long is waited for the node to leave the group. The removal stands even if that takes longer.
const LEAVES_WITHIN: Duration = Duration::from_secs(10);

/// A node that is a member no more.
#[derive(Debug, Clone)]
pub struct Removed {
    /// Its row, as it was.
    pub node: Node,
    /// Whether it has left Raft's group; otherwise the leader goes on taking it out.
    pub left_group: bool,
}

/// Takes a node out, if it is there and those who stay can go on. Called on the leader.
///
/// # Errors
/// The refusal by name: `node_unknown`, `node_removed`, `first_license_node`, `last_management_server`,
/// `last_voter`, `node_not_answering`, `voters_too_few`; or what `propose` meets.
pub async fn remove_node(cluster: &Cluster, id: NodeId, caller: &Caller) -> Result<Removed, ApiError> {
    let node = may_be_removed(cluster, id).await?;
    let command = RemoveNode { node: id, requested_by: caller.name.clone() };
    match cluster.propose(Command::RemoveNode(command), &caller.asked_by).await?.result? {
        Outcome::NodeRemoved { .. } => {}
        other => return Err(unexpected(&other)),
    }
    tracing::info!(node = %id, name = %node.name, requested_by = caller.name, "a node was removed from the cluster");
    let mut metrics = cluster.raft_metrics();
    let left = metrics.wait_for(|now| {
        let settled = now.membership_config == now.committed_membership_config;
        (settled && now.membership_config.nodes().all(|(member, _)| *member != id)).then_some(())
    });
    let left_group = matches!(tokio::time::timeout(LEAVES_WITHIN, left).await, Ok(Some(())));
    Ok(Removed { node, left_group })
}

async fn may_be_removed(cluster: &Cluster, id: NodeId) -> Result<Node, ApiError> {
    let view = cluster.view();
    let state = &view.state;
    let Some(node) = state.nodes().get(&id).cloned() else {
        return Err(match state.tombstones().get(&id) {
            Some(gone) => Refusal::NodeRemoved { node: gone.name.clone(), at: gone.removed_at }.into(),
            None => Refusal::NodeUnknown(id).into(),
        });
    };
    let name = &node.name;
    if state.cluster().is_some_and(|cluster| cluster.first_license_node == id) {
        return Err(Refusal::FirstLicenseNode { node: name.clone() }.into());
    }
    let refused =
        |code, message: String, hint: String| ApiError::new(ErrorKind::Refused, code, message, hint);
    let seen = cluster.settled_leader_view().await.ok_or_else(|| {
        ApiError::new(
            ErrorKind::Unavailable,
            "no_leader",
            "no leader is known at this moment",
            "ask again in a few seconds",
        )
    })?;
    let answers =
        id == cluster.node() || cluster.ask_node_states([id].into_iter()).await.values().any(Option::is_some);
    if !answers {
        return Err(refused(
            "node_not_answering",
            format!("{name} does not answer; a node is removed while it lives, so that it hears of it"),
            format!(
                "start {name} and ask again; if its data is lost, set it up anew on the same computer with \
                 `quorate join --replace {name}`"
            ),
        ));
    }
    if node.role == NodeRole::Management && seen.voters.contains(&id) {
        let rest: Vec<NodeId> = seen.voters.iter().copied().filter(|voter| *voter != id).collect();
        if rest.is_empty() {
            return Err(refused(
                "last_voter",
                format!("{name} is the only voting Management Server: without it there is no cluster"),
                "wait until another Management Server votes; `quorate node list` shows it".to_owned(),
            ));
        }
        let online = |id: &NodeId| seen.members.get(id).is_some_and(|member| member.online == Some(true));
        let (there, away): (Vec<NodeId>, Vec<NodeId>) = rest.iter().partition(|id| online(id));
        let needed = rest.len() / 2 + 1;
        if there.len() < needed {
            let names: Vec<String> = away
                .iter()
                .filter_map(|id| state.nodes().get(id))
                .map(|node| node.name.to_string())
                .collect();
            return Err(refused(
                "voters_too_few",
                format!(
                    "without {name} only {} of {} voting Management Servers would be online, {needed} are needed; \
                     offline: {}",
                    there.len(),
                    rest.len(),
                    names.join(", ")
                ),
                "bring the others back first".to_owned(),
            ));
        }
    }
    Ok(node)
}
