//! Whether the order behind an activation key may be used here and now.

use quorate_license::{IntegrityKey, SupportId, Timestamp};

use super::bound;
use crate::{
    activation::{Refusal, service::ActivationError},
    store::{
        Conn,
        installations::{self, Installation},
        orders::{self, Order, Usage},
    },
};

/// The order that the request brings. `here` is the installation that asks, if it is one.
///
/// # Errors
/// There is no activation key, it is unknown, or its order must not be used here and now.
pub(super) async fn judge(
    conn: &mut Conn,
    key: &IntegrityKey,
    here: Option<&Installation>,
    now: Timestamp,
) -> Result<Order, ActivationError> {
    let activation_key = key.activation_key.as_ref().ok_or(Refusal::ActivationKeyMissing)?;
    let order = orders::find_by_key(conn, &activation_key.hash())
        .await?
        .ok_or_else(|| Refusal::ActivationKeyUnknown { last5: activation_key.last5() })?;
    if order.revoked_at.is_some() {
        return Err(Refusal::OrderRevoked { order_id: order.order_id }.into());
    }
    if order.blocked_at.is_some() {
        return Err(Refusal::OrderBlocked { order_id: order.order_id }.into());
    }
    let is_here = |support_id: &SupportId| here.is_some_and(|here| here.support_id == *support_id);
    let last_moment = match &order.usage {
        Some(usage) if !is_here(&usage.support_id) => {
            return Err(used_elsewhere(conn, key, &order, usage).await?.into());
        }
        Some(usage) => usage.expires_at,
        None => order.terms.activate_by,
    };
    if let Some(home) = order.for_support_id.as_ref().filter(|home| !is_here(home)) {
        let (order_id, support_id) = (order.order_id.clone(), home.clone());
        return Err(Refusal::OrderOfAnotherInstallation { order_id, support_id }.into());
    }
    if let Some(expired_at) = last_moment
        && now > expired_at
    {
        return Err(Refusal::OrderExpired { order_id: order.order_id, expired_at }.into());
    }
    for renewed in &order.terms.renews {
        let usage = orders::find(conn, renewed).await?.and_then(|renewed| renewed.usage);
        if !usage.is_some_and(|usage| is_here(&usage.support_id)) {
            let (order_id, renewed) = (order.order_id.clone(), renewed.clone());
            return Err(Refusal::RenewedOrderNotHere { order_id, renewed }.into());
        }
    }
    Ok(order)
}

/// The refusal, which says whether it is the asking computers' own installation that has the order.
async fn used_elsewhere(
    conn: &mut Conn,
    key: &IntegrityKey,
    order: &Order,
    usage: &Usage,
) -> Result<Refusal, ActivationError> {
    let bound = installations::pinned(conn, &usage.support_id).await?;
    Ok(Refusal::ActivationKeyUsed {
        last5: order.activation_key_last5.clone(),
        support_id_end: last_group(&usage.support_id),
        order_id: order.order_id.clone(),
        on_these_computers: bound::missing(key, &bound).is_empty(),
    })
}

/// What is shown of another installation's Support ID: enough for its owner, too little for others.
pub(super) fn last_group(support_id: &SupportId) -> String {
    let text = support_id.as_str();
    text.rsplit('-').next().unwrap_or(text).to_owned()
}
