//! What nodes ask each other besides Raft: gRPC `ClusterService`.

use std::{sync::Arc, time::Duration};

use futures::stream::BoxStream;
use quorate_license::{
    ActivationKind, BuildNumber, ComputerId, IntegrityKey, NodeName, NodePublicKey, NodeRole, NodeSignature,
    Nonce, TenantId, Timestamp,
};
use quorate_proto::node::v1::{
    AnnounceRequest, AnnounceResponse, AnswerBatch, JoinRequest, JoinResponse, KnownAddress,
    NodeStateRequest, NodeStateResponse, PresenceRequest, PresenceResponse, ProposeBatch, ReadIndexRequest,
    ReadIndexResponse, SignIntegrityKeyRequest, SignIntegrityKeyResponse, SignStatementRequest,
    SignStatementResponse,
    cluster_service_server::{ClusterService, ClusterServiceServer},
};
use quorate_raft_store::state::{Addresses, HostReport};
use tonic::{Request, Response, Status, Streaming};

use super::{ApiError, ErrorKind, NodeGate};
use crate::{
    cluster::Cluster,
    host,
    net::{Announced, PeerInfo},
    pki::JoinToken,
    service::{Admission, Joiner, Signing},
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
    data_dir: std::path::PathBuf,
}

impl ClusterApi {
    /// The service, ready for a listener.
    pub fn service(
        cluster: Arc<Cluster>,
        gate: NodeGate,
        admission: Arc<Admission>,
        signing: Arc<Signing>,
        data_dir: std::path::PathBuf,
    ) -> ClusterServiceServer<Self> {
        ClusterServiceServer::new(ClusterApi { cluster, gate, admission, signing, data_dir })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn management<T>(&self, request: &Request<T>, what: &str) -> Result<(), Status> {
        let caller = self.gate.node(request)?;
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

fn joiner(request: JoinRequest) -> Result<(JoinToken, Joiner), Status> {
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
        replace: optional(request.replace)
            .map(|name| name.parse())
            .transpose()
            .map_err(|error| invalid("replaced_node_name", error))?,
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
        let (token, joiner) = joiner(request.into_inner())?;
        let admitted = self.admission.admit(token, joiner, address).await?;
        Ok(Response::new(JoinResponse {
            cluster_id: admitted.cluster_id.to_string(),
            epoch_number: admitted.epoch.number,
            epoch_id: admitted.epoch.id.to_string(),
            node_id: admitted.node.0,
            certificate: admitted.certificate,
            ca_certificate: admitted.ca_certificate,
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
        let caller = self.gate.node(&request)?;
        Ok(Response::new(self.cluster.clone().take_proposals(caller, request.into_inner())))
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
        self.gate.node(&request)?;
        let view = self.cluster.view();
        let folder = self.data_dir.clone();
        let free = tokio::task::spawn_blocking(move || host::free_disk_bytes(&folder)).await.ok().flatten();
        let node = self.cluster.node();
        Ok(Response::new(NodeStateResponse {
            node_id: node.0,
            applied_index: view.applied_index(),
            license_serial: crate::service::default_serial(&view.state),
            start_counter: view.state.nodes().get(&node).map_or(0, |node| node.start_counter),
            free_disk_bytes: free.unwrap_or(0),
            digest: view.digest.to_string(),
        }))
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
        let caller = self.gate.node(&request)?;
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

    async fn sign_statement(
        &self,
        request: Request<SignStatementRequest>,
    ) -> Result<Response<SignStatementResponse>, Status> {
        self.management(&request, "ask for node statements")?;
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
        self.management(&request, "ask for signatures")?;
        let key = IntegrityKey::from_bytes(&request.into_inner().integrity_key)
            .map_err(|error| invalid("integrity_key", error))?;
        let signature = self.signing.integrity_key(&key).await?;
        Ok(Response::new(SignIntegrityKeyResponse {
            signature: signature.signature.as_bytes().to_vec().into(),
        }))
    }
}
