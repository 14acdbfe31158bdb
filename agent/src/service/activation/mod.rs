//! Activation: from an administrator's wish to a license on every node.
//!
//! ```text
//! plan ─ confirm ─> guards ─> intent (committed) ─> statements of all nodes ─> signatures of all
//! Management Servers ─> request (committed) ─> portal ─> checks ─> license (committed)
//! ```
//!
//! Led by the first license node, whoever leads Raft. Until the request is committed nothing has
//! left the cluster. From then on every retry sends the same bytes, so the portal answers it once.
//!
//! Offline, the administrator is the way to the portal: `activate` ends with the request, [`Activations::install`]
//! begins with the answer, days later and on any node.

mod finish;
mod gather;
mod install;
mod lead;
mod plan;
mod portal;

use std::fmt;

use quorate_license::{ActivationKey, ActivationKind, NodeId, Nonce, Serial, SupportId, TenantId};
use quorate_raft_store::state::Method;
use zeroize::Zeroizing;

pub use install::InstalledKey;
pub use lead::Activations;
pub use plan::{Plan, PlannedNode};
pub(super) use portal::Portal;

use crate::api::Caller;

/// What an administrator asks for.
#[derive(Debug)]
pub struct ActivationRequest {
    /// What it is for.
    pub kind: ActivationKind,
    /// Whose license it gets.
    pub tenant: TenantId,
    /// How the portal is asked.
    pub method: Method,
    /// Offline: a new integrity key even if the open activation has one for the same.
    pub renew: bool,
    /// The key that came with the order, if the kind takes one.
    pub activation_key: Option<ActivationKey>,
    /// The nodes that the administrator confirmed, in the plan's order.
    pub confirmed: Vec<NodeId>,
    /// Who asks.
    pub caller: Caller,
}

/// A step of an activation that has been taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The intent is committed.
    IntentCommitted(Nonce),
    /// An activation that was open is taken up again.
    Resumed(Nonce),
    /// All nodes have signed their statements.
    StatementsSigned(usize),
    /// All Management Servers have signed the integrity key.
    IntegrityKeySigned(usize),
    /// The request is committed; the portal is asked next.
    RequestRecorded,
    /// The portal has answered, and the answer is good.
    PortalAnswered,
    /// The license is installed.
    Installed(Installed),
    /// The last step: every bound node has the license, or `missing` have not confirmed it in time.
    Distributed {
        /// What was installed.
        installed: Installed,
        /// Names of nodes.
        missing: Vec<String>,
    },
    /// The last step of an offline activation: what the administrator brings to the portal.
    IntegrityKey(Offline),
}

/// What an administrator brings to the portal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offline {
    /// The activation.
    pub nonce: Nonce,
    /// What it is for.
    pub kind: ActivationKind,
    /// The request.
    pub integrity_key: IntegrityKeyText,
    /// The portal's page for it, if a portal is configured.
    pub page_url: Option<String>,
    /// Earlier activations whose license keys are not accepted any more.
    pub superseded: Vec<Nonce>,
    /// Whether it had been made before and is shown again.
    pub again: bool,
}

/// An integrity key's text. It may hold an activation key, and prints as redacted.
#[derive(Clone, PartialEq, Eq)]
pub struct IntegrityKeyText(pub Zeroizing<String>);

impl fmt::Debug for IntegrityKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IntegrityKeyText(redacted)")
    }
}

/// A license that was installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The activation.
    pub nonce: Nonce,
    /// The installation.
    pub support_id: SupportId,
    /// The binding's serial.
    pub serial: Serial,
}

impl Event {
    /// The step's stable name.
    pub fn name(&self) -> &'static str {
        match self {
            Event::IntentCommitted(_) => "intent",
            Event::Resumed(_) => "resumed",
            Event::StatementsSigned(_) => "statements",
            Event::IntegrityKeySigned(_) => "signatures",
            Event::RequestRecorded => "request",
            Event::PortalAnswered => "portal",
            Event::Installed(_) => "installed",
            Event::Distributed { .. } => "distributed",
            Event::IntegrityKey(_) => "integrity_key",
        }
    }

    /// The step in plain words.
    pub fn words(&self) -> String {
        match self {
            Event::IntentCommitted(nonce) => format!("The intent is committed (activation {nonce})."),
            Event::Resumed(nonce) => format!("Activation {nonce} was open and is taken up again."),
            Event::StatementsSigned(nodes) => format!("Every node has signed what it is ({nodes})."),
            Event::IntegrityKeySigned(nodes) => {
                format!("Every Management Server has signed the integrity key ({nodes}).")
            }
            Event::RequestRecorded => "The request is recorded; the License Portal is next.".to_owned(),
            Event::PortalAnswered => "The License Portal has answered; its signatures are good.".to_owned(),
            Event::Installed(Installed { support_id, serial, .. }) => {
                format!("The license is committed: Support ID {support_id}, serial {serial}.")
            }
            Event::Distributed { missing, .. } if missing.is_empty() => "Every node has it.".to_owned(),
            Event::Distributed { missing, .. } => {
                format!("Not confirmed yet by {}; they get it as soon as they can.", missing.join(", "))
            }
            Event::IntegrityKey(_) => "The integrity key is ready.".to_owned(),
        }
    }
}
