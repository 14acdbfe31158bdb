//! The administrator's decision about telemetry.

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{Cluster, Only, State},
};

/// Lets telemetry be sent to the vendor, or not. Off until it is set. Deciding the same again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetTelemetry {
    /// Whether it may be sent.
    pub enabled: bool,
    /// Who decided, in words.
    pub requested_by: String,
}

impl SetTelemetry {
    pub(super) fn apply(self, state: &mut State) -> Result<Outcome, Refusal> {
        let cluster = state.cluster().ok_or(Refusal::NotInitialized)?.clone();
        if cluster.telemetry != self.enabled {
            state.cluster.put(Only, Cluster { telemetry: self.enabled, ..cluster });
        }
        Ok(Outcome::TelemetrySet { enabled: self.enabled })
    }
}
