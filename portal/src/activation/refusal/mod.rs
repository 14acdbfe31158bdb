//! Every reason for which the portal gives no license key, each with a stable code.
//!
//! The codes are part of the protocol (PROTOCOL.md, "Refusals"): they are never renamed.

mod details;
mod hint;
mod integrity;

use quorate_license::{
    ActivationKind, ClusterId, ComputerId, Fence, IntegrityKeyError, IntegrityKeyRefusal, NodeId, OrderId,
    SupportId, Timestamp,
};
use serde_json::Value;

use integrity::{unreadable_code, unverified_code};

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
        /// Whether all computers of that installation are in the request.
        on_these_computers: bool,
    },
    /// The order was sold for another installation.
    #[error("the order {order_id} is for the installation {support_id}; it stays unused")]
    OrderOfAnotherInstallation {
        /// The order.
        order_id: OrderId,
        /// The installation that it is for.
        support_id: SupportId,
    },
    /// The order renews another one, which this installation doesn't have.
    #[error("the order {order_id} renews the order {renewed}, which this installation does not have")]
    RenewedOrderNotHere {
        /// The order.
        order_id: OrderId,
        /// What it renews.
        renewed: OrderId,
    },
    /// There is no license of an order that was never activated.
    #[error("the order {order_id} was not activated yet, so it has no license")]
    OrderNotUsed {
        /// The order.
        order_id: OrderId,
    },
    /// The vendor stopped the order.
    #[error("the order {order_id} is blocked by the vendor")]
    OrderBlocked {
        /// The order.
        order_id: OrderId,
    },
    /// The vendor stopped the installation.
    #[error("the installation {support_id} is blocked by the vendor")]
    InstallationBlocked {
        /// The installation.
        support_id: SupportId,
    },
    /// All that the installation was licensed by is over.
    #[error("no order of the installation {support_id} licenses anything any more: {}", join(orders))]
    OrdersEnded {
        /// The installation.
        support_id: SupportId,
        /// Its orders.
        orders: Vec<OrderId>,
    },
    /// The trial is over, and nothing was bought.
    #[error("the trial of the installation {support_id} ended at {ended_at}")]
    TrialEnded {
        /// The installation.
        support_id: SupportId,
        /// Its end.
        ended_at: Timestamp,
    },
    /// One of the computers had its trial.
    #[error(
        "a trial was given to these computers at {started_at}, and there is one for each installation: {}",
        join(computer_ids)
    )]
    TrialUsed {
        /// When.
        started_at: Timestamp,
        /// The computers that had it.
        computer_ids: Vec<ComputerId>,
    },
    /// The computers are a licensed installation.
    #[error(
        "some of these computers belong to the installation with the Support ID ending in {support_id_end}"
    )]
    ComputersActivated {
        /// The last group of its Support ID.
        support_id_end: String,
    },
    /// This portal gives no trials.
    #[error("this portal gives no trial licenses")]
    TrialNotOffered,
    /// No installation has any of the computers.
    #[error("none of these computers is part of an installation that this portal knows")]
    InstallationUnknown,
    /// More than one installation has them.
    #[error("these computers are part of several installations, with Support IDs ending in {}", support_id_ends.join(", "))]
    InstallationAmbiguous {
        /// The last groups of their Support IDs.
        support_id_ends: Vec<String>,
    },
    /// A restore lacks computers of the installation.
    #[error(
        "{} of the computers that the installation with the Support ID ending in {support_id_end} is bound to are \
         missing in the request; their computer IDs end in {}",
        computer_id_ends.len(), computer_id_ends.join(", ")
    )]
    RestoreIncomplete {
        /// The last group of its Support ID.
        support_id_end: String,
        /// The last groups of the missing computer IDs.
        computer_id_ends: Vec<String>,
    },
    /// The vendor wants to look at the restore first.
    #[error(
        "the installation {support_id} was restored {restores} times within a year; the vendor has to approve \
         that it becomes the cluster {cluster_id}"
    )]
    RestoreNeedsApproval {
        /// The installation.
        support_id: SupportId,
        /// The cluster that asks.
        cluster_id: ClusterId,
        /// How often within a year.
        restores: usize,
    },
    /// The installation was restored as another cluster.
    #[error("the installation {support_id} was restored as the cluster {replaced_by} at {replaced_at}")]
    ClusterReplaced {
        /// The installation.
        support_id: SupportId,
        /// The cluster that it is since.
        replaced_by: ClusterId,
        /// Since when.
        replaced_at: Timestamp,
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
        "the installation {support_id} is bound to the computer {home_computer_id}{}, but the first license node \
         is {node}",
        on_node(*home_node)
    )]
    FirstLicenseNodeChanged {
        /// The installation.
        support_id: SupportId,
        /// The request's first license node.
        node: NodeId,
        /// The computer that the Support ID is bound to.
        home_computer_id: ComputerId,
        /// The node on it, if it is in the request.
        home_node: Option<NodeId>,
    },
    /// Bound computers are missing in the request.
    #[error("{} of the bound computers are missing in the request: {}", computer_ids.len(), join(computer_ids))]
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
            Refusal::OrderOfAnotherInstallation { .. } => "order_of_another_installation",
            Refusal::RenewedOrderNotHere { .. } => "renewed_order_not_here",
            Refusal::OrderNotUsed { .. } => "order_not_used",
            Refusal::OrderBlocked { .. } => "order_blocked",
            Refusal::InstallationBlocked { .. } => "installation_blocked",
            Refusal::OrdersEnded { .. } => "orders_ended",
            Refusal::TrialEnded { .. } => "trial_ended",
            Refusal::TrialUsed { .. } => "trial_used",
            Refusal::ComputersActivated { .. } => "computers_activated",
            Refusal::TrialNotOffered => "trial_not_offered",
            Refusal::InstallationUnknown => "installation_unknown",
            Refusal::InstallationAmbiguous { .. } => "installation_ambiguous",
            Refusal::RestoreNeedsApproval { .. } => "restore_needs_approval",
            Refusal::ClusterReplaced { .. } => "cluster_replaced",
            Refusal::OrderRevoked { .. } => "order_revoked",
            Refusal::OrderExpired { .. } => "order_expired",
            Refusal::AlreadyActivated { .. } => "already_activated",
            Refusal::NotActivated => "not_activated",
            Refusal::FirstLicenseNodeChanged { .. } => "first_license_node_changed",
            Refusal::BoundNodesMissing { .. } | Refusal::RestoreIncomplete { .. } => "bound_nodes_missing",
            Refusal::NodeKeysChanged { .. } => "node_keys_changed",
            Refusal::FenceMismatch { .. } => "fence_mismatch",
        }
    }

    /// What to do now.
    pub fn hint(&self) -> &'static str {
        hint::of(self)
    }

    /// The things that the message names, for programs.
    pub fn details(&self) -> Value {
        details::of(self)
    }
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn on_node(node: Option<NodeId>) -> String {
    node.map_or_else(String::new, |node| format!(" of node {node}"))
}
