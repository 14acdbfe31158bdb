//! The gRPC faces of a node over its Unix sockets: what the product and an administrator ask.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use quorate_proto::v1::{
    ActivationSummary, CheckRequest, CheckResponse, ClusterHealthRequest, ClusterHealthResponse,
    CreateTokenRequest, CreateTokenResponse, GetLicenseRequest, GetLicenseResponse, ListActivationsRequest,
    ListTokensRequest, StatusRequest, StatusResponse, TokenSummary, TransferLeaderRequest,
    admin_service_client::AdminServiceClient, license_service_client::LicenseServiceClient,
};
use tokio::{net::UnixStream, runtime::Runtime};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint, Uri},
};

use crate::{Failure, Result};

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Lists of tens of thousands must fit.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The metadata that carries Quorate's stable code.
const CODE: &str = "quorate-code";

/// The runtime on which all clients of this process work.
#[allow(clippy::expect_used, reason = "a process without threads can't drive anything")]
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("the operating system starts threads")
    })
}

/// A channel to a Unix socket. It connects with the first call, and again after the server came back.
pub fn channel(socket: &Path) -> Channel {
    let socket: PathBuf = socket.to_owned();
    let _context = runtime().enter();
    Endpoint::from_static("http://quorate.local")
        .connect_timeout(Duration::from_secs(5))
        .connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        }))
}

/// A request that is given up after `deadline`, here and at the server.
pub fn request<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

/// What the licensed product asks.
#[derive(Debug, Clone)]
pub struct Product {
    node: String,
    client: LicenseServiceClient<Channel>,
}

impl Product {
    /// The product's face of the node.
    pub fn new(node: &str, socket: &Path) -> Self {
        Product { node: node.to_owned(), client: LicenseServiceClient::new(channel(socket)) }
    }

    /// Whether a feature may be used in this quantity.
    ///
    /// # Errors
    /// The node did not answer.
    pub fn check(&self, feature: &str, quantity: u64) -> Result<CheckResponse> {
        let message = CheckRequest { tenant: String::new(), feature: feature.to_owned(), quantity };
        let mut client = self.client.clone();
        call(&self.node, "Check", async move { client.check(request(message, DEADLINE)).await })
    }

    /// The license and its status.
    ///
    /// # Errors
    /// The node did not answer.
    pub fn license(&self) -> Result<GetLicenseResponse> {
        let mut client = self.client.clone();
        let message = GetLicenseRequest { tenant: String::new() };
        call(&self.node, "GetLicense", async move { client.get_license(request(message, DEADLINE)).await })
    }
}

/// What an administrator asks.
#[derive(Debug, Clone)]
pub struct Admin {
    node: String,
    client: AdminServiceClient<Channel>,
}

impl Admin {
    /// The administrator's face of the node.
    pub fn new(node: &str, socket: &Path) -> Self {
        Admin { node: node.to_owned(), client: admin_client(channel(socket)) }
    }

    /// The cluster as this node sees it.
    ///
    /// # Errors
    /// The node did not answer.
    pub fn status(&self) -> Result<StatusResponse> {
        let mut client = self.client.clone();
        call(&self.node, "Status", async move { client.status(request(StatusRequest {}, DEADLINE)).await })
    }

    /// Whether the cluster works, and what is wrong.
    ///
    /// # Errors
    /// The node did not answer.
    pub fn health(&self) -> Result<ClusterHealthResponse> {
        let mut client = self.client.clone();
        let message = ClusterHealthRequest {};
        call(
            &self.node,
            "ClusterHealth",
            async move { client.cluster_health(request(message, DEADLINE)).await },
        )
    }

    /// Makes a token.
    ///
    /// # Errors
    /// It is refused, or the node did not answer.
    pub fn create_token(&self, message: CreateTokenRequest) -> Result<CreateTokenResponse> {
        let mut client = self.client.clone();
        call(&self.node, "CreateToken", async move { client.create_token(request(message, DEADLINE)).await })
    }

    /// All tokens.
    ///
    /// # Errors
    /// The node did not answer.
    pub fn tokens(&self) -> Result<Vec<TokenSummary>> {
        let mut client = self.client.clone();
        let message = ListTokensRequest {};
        let list =
            call(
                &self.node,
                "ListTokens",
                async move { client.list_tokens(request(message, DEADLINE)).await },
            )?;
        Ok(list.tokens)
    }

    /// All activations that the cluster remembers.
    ///
    /// # Errors
    /// The node did not answer.
    pub fn activations(&self) -> Result<Vec<ActivationSummary>> {
        let mut client = self.client.clone();
        let message = ListActivationsRequest {};
        let list = call(&self.node, "ListActivations", async move {
            client.list_activations(request(message, DEADLINE)).await
        })?;
        Ok(list.activations)
    }

    /// Hands leadership to a voter; gives who leads then.
    ///
    /// # Errors
    /// It is refused, or the node did not answer.
    pub fn transfer_leader(&self, to: u64) -> Result<u64> {
        let mut client = self.client.clone();
        let message = TransferLeaderRequest { to };
        let answer = call(&self.node, "TransferLeader", async move {
            client.transfer_leader(request(message, DEADLINE)).await
        })?;
        Ok(answer.leader)
    }
}

/// A client of the administrator's face that reads long lists.
pub fn admin_client(channel: Channel) -> AdminServiceClient<Channel> {
    AdminServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES)
}

/// Quorate's stable code in a refusal.
pub fn stable_code(status: &Status) -> Option<String> {
    status.metadata().get(CODE).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn call<T>(
    node: &str,
    method: &'static str,
    answer: impl Future<Output = std::result::Result<tonic::Response<T>, Status>>,
) -> Result<T> {
    // The server keeps the deadline of the request; a server that hangs is given up a little later.
    let limited = async {
        tokio::time::timeout(DEADLINE + Duration::from_secs(2), answer)
            .await
            .unwrap_or_else(|_| Err(Status::new(Code::DeadlineExceeded, "no answer in time")))
    };
    runtime().block_on(limited).map(tonic::Response::into_inner).map_err(|status| Failure::Call {
        node: node.to_owned(),
        method,
        code: stable_code(&status),
        grpc: status.code(),
        message: status.message().to_owned(),
    })
}
