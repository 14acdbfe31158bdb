//! What each answer of the portal brought: orders and licenses over time.

use quorate_license::{
    ActivationKind, BuildNumber, Entitlement, LicenseKind, NodeId, Nonce, OrderId, Serial, SupportId,
    TenantId, Timestamp, VerifiedAnswer,
};
use serde::{Deserialize, Serialize};

use super::{Activation, Method, State};

/// Entries that are kept.
const KEEP: usize = 200;

/// One installed answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseHistoryEntry {
    /// When it was installed.
    pub installed_at: Timestamp,
    /// The activation.
    pub nonce: Nonce,
    /// What the activation was for.
    pub kind: ActivationKind,
    /// How the portal was asked.
    pub method: Method,
    /// Who asked for the activation, in words.
    pub requested_by: String,
    /// Last 5 characters of the activation key.
    pub key_last5: Option<String>,
    /// The installation.
    pub support_id: SupportId,
    /// The binding's serial.
    pub serial: Serial,
    /// The nodes that were bound.
    pub nodes: Vec<HistoricNode>,
    /// The licenses, one per tenant.
    pub licenses: Vec<HistoricLicense>,
}

/// A node as it was bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoricNode {
    /// Which one.
    pub id: NodeId,
    /// The product's build on it.
    pub build: Option<BuildNumber>,
}

/// A tenant's license as it was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoricLicense {
    /// Whose.
    pub tenant: TenantId,
    /// Its kind.
    pub kind: LicenseKind,
    /// The orders in it.
    pub orders: Vec<OrderId>,
    /// What it allowed.
    pub entitlements: Vec<Entitlement>,
    /// Its end, if it had one.
    pub expires_at: Option<Timestamp>,
    /// Until when there was support.
    pub support_until: Option<Timestamp>,
}

/// Adds an answer that is installed now.
pub(crate) fn remember(state: &mut State, activation: &Activation, answer: &VerifiedAnswer, now: Timestamp) {
    let binding = &answer.binding.claims;
    let entry = LicenseHistoryEntry {
        installed_at: now,
        nonce: activation.nonce,
        kind: activation.kind,
        method: activation.method,
        requested_by: activation.requested_by.clone(),
        key_last5: activation.key_last5.clone(),
        support_id: binding.support_id.clone(),
        serial: binding.serial,
        nodes: binding
            .nodes
            .iter()
            .map(|node| HistoricNode { id: node.id, build: node.build.clone() })
            .collect(),
        licenses: answer
            .licenses
            .iter()
            .map(|license| &license.claims)
            .map(|license| HistoricLicense {
                tenant: license.tenant.clone(),
                kind: license.kind,
                orders: license.orders.clone(),
                entitlements: license.entitlements.clone(),
                expires_at: license.expires_at,
                support_until: license.support_until,
            })
            .collect(),
    };
    state.license_history.put(binding.serial.0, entry);
    let surplus = state.license_history.len().saturating_sub(KEEP);
    let oldest: Vec<u64> = state.license_history.iter().map(|(serial, _)| *serial).take(surplus).collect();
    for serial in oldest {
        state.license_history.remove(&serial);
    }
}
