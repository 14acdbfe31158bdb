//! Installing a license key that an administrator has brought from the portal, on any Management Server.
//!
//! It goes the way of an answer that came by itself: signatures by this node's roots, then `InstallLicense`, which
//! `apply` judges. What is looked at before only makes refusals more telling.

use quorate_license::{AnswerRefusal, LicenseKey, LicenseKeyError, Nonce, Serial, SupportId, VerifiedAnswer};
use quorate_raft_store::{
    Command, Outcome, Refusal, State,
    command::InstallLicense,
    state::{Activation, ActivationState},
};

use super::Activations;
use crate::{
    api::{ApiError, Caller, ErrorKind},
    service::admission::unexpected,
};

/// What became of a license key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledKey {
    /// The installation.
    pub support_id: SupportId,
    /// The binding's serial.
    pub serial: Serial,
    /// The activation that it answers.
    pub nonce: Nonce,
    /// It was installed before; nothing has changed.
    pub already: bool,
    /// Names of nodes that have not confirmed it in time.
    pub missing: Vec<String>,
}

impl Activations {
    /// Installs a license key. A repeat changes nothing and says so.
    ///
    /// # Errors
    /// The text is damaged (with the place), nobody trusted has signed it, or it does not answer the open activation.
    pub async fn install(&self, text: &str, caller: &Caller) -> Result<InstalledKey, ApiError> {
        self.trusts_somebody()?;
        let answer = LicenseKey::from_text(text)
            .and_then(|key| key.verify(&self.roots))
            .map_err(|error| unusable(&error))?;
        let nonce = answer.binding.claims.nonce;
        let view = self.cluster.view();
        if let Some(installed) = known(&view.state, &answer)? {
            return Ok(installed);
        }
        let nodes = view.state.activations().get(&nonce).map(|found| found.nodes.clone()).unwrap_or_default();
        let command = Command::InstallLicense(InstallLicense { nonce, answer });
        let (support_id, serial) = match self.cluster.propose(command, &caller.asked_by).await?.result? {
            Outcome::LicenseInstalled { support_id, serial } => (support_id, serial),
            other => return Err(unexpected(&other)),
        };
        tracing::info!(%support_id, %serial, %nonce, "a license was installed by hand");
        let missing = self.wait_for_nodes(&nodes).await;
        Ok(InstalledKey { support_id, serial, nonce, already: false, missing })
    }
}

/// What this node's own copy of the state says for sure: the key was installed, or it can't be any more.
fn known(state: &State, answer: &VerifiedAnswer) -> Result<Option<InstalledKey>, ApiError> {
    let cluster = state.cluster().ok_or(Refusal::NotInitialized)?;
    let binding = &answer.binding.claims;
    if binding.cluster_id != cluster.id {
        let (expected, found) = (cluster.id, binding.cluster_id);
        return Err(Refusal::AnswerRefused(AnswerRefusal::ClusterMismatch { expected, found }).into());
    }
    if binding.epoch != cluster.epoch {
        let (expected, found) = (cluster.epoch, binding.epoch);
        return Err(Refusal::AnswerRefused(AnswerRefusal::EpochMismatch { expected, found }).into());
    }
    let Some(activation) = state.activations().get(&binding.nonce) else { return Ok(None) };
    match &activation.state {
        ActivationState::Superseded { by, .. } => Err(superseded(state, activation, *by)),
        ActivationState::Installed { serial, .. } => {
            let current =
                state.binding().map(|installed| installed.binding.claims.serial).unwrap_or_default();
            if current > *serial {
                let offered = *serial;
                return Err(Refusal::AnswerRefused(AnswerRefusal::BindingSerialNotHigher {
                    current,
                    offered,
                })
                .into());
            }
            Ok(Some(InstalledKey {
                support_id: binding.support_id.clone(),
                serial: *serial,
                nonce: binding.nonce,
                already: true,
                missing: Vec::new(),
            }))
        }
        _ => Ok(None),
    }
}

/// The refusal of a license key whose activation gave way to a newer one; it names the newest.
fn superseded(state: &State, activation: &Activation, by: Nonce) -> ApiError {
    let mut newest = by;
    // Each gave way to a later one, so this ends; the bound is against a damaged state.
    for _ in 0..=state.activations().len() {
        match state.activations().get(&newest).map(|next| &next.state) {
            Some(ActivationState::Superseded { by, .. }) => newest = *by,
            _ => break,
        }
    }
    Refusal::ActivationSuperseded { nonce: activation.nonce, by: newest }.into()
}

fn unusable(error: &LicenseKeyError) -> ApiError {
    let (code, hint) = match error {
        LicenseKeyError::Token(_) => (
            "license_key_untrusted",
            "check that it comes from your vendor's portal, and license.trust_roots in the configuration",
        ),
        LicenseKeyError::Text(_) => {
            ("license_key_malformed", "copy it again from the portal, from its first line to its last")
        }
        LicenseKeyError::Version { .. } => ("license_key_malformed", "update the agents of all nodes"),
        _ => ("license_key_malformed", "get the license key from the portal again"),
    };
    ApiError::new(ErrorKind::Invalid, code, error.to_string(), hint)
}
