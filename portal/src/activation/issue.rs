//! Carrying out what the rules permit: installation, order, pinned nodes, signed answer, in rows.

use quorate_license::{
    Binding, BoundNode, ComputerId, DAY_MS, Fence, IntegrityKey, IntegrityKeyError, License, Serial,
    SupportId, Timestamp,
};

use super::{Refusal, entitled::Entitled, request::Request, rules::Permit, service::ActivationError};
use crate::{
    config::Policy,
    keys::Signer,
    store::{
        Conn,
        activations::{self, Activation, Outcome},
        installations::{self, Installation},
        orders::{self, Order, Usage},
    },
    support_id,
};

/// How far the clocks of a cluster may be behind the portal's without a new license being too new.
const CLOCK_TOLERANCE_MS: i64 = DAY_MS;

/// Writes all rows of an activation and gives the one with the answer.
///
/// # Errors
/// The database fails, or the answer can't be signed.
pub(super) async fn issue(
    conn: &mut Conn,
    request: &Request,
    permit: Permit,
    signer: &Signer,
    policy: &Policy,
    now: Timestamp,
) -> Result<Activation, ActivationError> {
    let key = &request.key;
    let (order, installation) = match permit {
        Permit::New { order } => {
            let installation = first(key, now)?;
            installations::add(conn, &installation).await?;
            (order, installation)
        }
        Permit::Again { order, installation, superseded } => {
            for activation in &superseded {
                activations::supersede(conn, &activation.idempotency_key).await?;
            }
            let from = installation.fence;
            let installation = next(key, installation, now)?;
            installations::advance(conn, from, &installation).await?;
            (order, installation)
        }
    };
    if order.usage.is_none() {
        orders::put_on_installation(conn, &order.order_id, &usage(&order, &installation.support_id, now))
            .await?;
    }
    let nodes = bound_nodes(key);
    installations::pin(conn, &installation.support_id, &nodes).await?;
    let orders = orders::of_installation(conn, &installation.support_id).await?;
    let binding = binding(key, &installation, nodes, policy, now);
    let license = license(key, &installation, Entitled::sum(&orders, now), policy, now);
    let answer = signer.license_key(&binding, std::slice::from_ref(&license))?;
    let activation = Activation {
        idempotency_key: request.idempotency_key.clone(),
        cluster_id: key.cluster_id,
        nonce: key.nonce,
        support_id: installation.support_id,
        order_id: Some(order.order_id),
        activation_key_last5: key.activation_key.as_ref().map(|key| key.last5()),
        kind: key.kind,
        tenant: key.tenant.clone(),
        request_digest: request.request_digest,
        content_digest: request.content_digest,
        request: request.record.clone(),
        answer,
        serial: installation.serial,
        fence: installation.fence,
        outcome: Outcome::Issued,
        at: now,
    };
    activations::add(conn, &activation).await?;
    Ok(activation)
}

/// The installation that a first activation makes: its home is the first license node's computer.
fn first(key: &IntegrityKey, now: Timestamp) -> Result<Installation, ActivationError> {
    Ok(Installation {
        support_id: support_id::make(),
        cluster_id: key.cluster_id,
        epoch: key.epoch,
        fence: Fence(1),
        serial: Serial(1),
        home_computer_id: home(key)?,
        created_at: now,
        updated_at: now,
    })
}

fn next(key: &IntegrityKey, current: Installation, now: Timestamp) -> Result<Installation, ActivationError> {
    Ok(Installation {
        epoch: key.epoch,
        fence: Fence(current.fence.0 + 1),
        serial: Serial(current.serial.0 + 1),
        home_computer_id: home(key)?,
        updated_at: now,
        ..current
    })
}

fn home(key: &IntegrityKey) -> Result<ComputerId, ActivationError> {
    key.nodes
        .iter()
        .find(|statement| statement.row.id == key.first_license_node)
        .map(|statement| statement.row.computer_id)
        .ok_or_else(|| {
            let node = key.first_license_node;
            Refusal::Unreadable(IntegrityKeyError::FirstLicenseNode { node }).into()
        })
}

fn usage(order: &Order, support_id: &SupportId, now: Timestamp) -> Usage {
    Usage {
        support_id: support_id.clone(),
        activated_at: now,
        expires_at: order.terms.term_days.map(|days| now.plus_days(days)),
        support_until: order.terms.support_days.map(|days| now.plus_days(days)),
    }
}

fn bound_nodes(key: &IntegrityKey) -> Vec<BoundNode> {
    key.nodes
        .iter()
        .map(|statement| {
            let row = &statement.row;
            BoundNode {
                id: row.id,
                role: row.role,
                computer_id: row.computer_id,
                build: row.build.clone(),
                key: row.key,
            }
        })
        .collect()
}

fn binding(
    key: &IntegrityKey,
    installation: &Installation,
    nodes: Vec<BoundNode>,
    policy: &Policy,
    now: Timestamp,
) -> Binding {
    Binding {
        support_id: installation.support_id.clone(),
        cluster_id: key.cluster_id,
        epoch: key.epoch,
        fence: installation.fence,
        serial: installation.serial,
        nonce: key.nonce,
        nodes,
        first_license_node: key.first_license_node,
        home_computer_id: installation.home_computer_id,
        tolerance: policy.tolerance,
        graces: policy.graces,
        issued_at: now,
    }
}

fn license(
    key: &IntegrityKey,
    installation: &Installation,
    entitled: Entitled,
    policy: &Policy,
    now: Timestamp,
) -> License {
    License {
        support_id: installation.support_id.clone(),
        cluster_id: key.cluster_id,
        tenant: key.tenant.clone(),
        serial: installation.serial,
        nonce: key.nonce,
        kind: entitled.kind,
        orders: entitled.orders,
        entitlements: entitled.entitlements,
        issued_at: now,
        not_before: now.plus_ms(-CLOCK_TOLERANCE_MS),
        expires_at: entitled.expires_at,
        support_until: entitled.support_until,
        graces: policy.graces,
    }
}
