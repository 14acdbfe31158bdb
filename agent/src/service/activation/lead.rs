//! Leading an activation, on the first license node.

use std::{collections::BTreeMap, sync::Arc};

use quorate_license::{
    ActivationKey, ActivationKind, IntegrityKey, Nonce, Serial, StatementContext, TenantId, TrustRoots,
};
use quorate_raft_store::{
    Command, Outcome, Refusal,
    audit::AskedBy,
    command::{BeginActivation, CloseActivation, RecordRequest},
    seal::{ManagementKey, Purpose, Sealed},
    state::{Activation, ActivationState, Method},
};
use tokio::sync::{Mutex, MutexGuard, mpsc};
use zeroize::Zeroizing;

use super::{
    ActivationRequest, Event, IntegrityKeyText, Offline, Plan, gather,
    portal::{Portal, PortalError},
};
use crate::{
    api::{ApiError, ErrorKind},
    cluster::{Alarm, Cluster},
    config, failpoint,
    metrics::Metrics,
    service::{Signing, admission::unexpected},
};

/// The activations of this node.
pub struct Activations {
    pub(super) cluster: Arc<Cluster>,
    signing: Arc<Signing>,
    management_key: Option<ManagementKey>,
    pub(super) roots: Arc<TrustRoots>,
    portal: Option<config::Portal>,
    metrics: Arc<Metrics>,
    /// Held while one is led: one at a time.
    pub(super) leading: Mutex<()>,
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
    /// step is told to `events`; that nobody listens any more does not stop it. Offline, it ends with the integrity
    /// key, and the activation stays open until the answer is installed.
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
        let portal = match request.method {
            Method::Online => Some(self.portal().await?),
            Method::Offline => None,
        };
        self.trusts_somebody()?;
        if let Some(recorded) = self.left_open(&request)? {
            tell(events, Event::Resumed(recorded.0.nonce)).await;
            return self.ask(portal.as_ref(), recorded, true, events, &request.caller.asked_by).await;
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
        let recorded = (self.activation(nonce)?, key, text);
        self.ask(portal.as_ref(), recorded, false, events, &request.caller.asked_by).await
    }

    /// Asks the portal, or gives the administrator what to ask it with.
    async fn ask(
        &self,
        portal: Option<&Portal>,
        (activation, key, text): (Activation, IntegrityKey, Zeroizing<String>),
        again: bool,
        events: &mpsc::Sender<Event>,
        asked_by: &AskedBy,
    ) -> Result<(), ApiError> {
        if let Some(portal) = portal {
            return self.finish(portal, &activation, &key, &text, Some(events), asked_by).await;
        }
        let offline = Offline {
            nonce: activation.nonce,
            kind: activation.kind,
            integrity_key: IntegrityKeyText(text),
            page_url: self.portal_url().map(|url| format!("{}/activate", url.trim_end_matches('/'))),
            superseded: key.superseded,
            again,
        };
        tell(events, Event::IntegrityKey(offline)).await;
        Ok(())
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

    pub(super) async fn portal(&self) -> Result<Portal, ApiError> {
        let config =
            self.portal.as_ref().ok_or_else(|| PortalError::Setup("portal.url is not set".to_owned()))?;
        Ok(Portal::new(config, self.metrics.clone()).await?)
    }

    /// Without a root key nothing that the portal answers could be verified.
    pub(super) fn trusts_somebody(&self) -> Result<(), ApiError> {
        if !self.roots.0.is_empty() {
            return Ok(());
        }
        Err(ApiError::new(
            ErrorKind::Refused,
            "no_trust_roots",
            "no license could be verified: license.trust_roots is empty",
            "put the vendor's root key there",
        ))
    }

    fn management_key(&self) -> Result<&ManagementKey, ApiError> {
        self.management_key.as_ref().ok_or_else(|| internal("this node has no management key"))
    }

    /// The activation that was left open with the same key, and what it sent. One that may have reached the portal by
    /// itself does not give way to another; one that waits for an administrator does.
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
            && key.activation_key == request.activation_key
            && !request.renew;
        match activation.method {
            Method::Online if same => Ok(Some((activation.clone(), key, text))),
            Method::Online => {
                let kind = activation.kind.as_str().to_owned();
                Err(Refusal::ActivationInProgress { kind, nonce: activation.nonce }.into())
            }
            Method::Offline if same && activation.nodes == request.confirmed => {
                Ok(Some((activation.clone(), key, text)))
            }
            Method::Offline => Ok(None),
        }
    }

    pub(super) fn unseal(&self, sealed: &Sealed) -> Result<(IntegrityKey, Zeroizing<String>), ApiError> {
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
        if request.kind == ActivationKind::Transfer {
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
        if request.kind == ActivationKind::Upgrade {
            plan.at_home(&self.cluster.view().state)?;
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
        let seal = |key: &ActivationKey| {
            let sealed = self.management_key()?.seal(Purpose::ActivationKey, key.expose().as_bytes());
            sealed.map_err(|error| internal(&error.to_string()))
        };
        let key = request.activation_key.as_ref();
        let command = Command::BeginActivation(BeginActivation {
            nonce,
            kind: request.kind,
            tenant: request.tenant.clone(),
            method: request.method,
            leader: self.cluster.node(),
            nodes: plan.ids(),
            requested_by: request.caller.name.clone(),
            key_last5: key.map(|key| key.last5().to_string()),
            sealed_key: key.map(seal).transpose()?,
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
        activation_key: Option<ActivationKey>,
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
            activation_key,
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

    /// Closes an activation that was refused. If that can't be committed now it stays open, visibly.
    pub(super) async fn close(&self, nonce: Nonce, error: &ApiError, asked_by: &AskedBy) {
        let command = Command::CloseActivation(CloseActivation {
            nonce,
            code: error.code.clone(),
            message: error.message.clone(),
        });
        if let Err(error) = self.cluster.propose(command, asked_by).await {
            tracing::warn!(%nonce, %error, "a refused activation could not be closed; it stays open");
        }
    }

    pub(super) fn activation(&self, nonce: Nonce) -> Result<Activation, ApiError> {
        let view = self.cluster.view();
        let found = view.state.activations().get(&nonce).cloned();
        found.ok_or_else(|| Refusal::NoOpenActivation(nonce).into())
    }
}

pub(super) async fn tell(events: &mpsc::Sender<Event>, event: Event) {
    // Whoever asked may have hung up; the activation goes on.
    let _ = events.send(event).await;
}

pub(super) fn internal(message: &str) -> ApiError {
    ApiError::new(ErrorKind::Internal, "internal", message, "see the log of the first license node")
}
