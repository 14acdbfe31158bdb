//! `Activate`: the first activation key of a cluster.

use quorate_license::{ComputerId, Fence, IntegrityKey, Timestamp};

use super::{Ground, Permit, bound, order, order::last_group, shows_no_fence, upgrade};
use crate::{
    activation::{Refusal, entitled::Entitled, service::ActivationError},
    store::{
        Conn,
        installations::{self, Installation},
        orders,
    },
};

/// A new cluster becomes an installation. One that is known may activate for the first time only if it
/// never installed an answer, or if all that it has is a trial: that turns into a purchased license.
pub(super) async fn judge(
    conn: &mut Conn,
    key: &IntegrityKey,
    installation: Option<Installation>,
    now: Timestamp,
) -> Result<Permit, ActivationError> {
    let order = order::judge(conn, key, installation.as_ref(), now).await?;
    let Some(installation) = installation else {
        shows_no_fence(key)?;
        is_nobodys(conn, key, now).await?;
        return Ok(Permit { ground: Ground::New, brings: Permit::order(order) });
    };
    if let Some(superseded) = bound::never_installed(conn, key, &installation).await? {
        return Ok(Permit::again(installation, superseded, Permit::order(order)));
    }
    let has_orders = !orders::of_installation(conn, &installation.support_id).await?.is_empty();
    if key.fence != Fence(0) && !has_orders {
        return upgrade::further(conn, key, order, installation).await;
    }
    let Installation { support_id, fence: current, .. } = installation;
    if key.fence != Fence(0) && key.fence != current {
        return Err(Refusal::FenceMismatch { support_id: Some(support_id), shown: key.fence, current }.into());
    }
    Err(Refusal::AlreadyActivated { support_id }.into())
}

/// A cluster that is set up again with all its data lost, and buys another order instead of bringing its license back,
/// would end with a second Support ID: no computer is bound by an installation that still licenses something. A trial
/// is left behind for a purchase.
async fn is_nobodys(conn: &mut Conn, key: &IntegrityKey, now: Timestamp) -> Result<(), ActivationError> {
    let asking: Vec<ComputerId> = bound::rows(key).map(|row| row.computer_id).collect();
    for other in installations::on_computers(conn, &asking).await? {
        let orders = orders::of_installation(conn, &other.support_id).await?;
        if Entitled::sum(&orders, now).is_some() {
            let support_id_end = last_group(&other.support_id);
            return Err(Refusal::ComputersActivated { support_id_end }.into());
        }
    }
    Ok(())
}
