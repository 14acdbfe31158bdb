//! A node joins with a token.

use quorate_license::{BuildNumber, ComputerId, NodeId, NodeName, NodePublicKey, NodeRole, Timestamp};
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{Addresses, Cluster, HostReport, Node, Only, State, Token, TokenId, TokenPurpose, TokenState},
};

/// The most members that a cluster can have.
pub(super) const MAX_NODES: u64 = 1024;

/// Admits a node, uses its token up, and gives it an id.
///
/// A repeat with the same token and node key gets the same answer, so a joiner that crashed can ask
/// again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmitNode {
    /// The token that it shows.
    pub token: TokenId,
    /// SHA-256 of the secret that it shows.
    pub secret_hash: [u8; 32],
    /// The name that it wants.
    pub name: NodeName,
    /// The role that it wants.
    pub role: NodeRole,
    /// Its identity key.
    pub key: NodePublicKey,
    /// Its computer.
    pub computer_id: ComputerId,
    /// Version of the licensed product on it, if known.
    pub build: Option<BuildNumber>,
    /// Its agent's version.
    pub agent_version: String,
    /// The highest feature level that its agent reads.
    pub feature_level: u32,
    /// Where it is reached.
    pub addresses: Addresses,
    /// What its host says of itself.
    pub host: HostReport,
}

impl AdmitNode {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let token = match self.token(state)? {
            Ok(token) => token,
            Err(node) => return Ok(Outcome::NodeAdmitted { node }),
        };
        self.check_token(&token, false, now)?;
        if state.nodes.len() as u64 >= MAX_NODES {
            return Err(Refusal::TooManyNodes(MAX_NODES));
        }
        self.check_level(state)?;
        self.check_unique(state, None)?;

        let mut cluster = state.cluster().ok_or(Refusal::NotInitialized)?.clone();
        let id = self.put(state, &mut cluster, token, now);
        state.cluster.put(Only, cluster);
        Ok(Outcome::NodeAdmitted { node: id })
    }

    /// The token that it shows; or the node that this joiner became with it, if it asks again.
    pub(super) fn token(&self, state: &State) -> Result<Result<Token, NodeId>, Refusal> {
        let token = match state.tokens.get(&self.token) {
            Some(token) if token.secret_hash == self.secret_hash => token.clone(),
            _ => return Err(Refusal::TokenUnknown),
        };
        if let TokenState::Used { node, key } = &token.state
            && *key == self.key
            && state.nodes.get(node).is_some_and(|node| node.name == self.name && node.role == self.role)
        {
            return Ok(Err(*node));
        }
        Ok(Ok(token))
    }

    /// Puts the new node's row and uses the token up. The cluster's row counts the id, and is put by the
    /// caller.
    pub(super) fn put(
        self,
        state: &mut State,
        cluster: &mut Cluster,
        token: Token,
        now: Timestamp,
    ) -> NodeId {
        let id = NodeId::new(cluster.epoch.number, cluster.next_node_index);
        cluster.next_node_index += 1;
        state.tokens.put(token.id, Token { state: TokenState::Used { node: id, key: self.key }, ..token });
        state.nodes.put(
            id,
            Node {
                id,
                name: self.name,
                role: self.role,
                key: self.key,
                computer_id: self.computer_id,
                build: self.build,
                agent_version: self.agent_version,
                feature_level: self.feature_level,
                addresses: self.addresses,
                host: self.host,
                start_counter: 0,
                joined_at: now,
                joined_by: Some(self.token),
                reported_at: now,
            },
        );
        id
    }

    /// That the token lets this node join: by itself, or with an administrator's approval.
    pub(super) fn check_token(&self, token: &Token, approval: bool, now: Timestamp) -> Result<(), Refusal> {
        let (role, name) = match (&token.purpose, approval) {
            (TokenPurpose::Join { role, name }, false)
            | (TokenPurpose::JoinWithApproval { role, name }, true) => (role, name),
            (TokenPurpose::JoinWithApproval { .. }, false) => return Err(Refusal::ApprovalNeeded(token.id)),
            _ => return Err(Refusal::TokenNotForJoin(token.id)),
        };
        match &token.state {
            TokenState::Open => {}
            TokenState::Used { node, .. } => {
                return Err(Refusal::TokenUsed { token: token.id, node: *node });
            }
            TokenState::Revoked => return Err(Refusal::TokenRevoked(token.id)),
        }
        if now >= token.expires_at {
            return Err(Refusal::TokenExpired(token.id));
        }
        if *role != self.role {
            return Err(Refusal::TokenRoleMismatch { allowed: *role, asked: self.role });
        }
        match name {
            Some(name) if *name != self.name => {
                Err(Refusal::TokenNameMismatch { allowed: name.clone(), asked: self.name.clone() })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_level(&self, state: &State) -> Result<(), Refusal> {
        let level = state.cluster().map_or(0, |cluster| cluster.feature_level);
        if self.feature_level < level {
            return Err(Refusal::FeatureLevelUnsupported {
                node: self.name.clone(),
                supported: self.feature_level,
            });
        }
        Ok(())
    }

    /// That name, computer and key belong to no member; the one that is replaced doesn't count.
    pub(super) fn check_unique(&self, state: &State, replaced: Option<NodeId>) -> Result<(), Refusal> {
        for node in state.nodes.values().filter(|node| Some(node.id) != replaced) {
            if node.name == self.name {
                return Err(Refusal::NodeNameTaken { name: self.name.clone(), holder: node.id });
            }
            if node.computer_id == self.computer_id {
                return Err(Refusal::ComputerIdInUse {
                    computer_id: self.computer_id.to_string(),
                    holder: node.name.clone(),
                });
            }
            if node.key == self.key {
                return Err(Refusal::NodeKeyInUse { holder: node.name.clone() });
            }
        }
        Ok(())
    }
}
