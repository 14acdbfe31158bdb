//! Admitting a node that shows a join token.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use quorate_license::{
    BuildNumber, ClusterId, ComputerId, Epoch, NodeId, NodeName, NodePublicKey, NodeRole, NodeSignature,
    SignatureDomain,
};
use quorate_raft_store::{
    Command, Outcome, Refusal, View,
    audit::{Actor, AskedBy, Face},
    command::{AdmitNode, ReplaceNode, RequestJoin},
    seal::ManagementKey,
    state::{Addresses, HostReport, JoinDecision, TokenId, TokenPurpose, TokenState},
};
use subtle::ConstantTimeEq;

use super::{Signer, certificates::MAX_CHAIN_BYTES, trusted};
use crate::{
    api::{ApiError, ErrorKind},
    cluster::{Cluster, ReadError},
    data_dir::{NodeFile, Trusted},
    pki::{CertificateSubject, JoinToken, PeerIdentity, PkiError, secret_hash},
    setup,
};

/// How long a token may take to reach this node from the one that made it.
const TOKEN_DEADLINE: Duration = Duration::from_secs(2);
/// A node that was stopped counts as online for a moment; the joiner's patience ends the waiting.
const AWAY_MARGIN: Duration = Duration::from_secs(2);
const AWAY_AT_MOST: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Refusals of the bearer of one token that are written into the log.
const REFUSALS_IN_LOG: u32 = 5;
/// How long it may take to learn that nothing newer would let a joiner in.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(2);
/// How long one question of a joiner is kept open while an administrator decides; it asks again then.
const DECISION_DEADLINE: Duration = Duration::from_secs(10);

/// What a joiner says of itself.
#[derive(Debug)]
pub struct Joiner {
    /// The name that it wants.
    pub name: NodeName,
    /// The role that its administrator means; none: the token's.
    pub role: Option<NodeRole>,
    /// Its identity key.
    pub key: NodePublicKey,
    /// Its computer.
    pub computer_id: ComputerId,
    /// Version of the licensed product on it.
    pub build: Option<BuildNumber>,
    /// Its agent's version.
    pub agent_version: String,
    /// The highest feature level that its agent reads.
    pub feature_level: u32,
    /// Where it is reached.
    pub addresses: Addresses,
    /// What its host says of itself.
    pub host: HostReport,
    /// The request for its certificate, PEM.
    pub certificate_request: String,
    /// By its identity key, over the certificate request.
    pub signature: NodeSignature,
    /// How long it waits for an administrator's decision, before it asks again.
    pub wait: Duration,
    /// The node whose place it takes, on the same computer; none: it is a further node.
    pub replace: Option<NodeName>,
    /// The certificate of its own that it will show, PEM with its chain; empty: it brings none.
    pub brought: String,
    /// The request for the cluster's certificate for the same key, PEM; empty without one.
    pub brought_request: String,
}

impl Joiner {
    /// Checks what goes into the replicated state and into the certificate.
    fn check(&self) -> Result<(), ApiError> {
        let texts = [
            ("agent version", &self.agent_version, 64),
            ("operating system", &self.host.os, 128),
            ("kernel", &self.host.kernel, 128),
            ("node-to-node address", &self.addresses.raft, 262),
            ("management address", &self.addresses.http, 262),
            ("certificate request", &self.certificate_request, 8192),
            ("brought certificate", &self.brought, MAX_CHAIN_BYTES),
            ("request beside the brought certificate", &self.brought_request, 8192),
        ];
        let hardware = self.host.hardware.iter().map(|text| ("hardware hash", text, 128));
        for (what, text, most) in texts.into_iter().chain(hardware) {
            if text.len() > most {
                return Err(malformed(what, &format!("it is longer than {most} bytes")));
            }
        }
        // The names by which nodes know each other are the cluster's to give.
        match setup::hosts_of(&self.addresses).iter().find(|host| setup::is_reserved(host)) {
            Some(host) => Err(malformed("addresses", &format!("the name {host} is reserved"))),
            None => Ok(()),
        }
    }
}

fn not_confirmed(error: &ReadError) -> ApiError {
    ApiError::new(
        ErrorKind::Unavailable,
        "not_confirmed",
        format!("whether the node may join can't be said now: {error}"),
        "look at `quorate cluster health`, then run `quorate join` again",
    )
}

fn malformed(what: &str, reason: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(
        ErrorKind::Invalid,
        "join_request_malformed",
        format!("the joiner's {what} can't be used: {reason}"),
        "correct the joiner's configuration and run `quorate join` again",
    )
}

/// What an admitted node gets.
pub struct Admitted {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The node's id.
    pub node: NodeId,
    /// The node's role.
    pub role: NodeRole,
    /// Its certificate, PEM.
    pub certificate: String,
    /// The certificate that it shows beside the one that it brings, PEM, if it brings one.
    pub certificate_beside: Option<String>,
    /// Whom it shall trust.
    pub trusted: Trusted,
    /// For Management Servers only.
    pub management_key: Option<ManagementKey>,
}

/// Admits nodes. Only a Management Server can: it needs the CA's key.
pub struct Admission {
    cluster: Arc<Cluster>,
    own: Arc<NodeFile>,
    signer: Arc<Signer>,
    /// How many refusals of joiners this node has written into the log, by token.
    refused: Mutex<BTreeMap<TokenId, u32>>,
}

impl Admission {
    /// The admission of this node.
    pub fn new(cluster: Arc<Cluster>, own: Arc<NodeFile>, signer: Arc<Signer>) -> Self {
        Admission { cluster, own, signer, refused: Mutex::default() }
    }

    /// Admits a joiner, who asks from `address`, through the log, and gives it an id and a certificate. A repeat by
    /// the same joiner with the same token gets the same id.
    ///
    /// # Errors
    /// The refusal, by name.
    pub async fn admit(
        &self,
        token: JoinToken,
        joiner: Joiner,
        address: Option<String>,
    ) -> Result<Admitted, ApiError> {
        let Ok(management_key) = self.signer.management_key() else {
            return Err(ApiError::new(
                ErrorKind::Refused,
                "not_a_management_server",
                format!("{} is a Spooler Controller and can't admit nodes", self.own.name),
                "give the address of a Management Server with --server",
            ));
        };
        joiner
            .key
            .verify(SignatureDomain::Join, joiner.certificate_request.as_bytes(), &joiner.signature)
            .map_err(|_| {
                ApiError::new(
                    ErrorKind::Denied,
                    "signature_invalid",
                    "the request is not signed by the joiner's node key",
                    "run `quorate join` again",
                )
            })?;
        // Nothing is written to the log for somebody who has no token.
        let (token_role, approval) = self.token_role(&token, joiner.key).await?;
        let role = joiner.role.unwrap_or(token_role);
        joiner.check()?;
        // A node that nobody would let in is not admitted.
        let beside = if joiner.brought.is_empty() {
            self.signer.check_brought("", role, &joiner.name)?;
            None
        } else {
            Some(self.signer.beside(&joiner.brought, &joiner.brought_request, role, &joiner.name)?)
        };
        let authority = self.signer.authority(&self.cluster.view().state)?;
        let subject = |node, hosts| CertificateSubject {
            identity: PeerIdentity {
                cluster_id: self.own.cluster_id,
                epoch_number: self.own.epoch.number,
                role,
                node,
            },
            hosts,
            beside: None,
        };
        // Tried before the token is used up: a request or a host name that no certificate can have.
        let trial = subject(NodeId::default(), setup::hosts_of(&joiner.addresses));
        self.signer
            .issue(&authority, &joiner.certificate_request, &trial)
            .map_err(|error| malformed("certificate request or the addresses", &error))?;
        let replaced = match &joiner.replace {
            Some(name) => Some(self.replaceable(name, &token, joiner.key).await?),
            None => None,
        };
        let admit = AdmitNode {
            token: token.id,
            secret_hash: secret_hash(&token.secret),
            name: joiner.name.clone(),
            role,
            key: joiner.key,
            computer_id: joiner.computer_id,
            build: joiner.build,
            agent_version: joiner.agent_version,
            feature_level: joiner.feature_level,
            addresses: joiner.addresses,
            host: joiner.host,
        };
        let command = match replaced {
            None if approval => Command::RequestJoin(RequestJoin { joiner: admit }),
            Some(replaced) => Command::ReplaceNode(ReplaceNode { replaced, joiner: admit }),
            None => Command::AdmitNode(admit),
        };
        let asked_by =
            AskedBy { actor: Actor::Joiner(token.id), node: self.own.node_id, face: Face::NodePort, address };
        let outcome = match self.foreseen(&command, token.id).await {
            Some(outcome) => outcome?,
            None => {
                let outcome = self.cluster.propose(command, &asked_by).await?.result;
                outcome.inspect_err(|_| self.refused_in_log(token.id))?
            }
        };
        let node = match outcome {
            Outcome::NodeAdmitted { node } => {
                tracing::info!(%node, name = %joiner.name, %role, "a node was admitted");
                node
            }
            Outcome::NodeReplaced { node, replaced } => {
                tracing::info!(%node, %replaced, name = %joiner.name, %role, "a node was replaced");
                node
            }
            Outcome::JoinPending { token } => self.accepted(token, &joiner.name, joiner.wait).await?,
            other => return Err(unexpected(&other)),
        };

        // The addresses that were admitted, not those of a repeat.
        let view = self.cluster.view();
        let admitted = view.state.nodes().get(&node).ok_or(Refusal::NodeUnknown(node))?;
        let subject = subject(node, setup::certified_hosts(&view.state, role, &admitted.addresses));
        // The CA of this moment: it may have been rotated since.
        let authority = self.signer.authority(&view.state)?;
        let certificate = self.signer.issue(&authority, &joiner.certificate_request, &subject)?;
        let certificate_beside = match beside {
            Some(beside) => {
                let subject = CertificateSubject { beside: Some(beside), ..subject };
                Some(self.signer.issue(&authority, &joiner.brought_request, &subject)?)
            }
            None => None,
        };
        Ok(Admitted {
            cluster_id: self.own.cluster_id,
            epoch: self.own.epoch,
            node,
            role,
            certificate,
            certificate_beside,
            trusted: trusted(&view.state),
            management_key: (role == NodeRole::Management).then(|| management_key.clone()),
        })
    }

    /// What the log would answer, where it need not be asked: whoever holds a token does not fill the audit with it. A
    /// repeat of what was admitted, or waits, changes nothing; a refusal is written down a few times for each token.
    async fn foreseen(&self, command: &Command, token: TokenId) -> Option<Result<Outcome, ApiError>> {
        let tried = |view: &View| command.clone().apply(&mut view.state.clone(), view.state.time());
        let view = self.cluster.view();
        match tried(&view) {
            Ok(Outcome::NodeAdmitted { node }) if view.state.nodes().get(&node).is_some() => {
                Some(Ok(Outcome::NodeAdmitted { node }))
            }
            Ok(Outcome::NodeReplaced { node, replaced }) if view.state.nodes().get(&node).is_some() => {
                Some(Ok(Outcome::NodeReplaced { node, replaced }))
            }
            Ok(Outcome::JoinPending { token }) if view.state.pending_joins().get(&token).is_some() => {
                Some(Ok(Outcome::JoinPending { token }))
            }
            Err(_) if self.refusals_in_log(token) >= REFUSALS_IN_LOG => {
                // This node's view may be old; only what holds for all of the log is said without it.
                if let Err(error) = self.cluster.read_index(CONFIRM_DEADLINE).await {
                    return Some(Err(not_confirmed(&error)));
                }
                tried(&self.cluster.view()).err().map(|refusal| Err(refusal.into()))
            }
            _ => None,
        }
    }

    fn refusals_in_log(&self, token: TokenId) -> u32 {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).get(&token).copied().unwrap_or(0)
    }

    fn refused_in_log(&self, token: TokenId) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &self.cluster.view().state;
        refused.retain(|id, _| known.tokens().get(id).is_some());
        *refused.entry(token).or_default() += 1;
    }

    /// Waits a while for an administrator's decision. The id of the node, if it is accepted.
    async fn accepted(&self, token: TokenId, name: &NodeName, wait: Duration) -> Result<NodeId, ApiError> {
        if wait.is_zero() {
            tracing::info!(%name, %token, "a node waits to be accepted");
        }
        let decision = || {
            let view = self.cluster.view();
            view.state.pending_joins().get(&token).map(|pending| pending.decision.clone())
        };
        let mut applied = self.cluster.views().subscribe();
        let decided = applied.wait_for(|_| decision().is_none_or(|known| known != JoinDecision::Waiting));
        let _ = tokio::time::timeout(wait.min(DECISION_DEADLINE), decided).await;
        match decision() {
            Some(JoinDecision::Accepted { node, .. }) => Ok(node),
            Some(JoinDecision::Refused { by, at }) => {
                Err(Refusal::JoinRefused { name: name.clone(), by, at }.into())
            }
            Some(JoinDecision::Waiting) => Err(ApiError::new(
                ErrorKind::Unavailable,
                "join_pending",
                format!("{name} waits to be accepted by an administrator"),
                format!(
                    "`quorate node accept {name}` on a Management Server lets it in; then repeat this command"
                ),
            )),
            None => Err(Refusal::NoPendingJoin(token).into()),
        }
    }

    /// The id of the node that is to be replaced, if it is away. A repeat by a joiner that was admitted, and
    /// did not hear of it, names its own id: the log knows its token.
    async fn replaceable(
        &self,
        name: &NodeName,
        token: &JoinToken,
        key: NodePublicKey,
    ) -> Result<NodeId, ApiError> {
        let view = self.cluster.view();
        // A token for any node of a role is handed to those who set up new ones: it takes nobody's place.
        let purpose = view.state.tokens().get(&token.id).map(|known| known.purpose.clone());
        if !matches!(purpose, Some(TokenPurpose::Join { name: Some(of), .. }) if of == *name) {
            return Err(ApiError::new(
                ErrorKind::Refused,
                "token_not_for_replacing",
                format!("the token {} was not made for {name} by its name: it replaces no node", token.id),
                format!(
                    "`quorate token create --role ROLE --name {name}` on a Management Server makes one that does"
                ),
            ));
        }
        let Some(old) = view.state.node_named(name) else {
            let mut gone: Vec<_> =
                view.state.tombstones().values().filter(|gone| gone.name == *name).collect();
            gone.sort_by_key(|gone| gone.removed_at);
            return Err(match gone.last() {
                Some(gone) => Refusal::NodeRemoved { node: name.clone(), at: gone.removed_at }.into(),
                None => ApiError::new(
                    ErrorKind::Refused,
                    "node_unknown",
                    format!("no node of the cluster has the name {name}"),
                    "`quorate node list` shows the names; a further node joins without --replace",
                ),
            });
        };
        let used_by_joiner = view.state.tokens().get(&token.id).is_some_and(
            |known| matches!(&known.state, TokenState::Used { node, key: used } if *node == old.id && *used == key),
        );
        if used_by_joiner {
            return Ok(old.id);
        }
        let patience = (self.cluster.absent_after() + AWAY_MARGIN).min(AWAY_AT_MOST);
        let give_up = tokio::time::Instant::now() + patience;
        loop {
            let (presence, states) =
                tokio::join!(self.cluster.presence(), self.cluster.ask_node_states([old.id].into_iter()));
            let answers = states.values().any(Option::is_some) || old.id == self.own.node_id;
            let online = presence.and_then(|nodes| nodes.get(&old.id).copied().unwrap_or(Some(false)));
            let given_up = tokio::time::Instant::now() >= give_up;
            match online {
                Some(false) if !answers => return Ok(old.id),
                None if !answers && given_up => return Err(nobody_can_tell(name)),
                _ => {}
            }
            if answers || given_up {
                return Err(ApiError::new(
                    ErrorKind::Refused,
                    "node_answers",
                    format!("{name} is online; only a node that is away can be replaced"),
                    format!(
                        "stop {name} first if its data is to be given up; a living node that leaves is removed with \
                         `quorate node remove {name}`"
                    ),
                ));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The role that a token is for, and whether it needs approval, if the joiner was given it. A token that was made
    /// a moment ago may not be here yet. Whether it still counts is said by the log's own check.
    async fn token_role(&self, token: &JoinToken, key: NodePublicKey) -> Result<(NodeRole, bool), ApiError> {
        let mut applied = self.cluster.views().subscribe();
        let known = || self.cluster.view().state.tokens().get(&token.id).is_some();
        let _ = tokio::time::timeout(TOKEN_DEADLINE, applied.wait_for(|_| known())).await;
        let view = self.cluster.view();
        let shown = secret_hash(&token.secret);
        let known = view.state.tokens().get(&token.id);
        let known = known.filter(|known| bool::from(known.secret_hash.ct_eq(&shown)));
        // What is over stays over: whoever holds such a token writes nothing into the log. Of a node that waits, or was
        // decided on, the log knows more.
        let waits = view.state.pending_joins().get(&token.id).is_some();
        match known.map(|known| &known.state).filter(|_| !waits) {
            Some(TokenState::Revoked) => return Err(Refusal::TokenRevoked(token.id).into()),
            Some(TokenState::Used { node, key: used }) if *used != key => {
                return Err(Refusal::TokenUsed { token: token.id, node: *node }.into());
            }
            Some(TokenState::Open) if known.is_some_and(|known| view.state.time() >= known.expires_at) => {
                return Err(Refusal::TokenExpired(token.id).into());
            }
            _ => {}
        }
        match known.map(|known| &known.purpose) {
            Some(TokenPurpose::Join { role, .. }) => Ok((*role, false)),
            Some(TokenPurpose::JoinWithApproval { role, .. }) => Ok((*role, true)),
            Some(TokenPurpose::Admin { .. } | TokenPurpose::Viewer { .. }) => {
                Err(Refusal::TokenNotForJoin(token.id).into())
            }
            None => Err(Refusal::TokenUnknown.into()),
        }
    }
}

fn nobody_can_tell(name: &NodeName) -> ApiError {
    ApiError::new(
        ErrorKind::Unavailable,
        "no_leader",
        format!("there is no leader at this moment that could tell whether {name} is away"),
        "ask again in a few seconds",
    )
}

fn internal(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::Internal, "internal", error.to_string(), "see the log of this Management Server")
}

/// An outcome that does not belong to the command. Can't happen while `apply` is right.
pub(super) fn unexpected(outcome: &Outcome) -> ApiError {
    internal(&format!("the cluster answered another question: {outcome:?}"))
}

impl From<PkiError> for ApiError {
    fn from(error: PkiError) -> Self {
        internal(&error)
    }
}
