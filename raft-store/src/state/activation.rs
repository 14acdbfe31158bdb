//! An activation's row: from intent to outcome.

use quorate_license::{ActivationKind, NodeId, Nonce, Serial, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::seal::Sealed;

/// One run of the activation procedure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Names it, here and at the portal.
    pub nonce: Nonce,
    /// What it is for.
    pub kind: ActivationKind,
    /// Whose license it gets.
    pub tenant: TenantId,
    /// How the portal is asked.
    pub method: Method,
    /// The nodes that it binds, confirmed by the administrator.
    pub nodes: Vec<NodeId>,
    /// Who asked for it, in words.
    pub requested_by: String,
    /// Last 5 characters of the activation key.
    pub key_last5: Option<String>,
    /// The activation key, sealed to the management key, until the request holds it.
    pub sealed_key: Option<Sealed>,
    /// Earlier activations that this one replaces.
    pub superseded: Vec<Nonce>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// How far it is.
    pub state: ActivationState,
}

impl Activation {
    /// Whether its outcome is still to come.
    pub fn is_open(&self) -> bool {
        matches!(self.state, ActivationState::Opened | ActivationState::Requested { .. })
    }

    /// When it ended, if it has.
    pub fn closed_at(&self) -> Option<Timestamp> {
        match self.state {
            ActivationState::Opened | ActivationState::Requested { .. } => None,
            ActivationState::Installed { at, .. }
            | ActivationState::Refused { at, .. }
            | ActivationState::Superseded { at, .. } => Some(at),
        }
    }
}

/// How the portal is asked. Append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// By the agent, over TLS.
    Online,
    /// By the administrator, by copy and paste.
    Offline,
}

/// How far an activation is. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActivationState {
    /// Committed; nothing was sent yet.
    Opened,
    /// The integrity key is made; from now on the portal may have seen it. A retry sends the same
    /// bytes.
    Requested {
        /// The integrity key's text, sealed to the management key.
        sealed_request: Sealed,
        /// When it was made.
        at: Timestamp,
    },
    /// The license is installed.
    Installed {
        /// The binding's serial.
        serial: Serial,
        /// When.
        at: Timestamp,
    },
    /// The portal, or a guard before it, refused.
    Refused {
        /// The refusal's stable code.
        code: String,
        /// The refusal in words.
        message: String,
        /// When.
        at: Timestamp,
    },
    /// A newer activation took its place.
    Superseded {
        /// The newer one.
        by: Nonce,
        /// When.
        at: Timestamp,
    },
}
