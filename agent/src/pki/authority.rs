//! The cluster's CA and the certificates that it issues.

use std::time::Duration;

use quorate_license::{NodeName, Timestamp};
use quorate_raft_store::state::CaFingerprint;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Brought, BroughtName, CertificateFacts, PeerIdentity, internal_name};

/// A CA is valid for this long.
const CA_DAYS: u32 = 20 * 365;
/// Certificates are valid from this long before they were made, for clocks that are behind; short-lived ones
/// from an eighth of their life before.
const BEFORE_MS: i64 = quorate_license::DAY_MS;
const BEFORE_PART: i64 = 8;

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A certificate, key or request can't be made or read.
    #[error("the {what} can't be used: {source}")]
    Certificate {
        /// What it is.
        what: &'static str,
        /// Why.
        source: rcgen::Error,
    },
    /// The text is no PEM certificate.
    #[error("the {what} is not a PEM file: {reason}")]
    Pem {
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        reason: String,
    },
    /// TLS can't be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(String),
}

impl PkiError {
    /// The reason alone, for a message that says what it is about.
    pub(crate) fn reason(&self) -> String {
        match self {
            PkiError::Certificate { source, .. } => source.to_string(),
            PkiError::Pem { reason, .. } | PkiError::Tls(reason) => reason.clone(),
        }
    }
}

pub(super) fn certificate_error(what: &'static str) -> impl Fn(rcgen::Error) -> PkiError {
    move |source| PkiError::Certificate { what, source }
}

/// The cluster's CA, with its private key.
pub struct Authority {
    certificate: String,
    key: Zeroizing<String>,
}

/// Whom a node certificate is for.
#[derive(Debug, Clone)]
pub struct CertificateSubject {
    /// The node.
    pub identity: PeerIdentity,
    /// Host names and IP addresses at which it is reached.
    pub hosts: Vec<String>,
    /// The brought certificate of the same key, if it is issued beside one.
    pub beside: Option<Beside>,
}

/// What a certificate says of the brought one that it is shown beside.
#[derive(Debug, Clone)]
pub struct Beside {
    /// The name that the brought one has to give.
    pub name: NodeName,
    /// When the brought one ends; this one ends then, too, so that whoever looks at it is warned of both.
    pub not_after: Timestamp,
}

/// A node's TLS key, and the request for its certificate.
pub struct NodeTlsKey {
    /// The private key, PEM.
    pub key: Zeroizing<String>,
    /// The certificate signing request, PEM.
    pub request: String,
}

impl NodeTlsKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] if the system gives no random bytes.
    pub fn generate() -> Result<Self, PkiError> {
        let key = KeyPair::generate().map_err(certificate_error("TLS key"))?;
        let request = CertificateParams::default()
            .serialize_request(&key)
            .and_then(|request| request.pem())
            .map_err(certificate_error("certificate request"))?;
        Ok(NodeTlsKey { key: Zeroizing::new(key.serialize_pem()), request })
    }
}

impl Brought {
    /// The brought key, and the request for the cluster's certificate for it.
    ///
    /// # Errors
    /// [`PkiError`] for a kind of key that the cluster's CA does not certify.
    pub fn request(&self) -> Result<NodeTlsKey, PkiError> {
        super::brought::request(&self.pair)
    }
}

impl Authority {
    /// Makes a CA for a cluster. `number` counts the cluster's CAs, from 0: each has a name of its own.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] if the system gives no random bytes.
    pub fn create(
        cluster_id: &quorate_license::ClusterId,
        number: u64,
        now: Timestamp,
    ) -> Result<Self, PkiError> {
        let error = certificate_error("CA certificate");
        let key = KeyPair::generate().map_err(&error)?;
        let mut params = CertificateParams::default();
        let name = match number {
            0 => format!("Quorate cluster {cluster_id}"),
            number => format!("Quorate cluster {cluster_id}, CA {number}"),
        };
        params.distinguished_name = common_name(&name);
        // One below it: another CA of the cluster, while one takes the other's place.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now.plus_ms(-BEFORE_MS), now.plus_days(CA_DAYS));
        let certificate = params.self_signed(&key).map_err(&error)?;
        Ok(Authority { certificate: certificate.pem(), key: Zeroizing::new(key.serialize_pem()) })
    }

    /// The CA of these PEM texts.
    pub fn from_pem(certificate: String, key: Zeroizing<String>) -> Self {
        Authority { certificate, key }
    }

    /// The certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The private key, PEM. Secret.
    pub fn expose_key(&self) -> &str {
        &self.key
    }

    /// A certificate of the other CA by this one, PEM: whoever trusts this one believes the other.
    ///
    /// # Errors
    /// [`PkiError`] if one of the two is damaged.
    pub fn bridge(&self, other: &Authority) -> Result<String, PkiError> {
        let facts = CertificateFacts::from_pem(&other.certificate, "CA certificate")?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(&facts.common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, facts.not_before, facts.not_after);
        let key = KeyPair::from_pem(&other.key).map_err(certificate_error("CA key"))?;
        let bridge = params.signed_by(&key, &self.issuer()?);
        Ok(bridge.map_err(certificate_error("CA certificate"))?.pem())
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, PkiError> {
        let key = KeyPair::from_pem(&self.key).map_err(certificate_error("CA key"))?;
        Issuer::from_ca_cert_pem(&self.certificate, key).map_err(certificate_error("CA certificate"))
    }

    /// Issues a node certificate, PEM, for the key of a certificate request. Nothing else of the
    /// request counts. It ends with the CA's at the latest.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] if the request is not one, or is not signed by its key.
    pub fn issue(
        &self,
        request: &str,
        subject: &CertificateSubject,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<String, PkiError> {
        self.issue_between(request, subject, lifetime, (now, now))
    }

    /// The same where clocks differ: it is valid from the earlier of the two times on, and for `lifetime` after the
    /// later one.
    ///
    /// # Errors
    /// As [`Authority::issue`].
    pub fn issue_between(
        &self,
        request: &str,
        subject: &CertificateSubject,
        lifetime: Duration,
        (earlier, later): (Timestamp, Timestamp),
    ) -> Result<String, PkiError> {
        let mut request = CertificateSigningRequestParams::from_pem(request)
            .map_err(certificate_error("certificate request"))?;
        let mut names = vec![internal_name(&subject.identity.cluster_id, subject.identity.node)];
        names.extend(subject.hosts.iter().cloned());
        let error = certificate_error("node certificate");
        let mut params = CertificateParams::new(names).map_err(&error)?;
        let uri = subject.identity.to_string().try_into().map_err(&error)?;
        params.subject_alt_names.push(SanType::URI(uri));
        if let Some(beside) = &subject.beside {
            let PeerIdentity { cluster_id, role, .. } = subject.identity;
            let name = BroughtName { domain: cluster_id.to_string(), role, name: beside.name.clone() };
            let uri = name.to_string().try_into().map_err(&error)?;
            params.subject_alt_names.push(SanType::URI(uri));
        }
        params.distinguished_name = common_name(&format!("Quorate node {}", subject.identity.node));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let ca = CertificateFacts::from_pem(&self.certificate, "CA certificate")?;
        let lifetime_ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX / 2);
        let before_ms = BEFORE_MS.min(lifetime_ms / BEFORE_PART);
        let not_after = later.plus_ms(lifetime_ms).min(ca.not_after);
        let not_after = subject.beside.as_ref().map_or(not_after, |beside| not_after.min(beside.not_after));
        set_validity(&mut params, earlier.plus_ms(-before_ms), not_after);
        request.params = params;
        Ok(request.signed_by(&self.issuer()?).map_err(&error)?.pem())
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn set_validity(params: &mut CertificateParams, from: Timestamp, until: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |time: Timestamp| epoch + Duration::from_millis(time.as_unix_ms().unsigned_abs());
    (params.not_before, params.not_after) = (at(from), at(until));
}

/// SHA-256 of a CA's certificate: what a join token carries.
///
/// # Errors
/// [`PkiError::Pem`].
pub fn ca_fingerprint(certificate: &str) -> Result<CaFingerprint, PkiError> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes())
        .map_err(|error| PkiError::Pem { what: "CA certificate", reason: error.to_string() })?;
    Ok(CaFingerprint(Sha256::digest(&der).into()))
}
