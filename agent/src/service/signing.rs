//! What a node signs in an activation: its own statement, and as a Management Server the whole key.
//!
//! A node signs only for an activation that is open in its own copy of the log.

use std::{sync::Arc, time::Duration};

use quorate_license::{
    ActivationKind, IntegrityKey, ManagementSignature, NodeKey, NodeRole, NodeStatement, Nonce,
    StatementContext, TenantId,
};
use quorate_raft_store::{State, state::Activation};

use crate::{
    api::{ApiError, ErrorKind},
    cluster::{Alarm, Cluster},
    data_dir::NodeFile,
    host::{BuildWatcher, HostComputer},
};

/// How long a node waits until the intent has reached it.
const INTENT_DEADLINE: Duration = Duration::from_secs(5);

/// Signs for this node.
pub struct Signing {
    cluster: Arc<Cluster>,
    own: Arc<NodeFile>,
    key: Arc<NodeKey>,
    computer: Arc<HostComputer>,
    build: BuildWatcher,
}

impl Signing {
    /// The signing of this node. Statements name the computer that it is on now.
    pub fn new(
        cluster: Arc<Cluster>,
        own: Arc<NodeFile>,
        key: Arc<NodeKey>,
        computer: Arc<HostComputer>,
        build: BuildWatcher,
    ) -> Self {
        Signing { cluster, own, key, computer, build }
    }

    /// This node's statement for an open activation.
    ///
    /// # Errors
    /// If the activation is not open here, or this node is not registered.
    pub async fn statement(
        &self,
        nonce: Nonce,
        kind: ActivationKind,
        tenant: &TenantId,
    ) -> Result<NodeStatement, ApiError> {
        let activation = self.open_activation(nonce).await?;
        if activation.kind != kind || activation.tenant != *tenant {
            return Err(refused("the activation is open for another kind or tenant"));
        }
        let view = self.cluster.view();
        let registered = view
            .state
            .nodes()
            .get(&self.own.node_id)
            .ok_or_else(|| refused(&format!("{} is not registered in the cluster yet", self.own.name)))?;
        let mut row = registered.row();
        row.computer_id = self.computer.found();
        row.build = self.build.current();
        let context = StatementContext {
            cluster_id: self.own.cluster_id,
            epoch: self.own.epoch,
            nonce,
            kind,
            tenant: tenant.clone(),
        };
        Ok(NodeStatement::sign(&context, row, &self.key))
    }

    /// This Management Server's signature of a whole integrity key, if the key is that of an open
    /// activation and holds this node's own statement.
    ///
    /// # Errors
    /// What is wrong with the key.
    pub async fn integrity_key(&self, key: &IntegrityKey) -> Result<ManagementSignature, ApiError> {
        if self.own.role != NodeRole::Management {
            return Err(refused("a Spooler Controller does not sign integrity keys"));
        }
        if key.cluster_id != self.own.cluster_id || key.epoch != self.own.epoch {
            return Err(refused("the integrity key is for another cluster or epoch"));
        }
        // Whatever the first license node has seen: what has called this node counts as well.
        if let Some(refusal) = Alarm::refusal(&self.cluster.clones().alarms()) {
            return Err(refusal);
        }
        let activation = self.open_activation(key.nonce).await?;
        if activation.kind != key.kind || activation.tenant != key.tenant {
            return Err(refused("the activation is open for another kind or tenant"));
        }
        if !key.nodes.iter().any(|it| it.row.id == self.own.node_id && it.row.key == self.key.public()) {
            return Err(refused("the integrity key does not hold this node's own statement"));
        }
        if let Some(difference) = difference(&self.cluster.view().state, &activation, key) {
            return Err(refused(&difference));
        }
        key.verify_statements().map_err(|error| refused(&error.to_string()))?;
        Ok(key.signature_by(self.own.node_id, &self.key))
    }

    /// The activation, once this node has it.
    async fn open_activation(&self, nonce: Nonce) -> Result<Activation, ApiError> {
        let mut applied = self.cluster.views().subscribe();
        let views = self.cluster.views().clone();
        let found = || views.current().state.activations().get(&nonce).cloned();
        let known = tokio::time::timeout(INTENT_DEADLINE, applied.wait_for(|_| found().is_some())).await;
        match known.ok().and_then(|_| found()) {
            Some(activation) if activation.is_open() => Ok(activation),
            Some(_) => Err(refused("the activation is closed")),
            None => Err(refused("the activation has not reached this node")),
        }
    }
}

/// What an integrity key says otherwise than the log does: a first license node that is not honest gets no signature for
/// nodes, keys or computers of its own making.
fn difference(state: &State, activation: &Activation, key: &IntegrityKey) -> Option<String> {
    if !key.nodes.iter().map(|statement| statement.row.id).eq(activation.nodes.iter().copied()) {
        return Some("the integrity key holds other nodes than the administrator confirmed".to_owned());
    }
    for NodeStatement { row, .. } in &key.nodes {
        let Some(node) = state.nodes().get(&row.id) else {
            return Some(format!("the integrity key holds node {}, which is no member", row.id));
        };
        let what = if row.key != node.key {
            "another identity key"
        } else if row.role != node.role {
            "another role"
        } else if row.computer_id != node.computer_id {
            "another computer ID"
        } else {
            continue;
        };
        return Some(format!("the integrity key gives {} {what} than it has in this cluster", node.name));
    }
    let cluster = state.cluster()?;
    let binding = state.binding().map(|installed| &installed.binding.claims);
    let serials =
        state.licenses().get(&activation.tenant).map(|it| (&activation.tenant, it.license.claims.serial));
    let mut superseded = activation.superseded.clone();
    superseded.sort_unstable();
    let what = if key.first_license_node != cluster.first_license_node {
        "first license node"
    } else if key.support_id.as_ref() != binding.map(|binding| &binding.support_id) {
        "Support ID"
    } else if key.fence != binding.map(|binding| binding.fence).unwrap_or_default() {
        "fence"
    } else if key.binding_serial != binding.map(|binding| binding.serial).unwrap_or_default()
        || !key.serials.iter().map(|(tenant, serial)| (tenant, *serial)).eq(serials)
    {
        "serial"
    } else if key.superseded != superseded {
        "list of superseded intents"
    } else if key.telemetry != cluster.telemetry {
        "choice of telemetry"
    } else {
        return None;
    };
    Some(format!("the integrity key names another {what} than this cluster has"))
}

fn refused(message: &str) -> ApiError {
    ApiError::new(ErrorKind::Refused, "statement_refused", message, "start the activation again")
}
