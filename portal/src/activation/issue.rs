//! Carrying out what the rules permit: installation, order, pinned nodes, signed answer, in rows.

use quorate_license::{
    Binding, BoundNode, ComputerId, DAY_MS, Fence, IntegrityKey, IntegrityKeyError, License, OrderId, Serial,
    SupportId, TenantId, Timestamp,
};

use super::{
    Refusal,
    entitled::Entitled,
    request::Request,
    rules::{Brings, Ground, Permit},
    service::ActivationError,
    terms,
};
use crate::{
    config::Policy,
    keys::Signer,
    store::{
        Conn,
        activations::{self, Activation, Outcome},
        installations::{self, Installation},
        issuing_keys, orders,
        restores::{self, FormerCluster},
        trials,
    },
    support_id,
};

/// How far the clocks of a cluster may be behind the portal's without a new license being too new.
const CLOCK_TOLERANCE_MS: i64 = DAY_MS;

/// Writes all rows of an activation and gives the one with the answer.
///
/// # Errors
/// Nothing is left to license, the issuing key is revoked, the database fails, or the answer can't be
/// signed.
pub(super) async fn issue(
    conn: &mut Conn,
    request: &Request,
    permit: Permit,
    signer: &Signer,
    policy: &Policy,
    now: Timestamp,
) -> Result<Activation, ActivationError> {
    let key = &request.key;
    let Permit { ground, brings } = permit;
    let installation = settle(conn, key, ground, &brings, now).await?;
    let order_id = bring(conn, brings, &installation.support_id, &key.tenant, now).await?;
    let nodes = bound_nodes(key);
    installations::pin(conn, &installation.support_id, &nodes).await?;
    let entitled = entitled(conn, &installation.support_id, &key.tenant, &nodes, now).await?;
    let binding = binding(key, &installation, nodes, policy, now);
    let license = license(key, &installation, entitled, policy, now);
    if issuing_keys::is_revoked(conn, signer.key_id()).await? {
        return Err(ActivationError::IssuingKeyRevoked { key_id: signer.key_id().to_owned() });
    }
    let answer = signer.license_key(&binding, std::slice::from_ref(&license))?;
    let activation = Activation {
        idempotency_key: request.idempotency_key.clone(),
        cluster_id: key.cluster_id,
        nonce: key.nonce,
        support_id: installation.support_id,
        order_id,
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
        key_id: Some(signer.key_id().to_owned()),
    };
    activations::add(conn, &activation).await?;
    Ok(activation)
}

/// The installation's row, made or moved on.
async fn settle(
    conn: &mut Conn,
    key: &IntegrityKey,
    ground: Ground,
    brings: &Brings,
    now: Timestamp,
) -> Result<Installation, ActivationError> {
    match ground {
        Ground::New => {
            let support_id = match brings {
                Brings::NewTrial(trial) => trial.support_id.clone(),
                _ => support_id::make(),
            };
            let installation = first(key, support_id, now)?;
            installations::add(conn, &installation).await?;
            Ok(installation)
        }
        Ground::Known { installation, superseded } => {
            for activation in &superseded {
                activations::supersede(conn, &activation.idempotency_key).await?;
            }
            advance(conn, key, installation, now).await
        }
        Ground::Restored { installation, former } => {
            let support_id = installation.support_id.clone();
            let former = FormerCluster {
                cluster_id: former,
                support_id: support_id.clone(),
                replaced_by: key.cluster_id,
                replaced_at: now,
            };
            restores::replace(conn, &former).await?;
            restores::settle(conn, &support_id, key.cluster_id).await?;
            advance(conn, key, installation, now).await
        }
    }
}

async fn advance(
    conn: &mut Conn,
    key: &IntegrityKey,
    current: Installation,
    now: Timestamp,
) -> Result<Installation, ActivationError> {
    let from = current.fence;
    let installation = next(key, current, now)?;
    installations::advance(conn, from, &installation).await?;
    Ok(installation)
}

/// Puts what the activation brings on the installation, once; the order behind it.
async fn bring(
    conn: &mut Conn,
    brings: Brings,
    support_id: &SupportId,
    tenant: &TenantId,
    now: Timestamp,
) -> Result<Option<OrderId>, ActivationError> {
    match brings {
        Brings::Order(order) => {
            if order.usage.is_none() {
                let usage = terms::begin(conn, &order, support_id, tenant, now).await?;
                orders::put_on_installation(conn, &order.order_id, &usage).await?;
            }
            Ok(Some(order.order_id))
        }
        Brings::NewTrial(trial) => {
            trials::add(conn, &trial).await?;
            Ok(None)
        }
        Brings::Nothing => Ok(None),
    }
}

/// What the orders of the tenant, or its trial, license now.
async fn entitled(
    conn: &mut Conn,
    support_id: &SupportId,
    tenant: &TenantId,
    nodes: &[BoundNode],
    now: Timestamp,
) -> Result<Entitled, ActivationError> {
    let orders = orders::of_tenant(conn, support_id, tenant).await?;
    if !orders.is_empty() {
        let ended = || Refusal::OrdersEnded {
            support_id: support_id.clone(),
            orders: orders.iter().map(|order| order.order_id.clone()).collect(),
        };
        return Ok(Entitled::sum(&orders, now).ok_or_else(ended)?);
    }
    let trial = trials::find(conn, support_id).await?;
    let Some(trial) = trial.filter(|trial| trial.tenant == *tenant) else {
        return Err(Refusal::OrdersEnded { support_id: support_id.clone(), orders: Vec::new() }.into());
    };
    // Whoever is in it has had its trial, those that joined during it too.
    for node in nodes {
        trials::remember(conn, node.computer_id, support_id, now).await?;
    }
    let ended = Refusal::TrialEnded { support_id: support_id.clone(), ended_at: trial.ends_at };
    Ok(Entitled::trial(&trial, now).ok_or(ended)?)
}

/// The installation that a first activation makes: its home is the first license node's computer.
fn first(key: &IntegrityKey, support_id: SupportId, now: Timestamp) -> Result<Installation, ActivationError> {
    Ok(Installation {
        support_id,
        cluster_id: key.cluster_id,
        epoch: key.epoch,
        fence: Fence(1),
        serial: Serial(1),
        home_computer_id: home(key)?,
        created_at: now,
        updated_at: now,
        blocked_at: None,
    })
}

fn next(key: &IntegrityKey, current: Installation, now: Timestamp) -> Result<Installation, ActivationError> {
    Ok(Installation {
        cluster_id: key.cluster_id,
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
