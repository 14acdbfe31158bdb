//! gRPC channels over our own TLS.
//!
//! A channel connects when it is used, and again after a connection was lost. After a failed attempt
//! it waits (see [`super::backoff`]); calls fail at once meanwhile.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use quorate_license::NodeId;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::link::{Attempts, Counted, Peer};
use crate::pki::{NodeTls, Presented, Side};

/// How long TCP and TLS may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A peer that answers no ping for this long, twice, is gone.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// Where a channel leads, asked anew for every connection.
pub struct ChannelOptions<F> {
    /// The address, `host:port`; none while it is unknown.
    pub address: F,
    /// TLS for the connection.
    pub tls: Arc<ClientConfig>,
    /// The name that the server's certificate must have.
    pub server_name: ServerName<'static>,
    /// The node that the certificate must have been issued to, and who judges what it shows; none where any node will do.
    pub node: Option<(NodeId, NodeTls)>,
    /// What is known of the node; none if it is no member.
    pub peer: Option<Arc<Peer>>,
    /// The attempts to connect.
    pub attempts: Arc<Attempts>,
}

/// A channel that connects when it is used, and again after a connection is lost.
pub fn tls_channel<F>(options: ChannelOptions<F>) -> Channel
where
    F: Fn() -> Option<String> + Send + Sync + 'static,
{
    let options = Arc::new(options);
    // The authority is never resolved: the connector knows where to go.
    Endpoint::from_static("http://node.quorate.internal")
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .connect_with_connector_lazy(service_fn(move |_: Uri| {
            let options = options.clone();
            async move {
                options.attempts.may_begin(Instant::now())?;
                let stream = match timeout(CONNECT_TIMEOUT, connect(&options)).await {
                    Ok(connected) => connected,
                    Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")),
                };
                let (stream, result) = match stream {
                    Ok(stream) => (Some(stream), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                options.attempts.ended(Instant::now(), &result, options.peer.as_deref());
                result?;
                let stream = stream.ok_or(io::ErrorKind::NotConnected)?;
                Ok::<_, io::Error>(TokioIo::new(Counted::new(stream, options.peer.clone())))
            }
        }))
}

async fn connect<F>(options: &ChannelOptions<F>) -> io::Result<TlsStream<TcpStream>>
where
    F: Fn() -> Option<String>,
{
    let address = (options.address)().ok_or_else(|| {
        io::Error::new(io::ErrorKind::AddrNotAvailable, "the node's address is not known yet")
    })?;
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(options.tls.clone()).connect(options.server_name.clone(), stream).await?;
    if let Some((node, tls)) = &options.node {
        let denied = |reason| Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        let chain = stream.get_ref().1.peer_certificates();
        let shown = chain.and_then(|chain| tls.judge(chain, Side::Server));
        match shown.filter(|shown| shown.identity.node == *node) {
            None => return denied(format!("the server at {address} is not node {node}")),
            Some(Presented { flaw: Some(flaw), .. }) => {
                return denied(format!("the server at {address} is not let in: {flaw}; {}", flaw.hint()));
            }
            Some(_) => {}
        }
    }
    Ok(stream)
}
