//! TLS connections to nodes, as whoever shows no certificate opens them.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{Failure, Result};

/// TLS that trusts the CAs of this file, and speaks HTTP/2.
///
/// # Errors
/// The file is not there, or holds no certificates.
pub fn trusting(ca_file: &Path) -> Result<Arc<ClientConfig>> {
    let failed = |cause: &dyn std::fmt::Display| Failure::wrong(format!("{}: {cause}", ca_file.display()));
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_file_iter(ca_file).map_err(|cause| failed(&cause))? {
        roots.add(ca.map_err(|cause| failed(&cause))?).map_err(|cause| failed(&cause))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| failed(&cause))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Connects to a node's port.
///
/// # Errors
/// The system's, and TLS's own.
pub async fn connect(tls: &Arc<ClientConfig>, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    handshake(tls, stream, address).await
}

/// Makes a TLS connection of one to a node's port.
///
/// # Errors
/// TLS's own.
pub async fn handshake(
    tls: &Arc<ClientConfig>,
    stream: TcpStream,
    address: SocketAddr,
) -> io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(tls.clone()).connect(ServerName::from(address.ip()), stream).await
}
