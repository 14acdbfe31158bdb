//! TLS settings: mutual between nodes, ordinary for administrators.
//!
//! A node's settings are made once and live as long as the process. What they show and whom they trust is looked
//! up for every handshake, so both can change while connections stay open (see [`super::shown`]).

use std::sync::Arc;

use quorate_license::{ClusterId, NodeId, NodeName, NodeRole};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    server::{NoServerSessionStorage, ResolvesServerCert},
};

use super::{Brought, BroughtPolicy, Flaw, PkiError, Presented, Side, internal_name, shown::Shown};
use crate::{clock::ClusterClock, data_dir::TlsFiles};

/// Makes the one crypto provider of this project the process's default, for libraries that look for
/// one. Called once, at start; a second call changes nothing.
pub fn install_crypto_provider() {
    // An error says that one is installed already: it can only be the same.
    let _ = ring::default_provider().install_default();
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub(super) fn tls_error(error: impl std::fmt::Display) -> PkiError {
    PkiError::Tls(error.to_string())
}

/// Why a certificate is refused, in words.
pub(super) fn reason(error: &rustls::Error) -> String {
    use rustls::{CertificateError, Error};
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its issuer is none of them, and no certificate beside it leads to one".to_owned()
        }
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            "it is not signed by the CA whose name it bears".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "it has ended".to_owned()
        }
        Error::InvalidCertificate(other) => other.to_string(),
        other => other.to_string(),
    }
}

/// The certificates of a PEM text; at least one.
pub(super) fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(PkiError::Pem { what, reason: "it holds no certificate".to_owned() }),
        Err(error) => Err(PkiError::Pem { what, reason: error.to_string() }),
    }
}

/// Each CA of a PEM text, as a PEM text of its own.
///
/// # Errors
/// [`PkiError::Pem`] if there is none.
pub fn ca_certificates(pem: &str) -> Result<Vec<String>, PkiError> {
    const END: &str = "-----END CERTIFICATE-----";
    certificates(pem, "CA certificate")?;
    let begins = |part: &str| part.find("-----BEGIN CERTIFICATE-----");
    let texts = pem.split_inclusive(END).filter_map(|part| Some(format!("{}\n", &part[begins(part)?..])));
    Ok(texts.collect())
}

pub(super) fn roots(pem: &str) -> Result<Arc<RootCertStore>, PkiError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "CA certificate")? {
        roots.add(certificate).map_err(tls_error)?;
    }
    Ok(Arc::new(roots))
}

/// A node's TLS on all of its ports and channels.
#[derive(Clone)]
pub struct NodeTls {
    /// For callers.
    pub client: Arc<ClientConfig>,
    /// For the node-to-node port. A certificate is checked if one is shown; who needs one is decided
    /// call by call.
    pub server: Arc<ServerConfig>,
    /// For a port that people and their tools call: no client certificates.
    pub web: Arc<ServerConfig>,
    shown: Arc<Shown>,
    cluster_id: ClusterId,
}

impl NodeTls {
    /// TLS with these files. Certificates are judged by `clock`, too. `policy` says which brought certificates other
    /// nodes have to show; none if this node has none.
    ///
    /// # Errors
    /// [`PkiError`] if a file is not what it should be.
    pub fn new(
        files: &TlsFiles,
        cluster_id: ClusterId,
        clock: ClusterClock,
        brought: Option<&Brought>,
        policy: Option<BroughtPolicy>,
    ) -> Result<Self, PkiError> {
        let shown = Arc::new(Shown::new(files, clock, brought, policy)?);
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(tls_error)?
            .dangerous()
            .with_custom_certificate_verifier(shown.clone())
            .with_client_cert_resolver(shown.clone());
        // A resumed session would go on with the certificate, and the trust, that it began with.
        client.resumption = Resumption::disabled();
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(tls_error)?
            .with_client_cert_verifier(shown.clone())
            .with_cert_resolver(shown.clone());
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(NodeTls {
            client: Arc::new(with_client_alpn(client)),
            server: Arc::new(with_server_alpn(server)),
            web: web_config(shown.clone())?,
            shown,
            cluster_id,
        })
    }

    /// From now on new connections show this certificate and trust these CAs; those that are open stay.
    /// `bridges` are certificates of one CA by another, for joiners that trust only one of them. `brought` is shown if it
    /// is of the same key; its CAs count in any case.
    ///
    /// # Errors
    /// [`PkiError`] if a file is not what it should be, or the key is not the certificate's; nothing is changed.
    pub fn show(
        &self,
        files: &TlsFiles,
        bridges: &[String],
        brought: Option<&Brought>,
    ) -> Result<(), PkiError> {
        self.shown.replace(files, bridges, brought)
    }

    /// Who has shown these certificates in a handshake, and what is wrong with them by this node's policy; none if no node
    /// of the cluster has.
    pub fn judge(&self, chain: &[CertificateDer<'_>], side: Side) -> Option<Presented> {
        self.shown.judge(chain, side)
    }

    /// What a node brings that is no member yet, PEM, judged by this node's policy.
    ///
    /// # Errors
    /// [`Flaw`].
    pub fn check_brought(&self, chain: &str, role: NodeRole, name: &NodeName) -> Result<(), Flaw> {
        let chain = if chain.is_empty() {
            Vec::new()
        } else {
            certificates(chain, "brought certificate").map_err(|error| Flaw::OtherCa(error.reason()))?
        };
        self.shown.check_brought(&chain, role, name)
    }

    /// The name that a caller expects of a node.
    ///
    /// # Errors
    /// Never, for ids.
    pub fn server_name(&self, node: NodeId) -> Result<ServerName<'static>, PkiError> {
        ServerName::try_from(internal_name(&self.cluster_id, node)).map_err(tls_error)
    }
}

/// TLS for a port that people and their tools call: no client certificates.
pub(super) fn web_config(certificate: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>, PkiError> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls_error)?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    Ok(Arc::new(with_server_alpn(config)))
}

pub(super) fn with_client_alpn(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn with_server_alpn(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// TLS for a caller that trusts the CAs of a file and checks the address.
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
