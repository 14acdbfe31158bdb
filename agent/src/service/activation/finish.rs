//! From the recorded request to a license on every node; and activations that were left open.

use std::time::Duration;

use quorate_license::{IntegrityKey, NodeId, Nonce, VerifiedAnswer};
use quorate_raft_store::{
    Command, Outcome,
    audit::AskedBy,
    command::InstallLicense,
    state::{Activation, ActivationState, Method, Node},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Activations, Event, Installed,
    lead::tell,
    portal::{Portal, PortalError},
};
use crate::{
    api::{ApiError, ErrorKind},
    failpoint,
    service::{admission::unexpected, default_serial},
};

/// How long the last step waits for the nodes to have the license.
const DISTRIBUTION_DEADLINE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Pause between attempts to finish an activation that was left open.
const RESUME_MIN: Duration = Duration::from_secs(1);
const RESUME_MAX: Duration = Duration::from_secs(60);

impl Activations {
    /// From the recorded request to the installed license.
    pub(super) async fn finish(
        &self,
        portal: &Portal,
        activation: &Activation,
        key: &IntegrityKey,
        text: &str,
        events: Option<&mpsc::Sender<Event>>,
        asked_by: &AskedBy,
    ) -> Result<(), ApiError> {
        let nonce = activation.nonce;
        let license_key = match portal.activate(key, text).await {
            Ok(license_key) => license_key,
            Err(error) => {
                let refused = matches!(error, PortalError::Refused { .. });
                let error = ApiError::from(error);
                if refused {
                    self.close(nonce, &error, asked_by).await;
                }
                return Err(error);
            }
        };
        failpoint::pass("activation.after_portal_answer");
        let answer: VerifiedAnswer = license_key.verify(&self.roots).map_err(|error| {
            ApiError::new(
                ErrorKind::Refused,
                "portal_answer_invalid",
                format!("the License Portal's answer is refused: {error}"),
                "nothing was changed and the activation stays open; check portal.url and license.trust_roots",
            )
        })?;
        if let Some(events) = events {
            tell(events, Event::PortalAnswered).await;
        }
        failpoint::pass("activation.before_install");
        let command = Command::InstallLicense(InstallLicense { nonce, answer });
        let (support_id, serial) = match self.cluster.propose(command, asked_by).await?.result? {
            Outcome::LicenseInstalled { support_id, serial } => (support_id, serial),
            other => return Err(unexpected(&other)),
        };
        failpoint::pass("activation.after_install");
        tracing::info!(%support_id, %serial, %nonce, "a license was installed");
        if let Some(events) = events {
            let installed = Installed { nonce, support_id, serial };
            tell(events, Event::Installed(installed.clone())).await;
            let missing = self.wait_for_nodes(&activation.nodes).await;
            tell(events, Event::Distributed { installed, missing }).await;
        }
        Ok(())
    }

    /// Waits until the nodes have the license that this node has. Returns the names of those that
    /// have not in time.
    pub(super) async fn wait_for_nodes(&self, nodes: &[NodeId]) -> Vec<String> {
        let deadline = tokio::time::Instant::now() + DISTRIBUTION_DEADLINE;
        loop {
            let view = self.cluster.view();
            let serial = default_serial(&view.state);
            let others = nodes.iter().copied().filter(|id| *id != self.cluster.node());
            let states = self.cluster.ask_node_states(others).await;
            let missing: Vec<String> = states
                .iter()
                .filter(|(_, state)| state.as_ref().is_none_or(|state| state.license_serial < serial))
                .filter_map(|(id, _)| view.state.nodes().get(id).map(|node: &Node| node.name.to_string()))
                .collect();
            if missing.is_empty() || tokio::time::Instant::now() >= deadline {
                return missing;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Finishes what was left open when this node stopped: runs on the first license node until
    /// `stop`.
    pub async fn finish_left_open(&self, stop: CancellationToken) {
        let mut applied = self.cluster.views().subscribe();
        let mut pause = RESUME_MIN;
        loop {
            let open = self.leads_here().then(|| self.requested()).flatten();
            let waited = async {
                if open.is_some() {
                    tokio::time::sleep(pause).await;
                } else {
                    let _ = applied.changed().await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = waited => {}
            }
            // Still open after the pause, and nobody carries it out: take it up.
            let (Some(nonce), Ok(_leading)) = (open, self.leading.try_lock()) else { continue };
            if self.requested() != Some(nonce) {
                continue;
            }
            let finished = tokio::select! {
                () = stop.cancelled() => return,
                finished = self.take_up(nonce) => finished,
            };
            match finished {
                Ok(()) => pause = RESUME_MIN,
                Err(error) => {
                    tracing::warn!(%nonce, code = error.code, %error, "an open activation could not be finished yet");
                    pause = (pause * 2).min(RESUME_MAX);
                }
            }
        }
    }

    fn requested(&self) -> Option<Nonce> {
        let view = self.cluster.view();
        let activation = view.state.open_activation()?;
        let online = activation.method == Method::Online;
        let requested = matches!(activation.state, ActivationState::Requested { .. });
        (online && requested).then_some(activation.nonce)
    }

    async fn take_up(&self, nonce: Nonce) -> Result<(), ApiError> {
        let portal = self.portal().await?;
        let activation = self.activation(nonce)?;
        let ActivationState::Requested { sealed_request, .. } = &activation.state else { return Ok(()) };
        let (key, text) = self.unseal(sealed_request)?;
        self.finish(&portal, &activation, &key, &text, None, &self.cluster.itself()).await
    }
}
