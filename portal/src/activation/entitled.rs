//! What an installation is entitled to: the sum of its orders.
//!
//! Quantities of one feature add up; unlimited wins. Revoked orders and those whose term has ended
//! count for nothing. The license ends when the first counted subscription ends: what it licensed is
//! then no longer paid for, and a reactivation issues a license over what is left. Support lasts as
//! long as that of any counted order.

use std::collections::BTreeMap;

use quorate_license::{Entitlement, FeatureName, LicenseKind, OrderId, Quantity, Timestamp};

use crate::store::orders::{Order, OrderKind};

/// The sum of orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entitled {
    /// Perpetual if every counted order is.
    pub kind: LicenseKind,
    /// The counted orders, sorted.
    pub orders: Vec<OrderId>,
    /// What they license, sorted by feature.
    pub entitlements: Vec<Entitlement>,
    /// When the first of them ends.
    pub expires_at: Option<Timestamp>,
    /// When the last support ends.
    pub support_until: Option<Timestamp>,
}

impl Entitled {
    /// Adds up the orders that count at the time `now`.
    pub(super) fn sum(orders: &[Order], now: Timestamp) -> Self {
        let mut total = Entitled {
            kind: LicenseKind::Perpetual,
            orders: Vec::new(),
            entitlements: Vec::new(),
            expires_at: None,
            support_until: None,
        };
        let mut quantities = BTreeMap::<FeatureName, Quantity>::new();
        for order in orders {
            let Some(usage) = &order.usage else { continue };
            if order.revoked_at.is_some() || usage.expires_at.is_some_and(|end| end <= now) {
                continue;
            }
            if order.terms.kind == OrderKind::Subscription {
                total.kind = LicenseKind::Subscription;
            }
            total.orders.push(order.order_id.clone());
            total.expires_at = total.expires_at.into_iter().chain(usage.expires_at).min();
            total.support_until = total.support_until.max(usage.support_until);
            for entitlement in &order.terms.entitlements {
                let sum = quantities.entry(entitlement.feature.clone()).or_insert(Quantity::Limited(0));
                *sum = add(*sum, entitlement.quantity);
            }
        }
        total.orders.sort();
        total.entitlements =
            quantities.into_iter().map(|(feature, quantity)| Entitlement { feature, quantity }).collect();
        total
    }
}

fn add(a: Quantity, b: Quantity) -> Quantity {
    match (a, b) {
        (Quantity::Limited(a), Quantity::Limited(b)) => Quantity::Limited(a.saturating_add(b)),
        _ => Quantity::Unlimited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::orders::{Terms, Usage};

    fn now() -> Timestamp {
        Timestamp::from_unix_ms(1_700_000_000_000)
    }

    fn order(id: &str, days: Option<u32>, features: &[(&str, Quantity)]) -> Order {
        let entitlements = features
            .iter()
            .map(|(name, quantity)| Entitlement { feature: name.parse().unwrap(), quantity: *quantity })
            .collect();
        Order {
            order_id: id.parse().unwrap(),
            customer: "Example".parse().unwrap(),
            product: "Suite".parse().unwrap(),
            terms: Terms {
                kind: if days.is_some() { OrderKind::Subscription } else { OrderKind::Perpetual },
                entitlements,
                term_days: days,
                support_days: None,
                activate_by: None,
            },
            activation_key_last5: "AAAAA".to_owned(),
            revoked_at: None,
            created_at: now(),
            usage: Some(Usage {
                support_id: "QS-0000".parse().unwrap(),
                activated_at: now(),
                expires_at: days.map(|days| now().plus_days(days)),
                support_until: None,
            }),
        }
    }

    #[test]
    fn quantities_add_up_and_unlimited_wins() {
        use Quantity::{Limited, Unlimited};
        let orders = [
            order("B", None, &[("devices", Limited(50)), ("scan", Limited(1))]),
            order("A", None, &[("devices", Limited(25)), ("scan", Unlimited)]),
        ];
        let sum = Entitled::sum(&orders, now());
        let quantities: Vec<_> = sum.entitlements.iter().map(|e| (e.feature.as_str(), e.quantity)).collect();
        assert_eq!(quantities, [("devices", Limited(75)), ("scan", Unlimited)]);
        assert_eq!(sum.orders.iter().map(OrderId::as_str).collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!((sum.kind, sum.expires_at), (LicenseKind::Perpetual, None));
    }

    #[test]
    fn the_license_ends_with_the_first_subscription_that_counts() {
        let devices = [("devices", Quantity::Limited(1))];
        let mut revoked = order("R", Some(1), &devices);
        revoked.revoked_at = Some(now());
        let orders = [
            order("A", Some(30), &devices),
            order("B", Some(10), &devices),
            order("C", None, &devices),
            revoked,
        ];
        let sum = Entitled::sum(&orders, now());
        assert_eq!((sum.kind, sum.expires_at), (LicenseKind::Subscription, Some(now().plus_days(10))));
        assert_eq!(sum.orders.len(), 3);
        let later = Entitled::sum(&orders, now().plus_days(30));
        assert_eq!((later.kind, later.expires_at), (LicenseKind::Perpetual, None));
        assert_eq!(later.orders.len(), 1);
    }
}
