//! Activations, the history of licenses and telemetry on the administrators' face: requests into domain types,
//! outcomes into answers.

use quorate_license::{ActivationKey, ActivationKind, NodeId, Timestamp};
use quorate_proto::v1 as proto;
use quorate_raft_store::{Refusal, State, state::Method};
use zeroize::Zeroizing;

use super::{ApiError, Caller, ErrorKind, admin::invalid, admin_wire};
use crate::{
    clock,
    service::{
        ActivationRequest, HistoryItem, InstalledKey, Report, Telemetry, license_history, next_report,
        quantity,
    },
};

/// What an administrator asks for.
pub(super) fn request(asked: proto::ActivateRequest, caller: Caller) -> Result<ActivationRequest, ApiError> {
    let proto::ActivateRequest { kind, tenant, activation_key, nodes, offline, renew } = asked;
    let activation_key = Zeroizing::new(activation_key);
    let kind = kind.parse::<ActivationKind>().map_err(|error| invalid("kind_malformed", error))?;
    let activation_key = match (kind.needs_activation_key(), activation_key.as_str()) {
        (true, key) => {
            Some(key.parse::<ActivationKey>().map_err(|error| invalid("activation_key_malformed", error))?)
        }
        (false, "") => None,
        (false, _) => {
            let message = format!("the kind '{kind}' takes no activation key");
            return Err(invalid("activation_key_unexpected", message));
        }
    };
    Ok(ActivationRequest {
        kind,
        tenant: admin_wire::tenant(&tenant).map_err(|error| invalid("tenant_malformed", error))?,
        method: if offline { Method::Offline } else { Method::Online },
        renew,
        activation_key,
        confirmed: nodes.into_iter().map(NodeId).collect(),
        caller,
    })
}

/// What became of a license key.
pub(super) fn installed(installed: InstalledKey) -> proto::InstallLicenseResponse {
    proto::InstallLicenseResponse {
        support_id: installed.support_id.to_string(),
        serial: installed.serial.0,
        nonce: installed.nonce.to_string(),
        already_installed: installed.already,
        missing: installed.missing,
    }
}

/// Orders and licenses over time.
pub(super) fn history(state: &State, tenant: &str) -> Result<proto::LicenseHistoryResponse, ApiError> {
    let tenant = admin_wire::tenant(tenant).map_err(|error| invalid("tenant_malformed", error))?;
    let entries = license_history(state, &tenant).into_iter().map(history_entry).collect();
    Ok(proto::LicenseHistoryResponse { entries })
}

fn history_entry(item: HistoryItem) -> proto::LicenseHistoryEntry {
    let HistoryItem { entry, license, changes } = item;
    let (expires_at, support_until) =
        license.as_ref().map_or((None, None), |license| (license.expires_at, license.support_until));
    let entitlements = license.iter().flat_map(|license| &license.entitlements);
    proto::LicenseHistoryEntry {
        serial: entry.serial.0,
        installed_at_ms: entry.installed_at.as_unix_ms(),
        kind: entry.kind.as_str().to_owned(),
        method: admin_wire::method(entry.method).to_owned(),
        requested_by: entry.requested_by,
        key_last5: entry.key_last5.unwrap_or_default(),
        nonce: entry.nonce.to_string(),
        support_id: entry.support_id.to_string(),
        license_kind: license.as_ref().map(|license| license.kind.to_string()).unwrap_or_default(),
        orders: license.iter().flat_map(|license| &license.orders).map(ToString::to_string).collect(),
        entitlements: entitlements
            .map(|one| proto::HistoricEntitlement {
                feature: one.feature.to_string(),
                quantity: quantity(&one.quantity),
            })
            .collect(),
        expires_at_ms: expires_at.map(Timestamp::as_unix_ms),
        support_until_ms: support_until.map(Timestamp::as_unix_ms),
        changes,
    }
}

/// What is sent to the vendor, or would be.
pub(super) fn telemetry(
    state: &State,
    telemetry: &Telemetry,
) -> Result<proto::ShowTelemetryResponse, ApiError> {
    let cluster = state.cluster().ok_or(Refusal::NotInitialized)?;
    let report = Report::of(state).ok_or(Refusal::NotInitialized)?.to_json();
    let report = report.map_err(|error| {
        ApiError::new(ErrorKind::Internal, "internal", error.to_string(), "see this node's log")
    })?;
    let sender = state.nodes().get(&cluster.first_license_node).map(|node| node.name.to_string());
    Ok(proto::ShowTelemetryResponse {
        enabled: cluster.telemetry,
        address: telemetry.address().unwrap_or_default(),
        report,
        next_at_ms: cluster.telemetry.then(|| next_report(cluster.id, clock::now()).as_unix_ms()),
        sender: sender.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use quorate_raft_store::audit::AskedBy;

    use super::*;
    use crate::api::auth::Access;

    fn caller() -> Caller {
        let asked_by = AskedBy::node(NodeId(1));
        Caller { name: "anna".to_owned(), access: Access::Administrator, asked_by }
    }

    #[test]
    fn a_key_is_asked_for_exactly_where_the_kind_has_one() {
        let key = ActivationKey::from_entropy([7; 15]).expose().to_string();
        let ask = |kind: &str, activation_key: &str| {
            let asked = proto::ActivateRequest {
                kind: kind.to_owned(),
                activation_key: activation_key.to_owned(),
                ..Default::default()
            };
            request(asked, caller())
                .map(|request| request.activation_key.is_some())
                .map_err(|error| error.code)
        };
        for (kind, given, expected) in [
            ("activate", key.as_str(), Ok(true)),
            ("activate", "", Err("activation_key_malformed")),
            ("trial", "", Ok(false)),
            ("trial", key.as_str(), Err("activation_key_unexpected")),
            ("reactivate", "", Ok(false)),
            ("renew", "", Err("kind_malformed")),
        ] {
            assert_eq!(ask(kind, given), expected.map_err(str::to_owned), "{kind} {given}");
        }
    }
}
