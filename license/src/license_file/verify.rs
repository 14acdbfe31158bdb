//! Whether a license file holds on this host, now, without an agent.

use super::{FileRefusal, LicenseFile, Receipt, ReceiptMismatch, SignedReceipt};
use crate::{
    Binding, BoundNode, BuildNumber, CheckReason, ComputerId, DAY_MS, Decision, FeatureName, License,
    LicenseKind, Serial, Timestamp, TrustRoots, status::not_covered,
};

/// The files, and what the product knows of its host.
#[derive(Debug, Clone, Copy)]
pub struct VerifyInput<'a> {
    /// The license file's text.
    pub file: &'a str,
    /// The receipt's text, if there is one.
    pub receipt: Option<&'a str>,
    /// The vendor's root keys, pinned by the product.
    pub roots: &'a TrustRoots,
    /// This host.
    pub computer_id: &'a ComputerId,
    /// The product's version here; `None` if it has none.
    pub build: Option<&'a BuildNumber>,
    /// The host's time.
    pub now: Timestamp,
    /// The highest serial that the product has seen, if it remembers.
    pub min_serial: Option<Serial>,
}

/// A license file that holds on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedLicense {
    /// The license.
    pub license: License,
    /// The binding that it rests on.
    pub binding: Binding,
    /// The node on this host, as bound.
    pub node: BoundNode,
    /// The node's receipt.
    pub receipt: Receipt,
    /// What the license is worth: `Licensed`, `Trial`, `Grace` or `ReactivationGrace`.
    pub reason: CheckReason,
    /// Days until term or graces are over; `None` if they never are.
    pub days_left: Option<u32>,
}

impl VerifiedLicense {
    /// Whether the license holds so much of a feature. The reasons are those of the agent's `Check`.
    pub fn check(&self, feature: &FeatureName, quantity: u64) -> Decision {
        match not_covered(&self.license, feature, quantity) {
            Some(reason) => Decision { allowed: false, reason, days_left: None },
            None => Decision { allowed: true, reason: self.reason.clone(), days_left: self.days_left },
        }
    }
}

/// Verifies a license file with no agent: signatures, this host's computer ID bound, no newer license known, the
/// receipt's origin and age, term and grace, the build and whatever else needs a reactivation.
///
/// What needs a reactivation is told by the receipt with the end of its grace. Of another build here that the receipt
/// does not know yet, the grace runs from the receipt's time: the last at which the agent saw it wasn't there.
///
/// Times are judged by the later of the host's time and the receipt's, so a clock that was set back prolongs nothing.
///
/// # Errors
///
/// [`FileRefusal`], in this order: `Unreadable` or `UnknownFormat`, `BadSignature`, `UntrustedIssuer`,
/// `IssuerNotValid`, `OtherInstallation`, `ForeignHost`, `OlderFile` (by the caller's serial), `ReceiptMissing`,
/// `ReceiptForeign`, `OlderFile` or `OlderBinding` (by the receipt), `ReceiptFromFuture`, `ReceiptOutdated`,
/// `NotYetValid`, `Expired`, `BuildNotCovered` or `ReactivationRequired`.
pub fn verify_file(input: &VerifyInput<'_>) -> Result<VerifiedLicense, FileRefusal> {
    let (license, binding) = LicenseFile::from_text(input.file)?.open(input.roots)?;
    let (license, binding) = (license.claims, binding.claims);

    let foreign = || FileRefusal::ForeignHost { computer_id: *input.computer_id };
    let node = binding.node_on(input.computer_id).ok_or_else(foreign)?.clone();
    not_older(&license, input.min_serial)?;

    let receipt = SignedReceipt::from_text(input.receipt.ok_or(FileRefusal::ReceiptMissing)?)?;
    belongs(&receipt, &license, &node).map_err(|mismatch| FileRefusal::ReceiptForeign { mismatch })?;
    let receipt = receipt.receipt;
    not_older(&license, Some(receipt.serial))?;
    if binding.fence < receipt.fence {
        return Err(FileRefusal::OlderBinding { fence: binding.fence, known: receipt.fence });
    }
    recent(&receipt, license.graces.receipt_max_age_days, input.now)?;

    let now = input.now.max(receipt.cluster_time);
    let in_term = term(&license, now)?;
    let is_of_these = receipt.serial == license.serial && receipt.fence == binding.fence;
    let told_until = receipt.reactivation_until.filter(|_| is_of_these);
    let other_build = input.build.filter(|build| node.build.as_ref() != Some(*build));
    let until = told_until
        .or_else(|| other_build.map(|_| receipt.cluster_time.plus_days(license.graces.reactivation_days)));
    if let Some(ended_at) = until.filter(|until| now >= *until) {
        return Err(match other_build {
            Some(current) => FileRefusal::BuildNotCovered { bound: node.build, current: current.clone() },
            None => FileRefusal::ReactivationRequired { ended_at },
        });
    }
    let reason = if until.is_some() { CheckReason::ReactivationGrace } else { in_term };
    let days_left = license.grace_ends_at().into_iter().chain(until).min().map(|end| now.days_until(end));
    Ok(VerifiedLicense { license, binding, node, receipt, reason, days_left })
}

fn not_older(license: &License, known: Option<Serial>) -> Result<(), FileRefusal> {
    match known {
        Some(known) if license.serial < known => {
            Err(FileRefusal::OlderFile { serial: license.serial, known })
        }
        _ => Ok(()),
    }
}

fn belongs(signed: &SignedReceipt, license: &License, node: &BoundNode) -> Result<(), ReceiptMismatch> {
    let receipt = &signed.receipt;
    if receipt.computer_id != node.computer_id {
        return Err(ReceiptMismatch::Computer);
    }
    if receipt.support_id != license.support_id || receipt.cluster_id != license.cluster_id {
        return Err(ReceiptMismatch::Installation);
    }
    if receipt.tenant != license.tenant {
        return Err(ReceiptMismatch::Tenant);
    }
    signed.verify(&node.key).map_err(|_| ReceiptMismatch::Signature)
}

fn recent(receipt: &Receipt, max_days: u32, now: Timestamp) -> Result<(), FileRefusal> {
    let cluster_time = receipt.cluster_time;
    if cluster_time.ms_since(now) > DAY_MS {
        return Err(FileRefusal::ReceiptFromFuture { cluster_time, now });
    }
    if now > cluster_time.plus_days(max_days) {
        let age_days = u32::try_from(now.ms_since(cluster_time) / DAY_MS).unwrap_or(u32::MAX);
        return Err(FileRefusal::ReceiptOutdated { age_days, max_days });
    }
    Ok(())
}

fn term(license: &License, now: Timestamp) -> Result<CheckReason, FileRefusal> {
    if now < license.not_before {
        return Err(FileRefusal::NotYetValid { not_before: license.not_before });
    }
    match (license.expires_at, license.grace_ends_at()) {
        (_, Some(ended_at)) if now >= ended_at => Err(FileRefusal::Expired { ended_at }),
        (Some(end), _) if now >= end => Ok(CheckReason::Grace),
        _ if license.kind == LicenseKind::Trial => Ok(CheckReason::Trial),
        _ => Ok(CheckReason::Licensed),
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
