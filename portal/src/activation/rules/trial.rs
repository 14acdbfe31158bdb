//! `Trial`: a license for a time without an activation key, once for each installation.

use quorate_license::{ComputerId, Entitlement, Fence, IntegrityKey, Quantity, Timestamp};

use super::{Brings, Ground, Permit, bound, order::last_group, shows_no_fence};
use crate::{
    activation::{Refusal, service::ActivationError},
    config::Policy,
    store::{
        Conn,
        installations::{self, Installation},
        orders, products,
        trials::{self, Trial},
    },
    support_id,
};

/// A new cluster gets a trial if none of its computers had one, and none is an installation's. A cluster
/// that is in its trial gets the same again, with the same end, if it never installed the answer.
pub(super) async fn judge(
    conn: &mut Conn,
    key: &IntegrityKey,
    installation: Option<Installation>,
    policy: &Policy,
    now: Timestamp,
) -> Result<Permit, ActivationError> {
    match installation {
        Some(installation) => again(conn, key, installation).await,
        None => first(conn, key, policy, now).await,
    }
}

async fn first(
    conn: &mut Conn,
    key: &IntegrityKey,
    policy: &Policy,
    now: Timestamp,
) -> Result<Permit, ActivationError> {
    let entitlements = offered(conn, policy).await?;
    if policy.trial_days == 0 || entitlements.is_empty() {
        return Err(Refusal::TrialNotOffered.into());
    }
    shows_no_fence(key)?;
    let mut used = Vec::new();
    for row in bound::rows(key) {
        if let Some(at) = trials::had(conn, row.computer_id).await? {
            used.push((at, row.computer_id));
        }
    }
    if let Some(started_at) = used.iter().map(|(at, _)| *at).min() {
        let computer_ids = used.into_iter().map(|(_, computer_id)| computer_id).collect();
        return Err(Refusal::TrialUsed { started_at, computer_ids }.into());
    }
    let asking: Vec<ComputerId> = bound::rows(key).map(|row| row.computer_id).collect();
    if let Some(other) = installations::on_computers(conn, &asking).await?.first() {
        let support_id_end = last_group(&other.support_id);
        return Err(Refusal::ComputersActivated { support_id_end }.into());
    }
    let ends_at = now.plus_days(policy.trial_days);
    let (support_id, tenant) = (support_id::make(), key.tenant.clone());
    let trial = Trial { support_id, tenant, started_at: now, ends_at, entitlements };
    Ok(Permit { ground: Ground::New, brings: Brings::NewTrial(trial) })
}

async fn again(
    conn: &mut Conn,
    key: &IntegrityKey,
    installation: Installation,
) -> Result<Permit, ActivationError> {
    let support_id = installation.support_id.clone();
    let trial = trials::find(conn, &support_id).await?;
    let has_orders = !orders::of_installation(conn, &support_id).await?.is_empty();
    let Some(trial) = trial.filter(|_| !has_orders) else {
        return Err(Refusal::AlreadyActivated { support_id }.into());
    };
    if key.fence == Fence(0)
        && let Some(superseded) = bound::never_installed(conn, key, &installation).await?
    {
        return Ok(Permit::again(installation, superseded, Brings::Nothing));
    }
    let computer_ids = vec![installation.home_computer_id];
    Err(Refusal::TrialUsed { started_at: trial.started_at, computer_ids }.into())
}

/// What a trial licenses: what the policy says, otherwise every feature of every product without limit.
async fn offered(conn: &mut Conn, policy: &Policy) -> Result<Vec<Entitlement>, ActivationError> {
    if !policy.trial_entitlements.is_empty() {
        return Ok(policy.trial_entitlements.clone());
    }
    let features = products::all_features(conn).await?;
    let unlimited = |feature| Entitlement { feature, quantity: Quantity::Unlimited };
    Ok(features.into_iter().map(unlimited).collect())
}
