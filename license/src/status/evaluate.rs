//! From license, binding, nodes and time to the status.

use super::{
    IntegrityScope, InvalidReason, LicenseStatus, NextStep, ReactivationReason, RegisteredNode, StatusReport,
    nodes,
};
use crate::{Binding, License, LicenseKind, Timestamp};

/// Everything that the status depends on.
#[derive(Debug, Clone, Copy)]
pub struct StatusInput<'a> {
    /// The tenant's license, if one is installed.
    pub license: Option<&'a License>,
    /// The installation's binding, if one is installed.
    pub binding: Option<&'a Binding>,
    /// The cluster's nodes.
    pub nodes: &'a [RegisteredNode],
    /// Which of them are bound.
    pub scope: IntegrityScope,
    /// Whether the cluster was restored from a backup since the last activation.
    pub restored: bool,
    /// Since when [`StatusReport::reactivation_until`] has been set; `None` if it wasn't until now.
    pub reactivation_required_since: Option<Timestamp>,
    /// Cluster time.
    pub now: Timestamp,
}

/// The status on a node that was taken out of its cluster, whatever license that has.
pub fn of_removed_node() -> StatusReport {
    report(LicenseStatus::Invalid { reason: InvalidReason::NodeRemoved }, NextStep::JoinAgain)
}

/// The status of a tenant's license. See the module's table.
pub fn evaluate(input: &StatusInput<'_>) -> StatusReport {
    let Some(license) = input.license else {
        return report(LicenseStatus::Unlicensed, NextStep::Activate);
    };
    let invalid = |reason, next_step| report(LicenseStatus::Invalid { reason }, next_step);
    let Some(binding) = input.binding else {
        return invalid(InvalidReason::BindingMissing, NextStep::ContactVendor);
    };
    if license.support_id != binding.support_id || license.cluster_id != binding.cluster_id {
        return invalid(InvalidReason::OtherInstallation, NextStep::ContactVendor);
    }
    if input.now < license.not_before {
        let not_before = license.not_before;
        return invalid(InvalidReason::NotYetValid { not_before }, NextStep::Wait);
    }
    let trial = license.kind == LicenseKind::Trial;
    if license.grace_ends_at().is_some_and(|end| input.now >= end) {
        let next_step = if trial { NextStep::Activate } else { NextStep::Renew };
        return StatusReport { days_left: Some(0), trial, ..report(LicenseStatus::Expired, next_step) };
    }
    living(input, license, binding)
}

/// The status within term and expiry grace.
fn living(input: &StatusInput<'_>, license: &License, binding: &Binding) -> StatusReport {
    let now = input.now;
    let trial = license.kind == LicenseKind::Trial;
    let in_expiry_grace = license.expires_at.is_some_and(|end| now >= end);
    let term_end = if in_expiry_grace { license.grace_ends_at() } else { license.expires_at };

    let difference = nodes::compare(binding, input.nodes, input.scope);
    let too_many_missing =
        difference.missing.len() > usize::try_from(binding.tolerance).unwrap_or(usize::MAX);
    let stops_later = too_many_missing || input.restored || !difference.builds.is_empty();
    let since = input.reactivation_required_since.unwrap_or(now);
    let reactivation_until = stops_later.then(|| since.plus_days(license.graces.reactivation_days));

    let nothing_missing = difference.missing.is_empty();
    let mut reasons = difference.builds;
    let added: Vec<_> = difference.unbound.iter().map(|unbound| unbound.node).collect();
    if too_many_missing || !added.is_empty() {
        reasons.push(ReactivationReason::NodesChanged { missing: difference.missing, added });
    }
    if input.restored {
        reasons.push(ReactivationReason::Restored);
    }

    let (status, next_step) = if !reasons.is_empty() {
        // The portal refuses a reactivation while a bound computer is missing, whatever else it is needed for.
        let next_step = if nothing_missing { NextStep::Reactivate } else { NextStep::Transfer };
        (LicenseStatus::ReactivationRequired { reasons }, next_step)
    } else if in_expiry_grace {
        (LicenseStatus::Grace, if trial { NextStep::Purchase } else { NextStep::Renew })
    } else if trial {
        (LicenseStatus::Trial, NextStep::Purchase)
    } else {
        (LicenseStatus::Active, NextStep::None)
    };
    let ends =
        difference.unbound.iter().map(|unbound| unbound.until).chain(reactivation_until).chain(term_end);
    StatusReport {
        status,
        days_left: ends.min().map(|end| now.days_until(end)),
        next_step,
        unbound: difference.unbound,
        reactivation_until,
        trial,
        in_expiry_grace,
    }
}

fn report(status: LicenseStatus, next_step: NextStep) -> StatusReport {
    StatusReport {
        status,
        days_left: None,
        next_step,
        unbound: Vec::new(),
        reactivation_until: None,
        trial: false,
        in_expiry_grace: false,
    }
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;
