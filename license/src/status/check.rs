//! Whether the product may: the answer to `Check`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{InvalidReason, LicenseStatus, StatusReport};
use crate::{FeatureName, License, NodeId, Quantity, Timestamp};

/// What is asked, and on which node.
#[derive(Debug, Clone, Copy)]
pub struct CheckInput<'a> {
    /// The status, evaluated at the same time.
    pub report: &'a StatusReport,
    /// The tenant's license, as given to the evaluation.
    pub license: Option<&'a License>,
    /// The node that asks.
    pub node: NodeId,
    /// The feature; `None` asks whether the product may run at all.
    pub feature: Option<&'a FeatureName>,
    /// How much of it.
    pub quantity: u64,
    /// Cluster time.
    pub now: Timestamp,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whether the product may.
    pub allowed: bool,
    /// Why.
    pub reason: CheckReason,
    /// Days until this answer would be no if nothing is done; the last day counts as one. `None` if
    /// nothing runs out.
    pub days_left: Option<u32>,
}

/// Why the product may, or may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckReason {
    /// Yes: all is well.
    Licensed,
    /// Yes: in a trial.
    Trial,
    /// Yes: the term is over, its grace is not.
    Grace,
    /// Yes: the installation has to be reactivated, and there is time left for it.
    ReactivationGrace,
    /// Yes: this node is not bound, and there is time left to bind it.
    UnboundGrace,
    /// No: the node that asks was taken out of the cluster.
    NodeRemoved,
    /// No: no license is installed.
    Unlicensed,
    /// No: term and grace are over.
    Expired,
    /// No: the license's time has not come.
    NotYetValid,
    /// No: the license can't be used here.
    Invalid,
    /// No: the time for reactivation is over.
    ReactivationRequired,
    /// No: this node is not bound, and its time is over.
    NodeUnbound,
    /// No: the license doesn't hold this feature.
    FeatureNotLicensed,
    /// No: the license holds less of this feature.
    QuantityExceeded {
        /// How much it holds.
        licensed: u64,
        /// How much was asked for.
        requested: u64,
    },
}

impl CheckReason {
    /// The reason's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            CheckReason::Licensed => "licensed",
            CheckReason::Trial => "trial",
            CheckReason::Grace => "grace",
            CheckReason::ReactivationGrace => "reactivation_grace",
            CheckReason::UnboundGrace => "unbound_grace",
            CheckReason::NodeRemoved => "node_removed",
            CheckReason::Unlicensed => "unlicensed",
            CheckReason::Expired => "expired",
            CheckReason::NotYetValid => "not_yet_valid",
            CheckReason::Invalid => "invalid",
            CheckReason::ReactivationRequired => "reactivation_required",
            CheckReason::NodeUnbound => "node_unbound",
            CheckReason::FeatureNotLicensed => "feature_not_licensed",
            CheckReason::QuantityExceeded { .. } => "quantity_exceeded",
        }
    }
}

impl fmt::Display for CheckReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckReason::Licensed => f.write_str("the license holds it"),
            CheckReason::Trial => f.write_str("a trial is running"),
            CheckReason::Grace => f.write_str("the license has expired, and its grace is running"),
            CheckReason::ReactivationGrace => {
                f.write_str("the installation has to be reactivated, and the time for it is running")
            }
            CheckReason::UnboundGrace => {
                f.write_str("this node joined after the activation, and the time to bind it is running")
            }
            CheckReason::NodeRemoved => f.write_str(
                "this node was taken out of the cluster: move its data directory away and run 'quorate join' with a new \
                 token",
            ),
            CheckReason::Unlicensed => f.write_str("no license is installed"),
            CheckReason::Expired => f.write_str("the license has expired, and its grace is over"),
            CheckReason::NotYetValid => f.write_str("the license is not valid yet"),
            CheckReason::Invalid => f.write_str("the license can't be used in this installation"),
            CheckReason::ReactivationRequired => {
                f.write_str("the installation has to be reactivated, and the time for it is over")
            }
            CheckReason::NodeUnbound => {
                f.write_str("this node joined after the activation, and the time to bind it is over")
            }
            CheckReason::FeatureNotLicensed => f.write_str("the license doesn't hold this feature"),
            CheckReason::QuantityExceeded { licensed, requested } => {
                write!(f, "the license holds {licensed} of this feature, {requested} are asked for")
            }
        }
    }
}

/// Decides. Refusals in this order: node removed, unlicensed, invalid or not yet valid, expired, reactivation
/// required, node unbound, feature, quantity.
pub fn check(input: &CheckInput<'_>) -> Decision {
    let report = input.report;
    let refused = |reason| Decision { allowed: false, reason, days_left: None };
    match &report.status {
        LicenseStatus::Unlicensed => return refused(CheckReason::Unlicensed),
        LicenseStatus::Invalid { reason: InvalidReason::NodeRemoved } => {
            return refused(CheckReason::NodeRemoved);
        }
        LicenseStatus::Invalid { reason: InvalidReason::NotYetValid { .. } } => {
            return refused(CheckReason::NotYetValid);
        }
        LicenseStatus::Invalid { .. } => return refused(CheckReason::Invalid),
        LicenseStatus::Expired => return refused(CheckReason::Expired),
        LicenseStatus::Trial
        | LicenseStatus::Active
        | LicenseStatus::Grace
        | LicenseStatus::ReactivationRequired { .. } => {}
    }
    let Some(license) = input.license else { return refused(CheckReason::Unlicensed) };
    if report.reactivation_until.is_some_and(|until| input.now >= until) {
        return refused(CheckReason::ReactivationRequired);
    }
    let unbound_until =
        report.unbound.iter().find(|unbound| unbound.node == input.node).map(|unbound| unbound.until);
    if unbound_until.is_some_and(|until| input.now >= until) {
        return refused(CheckReason::NodeUnbound);
    }
    if let Some(reason) = input.feature.and_then(|feature| not_covered(license, feature, input.quantity)) {
        return refused(reason);
    }
    let reason = if report.reactivation_until.is_some() {
        CheckReason::ReactivationGrace
    } else if unbound_until.is_some() {
        CheckReason::UnboundGrace
    } else if report.in_expiry_grace {
        CheckReason::Grace
    } else if report.trial {
        CheckReason::Trial
    } else {
        CheckReason::Licensed
    };
    let ends = [license.grace_ends_at(), report.reactivation_until, unbound_until];
    let days_left = ends.into_iter().flatten().min().map(|end| input.now.days_until(end));
    Decision { allowed: true, reason, days_left }
}

/// Why the license doesn't cover so much of a feature, if it doesn't.
pub(crate) fn not_covered(license: &License, feature: &FeatureName, requested: u64) -> Option<CheckReason> {
    match license.entitlement(feature).map(|entitlement| entitlement.quantity) {
        None => Some(CheckReason::FeatureNotLicensed),
        Some(Quantity::Limited(licensed)) if requested > licensed => {
            Some(CheckReason::QuantityExceeded { licensed, requested })
        }
        Some(_) => None,
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
