//! Activation: from an administrator's wish to a license on every node.
//!
//! ```text
//! plan ─ confirm ─> guards ─> intent (committed) ─> statements of all nodes ─> signatures of all
//! Management Servers ─> request (committed) ─> portal ─> checks ─> license (committed)
//! ```
//!
//! Led by the first license node, whoever leads Raft. Until the request is committed nothing has
//! left the cluster. From then on every retry sends the same bytes, so the portal answers it once.

mod gather;
mod lead;
mod plan;
mod portal;

use quorate_license::{ActivationKey, ActivationKind, Nonce, Serial, SupportId, TenantId};

pub use lead::Activations;
pub use plan::{Plan, PlannedNode};

use quorate_license::NodeId;

use crate::api::Caller;

/// What an administrator asks for.
#[derive(Debug)]
pub struct ActivationRequest {
    /// What it is for.
    pub kind: ActivationKind,
    /// Whose license it gets.
    pub tenant: TenantId,
    /// The key that came with the order.
    pub activation_key: ActivationKey,
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
            Event::RequestRecorded => "The request is recorded; asking the License Portal.".to_owned(),
            Event::PortalAnswered => "The License Portal has answered; its signatures are good.".to_owned(),
            Event::Installed(Installed { support_id, serial, .. }) => {
                format!("The license is committed: Support ID {support_id}, serial {serial}.")
            }
            Event::Distributed { missing, .. } if missing.is_empty() => "Every node has it.".to_owned(),
            Event::Distributed { missing, .. } => {
                format!("Not confirmed yet by {}; they get it as soon as they can.", missing.join(", "))
            }
        }
    }
}
