//! Leading an activation, on the first license node.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_license::{
    ActivationKey, ActivationKind, IntegrityKey, NodeId, Nonce, Serial, StatementContext, TenantId,
    TrustRoots, VerifiedAnswer,
};
use quorate_raft_store::{
    Command, Outcome, Refusal,
    audit::AskedBy,
    command::{BeginActivation, CloseActivation, InstallLicense, RecordRequest},
    seal::{ManagementKey, Purpose, Sealed},
    state::{Activation, ActivationState, Method, Node},
};
use tokio::sync::{Mutex, MutexGuard, mpsc};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{
    ActivationRequest, Event, Installed, Plan, gather,
    portal::{Portal, PortalError},
};
use crate::{
    api::{ApiError, ErrorKind},
    cluster::{Alarm, Cluster},
    config, failpoint,
    metrics::Metrics,
    service::{Signing, admission::unexpected, default_serial},
};

/// How long the last step waits for the nodes to have the license.
const DISTRIBUTION_DEADLINE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Pause between attempts to finish an activation that was left open.
const RESUME_MIN: Duration = Duration::from_secs(1);
const RESUME_MAX: Duration = Duration::from_secs(60);

/// The activations of this node.
pub struct Activations {
    cluster: Arc<Cluster>,
    signing: Arc<Signing>,
    management_key: Option<ManagementKey>,
    roots: Arc<TrustRoots>,
    portal: Option<config::Portal>,
    metrics: Arc<Metrics>,
    /// Held while one is led: one at a time.
    leading: Mutex<()>,
}

impl Activations {
    /// The activations of this node.
    pub fn new(
        cluster: Arc<Cluster>,
        signing: Arc<Signing>,
        management_key: Option<ManagementKey>,
        roots: Arc<TrustRoots>,
        portal: Option<config::Portal>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Activations { cluster, signing, management_key, roots, portal, metrics, leading: Mutex::new(()) }
    }

    /// What an activation would bind.
    ///
    /// # Errors
    /// Before the cluster is initialized.
    pub fn plan(&self) -> Result<Plan, ApiError> {
        Ok(Plan::make(&self.cluster.view().state)?)
    }

    /// The portal's address, for people.
    pub fn portal_url(&self) -> Option<&str> {
        self.portal.as_ref().map(|portal| portal.url.as_str())
    }

    /// Whether this node is the one that leads activations.
    pub fn leads_here(&self) -> bool {
        let view = self.cluster.view();
        view.state.cluster().is_some_and(|cluster| cluster.first_license_node == self.cluster.node())
    }

    /// Activates, or finishes the activation that was left open with the same activation key. Every
    /// step is told to `events`; that nobody listens any more does not stop it.
    ///
    /// # Errors
    /// The refusal, by name. Nothing was changed then, or the activation is visibly open.
    pub async fn activate(
        &self,
        mut request: ActivationRequest,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), ApiError> {
        let _leading = self.lead()?;
        // A key on an activated installation is a further order's.
        if request.kind == ActivationKind::Activate && self.cluster.view().state.binding().is_some() {
            request.kind = ActivationKind::Upgrade;
        }
        let portal = self.portal().await?;
        if let Some((activation, key, text)) = self.left_open(&request)? {
            tell(events, Event::Resumed(activation.nonce)).await;
            let asked_by = &request.caller.asked_by;
            return self.finish(&portal, &activation, &key, &text, Some(events), asked_by).await;
        }
        let plan = self.guard(&request).await?;
        failpoint::pass("activation.before_intent");
        let nonce = self.open(&request, &plan).await?;
        failpoint::pass("activation.after_intent");
        tell(events, Event::IntentCommitted(nonce)).await;

        let (key, text) = match self.prepare(&request, &plan, nonce, events).await {
            Ok(prepared) => prepared,
            Err(error) => {
                // Nothing has left the cluster: the intent is closed, with the reason.
                self.close(nonce, &error, &request.caller.asked_by).await;
                return Err(error);
            }
        };
        self.record(nonce, &text, &request.caller.asked_by).await?;
        failpoint::pass("activation.after_request_recorded");
        tell(events, Event::RequestRecorded).await;
        let activation = self.activation(nonce)?;
        self.finish(&portal, &activation, &key, &text, Some(events), &request.caller.asked_by).await
    }

    /// One activation at a time.
    fn lead(&self) -> Result<MutexGuard<'_, ()>, ApiError> {
        self.leading.try_lock().map_err(|_| {
            ApiError::new(
                ErrorKind::Refused,
                "activation_in_progress",
                "another activation is being carried out at this moment",
                "wait until it has ended; `quorate license intents` shows it",
            )
        })
    }

    async fn portal(&self) -> Result<Portal, ApiError> {
        let config =
            self.portal.as_ref().ok_or_else(|| PortalError::Setup("portal.url is not set".to_owned()))?;
        if self.roots.0.is_empty() {
            return Err(ApiError::new(
                ErrorKind::Refused,
                "no_trust_roots",
                "no license could be verified: license.trust_roots is empty",
                "put the vendor's root key there",
            ));
        }
        Ok(Portal::new(config, self.metrics.clone()).await?)
    }

    fn management_key(&self) -> Result<&ManagementKey, ApiError> {
        self.management_key.as_ref().ok_or_else(|| internal("this node has no management key"))
    }

    /// The activation that was left open with the same key, and what it sent. With another key it is
    /// refused.
    fn left_open(
        &self,
        request: &ActivationRequest,
    ) -> Result<Option<(Activation, IntegrityKey, Zeroizing<String>)>, ApiError> {
        let view = self.cluster.view();
        let Some(activation) = view.state.open_activation() else { return Ok(None) };
        let ActivationState::Requested { sealed_request, .. } = &activation.state else { return Ok(None) };
        let (key, text) = self.unseal(sealed_request)?;
        let same = key.kind == request.kind
            && key.tenant == request.tenant
            && key.activation_key.as_ref().is_some_and(|key| *key == request.activation_key);
        if same {
            Ok(Some((activation.clone(), key, text)))
        } else {
            let kind = activation.kind.as_str().to_owned();
            Err(Refusal::ActivationInProgress { kind, nonce: activation.nonce }.into())
        }
    }

    fn unseal(&self, sealed: &Sealed) -> Result<(IntegrityKey, Zeroizing<String>), ApiError> {
        let text = self
            .management_key()?
            .open(Purpose::ActivationRequest, sealed)
            .map_err(|error| internal(&error.to_string()))?;
        let text = String::from_utf8(text.to_vec()).map_err(|error| internal(&error.to_string()))?;
        let text = Zeroizing::new(text);
        let key = IntegrityKey::from_text(&text).map_err(|error| internal(&error.to_string()))?;
        Ok((key, text))
    }

    /// The guards that cost nothing: before an intent is made.
    async fn guard(&self, request: &ActivationRequest) -> Result<Plan, ApiError> {
        if !matches!(request.kind, ActivationKind::Activate | ActivationKind::Upgrade) {
            return Err(ApiError::new(
                ErrorKind::Refused,
                "kind_not_supported",
                format!("this version does not carry out the kind '{}'", request.kind.as_str()),
                "use a version that does",
            ));
        }
        let plan = self.plan()?;
        if let Some(expected) = plan.expected_nodes
            && plan.joined < expected
        {
            let present = plan.joined;
            return Err(Refusal::FewerNodesThanExpected { present, expected }.into());
        }
        if plan.ids() != request.confirmed {
            return Err(Refusal::NodesChanged.into());
        }
        let others = plan.ids().into_iter().filter(|id| *id != self.cluster.node());
        let states = self.cluster.ask_node_states(others).await;
        let offline: Vec<String> = plan
            .nodes
            .iter()
            .filter(|node| states.get(&node.id).is_some_and(Option::is_none))
            .map(|node| node.name.to_string())
            .collect();
        if !offline.is_empty() {
            return Err(gather::nodes_offline(&offline));
        }
        match Alarm::refusal(&self.cluster.identity_alarms(&states).await) {
            Some(refusal) => Err(refusal),
            None => Ok(plan),
        }
    }

    /// Commits the intent.
    async fn open(&self, request: &ActivationRequest, plan: &Plan) -> Result<Nonce, ApiError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| internal(&error.to_string()))?;
        let nonce = Nonce(nonce);
        let exposed = request.activation_key.expose();
        let sealed_key = self
            .management_key()?
            .seal(Purpose::ActivationKey, exposed.as_bytes())
            .map_err(|error| internal(&error.to_string()))?;
        let command = Command::BeginActivation(BeginActivation {
            nonce,
            kind: request.kind,
            tenant: request.tenant.clone(),
            method: Method::Online,
            leader: self.cluster.node(),
            nodes: plan.ids(),
            requested_by: request.caller.name.clone(),
            key_last5: Some(request.activation_key.last5().to_string()),
            sealed_key: Some(sealed_key),
        });
        match self.cluster.propose(command, &request.caller.asked_by).await?.result? {
            Outcome::ActivationOpened { nonce } => Ok(nonce),
            other => Err(unexpected(&other)),
        }
    }

    /// Gathers statements and signatures: the whole integrity key, as text.
    async fn prepare(
        &self,
        request: &ActivationRequest,
        plan: &Plan,
        nonce: Nonce,
        events: &mpsc::Sender<Event>,
    ) -> Result<(IntegrityKey, Zeroizing<String>), ApiError> {
        let activation = self.activation(nonce)?;
        let mut key = self.unsigned_key(request.activation_key.clone(), &activation)?;
        let context: StatementContext = key.context();
        key.nodes = gather::statements(&self.cluster, &self.signing, &context, &plan.nodes).await?;
        failpoint::pass("activation.after_statements");
        tell(events, Event::StatementsSigned(key.nodes.len())).await;

        let signatures = gather::signatures(&self.cluster, &self.signing, &key, &plan.nodes).await?;
        for signature in signatures {
            key.add_signature(signature);
        }
        let refused = |error: &dyn std::fmt::Display| {
            ApiError::new(
                ErrorKind::Refused,
                "integrity_key_invalid",
                error.to_string(),
                "look at the nodes that are named, then activate again",
            )
        };
        key.check().map_err(|error| refused(&error))?;
        key.verify_signatures().map_err(|error| refused(&error))?;
        failpoint::pass("activation.after_signatures");
        tell(events, Event::IntegrityKeySigned(key.signatures.len())).await;
        let text = key.to_text();
        Ok((key, text))
    }

    fn unsigned_key(
        &self,
        activation_key: ActivationKey,
        activation: &Activation,
    ) -> Result<IntegrityKey, ApiError> {
        let view = self.cluster.view();
        let cluster = view.state.cluster().ok_or(Refusal::NotInitialized)?;
        let binding = view.state.binding().map(|installed| &installed.binding.claims);
        let serials: BTreeMap<TenantId, Serial> = view
            .state
            .licenses()
            .get(&activation.tenant)
            .map(|installed| (activation.tenant.clone(), installed.license.claims.serial))
            .into_iter()
            .collect();
        Ok(IntegrityKey {
            kind: activation.kind,
            cluster_id: cluster.id,
            epoch: cluster.epoch,
            fence: binding.map(|binding| binding.fence).unwrap_or_default(),
            tenant: activation.tenant.clone(),
            first_license_node: cluster.first_license_node,
            nodes: Vec::new(),
            activation_key: Some(activation_key),
            support_id: binding.map(|binding| binding.support_id.clone()),
            serials,
            binding_serial: binding.map(|binding| binding.serial).unwrap_or_default(),
            nonce: activation.nonce,
            superseded: {
                let mut superseded = activation.superseded.clone();
                superseded.sort_unstable();
                superseded
            },
            telemetry: cluster.telemetry,
            signatures: Vec::new(),
        })
    }

    async fn record(&self, nonce: Nonce, text: &str, asked_by: &AskedBy) -> Result<(), ApiError> {
        let sealed_request = self
            .management_key()?
            .seal(Purpose::ActivationRequest, text.as_bytes())
            .map_err(|error| internal(&error.to_string()))?;
        let command = Command::RecordRequest(RecordRequest { nonce, sealed_request });
        match self.cluster.propose(command, asked_by).await?.result? {
            Outcome::RequestRecorded => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// From the recorded request to the installed license.
    async fn finish(
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
    async fn wait_for_nodes(&self, nodes: &[NodeId]) -> Vec<String> {
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

    /// Closes an activation that was refused. If that can't be committed now it stays open, visibly.
    async fn close(&self, nonce: Nonce, error: &ApiError, asked_by: &AskedBy) {
        let command = Command::CloseActivation(CloseActivation {
            nonce,
            code: error.code.clone(),
            message: error.message.clone(),
        });
        if let Err(error) = self.cluster.propose(command, asked_by).await {
            tracing::warn!(%nonce, %error, "a refused activation could not be closed; it stays open");
        }
    }

    fn activation(&self, nonce: Nonce) -> Result<Activation, ApiError> {
        let view = self.cluster.view();
        let found = view.state.activations().get(&nonce).cloned();
        found.ok_or_else(|| Refusal::NoOpenActivation(nonce).into())
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

async fn tell(events: &mpsc::Sender<Event>, event: Event) {
    // Whoever asked may have hung up; the activation goes on.
    let _ = events.send(event).await;
}

fn internal(message: &str) -> ApiError {
    ApiError::new(ErrorKind::Internal, "internal", message, "see the log of the first license node")
}
