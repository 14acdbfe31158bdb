//! Every reason for which the portal gives no license key, each with a stable code.
//!
//! The codes are part of the protocol (PROTOCOL.md, "Refusals"): they are never renamed.

use quorate_license::{
    ActivationKind, ComputerId, Fence, IntegrityKey, IntegrityKeyError, IntegrityKeyRefusal, NodeId, OrderId,
    SupportId, Timestamp,
};
use serde_json::{Value, json};

/// Why there is no license key.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The integrity key can't be read.
    #[error(transparent)]
    Unreadable(IntegrityKeyError),
    /// A signature is wrong or missing, or two nodes are one machine.
    #[error(transparent)]
    Unverified(IntegrityKeyRefusal),
    /// The header that names the request is missing.
    #[error("the request has no Idempotency-Key header")]
    IdempotencyKeyMissing,
    /// The header names another request than the integrity key.
    #[error("the Idempotency-Key header does not name this integrity key")]
    IdempotencyKeyMismatch {
        /// What the integrity key says.
        expected: String,
    },
    /// The nonce was answered for other content.
    #[error("this activation was answered before, for other content")]
    IdempotencyConflict {
        /// The request's name.
        idempotency_key: String,
    },
    /// The portal does not do this kind.
    #[error("this portal does not process requests of the kind '{kind}'")]
    KindNotSupported {
        /// The kind.
        kind: ActivationKind,
    },
    /// The portal's policy wants computer IDs of the host's operating system.
    #[error("the computer ID of node {node} is kept on a volume, which this portal does not accept")]
    ComputerIdSourceRefused {
        /// The node.
        node: NodeId,
    },
    /// There is no activation key in the request.
    #[error("the integrity key holds no activation key")]
    ActivationKeyMissing,
    /// No order was given out with this activation key.
    #[error("the activation key ending in {last5} is not known")]
    ActivationKeyUnknown {
        /// Its last characters.
        last5: String,
    },
    /// The order is on another installation.
    #[error("the activation key ending in {last5} belongs to an order that another installation uses")]
    ActivationKeyUsed {
        /// The activation key's last characters.
        last5: String,
        /// The order.
        order_id: OrderId,
        /// The last group of the other installation's Support ID.
        support_id_end: String,
    },
    /// The vendor took the order back.
    #[error("the order {order_id} was revoked by the vendor")]
    OrderRevoked {
        /// The order.
        order_id: OrderId,
    },
    /// The order was not activated in time, or its term has ended.
    #[error("the order {order_id} expired at {expired_at}")]
    OrderExpired {
        /// The order.
        order_id: OrderId,
        /// Its last moment.
        expired_at: Timestamp,
    },
    /// The cluster has a license.
    #[error("this cluster is already activated under the Support ID {support_id}")]
    AlreadyActivated {
        /// Its installation.
        support_id: SupportId,
    },
    /// A further order needs an installation.
    #[error("this cluster was not activated yet")]
    NotActivated,
    /// A further order comes from the computer that the installation is bound to.
    #[error(
        "the installation {support_id} is bound to another computer than the first license node's, node {node}"
    )]
    FirstLicenseNodeChanged {
        /// The installation.
        support_id: SupportId,
        /// The request's first license node.
        node: NodeId,
    },
    /// Bound computers are missing in the request.
    #[error("{} of the bound computers are missing in the request: {}", computer_ids.len(), list(computer_ids))]
    BoundNodesMissing {
        /// Their computer IDs.
        computer_ids: Vec<ComputerId>,
    },
    /// Fewer than a majority of the bound Management Servers have the node key that was pinned.
    #[error("{known} of {pinned} bound Management Servers have the node key that they were activated with")]
    NodeKeysChanged {
        /// How many have it.
        known: usize,
        /// How many are bound.
        pinned: usize,
    },
    /// The cluster has not installed what the portal issued last, or is a copy that was left behind.
    #[error("this cluster shows the fence {shown}, but the portal has {current}")]
    FenceMismatch {
        /// The installation, if the cluster is known.
        support_id: Option<SupportId>,
        /// The request's.
        shown: Fence,
        /// The portal's.
        current: Fence,
    },
}

impl Refusal {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Unreadable(error) => unreadable_code(error),
            Refusal::Unverified(refusal) => unverified_code(refusal),
            Refusal::IdempotencyKeyMissing => "idempotency_key_missing",
            Refusal::IdempotencyKeyMismatch { .. } => "idempotency_key_mismatch",
            Refusal::IdempotencyConflict { .. } => "idempotency_conflict",
            Refusal::KindNotSupported { .. } => "kind_not_supported",
            Refusal::ComputerIdSourceRefused { .. } => "computer_id_source_refused",
            Refusal::ActivationKeyMissing => "activation_key_missing",
            Refusal::ActivationKeyUnknown { .. } => "activation_key_unknown",
            Refusal::ActivationKeyUsed { .. } => "activation_key_used",
            Refusal::OrderRevoked { .. } => "order_revoked",
            Refusal::OrderExpired { .. } => "order_expired",
            Refusal::AlreadyActivated { .. } => "already_activated",
            Refusal::NotActivated => "not_activated",
            Refusal::FirstLicenseNodeChanged { .. } => "first_license_node_changed",
            Refusal::BoundNodesMissing { .. } => "bound_nodes_missing",
            Refusal::NodeKeysChanged { .. } => "node_keys_changed",
            Refusal::FenceMismatch { .. } => "fence_mismatch",
        }
    }

    /// What to do now.
    pub fn hint(&self) -> &'static str {
        match self {
            Refusal::Unreadable(error) => unreadable_hint(error),
            Refusal::Unverified(refusal) => unverified_hint(refusal),
            Refusal::IdempotencyKeyMissing | Refusal::IdempotencyKeyMismatch { .. } => {
                "Send <cluster id>/<epoch id>/<nonce> of the integrity key in the header Idempotency-Key."
            }
            Refusal::IdempotencyConflict { .. } => "Begin a new activation; it replaces this one.",
            Refusal::KindNotSupported { .. } => "Ask the vendor what to do instead.",
            Refusal::ComputerIdSourceRefused { .. } => {
                "Let the node read the machine id of its host, then begin a new activation."
            }
            Refusal::ActivationKeyMissing => "Begin the activation with the activation key of your order.",
            Refusal::ActivationKeyUnknown { .. } => {
                "Check that this portal is your vendor's and that the key is the one that came with the order."
            }
            Refusal::ActivationKeyUsed { .. } => {
                "Use the key on the installation that it belongs to, or ask the vendor for an order for this one."
            }
            Refusal::OrderRevoked { .. } | Refusal::OrderExpired { .. } => {
                "Ask the vendor for another order."
            }
            Refusal::AlreadyActivated { .. } => {
                "If its license is installed, nothing is to be done. If it is lost, or this is a further order, \
                 ask the vendor, naming the Support ID."
            }
            Refusal::NotActivated => {
                "Activate the cluster first, with the activation key of its first order."
            }
            Refusal::FirstLicenseNodeChanged { .. } => {
                "Use the activation key on the first license node that the installation was activated with."
            }
            Refusal::BoundNodesMissing { .. } => {
                "Bring these nodes online and begin again; a node that never comes back is replaced by a transfer."
            }
            Refusal::NodeKeysChanged { .. } => "Ask the vendor, naming the Support ID.",
            Refusal::FenceMismatch { .. } => {
                "The cluster is a copy or was restored, or never installed its last license key. Ask the vendor, \
                 naming the Support ID."
            }
        }
    }

    /// The things that the message names, for programs.
    pub fn details(&self) -> Value {
        match self {
            Refusal::IdempotencyKeyMismatch { expected } => json!({ "expected": expected }),
            Refusal::IdempotencyConflict { idempotency_key } => json!({ "idempotency_key": idempotency_key }),
            Refusal::KindNotSupported { kind } => json!({ "kind": kind }),
            Refusal::ComputerIdSourceRefused { node } => json!({ "node": node }),
            Refusal::ActivationKeyUnknown { last5 } => json!({ "activation_key_last5": last5 }),
            Refusal::ActivationKeyUsed { last5, order_id, support_id_end } => json!({
                "activation_key_last5": last5,
                "order_id": order_id,
                "support_id_end": support_id_end,
            }),
            Refusal::OrderRevoked { order_id } => json!({ "order_id": order_id }),
            Refusal::OrderExpired { order_id, expired_at } => {
                json!({ "order_id": order_id, "expired_at": expired_at })
            }
            Refusal::AlreadyActivated { support_id } => json!({ "support_id": support_id }),
            Refusal::FenceMismatch { support_id, shown, current } => {
                json!({ "support_id": support_id, "shown": shown, "current": current })
            }
            Refusal::Unreadable(error) => unreadable_details(error),
            Refusal::Unverified(refusal) => unverified_details(refusal),
            Refusal::FirstLicenseNodeChanged { support_id, node } => {
                json!({ "support_id": support_id, "node": node })
            }
            Refusal::BoundNodesMissing { computer_ids } => json!({ "computer_ids": computer_ids }),
            Refusal::NodeKeysChanged { known, pinned } => json!({ "known": known, "pinned": pinned }),
            Refusal::IdempotencyKeyMissing | Refusal::ActivationKeyMissing | Refusal::NotActivated => {
                json!({})
            }
        }
    }
}

fn list(computer_ids: &[ComputerId]) -> String {
    computer_ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn unreadable_code(error: &IntegrityKeyError) -> &'static str {
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

fn unreadable_hint(error: &IntegrityKeyError) -> &'static str {
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

fn unreadable_details(error: &IntegrityKeyError) -> Value {
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

fn unverified_code(refusal: &IntegrityKeyRefusal) -> &'static str {
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

fn unverified_hint(refusal: &IntegrityKeyRefusal) -> &'static str {
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

fn unverified_details(refusal: &IntegrityKeyRefusal) -> Value {
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
