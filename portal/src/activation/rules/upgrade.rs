//! `Upgrade`: a further activation key for an installation.

use quorate_license::{IntegrityKey, Timestamp};

use super::{Permit, bound, order};
use crate::{
    activation::{Refusal, service::ActivationError},
    store::{Conn, installations::Installation, orders::Order},
};

/// A further order goes onto the installation that the cluster is.
pub(super) async fn judge(
    conn: &mut Conn,
    key: &IntegrityKey,
    installation: Option<Installation>,
    now: Timestamp,
) -> Result<Permit, ActivationError> {
    let order = order::judge(conn, key, installation.as_ref(), now).await?;
    match installation {
        Some(installation) => further(conn, key, order, installation).await,
        None => Err(Refusal::NotActivated.into()),
    }
}

/// The installation has to be what it was.
pub(super) async fn further(
    conn: &mut Conn,
    key: &IntegrityKey,
    order: Order,
    installation: Installation,
) -> Result<Permit, ActivationError> {
    let superseded = bound::superseded(conn, key, &installation).await?;
    if order.usage.is_some() && superseded.is_empty() {
        // The order is in the license already.
        return Err(Refusal::AlreadyActivated { support_id: installation.support_id }.into());
    }
    bound::unchanged(conn, key, &installation).await?;
    Ok(Permit::again(installation, superseded, Permit::order(order)))
}
