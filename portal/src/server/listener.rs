//! Our own accept loop and connection loop: places, handshake, HTTP/1.1 or HTTP/2, drain.
//!
//! ```text
//! accept -> a slot (or closed at once) -> TLS handshake in time -> hyper by ALPN -> router
//!        -> at a stop: no new requests, those in flight end, late ones are cut off
//! ```

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{
    Request,
    body::Incoming,
    rt::{Read, Write},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use quorate_limits::{NoSlot, Slots, neighbourhood};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::{config::Limits, metrics::Metrics};

/// The address of the other side, for rate limits.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// One port and what is served on it.
pub(super) struct Listener {
    /// The bound socket.
    pub socket: TcpListener,
    /// With a certificate, or plain.
    pub tls: Option<TlsAcceptor>,
    /// What is served.
    pub router: Router,
    /// Timeouts.
    pub limits: Limits,
    /// Places for connections.
    pub slots: Arc<Slots<IpAddr>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// How a listener is told to end.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    /// No new connections and requests; those in flight go on.
    pub drain: CancellationToken,
    /// What is still in flight is cut off.
    pub abort: CancellationToken,
}

impl Listener {
    /// Serves until told to drain. Connections go on in `tasks`.
    pub(super) async fn run(self, stop: Stop, tasks: TaskTracker) {
        let this = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                () = stop.drain.cancelled() => return,
                accepted = this.socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(cause) => {
                    pause_after(&cause).await;
                    continue;
                }
            };
            match this.slots.take(neighbourhood(peer.ip())) {
                Ok(slot) => {
                    let (this, stop) = (Arc::clone(&this), stop.clone());
                    tasks.spawn(async move {
                        this.metrics.connections.inc();
                        if let Err(cause) = this.connection(stream, peer, &stop).await {
                            debug!(%peer, %cause, "connection ended early");
                        }
                        this.metrics.connections.dec();
                        drop(slot);
                    });
                }
                Err(reason) => {
                    let reason = match reason {
                        NoSlot::Full => "full",
                        NoSlot::ClientFull => "address_full",
                    };
                    this.metrics.connections_refused.with_label_values(&[reason]).inc();
                    debug!(%peer, reason, "connection refused");
                }
            }
        }
    }

    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        stop: &Stop,
    ) -> Result<(), ConnectionError> {
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return self.http1(TokioIo::new(stream), peer, stop).await;
        };
        let handshake = timeout(self.limits.handshake_timeout, tls.accept(stream));
        let stream = tokio::select! {
            () = stop.drain.cancelled() => return Ok(()),
            done = handshake => match done {
                Ok(done) => done?,
                Err(_) => {
                    self.metrics.connections_refused.with_label_values(&["handshake_timeout"]).inc();
                    return Ok(());
                }
            },
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.http2(TokioIo::new(stream), peer, stop).await
        } else {
            self.http1(TokioIo::new(stream), peer, stop).await
        }
    }

    async fn http1<I>(&self, io: I, peer: SocketAddr, stop: &Stop) -> Result<(), ConnectionError>
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let service = service_fn(|request| answer(self.router.clone(), request, peer));
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.limits.header_timeout)
                .max_buf_size(64 * 1024)
                .max_headers(64)
                .serve_connection(io, service)
        );
        tokio::select! {
            done = connection.as_mut() => return Ok(done?),
            () = stop.drain.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            done = connection => Ok(done?),
            () = stop.abort.cancelled() => Err(ConnectionError::CutOff),
        }
    }

    async fn http2<I>(&self, io: I, peer: SocketAddr, stop: &Stop) -> Result<(), ConnectionError>
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let service = service_fn(move |request| answer(router.clone(), request, peer));
        let mut connection = std::pin::pin!(
            http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(32)
                .max_header_list_size(16 * 1024)
                .keep_alive_interval(Duration::from_secs(20))
                .keep_alive_timeout(Duration::from_secs(10))
                .serve_connection(io, service)
        );
        tokio::select! {
            done = connection.as_mut() => return Ok(done?),
            () = stop.drain.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            done = connection => Ok(done?),
            () = stop.abort.cancelled() => Err(ConnectionError::CutOff),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the portal stopped before the answer was complete")]
    CutOff,
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<axum::response::Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    router.oneshot(request).await
}

/// A connection that broke before it was accepted concerns nobody else; when the process has no
/// more file descriptors, waiting is all that helps.
async fn pause_after(cause: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};

    if !matches!(cause.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        warn!(%cause, "no connection can be accepted");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
