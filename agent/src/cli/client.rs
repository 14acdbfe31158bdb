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
            Err(_) => {
                failures.push(format!("{server}: no answer within {} seconds", CONNECT_TIMEOUT.as_secs()))
            }
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    async fn refusal_of(path: &Path) -> ConnectError {
        unix_stream(path).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_node_that_does_not_run_is_told_from_one_that_left_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let missing = refusal_of(&socket).await;
        assert_eq!((missing.code(), missing.exit()), ("node_not_running", Exit::NoConnection));
        assert!(matches!(missing, ConnectError::NoSocket(path) if path == socket));

        drop(UnixListener::bind(&socket).unwrap());
        assert!(matches!(refusal_of(&socket).await, ConnectError::NobodyListens(path) if path == socket));
    }

    #[tokio::test]
    async fn what_does_not_speak_as_a_node_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let stream = unix_stream(&socket).await.unwrap();
        drop(listener.accept().await.unwrap());
        let mut admin = AdminServiceClient::with_interceptor(
            match over(stream, "admin.sock").await {
                Ok(channel) => channel,
                Err(error) => {
                    assert_eq!(error.code(), "not_a_node");
                    return;
                }
            },
            Bearer(None),
        );
        let status = admin.status(quorate_proto::v1::StatusRequest {}).await.unwrap_err();
        assert_eq!(CliError::from(Answer::from(status)).exit(), Exit::NoConnection);
    }

    #[tokio::test]
    async fn every_server_that_failed_is_named_with_its_reason() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = free.local_addr().unwrap().to_string();
        drop(free);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let servers = [closed.clone(), "ms 1:7400".to_owned()];
        let error = any_server(&servers, Arc::new(tls)).await.unwrap_err();
        let report = error.report();
        assert_eq!((report.code.as_str(), error.exit()), ("unreachable", Exit::NoConnection));
        assert!(
            report.message.contains(&closed) && report.message.contains("ms 1:7400"),
            "{}",
            report.message
        );
    }

    #[tokio::test]
    async fn an_answer_is_not_waited_for_for_ever() {
        let never = std::future::pending::<Result<Response<()>, Status>>();
        let error = call(Duration::from_millis(10), never).await.unwrap_err();
        assert_eq!((error.report().code.as_str(), error.exit()), ("no_answer", Exit::NoConnection));
    }

    #[test]
    fn tokens_are_read_from_files_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("admin.token");
        std::fs::write(&file, "qa1-00-secret\n").unwrap();
        let value = token(&file).unwrap();
        assert_eq!(value.to_str().unwrap(), "Bearer qa1-00-secret");
        assert!(value.is_sensitive() && !format!("{value:?}").contains("secret"));
        std::fs::write(&file, "two\nlines").unwrap();
        assert_eq!(token(&file).unwrap_err().report().code, "token_malformed");
    }

    #[test]
    fn certificates_are_checked_against_the_host_alone() {
        for (server, host) in
            [("ms-1:7400", "ms-1"), ("10.0.0.1:7400", "10.0.0.1"), ("[fd00::1]:7400", "fd00::1")]
        {
            assert_eq!(server_name(server).unwrap(), ServerName::try_from(host).unwrap());
        }
        assert!(server_name("ms-1").is_err());
    }
}
