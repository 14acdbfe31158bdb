//! The things that a refusal's message names, for programs.

use serde_json::{Value, json};

use super::{
    Refusal,
    integrity::{unreadable_details, unverified_details},
};

/// The fields of `details` in the answer.
pub(super) fn of(refusal: &Refusal) -> Value {
    match refusal {
        Refusal::IdempotencyKeyMismatch { expected } => json!({ "expected": expected }),
        Refusal::IdempotencyConflict { idempotency_key } => json!({ "idempotency_key": idempotency_key }),
        Refusal::KindNotSupported { kind } => json!({ "kind": kind }),
        Refusal::ComputerIdSourceRefused { node } => json!({ "node": node }),
        Refusal::ActivationKeyUnknown { last5 } => json!({ "activation_key_last5": last5 }),
        Refusal::ActivationKeyUsed { last5, order_id, support_id_end, .. } => json!({
            "activation_key_last5": last5,
            "order_id": order_id,
            "support_id_end": support_id_end,
        }),
        Refusal::OrderRevoked { order_id }
        | Refusal::OrderBlocked { order_id }
        | Refusal::OrderNotUsed { order_id } => {
            json!({ "order_id": order_id })
        }
        Refusal::OrderOfAnotherInstallation { order_id, support_id } => {
            json!({ "order_id": order_id, "support_id": support_id })
        }
        Refusal::RenewedOrderNotHere { order_id, renewed } => {
            json!({ "order_id": order_id, "renewed_order_id": renewed })
        }
        Refusal::InstallationBlocked { support_id } => json!({ "support_id": support_id }),
        Refusal::OrdersEnded { support_id, orders } => {
            json!({ "support_id": support_id, "order_ids": orders })
        }
        Refusal::TrialEnded { support_id, ended_at } => {
            json!({ "support_id": support_id, "ended_at": ended_at })
        }
        Refusal::TrialUsed { started_at, computer_ids } => {
            json!({ "started_at": started_at, "computer_ids": computer_ids })
        }
        Refusal::ComputersActivated { support_id_end } => json!({ "support_id_end": support_id_end }),
        Refusal::InstallationAmbiguous { support_id_ends } => {
            json!({ "support_id_ends": support_id_ends })
        }
        Refusal::RestoreIncomplete { support_id_end, computer_id_ends } => {
            json!({ "support_id_end": support_id_end, "computer_id_ends": computer_id_ends })
        }
        Refusal::RestoreNeedsApproval { support_id, cluster_id, restores } => {
            json!({ "support_id": support_id, "cluster_id": cluster_id, "restores": restores })
        }
        Refusal::ClusterReplaced { support_id, replaced_by, replaced_at } => json!({
            "support_id": support_id,
            "replaced_by": replaced_by,
            "replaced_at": replaced_at,
        }),
        Refusal::OrderExpired { order_id, expired_at } => {
            json!({ "order_id": order_id, "expired_at": expired_at })
        }
        Refusal::AlreadyActivated { support_id } => json!({ "support_id": support_id }),
        Refusal::FenceMismatch { support_id, shown, current } => {
            json!({ "support_id": support_id, "shown": shown, "current": current })
        }
        Refusal::Unreadable(error) => unreadable_details(error),
        Refusal::Unverified(refusal) => unverified_details(refusal),
        Refusal::FirstLicenseNodeChanged { support_id, node, home_computer_id, home_node } => json!({
            "support_id": support_id,
            "node": node,
            "home_computer_id": home_computer_id,
            "home_node": home_node,
        }),
        Refusal::BoundNodesMissing { computer_ids } => json!({ "computer_ids": computer_ids }),
        Refusal::NodeKeysChanged { known, pinned } => json!({ "known": known, "pinned": pinned }),
        Refusal::IdempotencyKeyMissing
        | Refusal::ActivationKeyMissing
        | Refusal::NotActivated
        | Refusal::TrialNotOffered
        | Refusal::InstallationUnknown => json!({}),
    }
}
