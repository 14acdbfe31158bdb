//! Whether the cluster that asks is still what was bound: fence, home, computers, node keys.

use quorate_license::{BoundNode, ComputerId, Fence, IntegrityKey, NodeRole, NodeRow};

use crate::activation::{Refusal, service::ActivationError};
use crate::store::{
    Conn,
    activations::{self, Activation},
    installations::{self, Installation},
};

/// The answers that this cluster never installed, if it says of all of them that it never will.
///
/// # Errors
/// [`Refusal::FenceMismatch`]: it keeps silent on one, or shows a fence that was never issued.
pub(super) async fn superseded(
    conn: &mut Conn,
    key: &IntegrityKey,
    installation: &Installation,
) -> Result<Vec<Activation>, ActivationError> {
    let Installation { support_id, fence: current, .. } = installation;
    let superseded = activations::beyond(conn, support_id, key.cluster_id, key.fence).await?;
    if key.fence > *current || !superseded.iter().all(|answer| key.superseded.contains(&answer.nonce)) {
        let (support_id, shown, current) = (Some(support_id.clone()), key.fence, *current);
        return Err(Refusal::FenceMismatch { support_id, shown, current }.into());
    }
    Ok(superseded)
}

/// For a cluster that has installed nothing: all answers to it, if it says that it never will install
/// them, and a majority of the node keys in the last one stand behind that. `None` where it can't be.
///
/// Cluster id, nonce and activation key are in every integrity key, and one may have leaked: only the
/// node keys show that it is the same cluster.
///
/// # Errors
/// [`Refusal::NodeKeysChanged`], or the database fails.
pub(super) async fn never_installed(
    conn: &mut Conn,
    key: &IntegrityKey,
    installation: &Installation,
) -> Result<Option<Vec<Activation>>, ActivationError> {
    if key.fence != Fence(0) {
        return Ok(None);
    }
    let answers = activations::beyond(conn, &installation.support_id, key.cluster_id, key.fence).await?;
    if answers.is_empty() || !answers.iter().all(|answer| key.superseded.contains(&answer.nonce)) {
        return Ok(None);
    }
    let bound = installations::pinned(conn, &installation.support_id).await?;
    keys_are_pinned(key, &bound)?;
    Ok(Some(answers))
}

/// That the installation is what it was: the same home, every bound computer there, and a majority of
/// the bound Management Servers with the node keys that were pinned. Nodes that joined since don't
/// matter: they are bound with it.
///
/// # Errors
/// The refusal, or the database fails.
pub(super) async fn unchanged(
    conn: &mut Conn,
    key: &IntegrityKey,
    installation: &Installation,
) -> Result<(), ActivationError> {
    let bound = installations::pinned(conn, &installation.support_id).await?;
    at_home(key, installation)?;
    let computer_ids = missing(key, &bound);
    if !computer_ids.is_empty() {
        return Err(Refusal::BoundNodesMissing { computer_ids }.into());
    }
    keys_are_pinned(key, &bound)?;
    Ok(())
}

/// That the first license node is on the computer that the Support ID is bound to.
pub(super) fn at_home(key: &IntegrityKey, installation: &Installation) -> Result<(), Refusal> {
    let home = installation.home_computer_id;
    let at_home = rows(key).find(|row| row.computer_id == home).map(|row| row.id);
    if at_home == Some(key.first_license_node) {
        return Ok(());
    }
    Err(Refusal::FirstLicenseNodeChanged {
        support_id: installation.support_id.clone(),
        node: key.first_license_node,
        home_computer_id: home,
        home_node: at_home,
    })
}

/// The bound computers that are not in the request.
pub(super) fn missing(key: &IntegrityKey, bound: &[BoundNode]) -> Vec<ComputerId> {
    let missing = bound.iter().filter(|node| !rows(key).any(|row| row.computer_id == node.computer_id));
    missing.map(|node| node.computer_id).collect()
}

/// That a majority of the bound Management Servers signs with the node keys that were pinned. The signatures
/// themselves were verified before.
fn keys_are_pinned(key: &IntegrityKey, bound: &[BoundNode]) -> Result<(), Refusal> {
    let signed = |node: &BoundNode| {
        rows(key).find(|row| row.key == node.key).is_some_and(|row| row.role == NodeRole::Management)
    };
    let servers = || bound.iter().filter(|node| node.role == NodeRole::Management);
    let (known, pinned) = (servers().filter(|node| signed(node)).count(), servers().count());
    if known * 2 <= pinned { Err(Refusal::NodeKeysChanged { known, pinned }) } else { Ok(()) }
}

/// What the nodes say of themselves.
pub(super) fn rows(key: &IntegrityKey) -> impl Iterator<Item = &NodeRow> {
    key.nodes.iter().map(|statement| &statement.row)
}
