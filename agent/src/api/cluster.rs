//! What nodes ask each other besides Raft: gRPC `ClusterService`.

use std::{sync::Arc, time::Duration};

use futures::stream::BoxStream;
use quorate_license::{
    ActivationKind, BuildNumber, ComputerId, IntegrityKey, NodeId, NodeName, NodePublicKey, NodeRole,
    NodeSignature, Nonce, TenantId, Timestamp,
};
use quorate_proto::node::v1::{
    AnnounceRequest, AnnounceResponse, AnswerBatch, IssueCertificateRequest, IssueCertificateResponse,
    JoinRequest, JoinResponse, KnownAddress, NodeStateRequest, NodeStateResponse, PresenceRequest,
    PresenceResponse, ProposeBatch, ReadIndexRequest, ReadIndexResponse, RenewCertificateRequest,
    RenewCertificateResponse, SignIntegrityKeyRequest, SignIntegrityKeyResponse, SignStatementRequest,
    SignStatementResponse,
    cluster_service_server::{ClusterService, ClusterServiceServer},
};
use quorate_raft_store::state::{Addresses, HostReport};
use tonic::{Request, Response, Status, Streaming};

use super::{ApiError, Asked, ErrorKind, NodeGate};
use crate::{
    clock,
    cluster::Cluster,
    host,
    net::{Announced, PeerInfo},
    pki::JoinToken,
    service::{Admission, Certificates, Joiner, Signing},
};

/// The largest integrity key, sealed, fits, and so do the licenses of many tenants.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// A host name and a port.
const MAX_ADDRESS_BYTES: usize = 262;
/// How long a quorum has for confirming that this node leads.
const READ_INDEX_DEADLINE: Duration = Duration::from_secs(5);

/// Serves `ClusterService` for one node.
pub struct ClusterApi {
    cluster: Arc<Cluster>,
    gate: NodeGate,
    admission: Arc<Admission>,
    signing: Arc<Signing>,
    certificates: Arc<Certificates>,
    data_dir: std::path::PathBuf,
}

impl ClusterApi {
    /// The service, ready for a listener.
    pub fn service(
        cluster: Arc<Cluster>,
        gate: NodeGate,
        admission: Arc<Admission>,
        signing: Arc<Signing>,
        certificates: Arc<Certificates>,
        data_dir: std::path::PathBuf,
    ) -> ClusterServiceServer<Self> {
        ClusterServiceServer::new(ClusterApi { cluster, gate, admission, signing, certificates, data_dir })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    async fn management(&self, asked: Asked, what: &str) -> Result<(), Status> {
        let caller = self.gate.vetted(asked).await?;
        if caller.role == NodeRole::Management {
            Ok(())
        } else {
            Err(Status::permission_denied(format!("a Spooler Controller can't {what}")))
        }
    }
}

fn invalid(what: &str, error: impl std::fmt::Display) -> Status {
    ApiError::new(
        ErrorKind::Invalid,
        &format!("{what}_malformed"),
        error.to_string(),
        "correct it and ask again",
    )
    .into()
}

fn optional(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// What a joiner's message says, in domain types.
///
/// # Errors
/// A status that names the field that can't be read.
pub fn read_join_request(request: JoinRequest) -> Result<(JoinToken, Joiner), Status> {
    let token: JoinToken = request.token.parse().map_err(|error| invalid("token", error))?;
    let name: NodeName = request.name.parse().map_err(|error| invalid("node_name", error))?;
    let role = optional(request.role)
        .map(|role| role.parse::<NodeRole>())
        .transpose()
        .map_err(|error| invalid("role", error))?;
    let key = <[u8; 32]>::try_from(request.node_key.as_ref())
        .map(NodePublicKey)
        .map_err(|_| invalid("node_key", "the node key is not 32 bytes long"))?;
    let signature = <[u8; 64]>::try_from(request.signature.as_ref())
        .map(NodeSignature)
        .map_err(|_| invalid("signature", "the signature is not 64 bytes long"))?;
    let computer_id: ComputerId =
        request.computer_id.parse().map_err(|error| invalid("computer_id", error))?;
    let build: Option<BuildNumber> = optional(request.build)
        .map(|build| build.parse())
        .transpose()
        .map_err(|error| invalid("build", error))?;
    let joiner = Joiner {
        name,
        role,
        key,
        computer_id,
        build,
        agent_version: request.agent_version,
        feature_level: request.feature_level,
        addresses: Addresses { raft: request.raft_address, http: request.http_address },
        host: HostReport {
            os: request.os,
            kernel: request.kernel,
            booted_at: Timestamp::from_unix_ms(request.booted_at_ms),
            hardware: optional(request.hardware),
        },
        certificate_request: request.certificate_request,
        signature,
        wait: Duration::from_secs(u64::from(request.wait_seconds)),
        replace: optional(request.replace)
            .map(|name| name.parse())
            .transpose()
            .map_err(|error| invalid("replaced_node_name", error))?,
        brought: request.brought_certificate,
        brought_request: request.brought_request,
    };
    Ok((token, joiner))
}

#[tonic::async_trait]
impl ClusterService for ClusterApi {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let address = match request.extensions().get::<PeerInfo>() {
            Some(PeerInfo::Tcp { address, .. }) => Some(address.to_string()),
            _ => None,
        };
        let (token, joiner) = read_join_request(request.into_inner())?;
        let admitted = self.admission.admit(token, joiner, address).await?;
        Ok(Response::new(JoinResponse {
            cluster_id: admitted.cluster_id.to_string(),
            epoch_number: admitted.epoch.number,
            epoch_id: admitted.epoch.id.to_string(),
            node_id: admitted.node.0,
            certificate: admitted.certificate,
            certificate_beside: admitted.certificate_beside.unwrap_or_default(),
            ca_certificate: admitted.trusted.certificates,
            trust_version: admitted.trusted.version,
            management_key: admitted
                .management_key
                .map(|key| key.expose().to_vec())
                .unwrap_or_default()
                .into(),
            role: admitted.role.to_string(),
        }))
    }

    type ProposeStreamStream = BoxStream<'static, Result<AnswerBatch, Status>>;

    async fn propose_stream(
        &self,
        request: Request<Streaming<ProposeBatch>>,
    ) -> Result<Response<Self::ProposeStreamStream>, Status> {
        let caller = self.gate.vetted(self.gate.asked(&request)).await?;
        Ok(Response::new(self.cluster.clone().take_proposals(caller, request.into_inner())?))
    }

    async fn read_index(
        &self,
        request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexResponse>, Status> {
        self.gate.node(&request)?;
        Ok(Response::new(match self.cluster.own_read_index(READ_INDEX_DEADLINE).await {
            Ok(index) => ReadIndexResponse { confirmed: true, index, reason: String::new() },
            Err(error) => ReadIndexResponse { confirmed: false, index: 0, reason: error.to_string() },
        }))
    }

    async fn node_state(
        &self,
        request: Request<NodeStateRequest>,
    ) -> Result<Response<NodeStateResponse>, Status> {
        let caller = if request.get_ref().vetting {
            self.gate.node(&request)?
        } else {
            self.gate.vetted(self.gate.asked(&request)).await?
        };
        let clones = self.cluster.clones();
        if let Some(last) = request.get_ref().last_log_index {
            clones.check_log(caller.node, last)?;
        }
        let view = self.cluster.view();
        let folder = self.data_dir.clone();
        let free = tokio::task::spawn_blocking(move || host::free_disk_bytes(&folder)).await.ok().flatten();
        let node = self.cluster.node();
        let mut answer = NodeStateResponse {
            node_id: node.0,
            applied_index: view.applied_index(),
            license_serial: crate::service::default_serial(&view.state),
            start_counter: view.state.nodes().get(&node).map_or(0, |node| node.start_counter),
            free_disk_bytes: free,
            digest: view.digest.to_string(),
            clock_ms: clock::now().as_unix_ms(),
            ..NodeStateResponse::default()
        };
        clones.tell(self.cluster.last_log_index(), &mut answer);
        Ok(Response::new(answer))
    }

    async fn presence(
        &self,
        request: Request<PresenceRequest>,
    ) -> Result<Response<PresenceResponse>, Status> {
        self.gate.node(&request)?;
        Ok(Response::new(self.cluster.own_leader_view().map(PresenceResponse::from).unwrap_or_default()))
    }

    async fn announce(
        &self,
        request: Request<AnnounceRequest>,
    ) -> Result<Response<AnnounceResponse>, Status> {
        let caller = self.gate.vetted(self.gate.asked(&request)).await?;
        let AnnounceRequest { start_counter, raft_address: address } = request.into_inner();
        if address.len() > MAX_ADDRESS_BYTES {
            return Err(invalid("raft_address", "it is longer than an address can be"));
        }
        let addresses = self.cluster.peers().addresses();
        addresses.announce(caller.node, Announced { start_counter, address });
        let nodes = addresses.known().into_iter().map(|(id, known)| KnownAddress {
            id: id.0,
            start_counter: known.start_counter,
            raft_address: known.address,
        });
        Ok(Response::new(AnnounceResponse { nodes: nodes.collect() }))
    }

    async fn issue_certificate(
        &self,
        request: Request<IssueCertificateRequest>,
    ) -> Result<Response<IssueCertificateResponse>, Status> {
        let node = NodeId(request.get_ref().node_id);
        self.gate.asks_for_certificate(&request, node)?;
        let IssueCertificateRequest { certificate_request, signature, brought_certificate, .. } =
            request.into_inner();
        let signature = <[u8; 64]>::try_from(signature.as_ref())
            .map(NodeSignature)
            .map_err(|_| invalid("signature", "the signature is not 64 bytes long"))?;
        let certificate =
            self.certificates.signer().renew(node, &certificate_request, &signature, &brought_certificate)?;
        Ok(Response::new(IssueCertificateResponse { certificate }))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        self.management(self.gate.asked(&request), "order a renewal").await?;
        let facts = self.certificates.rotate().await?;
        Ok(Response::new(RenewCertificateResponse {
            serial: facts.serial,
            not_after_ms: facts.not_after.as_unix_ms(),
        }))
    }

    async fn sign_statement(
        &self,
        request: Request<SignStatementRequest>,
    ) -> Result<Response<SignStatementResponse>, Status> {
        self.management(self.gate.asked(&request), "ask for node statements").await?;
        let request = request.into_inner();
        let nonce = Nonce::try_from(request.nonce.as_ref()).map_err(|error| invalid("nonce", error))?;
        let kind: ActivationKind = request.kind.parse().map_err(|error| invalid("kind", error))?;
        let tenant: TenantId = request.tenant.parse().map_err(|error| invalid("tenant", error))?;
        let statement = self.signing.statement(nonce, kind, &tenant).await?;
        let statement =
            serde_json::to_string(&statement).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Response::new(SignStatementResponse { statement }))
    }

    async fn sign_integrity_key(
        &self,
        request: Request<SignIntegrityKeyRequest>,
    ) -> Result<Response<SignIntegrityKeyResponse>, Status> {
        self.management(self.gate.asked(&request), "ask for signatures").await?;
        let key = IntegrityKey::from_bytes(&request.into_inner().integrity_key)
            .map_err(|error| invalid("integrity_key", error))?;
        let signature = self.signing.integrity_key(&key).await?;
        Ok(Response::new(SignIntegrityKeyResponse {
            signature: signature.signature.as_bytes().to_vec().into(),
        }))
    }
}
