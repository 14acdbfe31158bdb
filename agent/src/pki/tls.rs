//! TLS settings: mutual between nodes, pinned for a joiner, ordinary for administrators.

use std::sync::Arc;

use quorate_license::{ClusterId, NodeId, NodeRole};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{ParsedCertificate, WebPkiClientVerifier},
};
use sha2::{Digest, Sha256};

use super::{PeerIdentity, PkiError, internal_name};
use crate::data_dir::TlsFiles;

/// Makes the one crypto provider of this project the process's default, for libraries that look for
/// one. Called once, at start; a second call changes nothing.
pub fn install_crypto_provider() {
    // An error says that one is installed already: it can only be the same.
    let _ = ring::default_provider().install_default();
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn tls_error(error: impl std::fmt::Display) -> PkiError {
    PkiError::Tls(error.to_string())
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(PkiError::Pem { what, reason: "it holds no certificate".to_owned() }),
        Err(error) => Err(PkiError::Pem { what, reason: error.to_string() }),
    }
}

fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, PkiError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| PkiError::Pem { what: "TLS key", reason: error.to_string() })
}

fn roots(pem: &str) -> Result<Arc<RootCertStore>, PkiError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "CA certificate")? {
        roots.add(certificate).map_err(tls_error)?;
    }
    Ok(Arc::new(roots))
}

/// A node's certificate with the CA's behind it: joiners find the CA's hash in what is presented.
fn chain(files: &TlsFiles) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let mut chain = certificates(&files.certificate, "node certificate")?;
    chain.extend(certificates(&files.ca_certificate, "CA certificate")?);
    Ok(chain)
}

/// Both sides of a node's TLS.
#[derive(Clone)]
pub struct NodeTls {
    /// For callers.
    pub client: Arc<ClientConfig>,
    /// For the node-to-node port. A certificate is checked if one is shown; who needs one is decided
    /// call by call.
    pub server: Arc<ServerConfig>,
    cluster_id: ClusterId,
}

impl NodeTls {
    /// TLS with these files.
    ///
    /// # Errors
    /// [`PkiError`] if a file is not what it should be.
    pub fn new(files: &TlsFiles, cluster_id: ClusterId) -> Result<Self, PkiError> {
        let roots = roots(&files.ca_certificate)?;
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(tls_error)?
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain(files)?, private_key(&files.key)?)
            .map_err(tls_error)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .allow_unauthenticated()
            .build()
            .map_err(tls_error)?;
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(tls_error)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain(files)?, private_key(&files.key)?)
            .map_err(tls_error)?;
        Ok(NodeTls {
            client: Arc::new(with_client_alpn(client)),
            server: Arc::new(with_server_alpn(server)),
            cluster_id,
        })
    }

    /// The name that a caller expects of a node.
    ///
    /// # Errors
    /// Never, for ids.
    pub fn server_name(&self, node: NodeId) -> Result<ServerName<'static>, PkiError> {
        ServerName::try_from(internal_name(&self.cluster_id, node)).map_err(tls_error)
    }
}

fn with_client_alpn(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn with_server_alpn(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// TLS for a port that people and their tools call: no client certificates.
///
/// # Errors
/// [`PkiError`] if a file is not what it should be.
pub fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, PkiError> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls_error)?
        .with_no_client_auth()
        .with_single_cert(chain(files)?, private_key(&files.key)?)
        .map_err(tls_error)?;
    Ok(Arc::new(with_server_alpn(config)))
}

/// TLS for a caller that trusts a CA from a file and checks the address.
///
/// # Errors
/// [`PkiError`] if the text is no certificate.
pub fn trusting_client(ca_certificate: &str) -> Result<Arc<ClientConfig>, PkiError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls_error)?
        .with_root_certificates(roots(ca_certificate)?)
        .with_no_client_auth();
    Ok(Arc::new(with_client_alpn(config)))
}

/// TLS for a joiner: it trusts the CA with this SHA-256, wherever the server is. It has nothing to
/// show yet.
///
/// # Errors
/// [`PkiError::Tls`].
pub fn pinned_client(ca_fingerprint: [u8; 32]) -> Result<Arc<ClientConfig>, PkiError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls_error)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedCa { ca_fingerprint, provider: provider() }))
        .with_no_client_auth();
    Ok(Arc::new(with_client_alpn(config)))
}

/// Accepts a Management Server whose certificate was issued by the CA with this hash, which must be in
/// the presented chain. Names don't matter: the CA issues to nodes of one cluster only.
#[derive(Debug)]
struct PinnedCa {
    ca_fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let ca = intermediates
            .iter()
            .find(|certificate| Sha256::digest(certificate.as_ref())[..] == self.ca_fingerprint)
            .ok_or_else(|| {
                Error::General(
                    "the server belongs to another cluster: its CA is not the one that the token names"
                        .to_owned(),
                )
            })?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&certificate, &roots, intermediates, now, algorithms)?;
        // A Spooler Controller can't admit nodes, and must not see a token.
        if PeerIdentity::from_certificate(end_entity).is_none_or(|peer| peer.role != NodeRole::Management) {
            return Err(Error::General("the server is not a Management Server".to_owned()));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
