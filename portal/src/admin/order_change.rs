//! `admin order extend`, `block`, `unblock`, `revoke`: what is changed of an order afterwards, and remembered.

use quorate_license::{OrderId, Timestamp};

use super::{AdminError, order::find};
use crate::{
    activation::{added, renew},
    clock,
    store::{
        Conn, Store, StoreError,
        orders::{self, Order, OrderKind},
        vendor_actions::{self, VendorAction},
    },
};

/// Adds days: to what the first use will bring, or to the ends if the order is used.
pub(super) async fn extend(
    order_id: &OrderId,
    days: Option<u32>,
    support_days: Option<u32>,
    store: &Store,
) -> Result<Order, AdminError> {
    if days.is_none() && support_days.is_none() {
        return Err(AdminError::Usage("give --days, --support-days or both"));
    }
    change(order_id, store, async |conn, order, now| {
        if days.is_some() && order.terms.kind == OrderKind::Perpetual {
            return Ok(Err(AdminError::Usage("a perpetual order has no term to extend")));
        }
        match &order.usage {
            // A renewal licenses nothing itself: its days count for the orders that it renewed.
            Some(_) if !order.terms.renews.is_empty() => {
                let (expires_at, support_until) =
                    renew(conn, &order.terms.renews, (days, support_days), now).await?;
                orders::set_ends(conn, order_id, expires_at, support_until).await?;
            }
            Some(usage) => {
                let expires_at = added(usage.expires_at, days, now);
                let support_until = added(usage.support_until, support_days, now);
                orders::set_ends(conn, order_id, expires_at, support_until).await?;
            }
            None => {
                let more = |have: Option<u32>, more: Option<u32>| match (have, more) {
                    (have, None) => have,
                    (have, Some(more)) => Some(have.unwrap_or(0).saturating_add(more)),
                };
                let (term, support) = (order.terms.term_days, order.terms.support_days);
                orders::set_days(conn, order_id, more(term, days), more(support, support_days)).await?;
            }
        }
        let detail = format!("{} days of term, {} of support", days.unwrap_or(0), support_days.unwrap_or(0));
        Ok(Ok(("extended", detail)))
    })
    .await
}

/// Stops an order, or lets it count again.
pub(super) async fn block(order_id: &OrderId, on: bool, store: &Store) -> Result<Order, AdminError> {
    change(order_id, store, async |conn, _, now| {
        orders::block(conn, order_id, on.then_some(now)).await?;
        Ok(Ok((if on { "blocked" } else { "unblocked" }, String::new())))
    })
    .await
}

/// Takes an order back for good.
pub(super) async fn revoke(order_id: &OrderId, store: &Store) -> Result<Order, AdminError> {
    change(order_id, store, async |conn, _, now| {
        orders::revoke(conn, order_id, now).await?;
        Ok(Ok(("revoked", String::new())))
    })
    .await
}

/// Does `work` on an order, remembers it under the name that it gives, and reads the order again.
async fn change(
    order_id: &OrderId,
    store: &Store,
    work: impl AsyncFn(
        &mut Conn,
        &Order,
        Timestamp,
    ) -> Result<Result<(&'static str, String), AdminError>, StoreError>,
) -> Result<Order, AdminError> {
    store
        .retrying(async || -> Result<Result<Order, AdminError>, StoreError> {
            let mut tx = store.begin().await?;
            let order = match find(&mut tx, order_id).await {
                Ok(order) => order,
                Err(AdminError::Store(error)) => return Err(error),
                Err(refusal) => return Ok(Err(refusal)),
            };
            let now = clock::now();
            let (action, detail) = match work(&mut *tx, &order, now).await? {
                Ok(done) => done,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let subject = order_id.as_str().to_owned();
            vendor_actions::add(
                &mut tx,
                &VendorAction { at: now, subject, action: action.to_owned(), detail },
            )
            .await?;
            let order = orders::find(&mut tx, order_id).await?;
            tx.commit().await.map_err(StoreError::from)?;
            Ok(order.ok_or_else(|| AdminError::NoOrder(order_id.clone())))
        })
        .await?
}
