//! Since when a reactivation is required: the signed grace counts from here.

use quorate_license::{RegisteredNode, Timestamp};

use super::{InstalledLicense, State, change::report};

/// Follows a change of nodes, builds or licenses: notes when a reactivation became required, and
/// forgets it when it is not any more.
pub(crate) fn refresh_reactivation(state: &mut State, now: Timestamp) {
    let nodes: Vec<RegisteredNode> = state.nodes.values().map(super::Node::registered).collect();
    let mut changed = Vec::new();
    for (tenant, installed) in state.licenses.iter() {
        let Some(report) = report(state, &nodes, installed, now) else { return };
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
