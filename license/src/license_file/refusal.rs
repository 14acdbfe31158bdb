//! Why a license file is refused, by name.

use crate::{BuildNumber, ComputerId, Fence, Serial, SupportId, Timestamp, TokenError};

/// A license file is refused on this host at this time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileRefusal {
    /// Not the content of such a file.
    #[error("the {what} can't be read: {reason}; the agent writes it again when it starts")]
    Unreadable {
        /// License file, receipt, license or binding.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Another release wrote it.
    #[error("the {what} has the format '{found}', this release reads '{known}'; update the older side")]
    UnknownFormat {
        /// License file or receipt.
        what: &'static str,
        /// The format that it names.
        found: String,
        /// The format that this release knows.
        known: &'static str,
    },
    /// Content and signature don't match.
    #[error(
        "the signature of the {what} doesn't match its content; the file was changed, have the agent write it again"
    )]
    BadSignature {
        /// License or binding.
        what: &'static str,
    },
    /// No trusted root key stands behind it.
    #[error(
        "issuing key {key_id} is certified by none of the trusted root keys; compare the trusted root key with the vendor's"
    )]
    UntrustedIssuer {
        /// The issuing key as the token names it.
        key_id: String,
    },
    /// The issuing key was not certified at the time of issue.
    #[error(
        "issuing key {key_id} was not certified when this was issued at {issued_at}; report it to the vendor"
    )]
    IssuerNotValid {
        /// The issuing key.
        key_id: String,
        /// The time of issue.
        issued_at: Timestamp,
    },
    /// License and binding are of different installations.
    #[error(
        "the license is for installation {license}, the binding for {binding}, or their clusters differ; have the agent write the file again"
    )]
    OtherInstallation {
        /// The license's.
        license: SupportId,
        /// The binding's.
        binding: SupportId,
    },
    /// This host is not bound: the file was copied here, or the node joined after the activation.
    #[error(
        "this host's computer ID {computer_id} is not bound by the license; use the file where it belongs, or reactivate with this node in the cluster"
    )]
    ForeignHost {
        /// This host's.
        computer_id: ComputerId,
    },
    /// The product's version here is another one than the bound one, and there is no time left to reactivate.
    #[error(
        "build {current} is not covered, the license is bound to {}; run 'quorate license reactivate'",
        shown(bound)
    )]
    BuildNotCovered {
        /// The bound version, if one was known at the activation.
        bound: Option<BuildNumber>,
        /// The version here.
        current: BuildNumber,
    },
    /// A newer license was known here: an older file was put back.
    #[error(
        "the license file has serial {serial}, but {known} was installed here already; put the newer file back, or have the agent write it"
    )]
    OlderFile {
        /// The file's.
        serial: Serial,
        /// The highest that is known, from the receipt or the caller.
        known: Serial,
    },
    /// A newer binding was known here: an older file was put back.
    #[error(
        "the binding in the license file has fence {fence}, but {known} was installed here already; put the newer file back, or have the agent write it"
    )]
    OlderBinding {
        /// The file's.
        fence: Fence,
        /// The receipt's.
        known: Fence,
    },
    /// There is no receipt beside the file.
    #[error("there is no receipt beside the license file; start the agent of this host, which writes it")]
    ReceiptMissing,
    /// The receipt is another node's or another license's.
    #[error("the receipt doesn't belong here: {mismatch}; start the agent of this host, which writes it")]
    ReceiptForeign {
        /// In what respect.
        mismatch: ReceiptMismatch,
    },
    /// The agent has been out of touch with its cluster for too long.
    #[error(
        "the receipt is {age_days} days old, {max_days} are allowed; connect this node with its cluster again"
    )]
    ReceiptOutdated {
        /// Its age in whole days.
        age_days: u32,
        /// What the license allows.
        max_days: u32,
    },
    /// The receipt is more than a day ahead of the clock: the clock was set back.
    #[error(
        "the receipt is of {cluster_time}, more than a day ahead of this host's clock ({now}); correct the clock"
    )]
    ReceiptFromFuture {
        /// The receipt's time.
        cluster_time: Timestamp,
        /// The host's time.
        now: Timestamp,
    },
    /// The license's time has not come.
    #[error("the license begins at {not_before}")]
    NotYetValid {
        /// When it comes.
        not_before: Timestamp,
    },
    /// Term and grace are over.
    #[error("the license and its grace ended at {ended_at}; renew it and run 'quorate license reactivate'")]
    Expired {
        /// The end of the grace.
        ended_at: Timestamp,
    },
    /// The installation has changed, and the time to reactivate it is over.
    #[error("the installation had to be reactivated until {ended_at}; run 'quorate license reactivate'")]
    ReactivationRequired {
        /// The end of the grace.
        ended_at: Timestamp,
    },
}

fn shown(build: &Option<BuildNumber>) -> &str {
    build.as_ref().map_or("no build", BuildNumber::as_str)
}

/// In what respect a receipt doesn't belong to license file and host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptMismatch {
    /// It names another computer ID.
    Computer,
    /// It names another installation or cluster.
    Installation,
    /// It names another tenant.
    Tenant,
    /// It is not signed by the key that is bound for this host.
    Signature,
}

impl std::fmt::Display for ReceiptMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ReceiptMismatch::Computer => "it was written on another host",
            ReceiptMismatch::Installation => "it is of another installation",
            ReceiptMismatch::Tenant => "it is for another tenant",
            ReceiptMismatch::Signature => "it is not signed by the node key that is bound for this host",
        })
    }
}

impl FileRefusal {
    /// The refusal's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            FileRefusal::Unreadable { .. } => "unreadable",
            FileRefusal::UnknownFormat { .. } => "unknown_format",
            FileRefusal::BadSignature { .. } => "bad_signature",
            FileRefusal::UntrustedIssuer { .. } => "untrusted_issuer",
            FileRefusal::IssuerNotValid { .. } => "issuer_not_valid",
            FileRefusal::OtherInstallation { .. } => "other_installation",
            FileRefusal::ForeignHost { .. } => "foreign_host",
            FileRefusal::BuildNotCovered { .. } => "build_not_covered",
            FileRefusal::OlderFile { .. } | FileRefusal::OlderBinding { .. } => "older_file",
            FileRefusal::ReceiptMissing => "receipt_missing",
            FileRefusal::ReceiptForeign { .. } => "receipt_foreign",
            FileRefusal::ReceiptOutdated { .. } => "receipt_outdated",
            FileRefusal::ReceiptFromFuture { .. } => "receipt_from_future",
            FileRefusal::NotYetValid { .. } => "not_yet_valid",
            FileRefusal::Expired { .. } => "expired",
            FileRefusal::ReactivationRequired { .. } => "reactivation_required",
        }
    }
}

impl From<TokenError> for FileRefusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::BadSignature { what } => FileRefusal::BadSignature { what },
            TokenError::UntrustedIssuer { key_id, .. } => FileRefusal::UntrustedIssuer { key_id },
            TokenError::IssuerNotValid { key_id, issued_at, .. } => {
                FileRefusal::IssuerNotValid { key_id, issued_at }
            }
            TokenError::Malformed { what } => {
                FileRefusal::Unreadable { what, reason: "it is no token".to_owned() }
            }
            TokenError::TooLong { what, bytes } => {
                FileRefusal::Unreadable { what, reason: format!("it has {bytes} bytes") }
            }
            TokenError::Claims { what, reason } => FileRefusal::Unreadable { what, reason },
        }
    }
}
