//! Our own hyper connection loops: for gRPC and HTTP, over TLS, plain TCP and Unix sockets.
//!
//! ```text
//! accept -> a place (or closed at once) -> TLS handshake (bounded) -> HTTP/1.1 or 2 -> router, with PeerInfo
//! ```
//!
//! Nobody waits for a place: a flood is turned away as it comes, and a member that connects again meanwhile gets
//! through. When the token is cancelled a listener stops accepting, lets running requests end, and its
//! connections are closed when the grace time is over.

use std::{
    fmt, hash::Hash, io, net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration,
};

use axum::{Router, body::Body, extract::Request, middleware};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use quorate_license::NodeId;
use quorate_limits::{NoSlot, Slot, Slots, neighbourhood};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    runtime::Handle,
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::timeout::TimeoutBody;

use super::{
    limits::{self, Client, Limits, Windows},
    link::Counted,
    peers::Peers,
};
use crate::{
    metrics::Metrics,
    now_and_then::NowAndThen,
    pki::{Flaw, NodeTls, PeerIdentity, Side},
};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection over TLS without a certificate may last.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// The body of a request may pause for this long; a member's streams stay open as long as they are needed.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
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
        /// Why it does not count all the same: what is wrong with the certificate that it brings besides.
        flaw: Option<Flaw>,
    },
    /// A local process on a Unix socket.
    Local {
        /// Its user id, if the system tells.
        uid: Option<u32>,
    },
}

/// Told of connections of nodes, by their certificates.
#[derive(Clone)]
pub struct Members {
    /// Judges what they show.
    pub tls: NodeTls,
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
    handshakes: Arc<Slots<Client>>,
    strangers: Arc<Slots<Client>>,
    members: Arc<Slots<NodeId>>,
    metrics: Arc<Metrics>,
    tracker: TaskTracker,
    stop: CancellationToken,
    runtime: Option<Handle>,
    told: Option<Members>,
    turned_away: NowAndThen,
    failed: NowAndThen,
}

impl Listener {
    /// A listener that serves `router`. Its connections are tasks of `tracker` and end on `stop`.
    pub fn new(
        name: &'static str,
        router: Router,
        limits: Limits,
        metrics: &Arc<Metrics>,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        Listener {
            name,
            router,
            limits,
            handshakes: Slots::new(limits::HANDSHAKES, limits::HANDSHAKES_PER_CLIENT),
            strangers: Slots::new(limits.strangers, limits.strangers_per_client),
            members: Slots::new(limits::MEMBERS, limits::PER_MEMBER),
            metrics: metrics.clone(),
            tracker: tracker.clone(),
            stop: stop.clone(),
            runtime: None,
            told: None,
            turned_away: NowAndThen::new(1),
            failed: NowAndThen::new(3),
        }
    }

    /// Its connections are driven by this runtime, and nodes' connections are told of.
    pub fn for_members(self, runtime: Handle, members: Members) -> Self {
        Listener { runtime: Some(runtime), told: Some(members), ..self }
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
        let acceptor = tls.map(TlsAcceptor::from);
        this.clone().spawn(async move {
            while let Some((stream, address)) = this.accept(|| listener.accept()).await {
                let client = Client::Address(neighbourhood(address.ip()));
                let places = if acceptor.is_some() { &this.handshakes } else { &this.strangers };
                let Some(place) = this.place(places, client) else { continue };
                let (listener, acceptor) = (this.clone(), acceptor.clone());
                this.spawn(async move { listener.serve_stream(stream, address, acceptor, place).await });
            }
        });
    }

    /// Serves a Unix socket.
    pub fn serve_unix(self, listener: UnixListener) {
        let this = Arc::new(self);
        this.clone().spawn(async move {
            while let Some((stream, _)) = this.accept(|| listener.accept()).await {
                let stream: UnixStream = stream;
                let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                let Some(place) = this.place(&this.strangers, Client::User(uid)) else { continue };
                let listener = this.clone();
                this.spawn(async move {
                    let _place = place;
                    listener.serve(stream, PeerInfo::Local { uid }).await;
                });
            }
        });
    }

    /// Waits for a connection; none when the listener shall stop.
    async fn accept<T, F: Future<Output = io::Result<T>>>(&self, accept: impl Fn() -> F) -> Option<T> {
        self.stop
            .run_until_cancelled(async {
                loop {
                    match accept().await {
                        Ok(accepted) => return accepted,
                        Err(error) => {
                            tracing::warn!(listener = self.name, %error, "a connection could not be accepted");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            })
            .await
    }

    fn place<C>(&self, places: &Arc<Slots<C>>, client: C) -> Option<Slot<C>>
    where
        C: Copy + Eq + Hash + fmt::Display,
    {
        places.take(client).map_err(|reason| self.turn_away(reason, &client)).ok()
    }

    /// Counts a connection that is closed at once.
    fn turn_away(&self, reason: NoSlot, client: &dyn fmt::Display) {
        self.metrics.connections_refused.with_label_values(&[self.name, reason.as_str()]).inc();
        if let Some(others) = self.turned_away.now() {
            let reason = match reason {
                NoSlot::Full => "all places are taken",
                NoSlot::ClientFull => "this client has its share",
            };
            tracing::warn!(listener = self.name, %client, reason, others, "connections are turned away");
        }
    }

    async fn serve_stream(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        acceptor: Option<TlsAcceptor>,
        place: Slot<Client>,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(listener = self.name, %address, %error, "connection refused its options");
            return;
        }
        let Some(acceptor) = acceptor else {
            return self.serve(stream, PeerInfo::Tcp { address, identity: None, flaw: None }).await;
        };
        let reason: Box<dyn fmt::Display + Send + Sync> =
            match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => return self.serve_tls(stream, address, place).await,
                Ok(Err(error)) => Box::new(error),
                Err(_) => Box::new("it took too long"),
            };
        match self.failed.now() {
            Some(others) => {
                tracing::info!(listener = self.name, %address, %reason, others, "TLS handshake failed");
            }
            None => tracing::debug!(listener = self.name, %address, %reason, "TLS handshake failed"),
        }
    }

    async fn serve_tls(&self, stream: TlsStream<TcpStream>, address: SocketAddr, handshake: Slot<Client>) {
        // Only a listener for members asks for certificates.
        let chain = stream.get_ref().1.peer_certificates();
        let shown =
            self.told.as_ref().zip(chain).and_then(|(told, chain)| told.tls.judge(chain, Side::Client));
        let (identity, flaw) = shown.map_or((None, None), |shown| (Some(shown.identity), shown.flaw));
        let peer = PeerInfo::Tcp { address, identity, flaw };
        let Some(identity) = identity else {
            let client = Client::Address(neighbourhood(address.ip()));
            let Some(_place) = self.place(&self.strangers, client) else { return };
            drop(handshake);
            // A connection that is kept for ever would keep others out.
            let _ = timeout(STRANGER_TIMEOUT, self.serve(stream, peer)).await;
            return;
        };
        let Some(_place) = self.place(&self.members, identity.node) else { return };
        drop(handshake);
        let Some(Members { peers, closed, .. }) = &self.told else {
            return self.serve(stream, peer).await;
        };
        self.serve(Counted::new(stream, Some(peers.peer(identity.node))), peer).await;
        if !self.stop.is_cancelled() {
            let _ = closed.try_send(identity.node);
        }
    }

    /// Serves the requests of one connection.
    async fn serve<S>(&self, stream: S, peer: PeerInfo)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (windows, streams) = match peer {
            PeerInfo::Tcp { identity: Some(_), .. } => (Windows::MEMBER, limits::MEMBER_STREAMS),
            _ => (Windows::STRANGER, self.limits.streams),
        };
        let is_member = matches!(peer, PeerInfo::Tcp { identity: Some(_), .. });
        let mut router = self.router.clone().layer(axum::Extension(peer));
        if !is_member {
            router = router.layer(middleware::map_request(async |request: Request| {
                request.map(|body| Body::new(TimeoutBody::new(BODY_TIMEOUT, body)))
            }));
        }
        let service = TowerToHyperService::new(router);
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(limits::HEADER_BYTES as usize * 4);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(streams)
            .max_header_list_size(limits::HEADER_BYTES)
            .initial_stream_window_size(windows.stream)
            .initial_connection_window_size(windows.connection)
            .keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10));
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.stop.cancelled() => {
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
