//! An activation ends without a license.

use quorate_license::{Nonce, Timestamp};
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{Activation, ActivationState, State},
};

/// Closes an open activation that was refused, by the portal or by a guard before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseActivation {
    /// The activation.
    pub nonce: Nonce,
    /// The refusal's stable code.
    pub code: String,
    /// The refusal in words.
    pub message: String,
}

impl CloseActivation {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        match state.activations.get(&self.nonce) {
            Some(activation) if activation.is_open() => {
                let refused = ActivationState::Refused { code: self.code, message: self.message, at: now };
                let activation = Activation { state: refused, sealed_key: None, ..activation.clone() };
                state.activations.put(self.nonce, activation);
                Ok(Outcome::ActivationClosed)
            }
            Some(_) => Ok(Outcome::ActivationClosed),
            None => Err(Refusal::NoOpenActivation(self.nonce)),
        }
    }
}
