//! The checks of a license file by name, and how far a verification came.

use quorate_license::FileRefusal;
use serde::Serialize;

/// The checks in the order in which [`quorate_license::verify_file`] makes them, each with what it means.
const CHECKS: [(&str, &str); 12] = [
    ("readable", "the license file can be read"),
    ("signature", "its signatures are good, by a trusted root key"),
    ("installation", "license and binding belong together"),
    ("host", "this host's computer ID is bound"),
    ("receipt", "there is a receipt that can be read"),
    ("receipt_origin", "the receipt is this host's, for this license"),
    ("newest", "no newer license or binding was known here"),
    ("receipt_age", "the receipt is recent, and not from the future"),
    ("begin", "the license's time has come"),
    ("term", "the license's term and grace are not over"),
    ("build", "the product's version is covered, or there is time to reactivate"),
    ("reactivation", "the installation needs no reactivation, or there is time for it"),
];

/// One check with its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) result: CheckResult,
    /// What it means; why it failed, if it did.
    pub(super) detail: String,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CheckResult {
    /// As it should be.
    Passed,
    /// The file is refused here.
    Failed,
    /// An earlier one failed.
    NotReached,
    /// There was nothing to compare with.
    Skipped,
}

impl CheckResult {
    pub(super) const fn words(self) -> &'static str {
        match self {
            CheckResult::Passed => "passed",
            CheckResult::Failed => "failed",
            CheckResult::NotReached => "not reached",
            CheckResult::Skipped => "skipped",
        }
    }
}

/// All checks, as far as the verification came. The build is compared only if one is known.
pub(super) fn account(refusal: Option<&FileRefusal>, build_known: bool) -> Vec<Check> {
    let failed = refusal.map(failed_check);
    let failed_at = CHECKS.iter().position(|(name, _)| Some(*name) == failed);
    CHECKS
        .into_iter()
        .enumerate()
        .map(|(index, (name, meaning))| {
            let result = match failed_at {
                Some(at) if index == at => CheckResult::Failed,
                Some(at) if index > at => CheckResult::NotReached,
                _ if name == "build" && !build_known => CheckResult::Skipped,
                _ => CheckResult::Passed,
            };
            let detail = match result {
                CheckResult::Failed => refusal.map_or_else(|| meaning.to_owned(), ToString::to_string),
                CheckResult::Skipped => {
                    "no version of the product is known here; give it with --build".to_owned()
                }
                CheckResult::Passed | CheckResult::NotReached => meaning.to_owned(),
            };
            Check { name, result, detail }
        })
        .collect()
}

fn failed_check(refusal: &FileRefusal) -> &'static str {
    match refusal {
        FileRefusal::Unreadable { what, .. } | FileRefusal::UnknownFormat { what, .. }
            if *what == "receipt" =>
        {
            "receipt"
        }
        FileRefusal::Unreadable { .. } | FileRefusal::UnknownFormat { .. } => "readable",
        FileRefusal::BadSignature { .. }
        | FileRefusal::UntrustedIssuer { .. }
        | FileRefusal::IssuerNotValid { .. } => "signature",
        FileRefusal::OtherInstallation { .. } => "installation",
        FileRefusal::ForeignHost { .. } => "host",
        FileRefusal::BuildNotCovered { .. } => "build",
        FileRefusal::ReceiptMissing => "receipt",
        FileRefusal::ReceiptForeign { .. } => "receipt_origin",
        FileRefusal::OlderFile { .. } | FileRefusal::OlderBinding { .. } => "newest",
        FileRefusal::ReceiptOutdated { .. } | FileRefusal::ReceiptFromFuture { .. } => "receipt_age",
        FileRefusal::NotYetValid { .. } => "begin",
        FileRefusal::Expired { .. } => "term",
        FileRefusal::ReactivationRequired { .. } => "reactivation",
    }
}
