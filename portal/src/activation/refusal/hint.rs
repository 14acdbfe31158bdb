//! The way out of each refusal, for people.

use super::{
    Refusal,
    integrity::{unreadable_hint, unverified_hint},
};

/// What to do now.
pub(super) fn of(refusal: &Refusal) -> &'static str {
    match refusal {
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
        Refusal::ActivationKeyUsed { on_these_computers: true, .. } => {
            "These computers are that installation. Bring its license back, without an activation key: quorate \
                 license reactivate."
        }
        Refusal::ActivationKeyUsed { .. } => {
            "Use the key on the installation that it belongs to, or ask the vendor for an order for this one."
        }
        Refusal::OrderRevoked { .. } | Refusal::OrderExpired { .. } => "Ask the vendor for another order.",
        Refusal::OrderOfAnotherInstallation { .. } => {
            "Use the activation key on that installation: there it works."
        }
        Refusal::RenewedOrderNotHere { .. } => {
            "Use the activation key on the installation that has the renewed order."
        }
        Refusal::OrderBlocked { .. } | Refusal::InstallationBlocked { .. } => {
            "Ask the vendor why, naming the order or the Support ID."
        }
        Refusal::OrderNotUsed { .. } => {
            "Activate the key first: quorate license activate, or with an integrity key at /activate."
        }
        Refusal::OrdersEnded { .. } => {
            "Buy a renewal or a new order, then activate its key: quorate license activate."
        }
        Refusal::TrialEnded { .. } | Refusal::TrialUsed { .. } => {
            "Buy a license and activate its key: quorate license activate. If a trial still runs and its \
                 license was lost, bring it back: quorate license reactivate."
        }
        Refusal::ComputersActivated { .. } => {
            "Bring its license back, without an activation key: quorate license reactivate. A further order is an \
                 upgrade then. A computer that has left that installation is let go by the vendor: ask, naming its \
                 Support ID."
        }
        Refusal::TrialNotOffered => "Ask the vendor for an order.",
        Refusal::InstallationUnknown => {
            "Check that this portal is your vendor's. If nothing was activated on these computers yet, activate \
                 with a key: quorate license activate. If computers or operating systems are new, it is a transfer: \
                 ask the vendor, naming the Support ID."
        }
        Refusal::InstallationAmbiguous { .. } => {
            "Ask the vendor which of the installations this is, naming these Support IDs."
        }
        Refusal::RestoreIncomplete { .. } => {
            "Join these computers too, then begin again: quorate license reactivate. If one never comes back, it \
                 is a transfer: ask the vendor, naming the Support ID."
        }
        Refusal::RestoreNeedsApproval { .. } => {
            "The vendor has been told. Ask for the approval, naming the Support ID, then begin again."
        }
        Refusal::ClusterReplaced { .. } => {
            "This cluster is an old copy: stop it. If it is the right one after all, ask the vendor, naming the \
                 Support ID."
        }
        Refusal::AlreadyActivated { .. } => {
            "If its license is installed, nothing is to be done. A further order is an upgrade; a lost license \
                 is brought back, without an activation key, by: quorate license reactivate."
        }
        Refusal::NotActivated => "Activate the cluster first, with the activation key of its first order.",
        Refusal::FirstLicenseNodeChanged { .. } => {
            "Begin on the cluster whose first license node is on that computer. If that computer is lost, it is a \
                 transfer: ask the vendor, naming the Support ID."
        }
        Refusal::BoundNodesMissing { .. } => {
            "Bring these nodes online and begin again. If one never comes back, it is a transfer: ask the vendor, \
                 naming the Support ID."
        }
        Refusal::NodeKeysChanged { .. } => "Ask the vendor, naming the Support ID.",
        Refusal::FenceMismatch { .. } => {
            "The cluster is a copy or was restored, or never installed its last license key. Ask the vendor, \
                 naming the Support ID."
        }
    }
}
