//! The rules that need the records: whose order is it, is the cluster known, does the fence agree.
//!
//! The only caller is in a serializable transaction, so what is read here still holds at the commit.

use quorate_license::{
    ActivationKey, ActivationKind, BoundNode, ComputerId, Fence, IntegrityKey, NodeRole, SupportId, Timestamp,
};

use super::{Refusal, service::ActivationError};
use crate::store::{
    Conn, activations,
    activations::Activation,
    installations::{self, Installation},
    orders::{self, Order},
};

/// What may be issued.
#[derive(Debug)]
pub(super) enum Permit {
    /// A first activation: the installation is to be made.
    New {
        /// The order that it brings.
        order: Order,
    },
    /// The installation is there: a further order, or answers that the cluster has since superseded.
    Again {
        /// The order that it brings; it may be on the installation already.
        order: Order,
        /// The installation as it is now.
        installation: Installation,
        /// The answers that will never be installed.
        superseded: Vec<Activation>,
    },
}

/// Judges a first activation, or one that brings a further order.
///
/// # Errors
/// The refusal, or the database fails.
pub(super) async fn judge(
    conn: &mut Conn,
    key: &IntegrityKey,
    now: Timestamp,
) -> Result<Permit, ActivationError> {
    let activation_key = key.activation_key.as_ref().ok_or(Refusal::ActivationKeyMissing)?;
    let installation = installations::find_by_cluster(conn, key.cluster_id).await?;
    let order = order(conn, activation_key, installation.as_ref(), now).await?;
    match installation {
        None if key.kind == ActivationKind::Upgrade => Err(Refusal::NotActivated.into()),
        Some(installation) if key.kind == ActivationKind::Upgrade => {
            further(conn, key, order, installation).await
        }
        None if key.fence == Fence(0) => Ok(Permit::New { order }),
        None => Err(Refusal::FenceMismatch { support_id: None, shown: key.fence, current: Fence(0) }.into()),
        Some(installation) => again(conn, key, order, installation).await,
    }
}

async fn order(
    conn: &mut Conn,
    activation_key: &ActivationKey,
    installation: Option<&Installation>,
    now: Timestamp,
) -> Result<Order, ActivationError> {
    let last5 = || activation_key.last5();
    let order = orders::find_by_key(conn, &activation_key.hash())
        .await?
        .ok_or_else(|| Refusal::ActivationKeyUnknown { last5: last5() })?;
    if order.revoked_at.is_some() {
        return Err(Refusal::OrderRevoked { order_id: order.order_id }.into());
    }
    let last_moment = match &order.usage {
        Some(usage) if installation.is_none_or(|here| here.support_id != usage.support_id) => {
            return Err(Refusal::ActivationKeyUsed {
                last5: last5(),
                support_id_end: last_group(&usage.support_id),
                order_id: order.order_id,
            }
            .into());
        }
        Some(usage) => usage.expires_at,
        None => order.terms.activate_by,
    };
    if let Some(expired_at) = last_moment
        && now > expired_at
    {
        return Err(Refusal::OrderExpired { order_id: order.order_id, expired_at }.into());
    }
    Ok(order)
}

/// What is shown of another installation's Support ID: enough for its owner, too little for others.
fn last_group(support_id: &SupportId) -> String {
    let text = support_id.as_str();
    text.rsplit('-').next().unwrap_or(text).to_owned()
}

/// A cluster that is known may activate for the first time only if it never installed an answer:
/// its fence is 0, and every answer that it was given is one that it has superseded.
async fn again(
    conn: &mut Conn,
    key: &IntegrityKey,
    order: Order,
    installation: Installation,
) -> Result<Permit, ActivationError> {
    let Installation { support_id, fence: current, .. } = &installation;
    if key.fence != Fence(0) && key.fence != *current {
        let (support_id, shown, current) = (Some(support_id.clone()), key.fence, *current);
        return Err(Refusal::FenceMismatch { support_id, shown, current }.into());
    }
    let superseded = activations::beyond(conn, support_id, key.fence).await?;
    if key.fence == Fence(0) && all_superseded(key, &superseded) && !superseded.is_empty() {
        // Cluster id, nonce and activation key are in every integrity key, and one may have leaked: only the node
        // keys show that it is the same cluster.
        let bound = installations::pinned(conn, support_id).await?;
        keys_are_pinned(key, &bound)?;
        Ok(Permit::Again { order, installation, superseded })
    } else {
        Err(Refusal::AlreadyActivated { support_id: support_id.clone() }.into())
    }
}

/// Whether the cluster says of all these answers that it will never install them.
fn all_superseded(key: &IntegrityKey, answers: &[Activation]) -> bool {
    answers.iter().all(|answer| answer.cluster_id == key.cluster_id && key.superseded.contains(&answer.nonce))
}

/// A further order goes onto an installation that is what it was: the same home, every bound computer
/// there, and a majority of the bound Management Servers with the node keys that were pinned. Nodes
/// that joined since are bound with it.
async fn further(
    conn: &mut Conn,
    key: &IntegrityKey,
    order: Order,
    installation: Installation,
) -> Result<Permit, ActivationError> {
    let Installation { support_id, fence: current, .. } = &installation;
    let superseded = activations::beyond(conn, support_id, key.fence).await?;
    if key.fence > *current || !all_superseded(key, &superseded) {
        let (support_id, shown, current) = (Some(support_id.clone()), key.fence, *current);
        return Err(Refusal::FenceMismatch { support_id, shown, current }.into());
    }
    if order.usage.is_some() && superseded.is_empty() {
        // The order is in the license already.
        return Err(Refusal::AlreadyActivated { support_id: support_id.clone() }.into());
    }
    let rows = || key.nodes.iter().map(|statement| &statement.row);
    let home = rows().find(|row| row.id == key.first_license_node);
    if home.is_none_or(|row| row.computer_id != installation.home_computer_id) {
        let (support_id, node) = (support_id.clone(), key.first_license_node);
        return Err(Refusal::FirstLicenseNodeChanged { support_id, node }.into());
    }
    let bound = installations::pinned(conn, support_id).await?;
    let missing = bound.iter().filter(|node| !rows().any(|row| row.computer_id == node.computer_id));
    let computer_ids: Vec<ComputerId> = missing.map(|node| node.computer_id).collect();
    if !computer_ids.is_empty() {
        return Err(Refusal::BoundNodesMissing { computer_ids }.into());
    }
    keys_are_pinned(key, &bound)?;
    Ok(Permit::Again { order, installation, superseded })
}

/// That a majority of the bound Management Servers signs with the node keys that were pinned. The signatures
/// themselves were verified before.
fn keys_are_pinned(key: &IntegrityKey, bound: &[BoundNode]) -> Result<(), Refusal> {
    let signed = |node: &BoundNode| {
        let row = key.nodes.iter().map(|statement| &statement.row).find(|row| row.key == node.key);
        row.is_some_and(|row| row.role == NodeRole::Management)
    };
    let servers = || bound.iter().filter(|node| node.role == NodeRole::Management);
    let (known, pinned) = (servers().filter(|node| signed(node)).count(), servers().count());
    if known * 2 <= pinned { Err(Refusal::NodeKeysChanged { known, pinned }) } else { Ok(()) }
}
