//! What the portal is sent, recorded before it is sent.

use quorate_license::{Nonce, Timestamp};
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    seal::Sealed,
    state::{Activation, ActivationState, State},
};

/// Records the integrity key of an open activation. From now on the portal may have seen it, and a
/// retry, on this node or after a restart, sends the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRequest {
    /// The activation.
    pub nonce: Nonce,
    /// The integrity key's text, sealed.
    pub sealed_request: Sealed,
}

impl RecordRequest {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        match state.activations.get(&self.nonce) {
            Some(activation) if activation.state == ActivationState::Opened => {
                let requested = ActivationState::Requested { sealed_request: self.sealed_request, at: now };
                let activation = Activation { state: requested, sealed_key: None, ..activation.clone() };
                state.activations.put(self.nonce, activation);
                Ok(Outcome::RequestRecorded)
            }
            _ => Err(Refusal::NoOpenActivation(self.nonce)),
        }
    }
}
