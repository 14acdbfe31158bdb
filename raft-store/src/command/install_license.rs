//! The portal's answer becomes the cluster's license.

use std::collections::BTreeMap;

use quorate_license::{Expected, Nonce, Serial, TenantId, Timestamp, VerifiedAnswer};
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{Activation, ActivationState, InstalledBinding, InstalledLicense, Only, State, remember},
};

/// Installs a binding and its licenses, against an activation that is open, and closes it.
///
/// The proposer has verified the signatures; every node verifies them again before it uses or
/// writes them out, against the roots that it trusts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallLicense {
    /// The activation.
    pub nonce: Nonce,
    /// The binding and one license per tenant.
    pub answer: VerifiedAnswer,
}

impl InstallLicense {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let binding = &self.answer.binding.claims;
        let (support_id, serial) = (binding.support_id.clone(), binding.serial);
        let activation =
            state.activations.get(&self.nonce).ok_or(Refusal::NoOpenActivation(self.nonce))?.clone();
        match &activation.state {
            ActivationState::Requested { .. } => {}
            ActivationState::Installed { serial: installed, .. } if *installed == serial => {
                return Ok(Outcome::LicenseInstalled { support_id, serial });
            }
            // Nodes of earlier levels don't know this refusal.
            ActivationState::Superseded { by, .. } if state.reads(3) => {
                return Err(Refusal::ActivationSuperseded { nonce: self.nonce, by: *by });
            }
            _ => return Err(Refusal::NoOpenActivation(self.nonce)),
        }
        self.check(state)?;
        // The portal's signed time, which may confirm what the clocks say.
        let now = state.portal_signed(self.answer.binding.claims.issued_at, now);

        if state.reads(3) {
            remember(state, &activation, &self.answer, now);
        }
        state.binding.put(Only, InstalledBinding { binding: self.answer.binding, installed_at: now });
        for license in self.answer.licenses {
            let tenant = license.claims.tenant.clone();
            state.licenses.put(
                tenant,
                InstalledLicense { license, installed_at: now, reactivation_required_since: None },
            );
        }
        let installed = ActivationState::Installed { serial, at: now };
        state.activations.put(self.nonce, Activation { state: installed, ..activation });
        Ok(Outcome::LicenseInstalled { support_id, serial })
    }

    fn check(&self, state: &State) -> Result<(), Refusal> {
        let cluster = state.cluster().ok_or(Refusal::NotInitialized)?;
        let current = state.binding().map(|installed| &installed.binding.claims);
        let current_serials: BTreeMap<TenantId, Serial> = state
            .licenses
            .iter()
            .map(|(tenant, installed)| (tenant.clone(), installed.license.claims.serial))
            .collect();
        let expected = Expected {
            nonce: self.nonce,
            cluster_id: cluster.id,
            epoch: cluster.epoch,
            current_fence: current.map_or_else(Default::default, |binding| binding.fence),
            current_binding_serial: current.map_or_else(Default::default, |binding| binding.serial),
            current_serials: &current_serials,
            support_id: current.map(|binding| &binding.support_id),
        };
        self.answer.accept(&expected).map_err(Refusal::AnswerRefused)
    }
}
