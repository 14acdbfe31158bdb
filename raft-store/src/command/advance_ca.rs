//! The rotation of the CA enters its next phase.

use quorate_license::{NodeName, Timestamp};
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{
        CaPhase, CaRotation, Cluster, Only, PreviousCa, State, Token, TokenId, TokenPurpose, TokenState,
    },
};

/// Goes on with the rotation of the CA, once every member is as far as its phase asks for. Proposed by the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvanceCa {
    /// The version of the phase that is over.
    pub version: u64,
}

impl AdvanceCa {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let current = state.trust_version();
        let outdated = Refusal::CaRotationOutdated { asked: self.version, current };
        let rotation = match state.ca_rotation() {
            Some(rotation) if rotation.version == self.version && rotation.is_under_way() => rotation.clone(),
            _ => return Err(outdated),
        };
        let waits: Vec<NodeName> =
            state.rotation_waits_for().into_iter().map(|node| node.name.clone()).collect();
        if !waits.is_empty() {
            return Err(Refusal::CaRotationWaits { nodes: waits });
        }
        let version = self.version + 1;
        let CaRotation { current, phase, changed_at, .. } = rotation.clone();
        let (current, phase) = match phase {
            CaPhase::Settled { .. } => return Err(outdated),
            CaPhase::Trusting(next) => {
                let cluster = state.cluster().ok_or(Refusal::NotInitialized)?.clone();
                let certificate = cluster.ca_certificate.clone();
                state.cluster.put(
                    Only,
                    Cluster { ca_certificate: next.certificate, sealed_ca_key: next.sealed_key, ..cluster },
                );
                let previous = PreviousCa { certificate, fingerprint: current, bridges: next.bridges };
                (next.fingerprint, CaPhase::Issuing(previous))
            }
            CaPhase::Issuing(previous) => {
                revoke_older_join_tokens(state, changed_at);
                (current, CaPhase::Settled { previous: previous.fingerprint })
            }
        };
        state.ca_rotation.put(Only, CaRotation { version, current, phase, changed_at: now, ..rotation });
        Ok(Outcome::CaRotated { version })
    }
}

/// Join tokens that carry the hash of the CA that nobody trusts any more: with them no server would be believed.
fn revoke_older_join_tokens(state: &mut State, issuing_since: Timestamp) {
    let is_older = |token: &&Token| {
        token.state == TokenState::Open
            && token.created_at < issuing_since
            && !matches!(token.purpose, TokenPurpose::Admin { .. })
    };
    let older: Vec<TokenId> = state.tokens.values().filter(is_older).map(|token| token.id).collect();
    for id in older {
        if let Some(token) = state.tokens.get(&id).cloned() {
            state.tokens.put(id, Token { state: TokenState::Revoked, ..token });
        }
    }
}
