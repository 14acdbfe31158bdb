//! What a node shows in a handshake, and whom it trusts: looked up for every handshake, replaced as a whole.
//!
//! Another node's certificate has to be valid by this machine's clock or by the cluster's time: a clock that is set
//! wrong, or all of them, cuts nobody off. How long that lets a certificate live is in `docs/security.md`.
//!
//! ```text
//! renewed certificate, other CAs ─> ArcSwap ─> resolvers and verifiers of every new handshake
//! ```

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use quorate_license::{NodeName, NodeRole, Timestamp};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{
        ClientHello, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};

use super::{
    Brought, BroughtPolicy, CertificateFacts, Flaw, PkiError, Presented, Side,
    brought::{BroughtTrust, check_brought, cluster_certificate, judge},
    tls::{certificates, provider, roots, tls_error},
};
use crate::{
    clock::{self, ClusterClock},
    data_dir::TlsFiles,
};

/// What is shown, and who is trusted, at this moment.
pub(super) struct Shown {
    moment: ArcSwap<Moment>,
    clock: ClusterClock,
    /// What brought certificates are asked for; none if this node has none of its own.
    policy: Option<BroughtPolicy>,
}

struct Moment {
    certificate: Arc<CertifiedKey>,
    facts: CertificateFacts,
    servers: Arc<WebPkiServerVerifier>,
    clients: Arc<dyn ClientCertVerifier>,
    brought: Option<Arc<BroughtTrust>>,
    /// When what is shown to those that are called ends; at once if none of the trusted CAs has issued it.
    ends: Timestamp,
}

impl Moment {
    /// The node's certificate with the CAs' behind it: joiners find the CA's hash in what is presented. A brought
    /// certificate of the same key stands before them, with its own chain.
    fn new(files: &TlsFiles, bridges: &[String], brought: Option<&Brought>) -> Result<Self, PkiError> {
        let trusted = &files.trusted.certificates;
        let facts = CertificateFacts::from_pem(&files.identity, "node certificate")?;
        let beside = brought.filter(|brought| brought.pair.facts.has_key_of(&facts));
        let mut chain = beside.map(|brought| brought.pair.chain.clone()).unwrap_or_default();
        chain.extend(certificates(&files.identity, "node certificate")?);
        chain.extend(certificates(trusted, "CA certificate")?);
        for bridge in bridges {
            chain.extend(certificates(bridge, "CA certificate")?);
        }
        let key = PrivateKeyDer::from_pem_slice(files.identity.as_bytes())
            .map_err(|error| PkiError::Pem { what: "TLS key", reason: error.to_string() })?;
        let cas: Vec<_> = certificates(trusted, "CA certificate")?
            .iter()
            .map(|ca| CertificateFacts::from_der(ca, "CA certificate"))
            .collect::<Result<_, _>>()?;
        let ends = match beside {
            _ if !cas.iter().any(|ca| facts.is_issued_by(ca)) => Timestamp::ZERO,
            Some(brought) => brought.pair.facts.not_after.min(facts.not_after),
            None => facts.not_after,
        };
        let roots = roots(trusted)?;
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
        Ok(Moment {
            certificate: Arc::new(CertifiedKey::from_der(chain, key, &provider()).map_err(tls_error)?),
            ends,
            facts,
            brought: brought.map(|brought| brought.trust.clone()),
            servers: WebPkiServerVerifier::builder_with_provider(roots, provider())
                .build()
                .map_err(tls_error)?,
            clients: clients.allow_unauthenticated().build().map_err(tls_error)?,
        })
    }
}

impl Shown {
    pub(super) fn new(
        files: &TlsFiles,
        clock: ClusterClock,
        brought: Option<&Brought>,
        policy: Option<BroughtPolicy>,
    ) -> Result<Self, PkiError> {
        Ok(Shown { moment: ArcSwap::from_pointee(Moment::new(files, &[], brought)?), clock, policy })
    }

    /// Verifies by this machine's clock, and if that finds a certificate ended or not begun, by the cluster's time.
    fn by_either_clock<V>(
        &self,
        now: UnixTime,
        verify: impl Fn(UnixTime) -> Result<V, Error>,
    ) -> Result<V, Error> {
        let refused = match verify(now) {
            Err(error) if is_about_time(&error) => error,
            verified => return verified,
        };
        let seconds = u64::try_from(self.clock.now().as_unix_ms() / 1000).unwrap_or_default();
        verify(UnixTime::since_unix_epoch(Duration::from_secs(seconds))).map_err(|_| refused)
    }

    pub(super) fn replace(
        &self,
        files: &TlsFiles,
        bridges: &[String],
        brought: Option<&Brought>,
    ) -> Result<(), PkiError> {
        self.moment.store(Arc::new(Moment::new(files, bridges, brought)?));
        Ok(())
    }

    /// This machine's time and the cluster's.
    fn times(&self) -> [Timestamp; 2] {
        [clock::now(), self.clock.now()]
    }

    /// Who has shown this in a handshake, and what is wrong with it.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>], side: Side) -> Option<Presented> {
        let now = self.moment.load();
        judge(chain, side, self.policy.zip(now.brought.as_ref()), self.times())
    }

    /// What is wrong with a certificate that a node brings, by what it says of itself.
    pub(super) fn check_brought(
        &self,
        chain: &[CertificateDer<'_>],
        role: NodeRole,
        name: &NodeName,
    ) -> Result<(), Flaw> {
        let now = self.moment.load();
        check_brought(chain, (role, name), self.policy.zip(now.brought.as_ref()), self.times())
    }
}

/// Whether a certificate was refused because of the time.
fn is_about_time(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    matches!(
        error,
        Error::InvalidCertificate(Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
    )
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shown({})", self.moment.load().facts.serial)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.moment.load().certificate.clone())
    }
}

impl ResolvesClientCert for Shown {
    /// None once the certificate has ended, or if its CA was forgotten since: a server would refuse the connection, and
    /// without a certificate a node can still ask for a new one.
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let now = self.moment.load();
        let ends = now.ends;
        // A node that was off may not know how late it is by the cluster's time.
        let valid = clock::now() < ends || (self.clock.is_heard() && self.clock.now() < ends);
        valid.then(|| now.certificate.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let servers = self.moment.load().servers.clone();
        let cluster = cluster_certificate(end_entity, intermediates).unwrap_or(end_entity);
        self.by_either_clock(now, |now| {
            servers.verify_server_cert(cluster, intermediates, server_name, ocsp_response, now)
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.moment.load().servers.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.moment.load().servers.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.moment.load().servers.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Shown {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a caller shows what it has, whatever CA it is of.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let clients = self.moment.load().clients.clone();
        let cluster = cluster_certificate(end_entity, intermediates).unwrap_or(end_entity);
        self.by_either_clock(now, |now| clients.verify_client_cert(cluster, intermediates, now))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.moment.load().clients.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.moment.load().clients.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.moment.load().clients.supported_verify_schemes()
    }
}
