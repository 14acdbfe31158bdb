//! What is wrong with an integrity key as such, as codes, hints and details.

use quorate_license::{IntegrityKey, IntegrityKeyError, IntegrityKeyRefusal};
use serde_json::{Value, json};

pub(super) fn unreadable_code(error: &IntegrityKeyError) -> &'static str {
    match error {
        IntegrityKeyError::TooLarge { .. } => "integrity_key_too_large",
        IntegrityKeyError::Version { .. } => "integrity_key_version_unsupported",
        IntegrityKeyError::NotCanonical => "integrity_key_not_canonical",
        IntegrityKeyError::Field { field: "activation_key", .. } => "activation_key_malformed",
        IntegrityKeyError::FirstLicenseNode { .. } => "first_license_node_invalid",
        IntegrityKeyError::ActivationKeyMissing { .. } => "activation_key_missing",
        IntegrityKeyError::ActivationKeyUnexpected { .. } => "activation_key_unexpected",
        IntegrityKeyError::Text(_)
        | IntegrityKeyError::Malformed
        | IntegrityKeyError::Field { .. }
        | IntegrityKeyError::NodeTwice { .. } => "integrity_key_malformed",
    }
}

pub(super) fn unreadable_hint(error: &IntegrityKeyError) -> &'static str {
    match error {
        IntegrityKeyError::Version { .. } => "Ask the vendor for the versions that this portal reads.",
        IntegrityKeyError::Field { field: "activation_key", .. } => {
            "Compare the activation key with the one that came with the order."
        }
        IntegrityKeyError::FirstLicenseNode { .. } => {
            "Check the first license node of the cluster, then begin a new activation."
        }
        IntegrityKeyError::ActivationKeyMissing { .. } => {
            "Begin the activation with the activation key of your order."
        }
        IntegrityKeyError::ActivationKeyUnexpected { .. } => "Begin it without an activation key.",
        _ => "Copy the whole text again, from the BEGIN line to the END line, without changing it.",
    }
}

pub(super) fn unreadable_details(error: &IntegrityKeyError) -> Value {
    match error {
        IntegrityKeyError::Version { found } => {
            json!({ "found": found, "supported": [IntegrityKey::FORMAT_VERSION] })
        }
        IntegrityKeyError::Field { field, .. } => json!({ "field": field }),
        IntegrityKeyError::NodeTwice { node } | IntegrityKeyError::FirstLicenseNode { node } => {
            json!({ "node": node })
        }
        _ => json!({}),
    }
}

pub(super) fn unverified_code(refusal: &IntegrityKeyRefusal) -> &'static str {
    match refusal {
        IntegrityKeyRefusal::Statement { .. } => "statement_invalid",
        IntegrityKeyRefusal::SameComputerId { .. } => "duplicate_computer_id",
        IntegrityKeyRefusal::SameKey { .. } => "duplicate_node_key",
        IntegrityKeyRefusal::ForeignSigner { .. } | IntegrityKeyRefusal::ManagementSignature { .. } => {
            "management_signature_invalid"
        }
        IntegrityKeyRefusal::NotSignedBy { .. } => "management_signature_missing",
    }
}

pub(super) fn unverified_hint(refusal: &IntegrityKeyRefusal) -> &'static str {
    match refusal {
        IntegrityKeyRefusal::SameComputerId { .. } => {
            "One of them is a clone. Give it machine ids of its own, then begin a new activation."
        }
        IntegrityKeyRefusal::SameKey { .. } => {
            "One of them runs on a copy of the other's data. Remove it, join it anew, then begin a new activation."
        }
        IntegrityKeyRefusal::NotSignedBy { .. } => {
            "Bring these Management Servers online, then begin a new activation."
        }
        IntegrityKeyRefusal::Statement { .. }
        | IntegrityKeyRefusal::ForeignSigner { .. }
        | IntegrityKeyRefusal::ManagementSignature { .. } => {
            "The integrity key was changed after it was made. Begin a new activation."
        }
    }
}

pub(super) fn unverified_details(refusal: &IntegrityKeyRefusal) -> Value {
    match refusal {
        IntegrityKeyRefusal::SameComputerId { first, second, computer_id } => {
            json!({ "nodes": [first, second], "computer_id": computer_id })
        }
        IntegrityKeyRefusal::SameKey { first, second } => json!({ "nodes": [first, second] }),
        IntegrityKeyRefusal::NotSignedBy { nodes } => json!({ "nodes": nodes }),
        IntegrityKeyRefusal::Statement { node }
        | IntegrityKeyRefusal::ForeignSigner { node }
        | IntegrityKeyRefusal::ManagementSignature { node } => json!({ "node": node }),
    }
}
