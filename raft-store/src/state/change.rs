//! Every change of what licenses are worth, by the log entry that made it: whoever watches takes up where it left off.
//!
//! What time alone changes has no entry: it follows from the dates of the newest change.

use std::collections::BTreeMap;

use quorate_license::{
    Entitlement, LicenseKind, LicenseStatus, OrderId, RegisteredNode, Serial, StatusInput, StatusReport,
    SupportId, TenantId, Timestamp, evaluate,
};
use serde::{Deserialize, Serialize};

use super::{InstalledLicense, Node, State};

/// Changes that are kept.
const KEEP: usize = 1000;

/// The feature level from which on changes are kept.
pub(crate) const CHANGES_LEVEL: u32 = 5;

/// What one log entry changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseChange {
    /// The entry of the change before this one; none if this is the first that was kept.
    pub previous: Option<u64>,
    /// When it was applied.
    pub at: Timestamp,
    /// The tenants whose licenses changed, or became worth something else.
    pub tenants: Vec<ChangedLicense>,
}

/// A tenant's license from a change on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedLicense {
    /// Whose.
    pub tenant: TenantId,
    /// Name of the license status.
    pub status: String,
    /// The installation.
    pub support_id: SupportId,
    /// The license's serial.
    pub serial: Serial,
    /// Its kind.
    pub kind: LicenseKind,
    /// The orders in it.
    pub orders: Vec<OrderId>,
    /// What it allows.
    pub entitlements: Vec<Entitlement>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// Until when there is support.
    pub support_until: Option<Timestamp>,
}

impl LicenseChange {
    /// The tenant's license from this change on, if it was one of the tenant's.
    pub fn of(&self, tenant: &TenantId) -> Option<&ChangedLicense> {
        self.tenants.iter().find(|changed| changed.tenant == *tenant)
    }
}

/// What the licenses are worth, to be compared.
pub(crate) type Standings = BTreeMap<TenantId, (Serial, Timestamp, LicenseStatus)>;

/// What all licenses are worth at a time.
pub(crate) fn standings(state: &State, now: Timestamp) -> Standings {
    let nodes: Vec<RegisteredNode> = state.nodes.values().map(Node::registered).collect();
    let of = |installed: &InstalledLicense| {
        let status = report(state, &nodes, installed, now).map(|report| report.status);
        Some((installed.license.claims.serial, installed.installed_at, status?))
    };
    let licenses = state.licenses.iter();
    licenses.filter_map(|(tenant, installed)| Some((tenant.clone(), of(installed)?))).collect()
}

/// What one license is worth, as the cluster judges it.
pub(super) fn report(
    state: &State,
    nodes: &[RegisteredNode],
    installed: &InstalledLicense,
    now: Timestamp,
) -> Option<StatusReport> {
    let cluster = state.cluster()?;
    let binding = state.binding().map(|installed| &installed.binding.claims);
    Some(evaluate(&StatusInput {
        license: Some(&installed.license.claims),
        binding,
        nodes,
        scope: cluster.policy.integrity_scope,
        // Recovery and restore begin a new epoch, which the binding does not know.
        restored: binding.is_some_and(|binding| binding.epoch != cluster.epoch),
        reactivation_required_since: installed.reactivation_required_since,
        now,
    }))
}

/// Keeps what the log entry `index` has changed since `before`, if anything.
pub(crate) fn keep_change(state: &mut State, index: u64, before: &Standings) {
    let now = state.time();
    let tenants: Vec<ChangedLicense> = standings(state, now)
        .into_iter()
        .filter(|(tenant, standing)| before.get(tenant) != Some(standing))
        .filter_map(|(tenant, (_, _, status))| {
            let license = &state.licenses.get(&tenant)?.license.claims;
            Some(ChangedLicense {
                status: status.as_str().to_owned(),
                support_id: license.support_id.clone(),
                serial: license.serial,
                kind: license.kind,
                orders: license.orders.clone(),
                entitlements: license.entitlements.clone(),
                issued_at: license.issued_at,
                not_before: license.not_before,
                expires_at: license.expires_at,
                support_until: license.support_until,
                tenant,
            })
        })
        .collect();
    if tenants.is_empty() {
        return;
    }
    let previous = state.license_changes.last().map(|(index, _)| *index);
    state.license_changes.put(index, LicenseChange { previous, at: now, tenants });
    let surplus = state.license_changes.len().saturating_sub(KEEP);
    let oldest: Vec<u64> = state.license_changes.iter().map(|(index, _)| *index).take(surplus).collect();
    for index in oldest {
        state.license_changes.remove(&index);
    }
}
