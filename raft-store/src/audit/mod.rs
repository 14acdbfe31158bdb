//! The audit: every change that somebody asked for is recorded, with who, from where, what, when and outcome.
//!
//! ```text
//! Proposal { asked_by, command } ─> Asked ─ may? ─> command.apply ─> record ─> hash of the one before + fields
//! ```
//!
//! `apply` itself writes the records, so no command can be left out: `particulars::of` lists every one. Refused
//! changes are recorded as well. What nobody asked for is not: ticks, nodes' reports, the feature level.
//!
//! Records begin with feature level 3, since older members would not write them. The newest [`KEEP`] are kept; of those
//! before them the [anchor](AuditAnchor) stays, so what is kept can still be verified.

mod chain;
mod particulars;

use quorate_license::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

pub use chain::{BrokenChain, Verifier, hash};

use crate::{
    command::Command,
    proposal::Answer,
    refusal::Refusal,
    state::{AuditAnchor, AuditRecord, Only, State, TokenId, TokenPurpose},
};

/// Records that are kept.
pub const KEEP: usize = 10_000;
/// So many more may be there before the surplus is dropped at once: the anchor is written seldom.
const SURPLUS: usize = 32;
/// The feature level from which on there are records.
const LEVEL: u32 = 3;
/// The longest value among a record's particulars, in bytes.
const MAX_VALUE_BYTES: usize = 256;

/// Who asked for a change, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedBy {
    /// Who.
    pub actor: Actor,
    /// The node that was asked.
    pub node: NodeId,
    /// The face of it that was asked.
    pub face: Face,
    /// Where the request came from, over TCP.
    pub address: Option<String>,
}

/// Who asked for a change. Append-only: the order of the variants is the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// The proposal does not tell.
    Unstated,
    /// The node itself, such as one that finishes what was left open.
    Node,
    /// Somebody who may open the node's admin socket.
    Local {
        /// The user id of the process, if the system tells.
        uid: Option<u32>,
    },
    /// The bearer of this administrator's token.
    Token(TokenId),
    /// The bearer of this join token.
    Joiner(TokenId),
}

/// Which face of a node was asked. Append-only: the order of the variants is the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Face {
    /// None: the node itself wants it.
    Itself,
    /// The administrators' Unix socket.
    AdminSocket,
    /// The node-to-node port.
    NodePort,
    /// The management port.
    ManagementPort,
}

impl AskedBy {
    /// The node itself wants it.
    pub fn node(node: NodeId) -> Self {
        AskedBy { actor: Actor::Node, node, face: Face::Itself, address: None }
    }
}

impl Actor {
    /// The stable word for the kind of actor.
    pub fn as_str(&self) -> &'static str {
        match self {
            Actor::Unstated => "unstated",
            Actor::Node => "node",
            Actor::Local { .. } => "local",
            Actor::Token(_) => "token",
            Actor::Joiner(_) => "joiner",
        }
    }
}

impl Face {
    /// All of them.
    pub const ALL: [Face; 4] = [Face::Itself, Face::AdminSocket, Face::NodePort, Face::ManagementPort];

    /// The stable word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Face::Itself => "itself",
            Face::AdminSocket => "admin_socket",
            Face::NodePort => "node_port",
            Face::ManagementPort => "management_port",
        }
    }
}

/// A command and who asked for it, while it is being applied.
pub(crate) struct Asked {
    asked_by: Option<AskedBy>,
    /// The command's name and what it is about; none if nobody asks for such a command.
    what: Option<(&'static str, Vec<(String, String)>)>,
}

impl Asked {
    /// What is to be recorded of a command.
    pub(crate) fn of(state: &State, asked_by: Option<AskedBy>, command: &Command) -> Self {
        let recorded = level(state).is_none_or(|level| level >= LEVEL);
        let what = if recorded { particulars::of(command) } else { None };
        Asked { asked_by, what: what.map(|what| (command.name(), what)) }
    }

    /// Whether who asks still may make changes: a revoked token lets nobody in from the revocation's entry on.
    ///
    /// # Errors
    /// [`Refusal::AskerTokenInvalid`], [`Refusal::AskerMayNotChange`].
    pub(crate) fn may(&self, state: &State, now: Timestamp) -> Result<(), Refusal> {
        let Some(AskedBy { actor: Actor::Token(id), .. }) = &self.asked_by else { return Ok(()) };
        match state.tokens.get(id) {
            Some(token) if !token.is_valid(now) => Err(Refusal::AskerTokenInvalid(*id)),
            Some(token) => match &token.purpose {
                TokenPurpose::Admin { .. } => Ok(()),
                TokenPurpose::Viewer { .. }
                | TokenPurpose::Join { .. }
                | TokenPurpose::JoinWithApproval { .. } => Err(Refusal::AskerMayNotChange(*id)),
            },
            None => Err(Refusal::AskerTokenInvalid(*id)),
        }
    }

    /// Puts the record.
    pub(crate) fn record(self, state: &mut State, answer: &Answer, now: Timestamp) {
        let Some((command, mut particulars)) = self.what else { return };
        if level(state).is_none_or(|level| level < LEVEL) {
            return;
        }
        for (_, value) in &mut particulars {
            shorten(value);
        }
        let unstated =
            || AskedBy { actor: Actor::Unstated, node: NodeId::default(), face: Face::Itself, address: None };
        let AskedBy { actor, node, face, mut address } = self.asked_by.unwrap_or_else(unstated);
        if let Some(address) = &mut address {
            shorten(address);
        }
        let node_name = name_of(state, node);
        let who = words(state, actor, &node_name);
        let (last, previous) = match state.audit.last() {
            Some((number, record)) => (*number, record.hash),
            None => {
                let AuditAnchor { number, hash } = state.audit_anchor();
                (number, hash)
            }
        };
        let mut record = AuditRecord {
            number: last + 1,
            at: now,
            revision: answer.revision,
            actor,
            who,
            node,
            node_name,
            face,
            address,
            command: command.to_owned(),
            particulars,
            refusal: answer.result.as_ref().err().map(|refusal| refusal.code().to_owned()),
            hash: [0; 32],
        };
        record.hash = hash(&previous, &record);
        state.audit.put(record.number, record);
        drop_surplus(state);
    }
}

fn level(state: &State) -> Option<u32> {
    state.cluster().map(|cluster| cluster.feature_level)
}

/// Drops the oldest records, when there are enough of them to be worth a new anchor.
fn drop_surplus(state: &mut State) {
    if state.audit.len() < KEEP + SURPLUS {
        return;
    }
    let mut anchor = state.audit_anchor();
    while state.audit.len() > KEEP {
        let Some((&number, record)) = state.audit.first() else { break };
        anchor = AuditAnchor { number, hash: record.hash };
        state.audit.remove(&number);
    }
    state.audit_anchor.put(Only, anchor);
}

fn name_of(state: &State, node: NodeId) -> String {
    let member = state.nodes.get(&node).map(|node| node.name.to_string());
    member.or_else(|| state.tombstones.get(&node).map(|gone| gone.name.to_string())).unwrap_or_default()
}

fn words(state: &State, actor: Actor, node: &str) -> String {
    match actor {
        Actor::Unstated => "not stated".to_owned(),
        Actor::Node => format!("node {node}"),
        Actor::Local { .. } => format!("local administrator on {node}"),
        Actor::Token(id) => {
            let label = state.tokens.get(&id).and_then(|token| token.purpose.label());
            format!("{} (token {id})", label.unwrap_or("unknown"))
        }
        Actor::Joiner(id) => format!("joining node (token {id})"),
    }
}

/// Cuts what somebody else made long, at a character's boundary.
fn shorten(value: &mut String) {
    if value.len() > MAX_VALUE_BYTES {
        let end = (0..=MAX_VALUE_BYTES).rev().find(|end| value.is_char_boundary(*end)).unwrap_or(0);
        value.truncate(end);
    }
}
