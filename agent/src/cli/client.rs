//! The connection to a node: its administrator socket, or its node port with TLS and a token.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use quorate_proto::v1::admin_service_client::AdminServiceClient;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint, Uri},
};

use super::{
    Exit,
    args::Global,
    error::{Answer, CliError, UsageError},
    input,
};
use crate::{config, pki};

/// How long an answer from memory or a change may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// How long a node may take that has to ask every other one.
pub(crate) const LONG_DEADLINE: Duration = Duration::from_secs(60);

/// How long TCP and TLS may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Lists of tens of thousands must fit.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// The administrator's face of a node.
pub(crate) type Admin = AdminServiceClient<InterceptedService<Channel, Bearer>>;

/// No node could be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nothing has made the socket.
    #[error("this node does not run: there is no socket {0}")]
    NoSocket(PathBuf),
    /// A socket is left over from a node that was killed.
    #[error("this node does not run: nobody listens on the socket {0}")]
    NobodyListens(PathBuf),
    /// The socket belongs to somebody else.
    #[error("you may not open the socket {0}")]
    SocketDenied(PathBuf),
    /// Something else is wrong with the socket.
    #[error("the socket {path} can't be opened: {cause}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// None of the named servers can be reached.
    #[error("no server could be reached: {0}")]
    Servers(String),
    /// Something listens there that speaks another protocol.
    #[error("what listens at {target} does not answer as a node: {cause}")]
    Protocol {
        /// Where it listens.
        target: String,
        /// What went wrong.
        cause: tonic::transport::Error,
    },
}

impl ConnectError {
    pub(super) const fn code(&self) -> &'static str {
        match self {
            ConnectError::NoSocket(_) | ConnectError::NobodyListens(_) => "node_not_running",
            ConnectError::SocketDenied(_) => "socket_denied",
            ConnectError::Socket { .. } => "socket_unusable",
            ConnectError::Servers(_) => "unreachable",
            ConnectError::Protocol { .. } => "not_a_node",
        }
    }

    pub(super) fn hint(&self) -> String {
        match self {
            ConnectError::NoSocket(_) | ConnectError::NobodyListens(_) => {
                "Start it by 'quorate serve', name its configuration by --config, or ask another node by --server."
            }
            ConnectError::SocketDenied(_) => "Run the command as the user that the node runs as, or as root.",
            ConnectError::Socket { .. } => "Check listen.admin_socket in the configuration.",
            ConnectError::Servers(_) => {
                "Check that the server runs, that --server names its node port (7400 by default), and that --ca-file is this cluster's."
            }
            ConnectError::Protocol { .. } => "Check the address: --server names a node's node port, 7400 by default.",
        }
        .to_owned()
    }

    pub(super) const fn exit(&self) -> Exit {
        match self {
            ConnectError::SocketDenied(_) => Exit::Denied,
            _ => Exit::NoConnection,
        }
    }
}

/// Shows an administrator's token with every request.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// Connects to the node that the flags name: the servers, or this host's node by its configuration.
pub(crate) async fn connect(global: &Global) -> Result<Admin, CliError> {
    let bearer = Bearer(global.token_file.as_deref().map(token).transpose()?);
    let channel = if global.server.is_empty() {
        let socket = config::admin_socket(&global.config)?;
        let stream = unix_stream(&socket).await?;
        over(stream, &socket.display().to_string()).await?
    } else {
        let ca_file = global.ca_file.as_deref().ok_or(UsageError::NoCaFile)?;
        let ca = std::fs::read_to_string(ca_file).map_err(|cause| CliError::File {
            what: "CA certificate",
            path: ca_file.to_owned(),
            cause,
        })?;
        any_server(&global.server, pki::trusting_client(&ca)?).await?
    };
    Ok(AdminServiceClient::with_interceptor(channel, bearer).max_decoding_message_size(MAX_ANSWER_BYTES))
}

/// Waits for an answer, but not for ever.
pub(crate) async fn call<T>(
    deadline: Duration,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, CliError> {
    match timeout(deadline, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Answer::from(status).into()),
        Err(_) => Err(Answer::late(deadline.as_secs()).into()),
    }
}

/// A request that the node gives up in time, too.
pub(crate) fn within<T>(deadline: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

fn token(path: &Path) -> Result<MetadataValue<Ascii>, CliError> {
    let token = input::secret("token", path)?;
    let mut value = MetadataValue::try_from(format!("Bearer {}", token.as_str()))
        .map_err(|_| UsageError::TokenUnusable(path.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn unix_stream(path: &Path) -> Result<UnixStream, ConnectError> {
    UnixStream::connect(path).await.map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => ConnectError::NoSocket(path.to_owned()),
        io::ErrorKind::ConnectionRefused => ConnectError::NobodyListens(path.to_owned()),
        io::ErrorKind::PermissionDenied => ConnectError::SocketDenied(path.to_owned()),
        _ => ConnectError::Socket { path: path.to_owned(), cause },
    })
}

/// The first server that can be reached.
async fn any_server(servers: &[String], tls: Arc<ClientConfig>) -> Result<Channel, CliError> {
    let connector = TlsConnector::from(tls);
    let mut failures = Vec::new();
    for server in servers {
        let stream = timeout(CONNECT_TIMEOUT, async {
            let name = server_name(server)?;
            let stream = TcpStream::connect(server).await?;
            stream.set_nodelay(true)?;
            connector.connect(name, stream).await
        });
        match stream.await {
            Ok(Ok(stream)) => return over(stream, server).await.map_err(CliError::from),
            Ok(Err(error)) => failures.push(format!("{server}: {error}")),
            Err(_) => failures.push(format!("{server}: no answer within {} seconds", CONNECT_TIMEOUT.as_secs())),
        }
    }
    Err(ConnectError::Servers(failures.join("; ")).into())
}

/// The host part of `host:port`, as certificates name it.
fn server_name(server: &str) -> io::Result<ServerName<'static>> {
    let host = server.rsplit_once(':').map(|(host, _)| host.trim_start_matches('[').trim_end_matches(']'));
    host.and_then(|host| ServerName::try_from(host.to_owned()).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is not host:port"))
}

/// gRPC over a connection that stands. It is not made anew: a command is short.
async fn over<S>(stream: S, target: &str) -> Result<Channel, ConnectError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stream = Arc::new(Mutex::new(Some(stream)));
    // The authority is never resolved: the connector hands the connection out.
    Endpoint::from_static("http://node.quorate.internal")
        .connect_with_connector(tower::service_fn(move |_: Uri| {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move { stream.map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset)) }
        }))
        .await
        .map_err(|cause| ConnectError::Protocol { target: target.to_owned(), cause })
}
