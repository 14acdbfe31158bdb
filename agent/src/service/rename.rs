//! Giving a node another name.

use quorate_license::{NodeId, NodeName};
use quorate_raft_store::{Command, Outcome, command::RenameNode};

use super::admission::unexpected;
use crate::{
    api::{ApiError, Caller},
    cluster::Cluster,
};

/// Gives the node `id` the name `name`. The node itself goes on under it at once; its configuration may keep
/// the old name.
///
/// # Errors
/// The refusal by name: `node_unknown`, `node_removed`, `node_name_taken`; or what `propose` meets.
pub async fn rename_node(
    cluster: &Cluster,
    id: NodeId,
    name: NodeName,
    caller: &Caller,
) -> Result<(), ApiError> {
    let before = cluster.view().state.nodes().get(&id).map(|node| node.name.to_string());
    let command = Command::RenameNode(RenameNode { node: id, name: name.clone() });
    match cluster.propose(command, &caller.asked_by).await?.result? {
        Outcome::NodeRenamed { .. } => {}
        other => return Err(unexpected(&other)),
    }
    tracing::info!(node = %id, before, now = %name, requested_by = caller.name, "a node was renamed");
    Ok(())
}
