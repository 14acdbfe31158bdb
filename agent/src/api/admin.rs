//! What administrators ask: gRPC `AdminService`, on the admin socket and on the node-to-node port.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use quorate_license::{NodeId, NodeRole, Timestamp};
use quorate_proto::v1::{
    ActivateEvent, ActivateRequest, ClusterHealthRequest, ClusterHealthResponse, ConfirmTimeRequest,
    ConfirmTimeResponse, CreateTokenRequest, CreateTokenResponse, DecideJoinRequest, DecideJoinResponse,
    InstallLicenseRequest, InstallLicenseResponse, LicenseHistoryRequest, LicenseHistoryResponse,
    ListActivationsRequest, ListActivationsResponse, ListAuditRequest, ListAuditResponse,
    ListCertificatesRequest, ListCertificatesResponse, ListPendingJoinsRequest, ListPendingJoinsResponse,
    ListTokensRequest, ListTokensResponse, PlanActivationRequest, PlanActivationResponse, RemoveNodeRequest,
    RemoveNodeResponse, RenameNodeRequest, RenameNodeResponse, RevokeTokenRequest, RevokeTokenResponse,
    RotateCaRequest, RotateCaResponse, RotateCertificateRequest, RotateCertificateResponse,
    SetTelemetryRequest, SetTelemetryResponse, ShowCaRequest, ShowCaResponse, ShowLicenseRequest,
    ShowLicenseResponse, ShowTelemetryRequest, ShowTelemetryResponse, ShowTimeRequest, ShowTimeResponse,
    StatusRequest, StatusResponse, TransferLeaderRequest, TransferLeaderResponse,
    admin_service_server::{AdminService, AdminServiceServer},
};
use quorate_raft_store::Refusal;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use super::{
    ApiError, ErrorKind, activations, admin_wire, audit,
    auth::{Access, Caller, denied},
    certificates, joins,
    relay::{Relay, first_license_node},
    time, tokens,
};
use crate::{
    cluster::Cluster,
    data_dir::NodeFile,
    service::{
        ActivationRequest, Activations, Certificates, Telemetry, cluster_status, confirm_time, create_token,
        health, licensing::Licensing, remove_node, rename_node, revoke_token, rotate_ca, time_status,
        time_warnings,
    },
};

const HAND_OVER_DEADLINE: Duration = Duration::from_secs(10);
/// Steps of an activation that wait for a slow reader.
const EVENTS: usize = 16;

/// Serves `AdminService` for one node.
#[derive(Clone)]
pub struct AdminApi {
    /// The node's part in the group.
    pub cluster: Arc<Cluster>,
    /// Whose node it is.
    pub own: Arc<NodeFile>,
    /// The node's activations.
    pub activations: Arc<Activations>,
    /// What is licensed.
    pub licensing: Licensing,
    /// What the vendor hears, if it may.
    pub telemetry: Arc<Telemetry>,
    /// The node's certificate.
    pub certificates: Arc<Certificates>,
    /// Where tasks are kept.
    pub tracker: TaskTracker,
}

impl AdminApi {
    /// The service, ready for a listener.
    pub fn service(self) -> AdminServiceServer<Self> {
        AdminServiceServer::new(self)
    }

    /// Who asks, as the gate has found out.
    fn caller<T>(&self, request: &Request<T>) -> Result<Caller, ApiError> {
        request.extensions().get::<Caller>().cloned().ok_or_else(|| {
            ApiError::new(ErrorKind::Denied, "denied", "nobody has looked at who asks", "see this node's log")
        })
    }

    /// Who asks for a change; readers may not.
    fn administrator<T>(&self, request: &Request<T>, what: &str) -> Result<Caller, ApiError> {
        let caller = self.caller(request)?;
        match caller.access {
            Access::Viewer => Err(denied(&caller, what)),
            Access::Administrator => Ok(caller),
        }
    }

    fn relay<'a, T>(&'a self, request: &'a Request<T>, caller: &'a Caller) -> Relay<'a> {
        let bearer = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let token = bearer.and_then(|value| value.strip_prefix("Bearer "));
        Relay { cluster: &self.cluster, caller, token }
    }

    /// Whether this node can't carry a change out by itself.
    fn relays_changes(&self) -> bool {
        self.own.role != NodeRole::Management
    }
}

/// Calls another node's face with the same request, on the same caller's behalf.
macro_rules! relayed {
    ($api:expr, $request:expr, $caller:expr, $to:expr, $method:ident) => {{
        let relay = $api.relay(&$request, &$caller);
        let to: NodeId = $to;
        let onward = relay.request(to, $request.get_ref().clone(), true);
        match relay.client(to)?.$method(onward).await {
            Ok(response) => Ok(Response::new(response.into_inner())),
            Err(status) => Err(relay.passed_on(to, status)),
        }
    }};
}

pub(super) fn invalid(code: &str, error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::Invalid, code, error.to_string(), "correct it and ask again")
}

fn not_handed_over(reason: String) -> ApiError {
    ApiError::new(
        ErrorKind::Refused,
        "leader_not_transferred",
        format!("the leadership was not moved: {reason}"),
        "`quorate node list` shows the voters that are online",
    )
}

/// Whether it makes sense that the leader hands over in order to leave: not if it is refused anyway.
fn may_leave(cluster: &Cluster) -> Result<(), ApiError> {
    let view = cluster.view();
    let own = view.state.nodes().get(&cluster.node());
    let first = view.state.cluster().is_some_and(|row| row.first_license_node == cluster.node());
    match own {
        Some(node) if first => Err(Refusal::FirstLicenseNode { node: node.name.clone() }.into()),
        _ => Ok(()),
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<ActivateEvent, Status>> + Send>>;

#[tonic::async_trait]
impl AdminService for AdminApi {
    type ActivateStream = Events;

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.caller(&request)?;
        let status =
            cluster_status(&self.cluster).await.ok_or(Refusal::NotInitialized).map_err(ApiError::from)?;
        let standing = self.licensing.status(&quorate_license::TenantId::default_tenant());
        let expelled = self.cluster.expelled();
        let mut answer = admin_wire::status(status, &standing, self.own.node_id.0, expelled.as_deref());
        let (view, now) = (self.cluster.view(), self.cluster.clock().now());
        answer.warnings.extend(certificates::warnings(&view.state, now));
        answer.warnings.extend(self.certificates.trouble());
        answer.warnings.extend(joins::warnings(&view.state));
        answer.warnings.extend(time_warnings(&view.state, now));
        answer.warnings.extend(admin_wire::refused_warnings(&standing));
        Ok(Response::new(answer))
    }

    async fn show_license(
        &self,
        request: Request<ShowLicenseRequest>,
    ) -> Result<Response<ShowLicenseResponse>, Status> {
        self.caller(&request)?;
        let tenant =
            admin_wire::tenant(&request.get_ref().tenant).map_err(|e| invalid("tenant_malformed", e))?;
        let standing = self.licensing.status(&tenant);
        let json = |value: Option<Result<String, serde_json::Error>>| {
            value
                .transpose()
                .map(Option::unwrap_or_default)
                .map_err(|error| Status::internal(error.to_string()))
        };
        Ok(Response::new(ShowLicenseResponse {
            summary: Some(admin_wire::license_summary(&standing)),
            license_json: json(standing.license().map(|it| serde_json::to_string(&it.license.claims)))?,
            binding_json: json(standing.binding().map(|it| serde_json::to_string(&it.binding.claims)))?,
        }))
    }

    async fn plan_activation(
        &self,
        request: Request<PlanActivationRequest>,
    ) -> Result<Response<PlanActivationResponse>, Status> {
        let caller = self.administrator(&request, "an activation")?;
        if self.activations.leads_here() {
            let plan = self.activations.plan()?;
            return Ok(Response::new(admin_wire::plan(plan, self.activations.portal_url())));
        }
        let first = first_license_node(&self.cluster.view())?;
        relayed!(self, request, caller, first, plan_activation)
    }

    async fn activate(&self, request: Request<ActivateRequest>) -> Result<Response<Events>, Status> {
        let caller = self.administrator(&request, "an activation")?;
        if !self.activations.leads_here() {
            let first = first_license_node(&self.cluster.view())?;
            let relay = self.relay(&request, &caller);
            let onward = relay.request(first, request.get_ref().clone(), false);
            let events = relay
                .client(first)?
                .activate(onward)
                .await
                .map_err(|status| relay.passed_on(first, status))?
                .into_inner();
            return Ok(Response::new(events.boxed()));
        }
        Ok(Response::new(self.start(activations::request(request.into_inner(), caller)?)))
    }

    async fn list_activations(
        &self,
        request: Request<ListActivationsRequest>,
    ) -> Result<Response<ListActivationsResponse>, Status> {
        self.caller(&request)?;
        let view = self.cluster.view();
        let mut activations: Vec<_> = view.state.activations().values().collect();
        activations.sort_by_key(|activation| activation.opened_at);
        Ok(Response::new(ListActivationsResponse {
            activations: activations.into_iter().map(admin_wire::activation).collect(),
        }))
    }

    async fn install_license(
        &self,
        request: Request<InstallLicenseRequest>,
    ) -> Result<Response<InstallLicenseResponse>, Status> {
        let caller = self.administrator(&request, "installing a license key")?;
        if self.relays_changes() {
            let to = self.relay(&request, &caller).management_server()?;
            return relayed!(self, request, caller, to, install_license);
        }
        let installed = self.activations.install(&request.get_ref().license_key, &caller).await?;
        Ok(Response::new(activations::installed(installed)))
    }

    async fn license_history(
        &self,
        request: Request<LicenseHistoryRequest>,
    ) -> Result<Response<LicenseHistoryResponse>, Status> {
        self.caller(&request)?;
        Ok(Response::new(activations::history(&self.cluster.view().state, &request.get_ref().tenant)?))
    }

    async fn show_telemetry(
        &self,
        request: Request<ShowTelemetryRequest>,
    ) -> Result<Response<ShowTelemetryResponse>, Status> {
        self.caller(&request)?;
        Ok(Response::new(activations::telemetry(&self.cluster.view().state, &self.telemetry)?))
    }

    async fn set_telemetry(
        &self,
        request: Request<SetTelemetryRequest>,
    ) -> Result<Response<SetTelemetryResponse>, Status> {
        let caller = self.administrator(&request, "deciding about telemetry")?;
        if self.relays_changes() {
            let to = self.relay(&request, &caller).management_server()?;
            return relayed!(self, request, caller, to, set_telemetry);
        }
        let enabled = request.get_ref().enabled;
        self.telemetry.set(enabled, &caller).await?;
        Ok(Response::new(SetTelemetryResponse { enabled }))
    }

    async fn show_time(
        &self,
        request: Request<ShowTimeRequest>,
    ) -> Result<Response<ShowTimeResponse>, Status> {
        self.caller(&request)?;
        let status = time_status(&self.cluster.view().state, self.cluster.clock().now());
        Ok(Response::new(time::status(status)))
    }

    async fn confirm_time(
        &self,
        request: Request<ConfirmTimeRequest>,
    ) -> Result<Response<ConfirmTimeResponse>, Status> {
        let caller = self.administrator(&request, "confirming the time")?;
        if self.relays_changes() {
            let to = self.relay(&request, &caller).management_server()?;
            return relayed!(self, request, caller, to, confirm_time);
        }
        let since = Timestamp::from_unix_ms(request.get_ref().since_ms);
        let now_ms = confirm_time(&self.cluster, since, &caller).await?.as_unix_ms();
        Ok(Response::new(ConfirmTimeResponse { now_ms }))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let caller = self.administrator(&request, "making a token")?;
        if self.relays_changes() {
            let to = self.relay(&request, &caller).management_server()?;
            return relayed!(self, request, caller, to, create_token);
        }
        let (purpose, request_id) =
            (tokens::purpose(request.get_ref())?, tokens::request_id(request.get_ref())?);
        let ttl_seconds = request.get_ref().ttl_seconds;
        let token = create_token(&self.cluster, purpose, ttl_seconds, &caller, request_id).await?;
        Ok(Response::new(CreateTokenResponse {
            id: token.id.to_string(),
            token: token.text.map(|text| text.to_string()).unwrap_or_default(),
            expires_at_ms: token.expires_at.as_unix_ms(),
        }))
    }

    async fn list_tokens(
        &self,
        request: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensResponse>, Status> {
        self.administrator(&request, "listing tokens")?;
        let (view, now) = (self.cluster.view(), self.cluster.clock().now());
        let tokens = view.state.tokens().values().map(|token| admin_wire::token(token, now)).collect();
        Ok(Response::new(ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        let caller = self.administrator(&request, "revoking a token")?;
        if self.relays_changes() {
            let to = self.relay(&request, &caller).management_server()?;
            return relayed!(self, request, caller, to, revoke_token);
        }
        let id = request.get_ref().id.parse().map_err(|e| invalid("token_id_malformed", e))?;
        revoke_token(&self.cluster, id, &caller).await?;
        Ok(Response::new(RevokeTokenResponse {}))
    }

    async fn list_audit(
        &self,
        request: Request<ListAuditRequest>,
    ) -> Result<Response<ListAuditResponse>, Status> {
        self.caller(&request)?;
        Ok(Response::new(audit::list(&self.cluster.view().state, request.get_ref())))
    }

    async fn cluster_health(
        &self,
        request: Request<ClusterHealthRequest>,
    ) -> Result<Response<ClusterHealthResponse>, Status> {
        self.caller(&request)?;
        let mut answer = admin_wire::health(health(&self.cluster).await);
        let (view, now) = (self.cluster.view(), self.cluster.clock().now());
        answer.warnings.extend(certificates::warnings(&view.state, now));
        answer.warnings.extend(self.certificates.trouble());
        answer.warnings.extend(time_warnings(&view.state, now));
        Ok(Response::new(answer))
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        let caller = self.administrator(&request, "moving the leadership")?;
        if !self.cluster.leads() {
            let to = self.relay(&request, &caller).leader()?;
            return relayed!(self, request, caller, to, transfer_leader);
        }
        let to = (request.get_ref().to != 0).then_some(NodeId(request.get_ref().to));
        let leader = self.cluster.hand_over(to, HAND_OVER_DEADLINE).await.map_err(not_handed_over)?;
        Ok(Response::new(TransferLeaderResponse { leader: leader.0 }))
    }

    async fn remove_node(
        &self,
        request: Request<RemoveNodeRequest>,
    ) -> Result<Response<RemoveNodeResponse>, Status> {
        let caller = self.administrator(&request, "removing a node")?;
        if !self.cluster.leads() {
            let to = self.relay(&request, &caller).leader()?;
            return relayed!(self, request, caller, to, remove_node);
        }
        let node = NodeId(request.get_ref().node);
        if node == self.own.node_id {
            may_leave(&self.cluster)?;
            let leader = self.cluster.hand_over(None, HAND_OVER_DEADLINE).await.map_err(not_handed_over)?;
            return relayed!(self, request, caller, leader, remove_node);
        }
        let removed = remove_node(&self.cluster, node, &caller).await?;
        Ok(Response::new(RemoveNodeResponse {
            node: removed.node.id.0,
            name: removed.node.name.to_string(),
            left_group: removed.left_group,
        }))
    }

    async fn rename_node(
        &self,
        request: Request<RenameNodeRequest>,
    ) -> Result<Response<RenameNodeResponse>, Status> {
        let caller = self.administrator(&request, "renaming a node")?;
        if self.relays_changes() {
            let to = self.relay(&request, &caller).management_server()?;
            return relayed!(self, request, caller, to, rename_node);
        }
        let RenameNodeRequest { node, name } = request.into_inner();
        let name = name.parse().map_err(|error| invalid("node_name_malformed", error))?;
        rename_node(&self.cluster, NodeId(node), name, &caller).await?;
        Ok(Response::new(RenameNodeResponse {}))
    }

    async fn list_pending_joins(
        &self,
        request: Request<ListPendingJoinsRequest>,
    ) -> Result<Response<ListPendingJoinsResponse>, Status> {
        self.caller(&request)?;
        Ok(Response::new(joins::list(&self.cluster.view().state)))
    }

    async fn decide_join(
        &self,
        request: Request<DecideJoinRequest>,
    ) -> Result<Response<DecideJoinResponse>, Status> {
        let caller = self.administrator(&request, "deciding who may join")?;
        if self.relays_changes() {
            let to = self.relay(&request, &caller).management_server()?;
            return relayed!(self, request, caller, to, decide_join);
        }
        Ok(Response::new(joins::decide(&self.cluster, request.into_inner(), &caller).await?))
    }

    async fn list_certificates(
        &self,
        request: Request<ListCertificatesRequest>,
    ) -> Result<Response<ListCertificatesResponse>, Status> {
        self.caller(&request)?;
        Ok(Response::new(certificates::list(&self.cluster.view().state, self.cluster.clock().now())))
    }

    async fn rotate_certificate(
        &self,
        request: Request<RotateCertificateRequest>,
    ) -> Result<Response<RotateCertificateResponse>, Status> {
        let caller = self.administrator(&request, "rotating a certificate")?;
        let node = match request.get_ref().node {
            0 => self.own.node_id,
            node => NodeId(node),
        };
        if self.relays_changes() {
            let to = self.relay(&request, &caller).management_server()?;
            let request = request.map(|_| RotateCertificateRequest { node: node.0 });
            return relayed!(self, request, caller, to, rotate_certificate);
        }
        Ok(Response::new(self.rotate(node).await?))
    }

    async fn rotate_ca(
        &self,
        request: Request<RotateCaRequest>,
    ) -> Result<Response<RotateCaResponse>, Status> {
        let caller = self.administrator(&request, "rotating the CA")?;
        if self.relays_changes() {
            let to = self.relay(&request, &caller).management_server()?;
            return relayed!(self, request, caller, to, rotate_ca);
        }
        let version = rotate_ca(&self.cluster, self.certificates.signer(), &caller).await?;
        Ok(Response::new(RotateCaResponse { version }))
    }

    async fn show_ca(&self, request: Request<ShowCaRequest>) -> Result<Response<ShowCaResponse>, Status> {
        self.caller(&request)?;
        Ok(Response::new(self.ca().await?))
    }
}

impl AdminApi {
    /// Carries an activation out in a task of its own: it goes on if whoever asked hangs up.
    fn start(&self, request: ActivationRequest) -> Events {
        let (answers, stream) = mpsc::channel(EVENTS);
        let (events, mut told) = mpsc::channel(EVENTS);
        let activations = self.activations.clone();
        self.tracker.spawn(async move {
            let pass_on = async {
                while let Some(event) = told.recv().await {
                    // A caller that hung up misses the rest; the activation goes on.
                    let _ = answers.send(Ok(admin_wire::event(&event))).await;
                }
            };
            let carry_out = async {
                let result = activations.activate(request, &events).await;
                drop(events);
                result
            };
            let (result, ()) = tokio::join!(carry_out, pass_on);
            if let Err(error) = result {
                tracing::info!(code = error.code, %error, "an activation was refused");
                let _ = answers.send(Err(error.into())).await;
            }
        });
        ReceiverStream::new(stream).boxed()
    }
}
