//! The license status: what an installation's license is worth now, and what to do about it.
//!
//! ```text
//! license, binding, registered nodes, cluster time -> evaluate -> StatusReport
//! StatusReport, node, feature, quantity            -> check    -> Decision
//! StatusReport, license, cluster time              -> endings  -> what is about to end
//! ```
//!
//! All are pure functions, so every node comes to the same answer without asking anyone, but for one that was taken out.
//!
//! The first line that applies is the status:
//!
//! | condition | status | `Check` |
//! |---|---|---|
//! | the node that judges was taken out of the cluster ([`of_removed_node`]) | `Invalid` | refuses |
//! | no license is installed | `Unlicensed` | refuses |
//! | binding missing, of another installation, or license not yet valid | `Invalid` | refuses |
//! | term and expiry grace are over | `Expired` | refuses |
//! | a build changed, more bound nodes are missing than tolerated, or restored | `ReactivationRequired` | allows for `reactivation_days` since it was noticed |
//! | a node joined after the activation | `ReactivationRequired` | allows on bound nodes; on the new one for `unbound_days` |
//! | the term is over, its grace is not | `Grace` | allows |
//! | the license is a trial | `Trial` | allows |
//! | otherwise | `Active` | allows |
//!
//! A node that joins never stops the nodes that are bound. `docs/license-status.md` says for each
//! status what the administrator does.

mod check;
mod endings;
mod evaluate;
mod nodes;

use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use check::not_covered;
pub use check::{CheckInput, CheckReason, Decision, check};
pub use endings::{ANNOUNCED_DAYS, Ending, EndingKind, endings};
pub use evaluate::{StatusInput, evaluate, of_removed_node};

use crate::{BuildNumber, ComputerId, NodeId, NodeRole, ParseIdError, Timestamp};

/// Which nodes an installation binds, and which have to be online in an activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntegrityScope {
    /// Every node.
    #[default]
    All,
    /// The Management Servers only.
    Management,
}

impl IntegrityScope {
    /// The scope's name in configuration and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            IntegrityScope::All => "all",
            IntegrityScope::Management => "management",
        }
    }

    /// Whether nodes of this role are within it.
    pub const fn includes(self, role: NodeRole) -> bool {
        match self {
            IntegrityScope::All => true,
            IntegrityScope::Management => matches!(role, NodeRole::Management),
        }
    }
}

impl fmt::Display for IntegrityScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for IntegrityScope {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(IntegrityScope::All),
            "management" => Ok(IntegrityScope::Management),
            _ => Err(ParseIdError {
                what: "integrity scope",
                rule: "it is either all or management",
                text: text.to_owned(),
            }),
        }
    }
}

/// A node as the cluster knows it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredNode {
    /// Its id.
    pub id: NodeId,
    /// Management Server or Spooler Controller.
    pub role: NodeRole,
    /// The host that it runs on.
    pub computer_id: ComputerId,
    /// The version of the licensed product there, if it was told.
    pub build: Option<BuildNumber>,
    /// When it joined, by cluster time.
    pub joined_at: Timestamp,
}

/// What a license is worth now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LicenseStatus {
    /// No license is installed.
    Unlicensed,
    /// A trial that runs.
    Trial,
    /// All is well.
    Active,
    /// The installation isn't any more what was activated.
    ReactivationRequired {
        /// In which respects; never empty.
        reasons: Vec<ReactivationReason>,
    },
    /// The term is over, the product goes on for a while.
    Grace,
    /// Term and grace are over.
    Expired,
    /// The license can't be used here.
    Invalid {
        /// Why.
        reason: InvalidReason,
    },
}

impl LicenseStatus {
    /// The status's stable name in JSON, metrics and tables.
    pub const fn as_str(&self) -> &'static str {
        match self {
            LicenseStatus::Unlicensed => "unlicensed",
            LicenseStatus::Trial => "trial",
            LicenseStatus::Active => "active",
            LicenseStatus::ReactivationRequired { .. } => "reactivation_required",
            LicenseStatus::Grace => "grace",
            LicenseStatus::Expired => "expired",
            LicenseStatus::Invalid { .. } => "invalid",
        }
    }

    /// Every stable name, for metrics.
    pub const NAMES: [&'static str; 7] =
        ["unlicensed", "trial", "active", "reactivation_required", "grace", "expired", "invalid"];
}

impl fmt::Display for LicenseStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// In what respect an installation isn't any more what was activated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReactivationReason {
    /// A bound node runs another version of the product.
    BuildChanged {
        /// The node, by its current id.
        node: NodeId,
        /// The version that is bound, if one was known at the activation.
        bound: Option<BuildNumber>,
        /// The version that runs there now.
        current: BuildNumber,
    },
    /// Bound nodes are gone, or others have joined.
    NodesChanged {
        /// Bound nodes that are not registered any more, by their ids at the activation.
        missing: Vec<NodeId>,
        /// Registered nodes that are not bound.
        added: Vec<NodeId>,
    },
    /// The cluster was restored from a backup.
    Restored,
}

/// Why a license can't be used here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvalidReason {
    /// There is a license and no binding that it could rest on.
    BindingMissing,
    /// License and binding name different installations or clusters.
    OtherInstallation,
    /// Its time has not come.
    NotYetValid {
        /// When it comes.
        not_before: Timestamp,
    },
    /// The node that judges was taken out of the cluster; what its cluster has is none of its.
    NodeRemoved,
}

/// A registered node that the binding doesn't know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnboundNode {
    /// The node.
    pub node: NodeId,
    /// Until when `Check` allows there.
    pub until: Timestamp,
}

/// What the administrator does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextStep {
    /// Nothing.
    None,
    /// Activate with a key, or start a trial.
    Activate,
    /// Buy, before the trial ends.
    Purchase,
    /// Reactivate, so that the installation is bound as it is now.
    Reactivate,
    /// Renew the subscription.
    Renew,
    /// Install the license again, or ask the vendor.
    ContactVendor,
    /// Wait for the license's begin, or correct the clocks.
    Wait,
    /// Join the node anew.
    JoinAgain,
    /// Bring the missing bound computers back, or have the license transferred.
    Transfer,
}

impl NextStep {
    /// The step in a sentence; empty if there is none.
    pub const fn text(self) -> &'static str {
        match self {
            NextStep::None => "",
            NextStep::Activate => "Activate the installation: 'quorate license activate --key-file FILE'.",
            NextStep::Purchase => {
                "Order a license and activate it before the trial ends: 'quorate license activate --key-file FILE'."
            }
            NextStep::Reactivate => {
                "Reactivate the installation with all its nodes online: 'quorate license reactivate'."
            }
            NextStep::Renew => "Renew the subscription, then run 'quorate license reactivate'.",
            NextStep::ContactVendor => {
                "Run 'quorate license reactivate'; if the status stays, give the vendor the Support ID."
            }
            NextStep::Wait => "Wait until the license begins, or correct the clocks of the nodes.",
            NextStep::JoinAgain => {
                "This node was taken out of the cluster: move its data directory away and run 'quorate join' with a new token."
            }
            NextStep::Transfer => {
                "Bring the bound computers that are missing back, then run 'quorate license reactivate'; if one never comes back, it is a transfer: ask the vendor, naming the Support ID."
            }
        }
    }
}

impl fmt::Display for NextStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// The status, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The status.
    pub status: LicenseStatus,
    /// Days until `Check` would refuse somewhere if nothing is done, or until the term ends, whichever
    /// comes first; the last day counts as one. `None` if nothing runs out.
    pub days_left: Option<u32>,
    /// What the administrator does next.
    pub next_step: NextStep,
    /// Registered nodes that the binding doesn't know, within the scope, by id.
    pub unbound: Vec<UnboundNode>,
    /// While the reactivation grace runs: its end. The store keeps since when this is set, and gives
    /// that back as [`StatusInput::reactivation_required_since`].
    pub reactivation_until: Option<Timestamp>,
    /// Whether the license is a trial.
    pub trial: bool,
    /// Whether the term is over and its grace runs.
    pub in_expiry_grace: bool,
}
