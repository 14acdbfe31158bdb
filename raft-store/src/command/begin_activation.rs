//! The intent of an activation: committed before the portal hears of it.

use quorate_license::{ActivationKind, IntegrityScope, NodeId, NodeRole, Nonce, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    seal::Sealed,
    state::{Activation, ActivationState, Method, State},
};

/// Closed activations that are kept.
const KEEP_CLOSED: usize = 100;

/// Opens an activation. A repeat with the same nonce gets the same answer while it is open; no nonce is
/// used twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginActivation {
    /// The new activation's nonce. Random.
    pub nonce: Nonce,
    /// What it is for.
    pub kind: ActivationKind,
    /// Whose license it gets.
    pub tenant: TenantId,
    /// How the portal is asked.
    pub method: Method,
    /// The node that leads it.
    pub leader: NodeId,
    /// The nodes to be bound, as the administrator confirmed them, in order.
    pub nodes: Vec<NodeId>,
    /// Who asked for it, in words.
    pub requested_by: String,
    /// Last 5 characters of the activation key.
    pub key_last5: Option<String>,
    /// The activation key, sealed.
    pub sealed_key: Option<Sealed>,
}

impl BeginActivation {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        if let Some(known) = state.activations.get(&self.nonce) {
            let repeated = known.is_open() && self.asks_for(known);
            let opened = Outcome::ActivationOpened { nonce: self.nonce };
            return if repeated { Ok(opened) } else { Err(Refusal::NoOpenActivation(self.nonce)) };
        }
        self.check(state)?;
        let mut superseded = if state.reads(3) { given_up(state) } else { Vec::new() };
        // Only an offline activation, or one that sent nothing yet, gives way: `check` saw to it.
        let open: Vec<Activation> = state.activations.values().filter(|a| a.is_open()).cloned().collect();
        for activation in open {
            superseded.extend(activation.superseded.iter().copied());
            superseded.push(activation.nonce);
            let by = ActivationState::Superseded { by: self.nonce, at: now };
            let activation = Activation { state: by, sealed_key: None, ..activation };
            state.activations.put(activation.nonce, activation);
        }
        if state.reads(3) {
            superseded.sort_unstable();
            superseded.dedup();
        }
        state.activations.put(
            self.nonce,
            Activation {
                nonce: self.nonce,
                kind: self.kind,
                tenant: self.tenant,
                method: self.method,
                nodes: self.nodes,
                requested_by: self.requested_by,
                key_last5: self.key_last5,
                sealed_key: self.sealed_key,
                superseded,
                opened_at: now,
                state: ActivationState::Opened,
            },
        );
        forget_closed(state);
        Ok(Outcome::ActivationOpened { nonce: self.nonce })
    }

    fn asks_for(&self, known: &Activation) -> bool {
        (self.kind, &self.tenant, self.method, &self.nodes)
            == (known.kind, &known.tenant, known.method, &known.nodes)
    }

    fn check(&self, state: &State) -> Result<(), Refusal> {
        let cluster = state.cluster().ok_or(Refusal::NotInitialized)?;
        if self.leader != cluster.first_license_node {
            return Err(Refusal::NotFirstLicenseNode {
                asked: self.leader,
                first: cluster.first_license_node,
            });
        }
        match (self.kind, state.binding()) {
            (ActivationKind::Activate | ActivationKind::Trial, Some(installed)) => {
                return Err(Refusal::AlreadyActivated {
                    support_id: installed.binding.claims.support_id.clone(),
                });
            }
            (ActivationKind::Upgrade | ActivationKind::Transfer, None) => {
                return Err(Refusal::NotActivated { kind: self.kind });
            }
            _ => {}
        }
        let blocking = state.activations.values().find(|activation| {
            matches!(activation.state, ActivationState::Requested { .. })
                && activation.method == Method::Online
        });
        if let Some(activation) = blocking {
            return Err(Refusal::ActivationInProgress {
                kind: activation.kind.as_str().to_owned(),
                nonce: activation.nonce,
            });
        }
        let in_scope = nodes_in_scope(state, cluster.policy.integrity_scope);
        if let Some(expected) = cluster.policy.expected_nodes
            && (state.nodes.len() as u64) < u64::from(expected)
        {
            return Err(Refusal::FewerNodesThanExpected { present: state.nodes.len() as u32, expected });
        }
        if self.nodes == in_scope { Ok(()) } else { Err(Refusal::NodesChanged) }
    }
}

/// The nodes that an activation binds, by id.
pub(crate) fn nodes_in_scope(state: &State, scope: IntegrityScope) -> Vec<NodeId> {
    state
        .nodes
        .values()
        .filter(|node| scope == IntegrityScope::All || node.role == NodeRole::Management)
        .map(|node| node.id)
        .collect()
}

/// Every activation since the last license that gave way to a newer one. The portal may have answered it, also if the
/// newer one was closed before it left the cluster; so whatever comes next has to list it.
fn given_up(state: &State) -> Vec<Nonce> {
    let last = state.binding().map(|installed| installed.installed_at).unwrap_or(Timestamp::ZERO);
    let since =
        state.activations.values().filter(|activation| activation.opened_at >= last && !activation.is_open());
    let mut nonces = Vec::new();
    for activation in since {
        match activation.state {
            ActivationState::Superseded { .. } => {
                nonces.push(activation.nonce);
                nonces.extend(activation.superseded.iter().copied());
            }
            ActivationState::Refused { .. } => nonces.extend(activation.superseded.iter().copied()),
            _ => {}
        }
    }
    nonces
}

/// Forgets the oldest closed activations beyond what is kept.
fn forget_closed(state: &mut State) {
    let mut closed: Vec<(Timestamp, Nonce)> =
        state.activations.values().filter_map(|a| a.closed_at().map(|at| (at, a.nonce))).collect();
    closed.sort_unstable();
    let surplus = closed.len().saturating_sub(KEEP_CLOSED);
    for (_, nonce) in closed.into_iter().take(surplus) {
        state.activations.remove(&nonce);
    }
}
