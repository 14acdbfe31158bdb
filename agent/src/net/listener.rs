//! Our own hyper connection loops: for gRPC and HTTP, over TLS, plain TCP and Unix sockets.
//!
//! ```text
//! accept -> cap on connections -> TLS handshake (bounded) -> HTTP/1.1 or 2 -> router, with PeerInfo
//! ```
//!
//! When the token is cancelled a listener stops accepting, lets running requests end, and its
//! connections are closed when the grace time is over.

use std::{io, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use quorate_license::NodeId;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener},
    runtime::Handle,
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{link::Counted, peers::Peers};
use crate::pki::PeerIdentity;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection without a certificate may last.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(15 * 60);
const DRAIN_TIMEOUT: Duration = Duration::from_millis(1500);
/// After an accept that failed for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection. Every request carries it as an extension.
#[derive(Debug, Clone)]
pub enum PeerInfo {
    /// A TCP connection, and who its certificate names, if it showed one.
    Tcp {
        /// The other end's address.
        address: SocketAddr,
        /// Who the certificate names. Verified against the cluster's CA.
        identity: Option<PeerIdentity>,
    },
    /// A local process on a Unix socket.
    Local {
        /// Its user id, if the system tells.
        uid: Option<u32>,
    },
}

/// What one listener bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; more wait.
    pub connections: usize,
    /// Of these, TLS connections at once that show no certificate of the cluster.
    pub strangers: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// Bytes of request headers.
    pub header_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections: 1024, strangers: 256, streams: 512, header_bytes: 16 << 10 }
    }
}

/// Told of connections of nodes, by their certificates.
#[derive(Clone)]
pub struct Members {
    /// Counts their bytes.
    pub peers: Arc<Peers>,
    /// Told which node's connection was closed, unless this node closed it. A full queue is skipped:
    /// a node closes all of its connections when it dies.
    pub closed: mpsc::Sender<NodeId>,
}

/// A bound listener that waits to be served.
pub struct Listener {
    name: &'static str,
    router: Router,
    limits: Limits,
    tracker: TaskTracker,
    stop: CancellationToken,
    runtime: Option<Handle>,
    members: Option<Members>,
}

impl Listener {
    /// A listener that serves `router`. Its connections are tasks of `tracker` and end on `stop`.
    pub fn new(
        name: &'static str,
        router: Router,
        limits: Limits,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let (tracker, stop) = (tracker.clone(), stop.clone());
        Listener { name, router, limits, tracker, stop, runtime: None, members: None }
    }

    /// Its connections are driven by this runtime, and nodes' connections are told of.
    pub fn for_members(self, runtime: Handle, members: Members) -> Self {
        Listener { runtime: Some(runtime), members: Some(members), ..self }
    }

    /// Spawns a task of this listener where it belongs.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.runtime {
            Some(runtime) => drop(self.tracker.spawn_on(task, runtime)),
            None => drop(self.tracker.spawn(task)),
        }
    }

    /// Serves a TCP port, over TLS if a configuration is given.
    pub fn serve_tcp(self, listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
        let this = Arc::new(self);
        this.clone().spawn(async move {
            let connections = Arc::new(Semaphore::new(this.limits.connections));
            let strangers = Arc::new(Semaphore::new(this.limits.strangers));
            let acceptor = tls.map(TlsAcceptor::from);
            loop {
                let Some((stream, permit)) = this.accept(&connections, || listener.accept()).await else {
                    break;
                };
                let (stream, address): (TcpStream, SocketAddr) = stream;
                let (router, limits, stop) = (this.router.clone(), this.limits, this.stop.clone());
                let (acceptor, name, strangers) = (acceptor.clone(), this.name, strangers.clone());
                let members = this.members.clone();
                this.spawn(async move {
                    let _permit = permit;
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(listener = name, %address, %error, "connection refused its options");
                        return;
                    }
                    let Some(acceptor) = acceptor else {
                        let peer = PeerInfo::Tcp { address, identity: None };
                        return serve_connection(stream, router, peer, limits, stop).await;
                    };
                    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            let certificate =
                                stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                            let identity = certificate.and_then(|der| PeerIdentity::from_certificate(der));
                            // Who shows no certificate never takes a member's place.
                            let _stranger = match identity {
                                Some(_) => None,
                                None => match strangers.try_acquire_owned() {
                                    Ok(permit) => Some(permit),
                                    Err(_) => {
                                        tracing::info!(listener = name, %address, "too many connections");
                                        return;
                                    }
                                },
                            };
                            let peer = PeerInfo::Tcp { address, identity };
                            match (identity, members) {
                                (Some(identity), Some(Members { peers, closed })) => {
                                    let stream = Counted::new(stream, Some(peers.peer(identity.node)));
                                    serve_connection(stream, router, peer, limits, stop.clone()).await;
                                    if !stop.is_cancelled() {
                                        let _ = closed.try_send(identity.node);
                                    }
                                }
                                (Some(_), None) => {
                                    serve_connection(stream, router, peer, limits, stop).await;
                                }
                                (None, _) => {
                                    // A connection that is kept for ever would keep others out.
                                    let served = serve_connection(stream, router, peer, limits, stop);
                                    let _ = timeout(STRANGER_TIMEOUT, served).await;
                                }
                            }
                        }
                        Ok(Err(error)) => {
                            tracing::info!(listener = name, %address, %error, "TLS handshake failed");
                        }
                        Err(_) => tracing::info!(listener = name, %address, "TLS handshake took too long"),
                    }
                });
            }
        });
    }

    /// Serves a Unix socket.
    pub fn serve_unix(self, listener: UnixListener) {
        let tracker = self.tracker.clone();
        tracker.spawn(async move {
            let connections = Arc::new(Semaphore::new(self.limits.connections));
            loop {
                let Some((stream, permit)) = self.accept(&connections, || listener.accept()).await else {
                    break;
                };
                let (stream, _) = stream;
                let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                let (router, limits, stop) = (self.router.clone(), self.limits, self.stop.clone());
                self.tracker.spawn(async move {
                    let _permit = permit;
                    serve_connection(stream, router, PeerInfo::Local { uid }, limits, stop).await;
                });
            }
        });
    }

    /// Waits for room and a connection; none when the listener shall stop.
    async fn accept<T, F: Future<Output = io::Result<T>>>(
        &self,
        connections: &Arc<Semaphore>,
        accept: impl Fn() -> F,
    ) -> Option<(T, tokio::sync::OwnedSemaphorePermit)> {
        self.stop
            .run_until_cancelled(async {
                let permit = connections.clone().acquire_owned().await.ok()?;
                loop {
                    match accept().await {
                        Ok(stream) => return Some((stream, permit)),
                        Err(error) => {
                            tracing::warn!(listener = self.name, %error, "a connection could not be accepted");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            })
            .await
            .flatten()
    }
}

async fn serve_connection<S>(
    stream: S,
    router: Router,
    peer: PeerInfo,
    limits: Limits,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(router.layer(axum::Extension(peer)));
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(limits.header_bytes as usize * 4);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match timeout(DRAIN_TIMEOUT, connection).await {
                Ok(result) => result,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(error, "a connection ended");
    }
}

/// Binds a Unix socket for its owner alone (`mode`), in place of what a dead process left there.
///
/// # Errors
/// The system's; also if another process still listens there.
pub fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on this socket"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}
