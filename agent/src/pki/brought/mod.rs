//! Certificates that the administrator brings, for nodes and for the management port.
//!
//! A node that brings one shows it on its node-to-node port, and beside it a certificate of the cluster's CA **for the
//! same key**. The handshake proves that the node has the key, so it proves both certificates at once:
//!
//! ```text
//! files ──> brought certificate (the organisation's CA) ── key ──┐
//!                                                                 ├─> shown together in every handshake
//! cluster's CA ──> certificate: cluster, epoch, role, id ── key ──┘
//!                  and the name that this key may bring
//! ```
//!
//! Who a node is, is said by the cluster's certificate alone, as ever. The brought one is asked for besides: whoever has
//! the organisation's CA makes no node of the cluster, and whoever has a key of the cluster makes no certificate of the
//! organisation's.

mod error;
mod files;
mod judge;
mod key;
mod name;

pub use error::FilesError;
pub use files::{CertificateFiles, Material, Pair, Watched};
pub use judge::{BroughtPolicy, Flaw, Presented, Side};
pub(super) use judge::{certified_name, check_brought, cluster_certificate, judge};
pub(super) use key::request;
pub use name::{BroughtName, listed};

use std::{path::PathBuf, sync::Arc};

use quorate_license::{NodeName, NodeRole, Timestamp};
use rustls::{
    CertificateError, Error, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{CertificateDer, UnixTime},
    server::{ParsedCertificate, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::tls::{provider, tls_error};
use crate::clock;

/// The keys of the configuration, for messages.
const KEYS: [&str; 2] = ["tls.certificate_file", "tls.key_file"];
const CA_KEY: &str = "tls.ca_file";
const WEB_KEYS: [&str; 2] = ["tls.http_certificate_file", "tls.http_key_file"];

/// The pair of the management port.
impl Material for Pair {
    type Files = CertificateFiles;

    fn read(files: &Self::Files) -> Result<Self, FilesError> {
        Pair::read(files, WEB_KEYS)
    }

    fn hash(&self) -> [u8; 32] {
        sha2::Digest::finalize(Pair::hash(self)).into()
    }
}

/// Where a node's own certificate is, and whom it trusts to certify others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtFiles {
    /// The certificate and its key.
    pub pair: CertificateFiles,
    /// The CAs by which other nodes' brought certificates are judged, PEM.
    pub ca: PathBuf,
}

/// What a node brings.
#[derive(Debug)]
pub struct Brought {
    /// Certificate and key.
    pub pair: Pair,
    /// The names that the certificate gives.
    pub names: Vec<BroughtName>,
    pub(super) trust: Arc<BroughtTrust>,
    ca_pem: String,
}

/// The CAs of brought certificates.
#[derive(Debug)]
pub(super) struct BroughtTrust {
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl BroughtTrust {
    fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate)?;
        }
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        Ok(BroughtTrust { roots, clients })
    }

    /// That a server's brought certificate is of one of these CAs. Its names are judged elsewhere.
    pub(super) fn check_server(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = provider().signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(leaf)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)
    }

    /// The same of a caller's.
    pub(super) fn check_client(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        self.clients.verify_client_cert(leaf, intermediates, now).map(drop)
    }
}

/// This moment, for verifiers.
pub(super) fn unix_time(at: Timestamp) -> UnixTime {
    let ms = u64::try_from(at.as_unix_ms()).unwrap_or(0);
    UnixTime::since_unix_epoch(std::time::Duration::from_millis(ms))
}

impl Material for Brought {
    type Files = BroughtFiles;

    fn read(files: &Self::Files) -> Result<Self, FilesError> {
        let pair = Pair::read(&files.pair, KEYS)?;
        let ca_pem = files::text(&files.ca, CA_KEY)?.to_string();
        let cas = files::chain(&ca_pem, &files.ca, CA_KEY)?;
        let trust = BroughtTrust::new(cas).map_err(|error| FilesError::NotPem {
            key: CA_KEY,
            path: files.ca.clone(),
            reason: error.to_string(),
        })?;
        let names = BroughtName::all(&pair.chain[0]);
        let path = || files.pair.certificate.clone();
        if names.is_empty() {
            return Err(FilesError::Nameless { path: path() });
        }
        let now = clock::now();
        let checks = [
            ("server", trust.check_server(&pair.chain[0], &pair.chain[1..], unix_time(now))),
            ("client", trust.check_client(&pair.chain[0], &pair.chain[1..], unix_time(now))),
        ];
        for (usage, check) in checks {
            check.map_err(|error| match error {
                Error::InvalidCertificate(
                    CertificateError::Expired | CertificateError::ExpiredContext { .. },
                ) => FilesError::Ended { path: path(), not_after: pair.facts.not_after },
                Error::InvalidCertificate(
                    CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
                ) => FilesError::NotYet { path: path(), not_before: pair.facts.not_before },
                Error::InvalidCertificate(
                    CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
                ) => FilesError::Usage { path: path(), usage },
                error => FilesError::OtherCa {
                    path: path(),
                    ca: files.ca.clone(),
                    reason: super::tls::reason(&error),
                },
            })?;
        }
        Ok(Brought { pair, names, trust: Arc::new(trust), ca_pem })
    }

    fn hash(&self) -> [u8; 32] {
        use sha2::Digest;
        self.pair.hash().chain_update(self.ca_pem.as_bytes()).finalize().into()
    }
}

impl Brought {
    /// Whether the certificate names this node.
    pub fn names(&self, role: NodeRole, name: &NodeName) -> bool {
        self.names.iter().any(|one| one.is(role, name))
    }

    /// That the certificate names this node; `role` is none where it is not known yet.
    ///
    /// # Errors
    /// [`FilesError::OtherName`].
    pub fn check_name(&self, role: Option<NodeRole>, name: &NodeName) -> Result<(), FilesError> {
        if self.names.iter().any(|one| role.is_none_or(|role| role == one.role) && one.name == *name) {
            return Ok(());
        }
        Err(FilesError::OtherName { names: listed(&self.names), name: name.clone(), role })
    }
}

/// The error of a TLS library as one of ours.
impl From<Error> for super::PkiError {
    fn from(error: Error) -> Self {
        tls_error(error)
    }
}

#[cfg(test)]
mod tests;
