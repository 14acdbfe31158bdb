//! Orders and licenses over time, and what each changed.

use std::collections::{BTreeMap, BTreeSet};

use quorate_license::{BuildNumber, Entitlement, FeatureName, NodeId, Quantity, TenantId, Timestamp};
use quorate_raft_store::{
    State,
    state::{HistoricLicense, HistoricNode, LicenseHistoryEntry},
};

/// One installed answer, as a tenant sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryItem {
    /// What was installed.
    pub entry: LicenseHistoryEntry,
    /// The tenant's license in it; none if only the binding was issued anew.
    pub license: Option<HistoricLicense>,
    /// What it changed, in words.
    pub changes: Vec<String>,
}

/// What was installed for a tenant, the oldest first.
pub fn license_history(state: &State, tenant: &TenantId) -> Vec<HistoryItem> {
    let mut items = Vec::new();
    let mut license: Option<HistoricLicense> = None;
    let mut nodes: Option<Vec<HistoricNode>> = None;
    for entry in state.license_history().values() {
        let found = entry.licenses.iter().find(|license| license.tenant == *tenant).cloned();
        if found.is_none() && !entry.licenses.is_empty() {
            // Another tenant's; the nodes are bound for all.
            nodes = Some(entry.nodes.clone());
            continue;
        }
        let mut changes = Vec::new();
        if let Some(found) = &found {
            match &license {
                Some(before) => license_changes(before, found, &mut changes),
                None => changes.extend(found.orders.iter().map(|order| format!("order {order} added"))),
            }
        }
        if let Some(before) = &nodes {
            node_changes(state, before, &entry.nodes, &mut changes);
        }
        nodes = Some(entry.nodes.clone());
        if found.is_some() {
            license.clone_from(&found);
        }
        items.push(HistoryItem { entry: entry.clone(), license: found, changes });
    }
    items
}

fn license_changes(before: &HistoricLicense, now: &HistoricLicense, changes: &mut Vec<String>) {
    if before.kind != now.kind {
        changes.push(format!("{} became {}", before.kind, now.kind));
    }
    for order in now.orders.iter().filter(|order| !before.orders.contains(order)) {
        changes.push(format!("order {order} added"));
    }
    for order in before.orders.iter().filter(|order| !now.orders.contains(order)) {
        changes.push(format!("order {order} does not count any more"));
    }
    let (was, is) = (quantities(&before.entitlements), quantities(&now.entitlements));
    for feature in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
        match (was.get(feature), is.get(feature)) {
            (Some(was), Some(is)) if was != is => changes.push(format!("{feature}: {was}, now {is}")),
            (None, Some(is)) => changes.push(format!("{feature}: added, {is}")),
            (Some(_), None) => changes.push(format!("{feature}: not included any more")),
            _ => {}
        }
    }
    for (what, was, is) in [
        ("ends", before.expires_at, now.expires_at),
        ("support until", before.support_until, now.support_until),
    ] {
        if was != is {
            changes.push(format!("{what}: {}, now {}", day(was), day(is)));
        }
    }
}

fn node_changes(state: &State, before: &[HistoricNode], now: &[HistoricNode], changes: &mut Vec<String>) {
    let name = |id: NodeId| {
        let member = state.nodes().get(&id).map(|node| node.name.to_string());
        let gone = || state.tombstones().get(&id).map(|gone| gone.name.to_string());
        member.or_else(gone).unwrap_or_else(|| id.to_string())
    };
    let by_id = |nodes: &[HistoricNode]| -> BTreeMap<NodeId, Option<BuildNumber>> {
        nodes.iter().map(|node| (node.id, node.build.clone())).collect()
    };
    let (was, is) = (by_id(before), by_id(now));
    let build =
        |build: &Option<BuildNumber>| build.as_ref().map_or("unknown".to_owned(), ToString::to_string);
    for (id, now) in &is {
        match was.get(id) {
            None => changes.push(format!("{} bound", name(*id))),
            Some(before) if before != now => {
                changes.push(format!("build on {}: {}, now {}", name(*id), build(before), build(now)));
            }
            Some(_) => {}
        }
    }
    for id in was.keys().filter(|id| !is.contains_key(id)) {
        changes.push(format!("{} not bound any more", name(*id)));
    }
}

fn quantities(entitlements: &[Entitlement]) -> BTreeMap<FeatureName, String> {
    entitlements.iter().map(|one| (one.feature.clone(), quantity(&one.quantity))).collect()
}

/// A quantity in words.
pub fn quantity(quantity: &Quantity) -> String {
    match quantity {
        Quantity::Limited(count) => count.to_string(),
        Quantity::Unlimited => "unlimited".to_owned(),
    }
}

fn day(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use quorate_license::{ActivationKind, LicenseKind, Nonce, Serial};
    use quorate_raft_store::{codec, state::Method};

    use super::*;
    use crate::service::licensing::samples;

    fn entry(serial: u64, change: impl FnOnce(&mut LicenseHistoryEntry)) -> LicenseHistoryEntry {
        let at = Timestamp::ZERO.plus_days(20_000);
        let mut entry = LicenseHistoryEntry {
            installed_at: at,
            nonce: Nonce([serial as u8; 16]),
            kind: ActivationKind::Upgrade,
            method: Method::Offline,
            requested_by: "anna".to_owned(),
            key_last5: None,
            support_id: "QS-7F3K-29TQ".parse().unwrap(),
            serial: Serial(serial),
            nodes: (1..=2)
                .map(|index| HistoricNode {
                    id: samples::node_id(index),
                    build: Some("7.1.0".parse().unwrap()),
                })
                .collect(),
            licenses: vec![HistoricLicense {
                tenant: TenantId::default_tenant(),
                kind: LicenseKind::Subscription,
                orders: vec!["QO-000001".parse().unwrap()],
                entitlements: vec![Entitlement {
                    feature: "devices".parse().unwrap(),
                    quantity: Quantity::Limited(50),
                }],
                expires_at: Some(at.plus_days(365)),
                support_until: Some(at.plus_days(365)),
            }],
        };
        change(&mut entry);
        entry
    }

    #[test]
    fn each_entry_says_what_it_changed() {
        let mut state = samples::Installation::licensed().view(1).state.clone();
        let trial = entry(1, |entry| {
            entry.licenses[0].kind = LicenseKind::Trial;
            entry.licenses[0].orders.clear();
        });
        let bought = entry(2, |entry| entry.licenses[0].expires_at = None);
        let more = entry(3, |entry| {
            let license = &mut entry.licenses[0];
            license.expires_at = None;
            license.orders.push("QO-000002".parse().unwrap());
            license.entitlements[0].quantity = Quantity::Limited(75);
            let feature = "scan".parse().unwrap();
            license.entitlements.push(Entitlement { feature, quantity: Quantity::Unlimited });
        });
        let other_tenant = entry(4, |entry| entry.licenses[0].tenant = "acme".parse().unwrap());
        let updated = entry(5, |entry| {
            *entry = LicenseHistoryEntry { serial: Serial(5), ..more.clone() };
            entry.nodes[1].build = Some("7.2.0".parse().unwrap());
            entry.nodes.remove(0);
        });
        let transfer = entry(6, |entry| entry.licenses.clear());
        for entry in [trial, bought, more, other_tenant, updated, transfer] {
            let key = [&[25], &entry.serial.0.to_be_bytes()[..]].concat();
            state.load(&key, &codec::encode(&entry).unwrap()).unwrap();
        }
        let items = license_history(&state, &TenantId::default_tenant());
        let serials: Vec<u64> = items.iter().map(|item| item.entry.serial.0).collect();
        assert_eq!(serials, [1, 2, 3, 5, 6]);
        assert_eq!(items[0].changes, [""; 0]);
        assert_eq!(items[1].changes[..2], ["trial became subscription", "order QO-000001 added"]);
        assert!(items[1].changes[2].starts_with("ends: 20"), "{:?}", items[1].changes);
        assert!(items[1].changes[2].ends_with(", now never"), "{:?}", items[1].changes);
        assert_eq!(
            items[2].changes,
            ["order QO-000002 added", "devices: 50, now 75", "scan: added, unlimited"]
        );
        let names: Vec<String> = (1..=2)
            .map(|index| state.nodes().get(&samples::node_id(index)).unwrap().name.to_string())
            .collect();
        let gone = format!("{} not bound any more", names[0]);
        assert_eq!(items[3].changes, [format!("build on {}: 7.1.0, now 7.2.0", names[1]), gone]);
        assert_eq!(items[4].license, None, "the binding alone");
    }
}
