//! `Reactivate`: without an activation key, every order that was used before on this installation again.
//!
//! ```text
//! the cluster is known    -> after an update, a joined node, a changed order: nothing else may be different
//! the cluster is unknown  -> a restore: all data lost, machine ids kept. The bound computers tell the
//!                            installation; the cluster that it was is fenced
//! ```

use quorate_license::{ComputerId, IntegrityKey, Timestamp};

use super::{Brings, Ground, Permit, bound, order::last_group, shows_no_fence};
use crate::{
    activation::{Refusal, service::ActivationError},
    config::Policy,
    store::{
        Conn,
        installations::{self, Installation},
        orders, restores,
    },
};

/// For how long a restore counts.
const YEAR_DAYS: u32 = 365;

/// Judges a reactivation.
pub(super) async fn judge(
    conn: &mut Conn,
    key: &IntegrityKey,
    installation: Option<Installation>,
    policy: &Policy,
    now: Timestamp,
) -> Result<Permit, ActivationError> {
    let Some(installation) = installation else { return restore(conn, key, policy, now).await };
    let superseded = bound::superseded(conn, key, &installation).await?;
    bound::unchanged(conn, key, &installation).await?;
    Ok(Permit::again(installation, superseded, Brings::Nothing))
}

async fn restore(
    conn: &mut Conn,
    key: &IntegrityKey,
    policy: &Policy,
    now: Timestamp,
) -> Result<Permit, ActivationError> {
    shows_no_fence(key)?;
    let installation = find(conn, key).await?;
    let support_id = installation.support_id.clone();
    if installation.blocked_at.is_some() {
        return Err(Refusal::InstallationBlocked { support_id }.into());
    }
    let missing = bound::missing(key, &installations::pinned(conn, &support_id).await?);
    if !missing.is_empty() {
        // Who asks has shown no key of the installation's: it learns no whole computer ID that it doesn't bring.
        let computer_id_ends = missing.iter().map(last_symbols).collect();
        let support_id_end = last_group(&support_id);
        return Err(Refusal::RestoreIncomplete { support_id_end, computer_id_ends }.into());
    }
    bound::at_home(key, &installation)?;
    let former = installation.cluster_id;
    let since = now.plus_ms(-i64::from(YEAR_DAYS) * quorate_license::DAY_MS);
    let restored = restores::of_installation(conn, &support_id).await?;
    let counted = restored.iter().filter(|restore| restore.replaced_at > since).count();
    let asked = restores::asked(conn, &support_id).await?;
    let approved =
        asked.iter().any(|request| request.cluster_id == key.cluster_id && request.approved_at.is_some());
    if !approved && counted >= policy.restores_per_year as usize {
        let cluster_id = key.cluster_id;
        return Err(Refusal::RestoreNeedsApproval { support_id, cluster_id, restores: counted }.into());
    }
    Ok(Permit { ground: Ground::Restored { installation, former }, brings: Brings::Nothing })
}

/// The installation that the computers of the request are. One with orders goes before trials, then one
/// whose home is the first license node's computer.
async fn find(conn: &mut Conn, key: &IntegrityKey) -> Result<Installation, ActivationError> {
    let asking: Vec<ComputerId> = bound::rows(key).map(|row| row.computer_id).collect();
    let mut found = installations::on_computers(conn, &asking).await?;
    if let Some(named) = &key.support_id {
        found.retain(|installation| installation.support_id == *named);
    }
    if found.len() > 1 {
        let mut with_orders = Vec::new();
        for installation in &found {
            if !orders::of_installation(conn, &installation.support_id).await?.is_empty() {
                with_orders.push(installation.clone());
            }
        }
        if !with_orders.is_empty() {
            found = with_orders;
        }
    }
    if found.len() > 1 && found.iter().any(|installation| bound::at_home(key, installation).is_ok()) {
        found.retain(|installation| bound::at_home(key, installation).is_ok());
    }
    match found.pop() {
        None => Err(Refusal::InstallationUnknown.into()),
        Some(installation) if found.is_empty() => Ok(installation),
        Some(last) => {
            found.push(last);
            let support_id_ends = found.iter().map(|other| last_group(&other.support_id)).collect();
            Err(Refusal::InstallationAmbiguous { support_id_ends }.into())
        }
    }
}

/// Enough to recognize a computer ID, too little to make it.
fn last_symbols(computer_id: &ComputerId) -> String {
    let text = computer_id.to_string();
    text.rsplit('-').next().unwrap_or(&text).to_owned()
}
