//! Turning domain types into the administrators' messages.

use quorate_license::{
    CheckReason, Ending, InvalidReason, LicenseStatus, NodeId, ReactivationReason, TenantId, Timestamp,
};
use quorate_proto::v1 as proto;
use quorate_raft_store::{
    State,
    state::{Activation, ActivationState, Method, RemovalReason, Token, TokenPurpose, TokenState, Tombstone},
};

use crate::{
    cluster::{Alarm, Expelled},
    service::{ClusterStatus, Event, Health, NodeHealth, NodeStatus, Plan, even_voters, licensing::Standing},
};

pub(super) fn status(
    status: ClusterStatus,
    license: &Standing,
    answered_by: u64,
    expelled: Option<&Expelled>,
) -> proto::StatusResponse {
    let voters = status.nodes.iter().filter(|node| node.voter).count();
    let expelled = expelled.map(|expelled| format!("{}: {}", expelled.code, expelled.message));
    proto::StatusResponse {
        warnings: expelled
            .into_iter()
            .chain(status.alarms.iter().map(Alarm::words))
            .chain(even_voters(voters))
            .collect(),
        removed: status.removed.iter().map(removed).collect(),
        cluster_id: status.cluster_id.to_string(),
        epoch_number: status.epoch.number,
        epoch_id: status.epoch.id.to_string(),
        leader: status.leader.map(|id| id.0),
        first_license_node: status.first_license_node.0,
        nodes: status.nodes.into_iter().map(node).collect(),
        license: Some(license_summary(license)),
        answered_by,
    }
}

fn removed(gone: &Tombstone) -> proto::RemovedNode {
    let (reason, replaced_by) = match &gone.reason {
        RemovalReason::Removed { .. } => ("removed", None),
        RemovalReason::Replaced { by } => ("replaced", Some(by.0)),
    };
    proto::RemovedNode {
        id: gone.id.0,
        name: gone.name.to_string(),
        role: gone.role.to_string(),
        computer_id: gone.computer_id.to_string(),
        removed_at_ms: gone.removed_at.as_unix_ms(),
        reason: reason.to_owned(),
        detail: gone.reason.to_string(),
        replaced_by,
    }
}

fn node(status: NodeStatus) -> proto::NodeStatus {
    let node = status.node;
    proto::NodeStatus {
        id: node.id.0,
        name: node.name.to_string(),
        role: node.role.to_string(),
        voter: status.voter,
        online: status.online,
        computer_id: node.computer_id.to_string(),
        build: node.build.map(|build| build.to_string()),
        applied_index: status.applied_index,
        license_serial: status.license_serial,
        raft_address: node.addresses.raft,
        http_address: node.addresses.http,
        agent_version: node.agent_version,
        os: node.host.os,
        kernel: node.host.kernel,
        booted_at_ms: node.host.booted_at.as_unix_ms(),
        free_disk_bytes: status.free_disk_bytes,
        start_counter: node.start_counter,
        joined_at_ms: node.joined_at.as_unix_ms(),
    }
}

pub(super) fn license_summary(standing: &Standing) -> proto::LicenseSummary {
    let report = standing.report();
    let license = standing.license().map(|installed| &installed.license.claims);
    let reasons = match &report.status {
        LicenseStatus::ReactivationRequired { reasons } => {
            reasons.iter().map(|reason| reactivation_reason(reason, &standing.view().state)).collect()
        }
        LicenseStatus::Invalid { reason } => vec![invalid_reason(reason)],
        _ => Vec::new(),
    };
    proto::LicenseSummary {
        status: report.status.as_str().to_owned(),
        kind: license.map(|license| license.kind.as_str().to_owned()),
        support_id: license.map(|license| license.support_id.to_string()),
        serial: license.map(|license| license.serial.0),
        expires_at_ms: license.and_then(|license| license.expires_at).map(Timestamp::as_unix_ms),
        days_left: report.days_left,
        next_step: standing.next_step(),
        reasons,
        endings: standing.endings().iter().map(|ending| license_ending(ending, standing)).collect(),
        refused: standing
            .refused()
            .iter()
            .map(|(node, reason)| refused_node(*node, reason, standing))
            .collect(),
    }
}

fn refused_node(node: NodeId, reason: &CheckReason, standing: &Standing) -> proto::RefusedNode {
    proto::RefusedNode {
        node: name_of(node, standing),
        reason: reason.code().to_owned(),
        asked: node == standing.node(),
    }
}

/// Nodes on which the product is refused, while there is a license. That there is none needs no warning.
pub(super) fn refused_warnings(standing: &Standing) -> Vec<String> {
    if standing.license().is_none() {
        return Vec::new();
    }
    let refused = standing.refused().into_iter();
    refused
        .map(|(node, reason)| {
            format!("the product is refused on {}: {} ({reason})", name_of(node, standing), reason.code())
        })
        .collect()
}

fn name_of(id: NodeId, standing: &Standing) -> String {
    let node = standing.view().state.nodes().get(&id);
    node.map_or_else(|| format!("node {id}"), |node| node.name.to_string())
}

fn license_ending(ending: &Ending, standing: &Standing) -> proto::LicenseEnding {
    proto::LicenseEnding {
        what: ending.kind.as_str().to_owned(),
        node: ending.node.map(|id| name_of(id, standing)),
        ends_at_ms: ending.ends_at.as_unix_ms(),
        days_left: ending.days_left,
        within_days: ending.within_days,
    }
}

fn reactivation_reason(reason: &ReactivationReason, state: &State) -> String {
    let name = |id: &NodeId| {
        let member = state.nodes().get(id).map(|node| node.name.to_string());
        let gone = || state.tombstones().get(id).map(|gone| format!("{} (removed)", gone.name));
        member.or_else(gone).unwrap_or_else(|| format!("node {id}"))
    };
    let names = |ids: &[NodeId]| ids.iter().map(name).collect::<Vec<_>>().join(", ");
    match reason {
        ReactivationReason::BuildChanged { node, bound, current } => match bound {
            Some(bound) => format!("{} runs build {current}, activated was {bound}", name(node)),
            None => format!("{} runs build {current}, activated was an unknown one", name(node)),
        },
        ReactivationReason::NodesChanged { missing, added } => {
            let missing = (!missing.is_empty()).then(|| format!("gone: {}", names(missing)));
            let added = (!added.is_empty()).then(|| format!("new: {}", names(added)));
            let both: Vec<String> = missing.into_iter().chain(added).collect();
            format!("the nodes have changed ({})", both.join("; "))
        }
        ReactivationReason::Restored => "the cluster was restored from a backup".to_owned(),
    }
}

fn invalid_reason(reason: &InvalidReason) -> String {
    match reason {
        InvalidReason::BindingMissing => "the license has no binding that it could rest on".to_owned(),
        InvalidReason::OtherInstallation => "license and binding are of different installations".to_owned(),
        InvalidReason::NotYetValid { not_before } => format!("the license begins at {not_before}"),
        InvalidReason::NodeRemoved => "node_removed: this node was taken out of the cluster".to_owned(),
    }
}

pub(super) fn plan(plan: Plan, portal_url: Option<&str>) -> proto::PlanActivationResponse {
    proto::PlanActivationResponse {
        nodes: plan
            .nodes
            .into_iter()
            .map(|node| proto::PlannedNode {
                id: node.id.0,
                name: node.name.to_string(),
                role: node.role.to_string(),
                computer_id: node.computer_id.to_string(),
                build: node.build.map(|build| build.to_string()),
            })
            .collect(),
        expected_nodes: plan.expected_nodes,
        leader: plan.leader.name.to_string(),
        portal_url: portal_url.unwrap_or_default().to_owned(),
        scope: plan.scope.as_str().to_owned(),
    }
}

pub(super) fn event(event: &Event) -> proto::ActivateEvent {
    let result = match event {
        Event::Distributed { installed, .. } => Some(proto::ActivateResult {
            support_id: installed.support_id.to_string(),
            serial: installed.serial.0,
            nonce: installed.nonce.to_string(),
        }),
        _ => None,
    };
    let offline = match event {
        Event::IntegrityKey(offline) => Some(proto::OfflineRequest {
            nonce: offline.nonce.to_string(),
            kind: offline.kind.as_str().to_owned(),
            integrity_key: offline.integrity_key.0.to_string(),
            page_url: offline.page_url.clone().unwrap_or_default(),
            superseded: offline.superseded.iter().map(ToString::to_string).collect(),
            again: offline.again,
        }),
        _ => None,
    };
    proto::ActivateEvent { step: event.words(), name: event.name().to_owned(), result, offline }
}

pub(super) fn activation(activation: &Activation) -> proto::ActivationSummary {
    let (state, detail) = match &activation.state {
        ActivationState::Opened => ("opened", String::new()),
        ActivationState::Requested { at, .. } if activation.method == Method::Offline => {
            ("requested", format!("waits for its license key since {at}"))
        }
        ActivationState::Requested { at, .. } => ("requested", format!("the portal is asked since {at}")),
        ActivationState::Installed { serial, at } => ("installed", format!("serial {serial}, {at}")),
        ActivationState::Refused { code, message, .. } => ("refused", format!("{code}: {message}")),
        ActivationState::Superseded { by, .. } => ("superseded", format!("by {by}")),
    };
    proto::ActivationSummary {
        nonce: activation.nonce.to_string(),
        kind: activation.kind.as_str().to_owned(),
        tenant: activation.tenant.to_string(),
        state: state.to_owned(),
        opened_at_ms: activation.opened_at.as_unix_ms(),
        requested_by: activation.requested_by.clone(),
        key_last5: activation.key_last5.clone().unwrap_or_default(),
        detail,
        method: method(activation.method).to_owned(),
    }
}

/// How the portal is asked, in a word.
pub(super) const fn method(method: Method) -> &'static str {
    match method {
        Method::Online => "online",
        Method::Offline => "offline",
    }
}

pub(super) fn token(token: &Token, now: Timestamp) -> proto::TokenSummary {
    let (purpose, role, node_name, label) = match &token.purpose {
        TokenPurpose::Join { role, name } | TokenPurpose::JoinWithApproval { role, name } => (
            if matches!(token.purpose, TokenPurpose::Join { .. }) { "join" } else { "join_with_approval" },
            role.to_string(),
            name.as_ref().map(ToString::to_string).unwrap_or_default(),
            String::new(),
        ),
        TokenPurpose::Admin { label } => ("admin", String::new(), String::new(), label.clone()),
        TokenPurpose::Viewer { label } => ("viewer", String::new(), String::new(), label.clone()),
    };
    let (state, used_by) = match &token.state {
        TokenState::Used { node, .. } => ("used", Some(node.0)),
        TokenState::Revoked => ("revoked", None),
        TokenState::Open if now >= token.expires_at => ("expired", None),
        TokenState::Open => ("open", None),
    };
    proto::TokenSummary {
        id: token.id.to_string(),
        purpose: purpose.to_owned(),
        role,
        node_name,
        label,
        state: state.to_owned(),
        created_at_ms: token.created_at.as_unix_ms(),
        created_by: token.created_by.clone(),
        expires_at_ms: token.expires_at.as_unix_ms(),
        used_by,
    }
}

pub(super) fn health(health: Health) -> proto::ClusterHealthResponse {
    proto::ClusterHealthResponse {
        healthy: health.problems.is_empty(),
        leader: health.leader.map(|id| id.0),
        term: health.term,
        voters: health.voters,
        voters_online: health.voters_online,
        quorum: health.quorum,
        problems: health.problems,
        linearizable: health.linearizable,
        failure_tolerance: health.failure_tolerance,
        membership_changing: health.membership_changing,
        warnings: health.warnings,
        nodes: health.nodes.into_iter().map(node_health).collect(),
    }
}

fn node_health(node: NodeHealth) -> proto::NodeHealth {
    proto::NodeHealth {
        id: node.id.0,
        name: node.name.to_string(),
        role: node.role.to_string(),
        voter: node.voter,
        condition: node.condition.as_str().to_owned(),
        lag_entries: node.lag_entries,
        since_ms: node.since.map(Timestamp::as_unix_ms),
    }
}

/// The tenant that a request names; none named: the default one.
pub(super) fn tenant(text: &str) -> Result<TenantId, quorate_license::ParseIdError> {
    if text.is_empty() { Ok(TenantId::default_tenant()) } else { text.parse() }
}
