//! What an installation is entitled to: the sum of its orders, or its trial. The rules for people are in
//! `docs/license-rules.md`.
//!
//! Quantities of one feature add up; unlimited wins. Orders that are revoked, blocked or over count for
//! nothing. The license ends when the first counted subscription ends: what it licensed is then no longer
//! paid for, and a reactivation issues a license over what is left. Support lasts as long as that of any
//! counted order. Renewals license nothing themselves: they have moved the ends of others.

use std::collections::BTreeMap;

use quorate_license::{Entitlement, FeatureName, LicenseKind, OrderId, Quantity, Timestamp};

use crate::store::{
    orders::{Order, OrderKind},
    trials::Trial,
};

/// The sum of orders, or a trial.
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
    /// Adds up the orders that count at the time `now`; `None` if none of them licenses anything.
    pub(super) fn sum(orders: &[Order], now: Timestamp) -> Option<Self> {
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
            let stopped = order.revoked_at.is_some() || order.blocked_at.is_some();
            if stopped || usage.expires_at.is_some_and(|end| end <= now) {
                continue;
            }
            total.orders.push(order.order_id.clone());
            total.support_until = total.support_until.max(usage.support_until);
            if order.terms.entitlements.is_empty() {
                continue;
            }
            if order.terms.kind == OrderKind::Subscription {
                total.kind = LicenseKind::Subscription;
            }
            total.expires_at = total.expires_at.into_iter().chain(usage.expires_at).min();
            for entitlement in &order.terms.entitlements {
                let sum = quantities.entry(entitlement.feature.clone()).or_insert(Quantity::Limited(0));
                *sum = add(*sum, entitlement.quantity);
            }
        }
        total.orders.sort();
        total.entitlements =
            quantities.into_iter().map(|(feature, quantity)| Entitlement { feature, quantity }).collect();
        (!total.entitlements.is_empty()).then_some(total)
    }

    /// What a trial licenses; `None` once it is over.
    pub(super) fn trial(trial: &Trial, now: Timestamp) -> Option<Self> {
        (trial.ends_at > now).then(|| Entitled {
            kind: LicenseKind::Trial,
            orders: Vec::new(),
            entitlements: trial.entitlements.clone(),
            expires_at: Some(trial.ends_at),
            support_until: None,
        })
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
    use quorate_license::TenantId;

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
                transfers_per_year: None,
                renews: Vec::new(),
            },
            for_support_id: None,
            blocked_at: None,
            activation_key_last5: "AAAAA".to_owned(),
            revoked_at: None,
            created_at: now(),
            usage: Some(Usage {
                support_id: "QS-0000".parse().unwrap(),
                tenant: TenantId::default_tenant(),
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
        let sum = Entitled::sum(&orders, now()).unwrap();
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
        let mut blocked = order("S", Some(1), &devices);
        blocked.blocked_at = Some(now());
        let orders = [
            order("A", Some(30), &devices),
            order("B", Some(10), &devices),
            order("C", None, &devices),
            revoked,
            blocked,
        ];
        let sum = Entitled::sum(&orders, now()).unwrap();
        assert_eq!((sum.kind, sum.expires_at), (LicenseKind::Subscription, Some(now().plus_days(10))));
        assert_eq!(sum.orders.len(), 3);
        let later = Entitled::sum(&orders, now().plus_days(30)).unwrap();
        assert_eq!((later.kind, later.expires_at), (LicenseKind::Perpetual, None));
        assert_eq!(later.orders.len(), 1);
    }

    #[test]
    fn orders_without_features_bring_support_and_no_term() {
        let mut support = order("S", None, &[]);
        support.usage.as_mut().unwrap().support_until = Some(now().plus_days(900));
        let mut renewal = order("R", Some(5), &[]);
        renewal.terms.renews = vec!["A".parse().unwrap()];
        let orders = [order("A", Some(30), &[("devices", Quantity::Limited(1))]), support, renewal];
        let sum = Entitled::sum(&orders, now()).unwrap();
        assert_eq!(sum.expires_at, Some(now().plus_days(30)));
        assert_eq!(sum.support_until, Some(now().plus_days(900)));
        assert_eq!(sum.orders.len(), 3);
    }

    #[test]
    fn nothing_is_licensed_by_orders_that_are_all_over_or_by_a_trial_that_is() {
        let orders = [order("A", Some(30), &[("devices", Quantity::Limited(1))]), order("S", None, &[])];
        assert!(Entitled::sum(&orders, now()).is_some());
        assert_eq!(Entitled::sum(&orders, now().plus_days(30)), None);
        assert_eq!(Entitled::sum(&[], now()), None);
        let trial = Trial {
            support_id: "QS-0000".parse().unwrap(),
            tenant: TenantId::default_tenant(),
            started_at: now(),
            ends_at: now().plus_days(30),
            entitlements: vec![Entitlement {
                feature: "scan".parse().unwrap(),
                quantity: Quantity::Unlimited,
            }],
        };
        let entitled = Entitled::trial(&trial, now()).unwrap();
        assert_eq!((entitled.kind, entitled.expires_at), (LicenseKind::Trial, Some(trial.ends_at)));
        assert_eq!(Entitled::trial(&trial, trial.ends_at), None);
    }
}
