//! The first command of every cluster.

use quorate_license::{ClusterId, ComputerId, Epoch, NodeId, NodeName, NodePublicKey, NodeRole, Timestamp};
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    seal::Sealed,
    state::{Addresses, Cluster, HostReport, Node, Only, Policy, State, Token},
};

/// Makes the cluster, with its first node, which is the first license node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitCluster {
    /// The new cluster's id. Random.
    pub cluster_id: ClusterId,
    /// Its first epoch.
    pub epoch: Epoch,
    /// The CA's certificate, PEM.
    pub ca_certificate: String,
    /// The CA's private key, sealed.
    pub sealed_ca_key: Sealed,
    /// What every member can read.
    pub feature_level: u32,
    /// The administrator's decisions.
    pub policy: Policy,
    /// The node that runs `init`.
    pub first_node: FirstNode,
    /// The administrator's first token.
    pub admin_token: Token,
}

/// The node that runs `init`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstNode {
    /// Its id, the first of the epoch.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Its identity key.
    pub key: NodePublicKey,
    /// Its computer.
    pub computer_id: ComputerId,
    /// Its agent's version.
    pub agent_version: String,
    /// Where it is reached.
    pub addresses: Addresses,
    /// What its host says of itself.
    pub host: HostReport,
}

impl InitCluster {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        if state.cluster().is_some() {
            return Err(Refusal::AlreadyInitialized);
        }
        let FirstNode { id, name, key, computer_id, agent_version, addresses, host } = self.first_node;
        state.cluster.put(
            Only,
            Cluster {
                id: self.cluster_id,
                epoch: self.epoch,
                ca_certificate: self.ca_certificate,
                sealed_ca_key: self.sealed_ca_key,
                first_license_node: id,
                next_node_index: id.index() + 1,
                feature_level: self.feature_level,
                policy: self.policy,
                telemetry: false,
                created_at: now,
            },
        );
        state.nodes.put(
            id,
            Node {
                id,
                name,
                role: NodeRole::Management,
                key,
                computer_id,
                build: None,
                agent_version,
                feature_level: self.feature_level,
                addresses,
                host,
                start_counter: 0,
                joined_at: now,
                joined_by: None,
                reported_at: now,
            },
        );
        state.tokens.put(self.admin_token.id, self.admin_token);
        Ok(Outcome::ClusterInitialized { first_node: id })
    }
}
