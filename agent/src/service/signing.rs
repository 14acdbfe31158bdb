//! What a node signs in an activation: its own statement, and as a Management Server the whole key.
//!
//! A node signs only for an activation that is open in its own copy of the log.

use std::{sync::Arc, time::Duration};

use quorate_license::{
    ActivationKind, IntegrityKey, ManagementSignature, NodeKey, NodeRole, NodeStatement, Nonce,
    StatementContext, TenantId,
};
use quorate_raft_store::state::Activation;

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
        if !key.nodes.iter().map(|statement| statement.row.id).eq(activation.nodes.iter().copied()) {
            return Err(refused("the integrity key holds other nodes than the administrator confirmed"));
        }
        let context = key.context();
        let own = key.nodes.iter().find(|statement| statement.row.id == self.own.node_id);
        match own {
            Some(own) if own.row.key == self.key.public() && own.verify(&context).is_ok() => {}
            _ => return Err(refused("the integrity key does not hold this node's own statement")),
        }
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

fn refused(message: &str) -> ApiError {
    ApiError::new(ErrorKind::Refused, "statement_refused", message, "start the activation again")
}
