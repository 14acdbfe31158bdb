//! Who calls: nodes by their certificates, administrators by their tokens or their own socket, and what one node
//! tells another of whoever asks on it. Who may call what is in [`super::access`].

use std::sync::{Arc, OnceLock};

use axum::http::{Extensions, HeaderMap};
use quorate_license::{NodeId, NodeRole};
use quorate_raft_store::{
    Refusal, State, Views,
    audit::{Actor, AskedBy, Face},
    codec,
    state::StartId,
};
use tonic::{
    Request, Status,
    metadata::{MetadataMap, MetadataValue},
};

use super::{ApiError, ErrorKind, bearer::check_token, error::status_parts};
use crate::{clock::ClusterClock, cluster::Clones, data_dir::NodeFile, net::PeerInfo, pki::Flaw};

const CLUSTER: &str = "quorate-cluster";
const EPOCH: &str = "quorate-epoch";
const FROM: &str = "quorate-from";
const TO: &str = "quorate-to";
const START: &str = "quorate-start";
const ADDRESS: &str = "quorate-address";
const VETTING: &str = "quorate-vetting";
const ON_BEHALF: &str = "quorate-on-behalf";
const ASKED_BY: &str = "quorate-asked-by";
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

/// Says that a call is made in order to find out who a node is: whoever answers it looks no further.
pub fn vetting(metadata: &mut MetadataMap) {
    insert(metadata, VETTING, "1");
}

fn insert(metadata: &mut MetadataMap, key: &'static str, value: &str) {
    if let Ok(value) = MetadataValue::try_from(value) {
        metadata.insert(key, value);
    }
}

fn text<'a>(headers: &'a HeaderMap, key: &str) -> Option<&'a str> {
    headers.get(key).and_then(|value| value.to_str().ok())
}

fn needs_certificate() -> Status {
    Status::unauthenticated("this call needs a node certificate of the cluster")
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
    clock: ClusterClock,
    clones: Option<Arc<Clones>>,
}

/// Who a call says that it comes from, to be looked at by [`NodeGate::vetted`].
pub struct Asked {
    caller: Result<NodeCaller, Status>,
    start: Option<OwnStart>,
    address: String,
}

/// The address that a caller tells, or else the one that its connection comes from.
fn address(peer: Option<&PeerInfo>, headers: &HeaderMap) -> String {
    let told = text(headers, ADDRESS).filter(|address| address.len() <= 262 && !address.is_empty());
    let remote = || match peer {
        Some(PeerInfo::Tcp { address, .. }) => address.ip().to_string(),
        _ => String::new(),
    };
    told.map_or_else(remote, str::to_owned)
}

impl NodeGate {
    /// The gate of this node.
    pub fn new(own: Arc<NodeFile>, views: Arc<Views>, clock: ClusterClock) -> Self {
        NodeGate { own, views, clock, clones: None }
    }

    /// The gate that also looks at starts which the log does not know.
    pub fn watching(self, clones: Arc<Clones>) -> Self {
        NodeGate { clones: Some(clones), ..self }
    }

    /// What a call says of who makes it.
    pub fn asked<T>(&self, request: &Request<T>) -> Asked {
        let headers: &HeaderMap = request.metadata().as_ref();
        Asked {
            caller: self.node(request),
            start: text(headers, START).and_then(OwnStart::parse),
            address: address(request.extensions().get::<PeerInfo>(), headers),
        }
    }

    /// As [`NodeGate::node`], and a start that the log does not know is let in only if nobody else is that node.
    ///
    /// # Errors
    /// As [`NodeGate::node`], and `data_directory_cloned`.
    pub async fn vetted(&self, asked: Asked) -> Result<NodeCaller, Status> {
        let caller = asked.caller?;
        if let (Some(clones), Some(start)) = (&self.clones, asked.start) {
            clones.vet(caller.node, start, &asked.address).await?;
        }
        Ok(caller)
    }

    /// Notes who was refused, if it is a start of a node that is over: a copy, or a node that was rolled back.
    pub(super) async fn refused(&self, status: &Status, extensions: &Extensions, headers: &HeaderMap) {
        let code = status_parts(status).map(|parts| parts.code);
        let is_start = matches!(code.as_deref(), Some("node_start_outdated" | "node_start_repeated"));
        let peer = extensions.get::<PeerInfo>();
        let node = match peer {
            Some(PeerInfo::Tcp { identity: Some(identity), .. }) => identity.node,
            _ => return,
        };
        let start = text(headers, START).and_then(OwnStart::parse);
        let (Some(clones), Some(start)) = (&self.clones, start) else { return };
        if is_start && text(headers, VETTING).is_none() {
            clones.outdated(node, start, &address(peer, headers)).await;
        }
    }

    /// The node that calls. Every call is looked at before its message is read; this is what was found.
    ///
    /// # Errors
    /// Unauthenticated, if the call is open to others than nodes and none calls.
    pub fn node<T>(&self, request: &Request<T>) -> Result<NodeCaller, Status> {
        request.extensions().get::<NodeCaller>().copied().ok_or_else(needs_certificate)
    }

    /// Who calls, by its certificate, which must agree with what the request names. A node that was taken
    /// out is refused, and so is a copy of a member's data directory.
    ///
    /// # Errors
    /// A status that names the stranger, `node_removed`, `node_start_outdated` or `node_start_repeated`.
    pub(super) fn identify(
        &self,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) -> Result<NodeCaller, Status> {
        let (identity, flaw) = match extensions.get::<PeerInfo>() {
            Some(PeerInfo::Tcp { identity: Some(identity), flaw, .. }) => (*identity, flaw),
            _ => return Err(needs_certificate()),
        };
        let own = &self.own;
        if identity.cluster_id != own.cluster_id || identity.epoch_number != own.epoch.number {
            return Err(Status::permission_denied(format!(
                "the certificate is of cluster {}, epoch {}; this node is of cluster {}, epoch {}",
                identity.cluster_id, identity.epoch_number, own.cluster_id, own.epoch.number
            )));
        }
        if let Some(flaw) = flaw {
            return Err(self.flawed(identity.node, flaw).into());
        }
        let differs = |key, own: String| text(headers, key).is_some_and(|value| value != own);
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
                text(headers, FROM).unwrap_or_default()
            )));
        }
        if differs(TO, own.node_id.to_string()) {
            return Err(Status::failed_precondition(format!(
                "this is node {}, the call is for node {}",
                own.node_id,
                text(headers, TO).unwrap_or_default()
            )));
        }
        let start = text(headers, START).and_then(OwnStart::parse);
        check_member(&self.views.current().state, identity.node, start)?;
        Ok(NodeCaller { node: identity.node, role: identity.role })
    }

    /// What a node hears whose brought certificate does not count here.
    fn flawed(&self, node: NodeId, flaw: &Flaw) -> ApiError {
        let view = self.views.current();
        let row = view.state.nodes().get(&node);
        let name = row.map_or_else(|| format!("node {node}"), |row| format!("{} (node {node})", row.name));
        ApiError::new(
            ErrorKind::Denied,
            flaw.code(),
            format!("{} does not let {name} in: {flaw}", self.own.name),
            flaw.hint(),
        )
    }

    /// That a node which asks for a certificate is a member and no copy of one. A certificate that it shows must be
    /// its own. One that has ended can't be shown, one that does not count here proves nothing: then the node's signature
    /// alone has to prove who it is.
    ///
    /// # Errors
    /// As [`NodeGate::node`].
    pub fn asks_for_certificate<T>(&self, request: &Request<T>, node: NodeId) -> Result<(), Status> {
        if let Some(PeerInfo::Tcp { identity: Some(_), flaw: None, .. }) =
            request.extensions().get::<PeerInfo>()
        {
            return match self.node(request)?.node {
                caller if caller == node => Ok(()),
                caller => Err(Status::permission_denied(format!("node {caller} asks for node {node}"))),
            };
        }
        let headers: &HeaderMap = request.metadata().as_ref();
        let own = self.own.cluster_id.to_string();
        if text(headers, CLUSTER) != Some(own.as_str()) {
            return Err(Status::permission_denied(format!("this node is of cluster {own}")));
        }
        let start = text(headers, START).and_then(OwnStart::parse);
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

/// What somebody may do who asks on an administrators' face.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Read.
    Viewer,
    /// Everything.
    Administrator,
}

/// Who asks on an administrators' face.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who, in words, for records and logs.
    pub name: String,
    /// What it may do.
    pub access: Access,
    /// Who and from where, for the audit.
    pub asked_by: AskedBy,
}

/// Finds out who asks, on an administrators' face of this node.
///
/// # Errors
/// Unauthenticated, if the face needs a token and there is none; denied, if the token is not valid, or the
/// socket was opened by another user.
pub(super) fn caller(
    (extensions, headers): (&Extensions, &HeaderMap),
    own: &NodeFile,
    gate: &NodeGate,
    face: Face,
) -> Result<Caller, ApiError> {
    let here = |actor, address| AskedBy { actor, node: own.node_id, face, address };
    let view = gate.views.current();
    let peer = extensions.get::<PeerInfo>();
    let node = match peer {
        Some(PeerInfo::Tcp { identity: Some(_), .. }) => {
            Some(gate.identify(extensions, headers).map_err(|status| stranger(&status))?)
        }
        Some(PeerInfo::Local { uid }) => {
            owner(*uid)?;
            None
        }
        _ => None,
    };
    let address = match peer {
        Some(PeerInfo::Tcp { address, .. }) => Some(address.to_string()),
        _ => None,
    };
    // What a node tells of whoever asked it: a Management Server's word counts, a Spooler Controller's only of itself.
    let told = node.and_then(|node| {
        told(headers).filter(|told| node.role == NodeRole::Management || told.node == node.node)
    });
    if let Some(token) = bearer(headers) {
        let (id, name, access) = check_token(token, &view.state, gate.clock.now())?;
        let actor = Actor::Token(id);
        let asked_by = match (told, node) {
            (Some(told), _) => AskedBy { actor, ..told },
            (None, Some(node)) => AskedBy { actor, node: node.node, face: Face::NodePort, address: None },
            (None, None) => here(actor, address),
        };
        return Ok(Caller { name, access, asked_by });
    }
    match (peer, node) {
        (Some(PeerInfo::Local { uid }), _) => {
            let administers = own.role == NodeRole::Management;
            Ok(Caller {
                name: format!("local administrator on {}", own.name),
                access: if administers { Access::Administrator } else { Access::Viewer },
                asked_by: here(Actor::Local { uid: *uid }, None),
            })
        }
        (_, Some(node)) => on_behalf(headers, node, told).ok_or_else(needs_token),
        _ => Err(needs_token()),
    }
}

/// Somebody with a certificate that doesn't count here is refused by name, token or not.
fn stranger(status: &Status) -> ApiError {
    let code = super::status_parts(status).map_or_else(|| "stranger".to_owned(), |parts| parts.code);
    ApiError::new(ErrorKind::Denied, &code, status.message(), "ask without a node certificate, by a token")
}

/// The admin socket is for the user that the agent runs as, and for root.
fn owner(uid: Option<u32>) -> Result<(), ApiError> {
    let own = nix::unistd::geteuid().as_raw();
    match uid {
        Some(uid) if uid == own || uid == 0 => Ok(()),
        other => Err(ApiError::new(
            ErrorKind::Denied,
            "other_user",
            format!(
                "the admin socket was opened by the user {}, the agent runs as {own}",
                other.map_or_else(|| "unknown".to_owned(), |uid| uid.to_string())
            ),
            "run the command as the user that the node runs as, or as root",
        )),
    }
}

/// A Management Server vouches for an administrator on its own socket; nobody else can.
fn on_behalf(headers: &HeaderMap, node: NodeCaller, told: Option<AskedBy>) -> Option<Caller> {
    let name = text(headers, ON_BEHALF).filter(|_| node.role == NodeRole::Management)?;
    // An agent of an older version tells the name alone.
    let asked_by = match told {
        Some(told) if matches!(told.actor, Actor::Local { .. }) => told,
        Some(_) => return None,
        None => AskedBy {
            actor: Actor::Local { uid: None },
            node: node.node,
            face: Face::AdminSocket,
            address: None,
        },
    };
    Some(Caller { name: name.to_owned(), access: Access::Administrator, asked_by })
}

/// What another node tells of whoever asked it.
fn told(headers: &HeaderMap) -> Option<AskedBy> {
    let text = headers.get(ASKED_BY)?.as_bytes();
    let record = data_encoding::HEXLOWER.decode(text).ok()?;
    codec::decode(&record).ok()
}

fn needs_token() -> ApiError {
    ApiError::new(
        ErrorKind::Unauthenticated,
        "token_required",
        "this needs an administrator's token",
        "give it with --token-file FILE, or in the header 'Authorization: Bearer TOKEN'; \
         `quorate token create --admin LABEL` on a Management Server makes one",
    )
}

/// An error for somebody who may read only.
pub(super) fn denied(caller: &Caller, what: &str) -> ApiError {
    match caller.asked_by.actor {
        Actor::Token(id) => ApiError::new(
            ErrorKind::Denied,
            "denied",
            format!("{what} needs an administrator's token; {id} is a viewer's, which lets its bearer read"),
            "`quorate token create --admin LABEL` on a Management Server makes one",
        ),
        _ => ApiError::new(
            ErrorKind::Denied,
            "denied",
            format!("{what} needs an administrator's token on a Spooler Controller"),
            "give it with --token-file FILE, or ask on a Management Server",
        ),
    }
}

/// The token that a request carries.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    text(headers, AUTHORIZATION)?.strip_prefix("Bearer ")
}

/// Carries who asks over to another node: the token itself, or this Management Server's word.
pub(super) fn carry(caller: &Caller, token: Option<&str>, metadata: &mut MetadataMap) {
    if let Ok(record) = codec::encode(&caller.asked_by) {
        insert(metadata, ASKED_BY, &data_encoding::HEXLOWER.encode(&record));
    }
    match token {
        Some(token) => {
            if let Ok(mut value) = MetadataValue::try_from(format!("Bearer {token}")) {
                value.set_sensitive(true);
                metadata.insert(AUTHORIZATION, value);
            }
        }
        None if caller.access == Access::Administrator => {
            let ascii = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
            insert(metadata, ON_BEHALF, &caller.name.chars().map(ascii).collect::<String>());
        }
        None => {}
    }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
