//! Who may call what.
//!
//! | face | who | may |
//! |---|---|---|
//! | node-to-node port | any member of this cluster, by certificate | cluster calls; Raft if it is a Management Server |
//! | node-to-node port | no certificate | `Join`, with a token; administrators, with theirs |
//! | admin socket on a Management Server | its owner | everything |
//! | admin socket on a Spooler Controller | its owner | read; the rest with an administrator's token |
//! | product socket, loopback | the product | the license service |

use std::sync::{Arc, OnceLock};

use quorate_license::{NodeId, NodeRole, Timestamp};
use quorate_raft_store::{
    Refusal, State, Views,
    state::{StartId, TokenPurpose},
};
use subtle::ConstantTimeEq;
use tonic::{
    Request, Status,
    metadata::{MetadataMap, MetadataValue},
};

use super::{ApiError, ErrorKind, error::status_parts};
use crate::{
    clock,
    cluster::Clones,
    data_dir::NodeFile,
    net::PeerInfo,
    pki::{AdminToken, secret_hash},
};

const CLUSTER: &str = "quorate-cluster";
const EPOCH: &str = "quorate-epoch";
const FROM: &str = "quorate-from";
const TO: &str = "quorate-to";
const START: &str = "quorate-start";
const ADDRESS: &str = "quorate-address";
const ON_BEHALF: &str = "quorate-on-behalf";
const AUTHORIZATION: &str = "authorization";

/// Which start of the node's agent a process is. It tells a node from a copy of its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnStart {
    /// How often the agent has started, this start included.
    pub counter: u64,
    /// This start.
    pub id: StartId,
}

/// A process is one start of one node, and is reached at one address.
static OWN_START: OnceLock<(OwnStart, String)> = OnceLock::new();

impl OwnStart {
    /// Makes it known to every call that this process makes to other nodes, and where it is reached. Called once.
    pub fn announce(self, address: String) {
        // A second start within one process can't be: it stays the first.
        let _ = OWN_START.set((self, address));
    }

    fn parse(text: &str) -> Option<Self> {
        let (counter, id) = text.split_once('.')?;
        Some(OwnStart { counter: counter.parse().ok()?, id: id.parse().ok()? })
    }
}

/// Names cluster, epoch, sender, its start, and receiver in a request's metadata.
pub fn addressed(metadata: &mut MetadataMap, state: &State, from: NodeId, to: NodeId) {
    if let Some(cluster) = state.cluster() {
        insert(metadata, CLUSTER, &cluster.id.to_string());
        insert(metadata, EPOCH, &cluster.epoch.number.to_string());
    }
    insert(metadata, FROM, &from.to_string());
    insert(metadata, TO, &to.to_string());
    if let Some((start, address)) = OWN_START.get() {
        insert(metadata, START, &format!("{}.{}", start.counter, start.id));
        insert(metadata, ADDRESS, address);
    }
}

fn insert(metadata: &mut MetadataMap, key: &'static str, value: &str) {
    if let Ok(value) = MetadataValue::try_from(value) {
        metadata.insert(key, value);
    }
}

fn text<'a>(metadata: &'a MetadataMap, key: &str) -> Option<&'a str> {
    metadata.get(key).and_then(|value| value.to_str().ok())
}

/// A node of this cluster that calls, by its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeCaller {
    /// Which one.
    pub node: NodeId,
    /// Its role.
    pub role: NodeRole,
}

/// Lets nodes of this cluster in.
#[derive(Clone)]
pub struct NodeGate {
    own: Arc<NodeFile>,
    views: Arc<Views>,
    clones: Option<Arc<Clones>>,
}

/// Who a call says that it comes from, to be looked at by [`NodeGate::vetted`].
pub struct Asked {
    caller: Result<NodeCaller, Status>,
    node: Option<NodeId>,
    start: Option<OwnStart>,
    address: String,
}

impl NodeGate {
    /// The gate of this node.
    pub fn new(own: Arc<NodeFile>, views: Arc<Views>) -> Self {
        NodeGate { own, views, clones: None }
    }

    /// The gate that also looks at starts which the log does not know.
    pub fn watching(self, clones: Arc<Clones>) -> Self {
        NodeGate { clones: Some(clones), ..self }
    }

    /// What a call says of who makes it.
    pub fn asked<T>(&self, request: &Request<T>) -> Asked {
        let (node, remote) = match request.extensions().get::<PeerInfo>() {
            Some(PeerInfo::Tcp { identity, address }) => {
                (identity.map(|identity| identity.node), address.ip().to_string())
            }
            _ => (None, String::new()),
        };
        let metadata = request.metadata();
        let told = text(metadata, ADDRESS).filter(|address| address.len() <= 262 && !address.is_empty());
        Asked {
            caller: self.node(request),
            node,
            start: text(metadata, START).and_then(OwnStart::parse),
            address: told.map_or(remote, str::to_owned),
        }
    }

    /// As [`NodeGate::node`], and a start that the log does not know is let in only if nobody else is that node.
    ///
    /// # Errors
    /// As [`NodeGate::node`], and `data_directory_cloned`.
    pub async fn vetted(&self, asked: Asked) -> Result<NodeCaller, Status> {
        let (Some(clones), Some(start)) = (&self.clones, asked.start) else { return asked.caller };
        match (&asked.caller, asked.node) {
            (Ok(caller), _) => clones.vet(caller.node, start, &asked.address).await?,
            (Err(refused), Some(node)) => {
                let code = status_parts(refused).map(|parts| parts.code);
                if matches!(code.as_deref(), Some("node_start_outdated" | "node_start_repeated")) {
                    clones.outdated(node, start, &asked.address).await;
                }
            }
            _ => {}
        }
        asked.caller
    }

    /// Who calls, by its certificate, which must agree with what the request names. A node that was taken
    /// out is refused, and so is a copy of a member's data directory.
    ///
    /// # Errors
    /// A status that names the stranger, `node_removed`, `node_start_outdated` or `node_start_repeated`.
    pub fn node<T>(&self, request: &Request<T>) -> Result<NodeCaller, Status> {
        let identity = match request.extensions().get::<PeerInfo>() {
            Some(PeerInfo::Tcp { identity: Some(identity), .. }) => *identity,
            _ => return Err(Status::unauthenticated("this call needs a node certificate of the cluster")),
        };
        let own = &self.own;
        if identity.cluster_id != own.cluster_id || identity.epoch_number != own.epoch.number {
            return Err(Status::permission_denied(format!(
                "the certificate is of cluster {}, epoch {}; this node is of cluster {}, epoch {}",
                identity.cluster_id, identity.epoch_number, own.cluster_id, own.epoch.number
            )));
        }
        let metadata = request.metadata();
        let differs = |key, own: String| text(metadata, key).is_some_and(|value| value != own);
        if differs(CLUSTER, own.cluster_id.to_string()) || differs(EPOCH, own.epoch.number.to_string()) {
            return Err(Status::permission_denied(format!(
                "node {} asks for another cluster or epoch than this one, {}, epoch {}",
                identity.node, own.cluster_id, own.epoch.number
            )));
        }
        if differs(FROM, identity.node.to_string()) {
            return Err(Status::permission_denied(format!(
                "node {} claims to be node {}",
                identity.node,
                text(metadata, FROM).unwrap_or_default()
            )));
        }
        if differs(TO, own.node_id.to_string()) {
            return Err(Status::failed_precondition(format!(
                "this is node {}, the call is for node {}",
                own.node_id,
                text(metadata, TO).unwrap_or_default()
            )));
        }
        let start = text(metadata, START).and_then(OwnStart::parse);
        check_member(&self.views.current().state, identity.node, start)?;
        Ok(NodeCaller { node: identity.node, role: identity.role })
    }

    /// That a node which asks for a certificate is a member and no copy of one. A certificate that it shows must be
    /// its own; one that has ended can't be shown, and the node's signature alone has to prove who it is.
    ///
    /// # Errors
    /// As [`NodeGate::node`].
    pub fn asks_for_certificate<T>(&self, request: &Request<T>, node: NodeId) -> Result<(), Status> {
        if let Some(PeerInfo::Tcp { identity: Some(_), .. }) = request.extensions().get::<PeerInfo>() {
            return match self.node(request)?.node {
                caller if caller == node => Ok(()),
                caller => Err(Status::permission_denied(format!("node {caller} asks for node {node}"))),
            };
        }
        let own = self.own.cluster_id.to_string();
        if text(request.metadata(), CLUSTER) != Some(own.as_str()) {
            return Err(Status::permission_denied(format!("this node is of cluster {own}")));
        }
        let start = text(request.metadata(), START).and_then(OwnStart::parse);
        Ok(check_member(&self.views.current().state, node, start)?)
    }
}

/// That a node of this cluster is still a member, and that the one that calls is the one that the cluster
/// knows. A node that this state has not heard of yet may be a new one.
///
/// # Errors
/// Denied: `node_removed`, `node_start_outdated`, `node_start_repeated`.
fn check_member(state: &State, node: NodeId, start: Option<OwnStart>) -> Result<(), ApiError> {
    if state.is_gone(node) {
        return Err(removed(state, node));
    }
    let (Some(start), Some(known), Some(row)) = (start, state.starts().get(&node), state.nodes().get(&node))
    else {
        return Ok(());
    };
    if !known.outdates(start.counter, start.id) {
        return Ok(());
    }
    let name = row.name.clone();
    let refusal = if start.counter == known.counter {
        Refusal::NodeStartRepeated { node: name, counter: start.counter }
    } else {
        Refusal::NodeStartOutdated { node: name, current: known.counter, reported: start.counter }
    };
    Err(ApiError { kind: ErrorKind::Denied, ..refusal.into() })
}

/// What a node hears that was taken out: when, why, and what to do.
pub(crate) fn removed(state: &State, node: NodeId) -> ApiError {
    let message = match state.tombstones().get(&node) {
        Some(gone) => format!(
            "node {} ({node}) was taken out of the cluster on {}: {}",
            gone.name, gone.removed_at, gone.reason
        ),
        None => format!("node {node} was taken out of the cluster, longer ago than is remembered"),
    };
    ApiError::new(
        ErrorKind::Denied,
        "node_removed",
        message,
        "move its data directory away and run `quorate join` with a new token: it joins as a new node",
    )
}

/// Who asks as an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody who may do everything; who, in words.
    Administrator(String),
    /// Somebody on a Spooler Controller's admin socket, who may read.
    Reader,
}

impl Caller {
    /// Who asked, in words, for records and logs.
    pub(crate) fn name(&self) -> &str {
        match self {
            Caller::Administrator(name) => name,
            Caller::Reader => "local reader",
        }
    }
}

/// Finds out who asks, on an administrators' face.
///
/// # Errors
/// Unauthenticated, if the face needs a token and there is none; denied, if the token is not valid.
pub(crate) fn caller<T>(
    request: &Request<T>,
    own: &NodeFile,
    gate: &NodeGate,
    views: &Views,
) -> Result<Caller, ApiError> {
    if let Some(token) = bearer(request.metadata()) {
        return check_token(token, &views.current().state, clock::now());
    }
    match request.extensions().get::<PeerInfo>() {
        Some(PeerInfo::Local { .. }) if own.role == NodeRole::Management => {
            Ok(Caller::Administrator(format!("local administrator on {}", own.name)))
        }
        Some(PeerInfo::Local { .. }) => Ok(Caller::Reader),
        Some(PeerInfo::Tcp { identity: Some(_), .. }) => on_behalf(request, gate),
        _ => Err(needs_token()),
    }
}

/// A Management Server vouches for an administrator on its own socket; nobody else can.
fn on_behalf<T>(request: &Request<T>, gate: &NodeGate) -> Result<Caller, ApiError> {
    let vouched = gate.node(request).ok().filter(|caller| caller.role == NodeRole::Management);
    match (vouched, text(request.metadata(), ON_BEHALF)) {
        (Some(_), Some(name)) => Ok(Caller::Administrator(name.to_owned())),
        _ => Err(needs_token()),
    }
}

fn needs_token() -> ApiError {
    ApiError::new(
        ErrorKind::Unauthenticated,
        "token_required",
        "this needs an administrator's token",
        "give it with --token-file FILE; `quorate token create --admin LABEL` on a Management Server makes one",
    )
}

/// An error for somebody who may read only.
pub(crate) fn denied(what: &str) -> ApiError {
    ApiError::new(
        ErrorKind::Denied,
        "denied",
        format!("{what} needs an administrator's token on a Spooler Controller"),
        "give it with --token-file FILE, or ask on a Management Server",
    )
}

/// The token that a request carries.
pub(crate) fn bearer(metadata: &MetadataMap) -> Option<&str> {
    text(metadata, AUTHORIZATION)?.strip_prefix("Bearer ")
}

/// Whose token it is, if it is valid.
///
/// # Errors
/// Denied: malformed, unknown, expired, revoked, or no administrator's token.
pub(crate) fn check_token(token: &str, state: &State, now: Timestamp) -> Result<Caller, ApiError> {
    let refused = |message: &str| {
        ApiError::new(
            ErrorKind::Denied,
            "token_invalid",
            message,
            "`quorate token list` on a Management Server shows the valid ones",
        )
    };
    let token: AdminToken = token.parse().map_err(|_| refused("the administrator's token is malformed"))?;
    let hash = secret_hash(&token.secret);
    let found = state.tokens().get(&token.id).filter(|known| bool::from(known.secret_hash.ct_eq(&hash)));
    match found {
        Some(known) if !known.is_valid(state.time().max(now)) => {
            Err(refused("the administrator's token has expired or was revoked"))
        }
        Some(known) => match &known.purpose {
            TokenPurpose::Admin { label } => {
                Ok(Caller::Administrator(format!("{label} (token {})", known.id)))
            }
            TokenPurpose::Join { .. } | TokenPurpose::JoinWithApproval { .. } => {
                Err(refused("a join token does not make an administrator"))
            }
        },
        None => Err(refused("the administrator's token is not known to this cluster")),
    }
}

/// Carries who asks over to another node: the token itself, or this Management Server's word.
pub(crate) fn carry(caller: &Caller, token: Option<&str>, metadata: &mut MetadataMap) {
    match (token, caller) {
        (Some(token), _) => {
            if let Ok(mut value) = MetadataValue::try_from(format!("Bearer {token}")) {
                value.set_sensitive(true);
                metadata.insert(AUTHORIZATION, value);
            }
        }
        (None, Caller::Administrator(name)) => {
            let name: String =
                name.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
            insert(metadata, ON_BEHALF, &name);
        }
        (None, Caller::Reader) => {}
    }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
