//! When the term and the support of an order begin to run: at its first use. The rules for people are in
//! `docs/license-rules.md`.

use quorate_license::{OrderId, SupportId, TenantId, Timestamp};

use crate::store::{
    Conn, StoreError,
    orders::{self, Order, Usage},
};

/// The ends of an order whose activation key is used for the first time. A renewal moves those of the
/// orders that it renews; support alone goes on where the tenant's support ends.
pub(super) async fn begin(
    conn: &mut Conn,
    order: &Order,
    support_id: &SupportId,
    tenant: &TenantId,
    now: Timestamp,
) -> Result<Usage, StoreError> {
    let terms = &order.terms;
    let mut usage = Usage {
        support_id: support_id.clone(),
        tenant: tenant.clone(),
        activated_at: now,
        expires_at: terms.term_days.map(|days| now.plus_days(days)),
        support_until: terms.support_days.map(|days| now.plus_days(days)),
    };
    if !terms.renews.is_empty() {
        let days = (terms.term_days, terms.support_days);
        (usage.expires_at, usage.support_until) = renew(conn, &terms.renews, days, now).await?;
    } else if terms.entitlements.is_empty() {
        let others = orders::of_tenant(conn, support_id, tenant).await?;
        let supported = others.iter().filter_map(|other| other.usage.as_ref()?.support_until).max();
        usage.support_until = added(supported, terms.support_days, now);
    }
    Ok(usage)
}

/// Adds days of term and of support to the ends of the renewed orders that are used; the last ends of them.
pub(crate) async fn renew(
    conn: &mut Conn,
    renewed: &[OrderId],
    (term_days, support_days): (Option<u32>, Option<u32>),
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<Timestamp>), StoreError> {
    let mut last = (None, None);
    for order_id in renewed {
        let Some(usage) = orders::find(conn, order_id).await?.and_then(|order| order.usage) else { continue };
        let expires_at = added(usage.expires_at, term_days, now);
        let support_until = added(usage.support_until, support_days, now);
        orders::set_ends(conn, order_id, expires_at, support_until).await?;
        last = (last.0.max(expires_at), last.1.max(support_until));
    }
    Ok(last)
}

/// The end with further days: from the end on while it lies ahead, otherwise from now on.
pub(crate) fn added(end: Option<Timestamp>, days: Option<u32>, now: Timestamp) -> Option<Timestamp> {
    match days {
        Some(days) => Some(end.unwrap_or(now).max(now).plus_days(days)),
        None => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_added_to_the_end_or_to_now_whichever_is_later() {
        let now = Timestamp::from_unix_ms(1_700_000_000_000);
        let (ahead, past) = (now.plus_days(10), now.plus_ms(-1));
        assert_eq!(added(Some(ahead), Some(5), now), Some(now.plus_days(15)));
        assert_eq!(added(Some(past), Some(5), now), Some(now.plus_days(5)));
        assert_eq!(added(None, Some(5), now), Some(now.plus_days(5)));
        assert_eq!(added(Some(ahead), None, now), Some(ahead));
        assert_eq!(added(None, None, now), None);
    }
}
