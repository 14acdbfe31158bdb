//! gRPC channels over our own TLS.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use quorate_license::NodeId;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::pki::PeerIdentity;

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
    /// The node that the certificate must have been issued to; none where any node will do.
    pub node: Option<NodeId>,
}

/// A channel that connects when it is used, and again after a connection is lost.
pub fn tls_channel<F>(options: ChannelOptions<F>) -> Channel
where
    F: Fn() -> Option<String> + Send + Sync + 'static,
{
    let options = Arc::new(options);
    // The authority is never resolved: the connector knows where to go.
    Endpoint::from_static("http://node.quorate.internal")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .connect_with_connector_lazy(service_fn(move |_: Uri| {
            let options = options.clone();
            async move { connect(&options).await.map(TokioIo::new) }
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
    if let Some(node) = options.node {
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let peer = certificate.and_then(|der| PeerIdentity::from_certificate(der));
        if peer.is_none_or(|peer| peer.node != node) {
            let reason = format!("the server at {address} is not node {node}");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
    }
    Ok(stream)
}
