//! The cluster gets a new CA.

use quorate_license::Timestamp;
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{CaFingerprint, CaPhase, CaRotation, NextCa, Only, State},
};

/// Begins a rotation of the CA: the new one is trusted beside the present one from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateCa {
    /// What [`State::trust_version`] was when the new CA was made.
    pub version: u64,
    /// The hash of the present CA.
    pub current: CaFingerprint,
    /// The new CA.
    pub next: NextCa,
    /// Who asks for it, in words.
    pub requested_by: String,
}

impl RotateCa {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let RotateCa { version, current, next, requested_by } = self;
        if let Some(running) = state.ca_rotation().filter(|rotation| rotation.is_under_way()) {
            let (started_at, requested_by) = (running.started_at, running.requested_by.clone());
            return Err(Refusal::CaRotationInProgress { started_at, requested_by });
        }
        if version != state.trust_version() {
            return Err(Refusal::CaRotationOutdated { asked: version, current: state.trust_version() });
        }
        let version = version + 1;
        let phase = CaPhase::Trusting(next);
        let rotation = CaRotation { version, current, phase, changed_at: now, started_at: now, requested_by };
        state.ca_rotation.put(Only, rotation);
        Ok(Outcome::CaRotated { version })
    }
}
