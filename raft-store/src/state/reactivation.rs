//! Since when a reactivation is required: the signed grace counts from here.

use quorate_license::{RegisteredNode, StatusInput, Timestamp, evaluate};

use super::{InstalledLicense, State};

/// Follows a change of nodes, builds or licenses: notes when a reactivation became required, and
/// forgets it when it is not any more.
pub(crate) fn refresh_reactivation(state: &mut State, now: Timestamp) {
    let Some(cluster) = state.cluster() else { return };
    let (scope, epoch) = (cluster.policy.integrity_scope, cluster.epoch);
    let nodes: Vec<RegisteredNode> = state.nodes.values().map(super::Node::registered).collect();
    let binding = state.binding().map(|installed| &installed.binding.claims);
    let mut changed = Vec::new();
    for (tenant, installed) in state.licenses.iter() {
        let report = evaluate(&StatusInput {
            license: Some(&installed.license.claims),
            binding,
            nodes: &nodes,
            scope,
            // Recovery and restore begin a new epoch, which the binding does not know.
            restored: binding.is_some_and(|binding| binding.epoch != epoch),
            reactivation_required_since: installed.reactivation_required_since,
            now,
        });
        let required = report.reactivation_until.is_some();
        let since = match installed.reactivation_required_since {
            Some(since) if required => Some(since),
            None if required => Some(now),
            _ => None,
        };
        if since != installed.reactivation_required_since {
            changed.push((
                tenant.clone(),
                InstalledLicense { reactivation_required_since: since, ..installed.clone() },
            ));
        }
    }
    for (tenant, installed) in changed {
        state.licenses.put(tenant, installed);
    }
}
