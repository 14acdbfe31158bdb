//! What is about to end, and how soon: announced before it happens, so that nobody learns it from a refusal.
//!
//! ```text
//! StatusReport, license, cluster time -> endings -> what ends within 30 days, the soonest first
//! ```
//!
//! | what | ends | then |
//! |---|---|---|
//! | `trial`, `term` | with the license's term | its grace begins |
//! | `expiry_grace` | with the grace after the term | `Check` refuses |
//! | `reactivation_grace` | so many days after a reactivation became necessary | `Check` refuses |
//! | `unbound_grace` | so many days after a node joined that is not bound | `Check` refuses on that node |
//! | `support` | with the vendor's support | nothing is refused |
//!
//! What has ended is not about to end: the status says it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{LicenseStatus, StatusReport};
use crate::{License, NodeId, Timestamp};

/// The days before an end at which it is announced.
pub const ANNOUNCED_DAYS: [u32; 4] = [30, 14, 7, 2];

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndingKind {
    /// The trial.
    Trial,
    /// The term of a license that was bought.
    Term,
    /// The time that goes on after the term.
    ExpiryGrace,
    /// The time that goes on although a reactivation is required.
    ReactivationGrace,
    /// The time of a node that joined after the activation.
    UnboundGrace,
    /// The vendor's support.
    Support,
}

/// Something that ends within the first of [`ANNOUNCED_DAYS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// What ends.
    pub kind: EndingKind,
    /// On which node, if not everywhere.
    pub node: Option<NodeId>,
    /// When.
    pub ends_at: Timestamp,
    /// Days until then; the last day counts as one.
    pub days_left: u32,
    /// The smallest of [`ANNOUNCED_DAYS`] within which it is.
    pub within_days: u32,
}

impl EndingKind {
    /// Every kind, in the order of the module's table.
    pub const ALL: [EndingKind; 6] = [
        EndingKind::Trial,
        EndingKind::Term,
        EndingKind::ExpiryGrace,
        EndingKind::ReactivationGrace,
        EndingKind::UnboundGrace,
        EndingKind::Support,
    ];

    /// The kind's stable name in JSON, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            EndingKind::Trial => "trial",
            EndingKind::Term => "term",
            EndingKind::ExpiryGrace => "expiry_grace",
            EndingKind::ReactivationGrace => "reactivation_grace",
            EndingKind::UnboundGrace => "unbound_grace",
            EndingKind::Support => "support",
        }
    }

    /// What it is, in words that go before "ends".
    pub const fn text(self) -> &'static str {
        match self {
            EndingKind::Trial => "the trial",
            EndingKind::Term => "the term of the license",
            EndingKind::ExpiryGrace => "the grace after the license's term",
            EndingKind::ReactivationGrace => "the grace until a reactivation",
            EndingKind::UnboundGrace => "the time of a node that is not bound",
            EndingKind::Support => "the vendor's support",
        }
    }
}

impl fmt::Display for EndingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What of this license ends within 30 days, the soonest first. `report` is its status at the same time.
pub fn endings(report: &StatusReport, license: Option<&License>, now: Timestamp) -> Vec<Ending> {
    let lives = !matches!(
        report.status,
        LicenseStatus::Unlicensed | LicenseStatus::Expired | LicenseStatus::Invalid { .. }
    );
    let Some(license) = license.filter(|_| lives) else { return Vec::new() };
    let (term, term_end) = match (report.in_expiry_grace, report.trial) {
        (true, _) => (EndingKind::ExpiryGrace, license.grace_ends_at()),
        (false, true) => (EndingKind::Trial, license.expires_at),
        (false, false) => (EndingKind::Term, license.expires_at),
    };
    let everywhere = [
        (term, term_end),
        (EndingKind::ReactivationGrace, report.reactivation_until),
        (EndingKind::Support, license.support_until),
    ];
    let everywhere = everywhere.into_iter().filter_map(|(kind, end)| Some((kind, None, end?)));
    let unbound = report.unbound.iter();
    let unbound = unbound.map(|node| (EndingKind::UnboundGrace, Some(node.node), node.until));
    let mut endings: Vec<Ending> =
        everywhere.chain(unbound).filter_map(|(kind, node, end)| announced(kind, node, end, now)).collect();
    endings.sort_by_key(|ending| (ending.ends_at, ending.kind, ending.node));
    endings
}

fn announced(kind: EndingKind, node: Option<NodeId>, ends_at: Timestamp, now: Timestamp) -> Option<Ending> {
    let days_left = now.days_until(ends_at);
    let within_days = ANNOUNCED_DAYS.into_iter().filter(|within| days_left <= *within).min()?;
    (now < ends_at).then_some(Ending { kind, node, ends_at, days_left, within_days })
}

#[cfg(test)]
#[path = "endings_tests.rs"]
mod tests;
