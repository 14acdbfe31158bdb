//! What a certificate says of itself, for lists, metrics and decisions about its renewal.

use quorate_license::{NodeName, Timestamp};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{
    certification_request::X509CertificationRequest,
    prelude::{FromDer, X509Certificate},
};

use super::{PeerIdentity, PkiError, brought::certified_name};

/// What a certificate says of itself. Nothing of it is verified here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The serial number, hexadecimal.
    pub serial: String,
    /// From then on it is valid.
    pub not_before: Timestamp,
    /// Until then.
    pub not_after: Timestamp,
    /// The subject's common name.
    pub common_name: String,
    /// The node that it was issued to, if it names one.
    pub identity: Option<PeerIdentity>,
    /// The name for which it is shown beside a brought certificate, if it is.
    pub certified_name: Option<NodeName>,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    key: Vec<u8>,
}

impl CertificateFacts {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// [`PkiError::Pem`], with `what` it should have been.
    pub fn from_pem(pem: &str, what: &'static str) -> Result<Self, PkiError> {
        let wrong = |reason: String| PkiError::Pem { what, reason };
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        Self::from_der(&der, what)
    }

    /// Reads a certificate, DER.
    ///
    /// # Errors
    /// As [`CertificateFacts::from_pem`].
    pub fn from_der(der: &[u8], what: &'static str) -> Result<Self, PkiError> {
        let wrong = |reason: String| PkiError::Pem { what, reason };
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| wrong(error.to_string()))?;
        let identity = PeerIdentity::from_certificate(der);
        let time = |time: x509_parser::time::ASN1Time| Timestamp::from_unix_ms(time.timestamp() * 1000);
        let common_name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(CertificateFacts {
            serial: data_encoding::HEXLOWER.encode(certificate.raw_serial()),
            not_before: time(certificate.validity().not_before),
            not_after: time(certificate.validity().not_after),
            common_name: common_name.unwrap_or_default().to_owned(),
            identity,
            certified_name: identity.and_then(|identity| certified_name(der, &identity)),
            subject: certificate.subject().as_raw().to_vec(),
            issuer: certificate.issuer().as_raw().to_vec(),
            key: certificate.public_key().raw.to_vec(),
        })
    }

    /// Whether it names this CA as its issuer. Every CA of a cluster has a name of its own.
    pub fn is_issued_by(&self, ca: &CertificateFacts) -> bool {
        self.issuer == ca.subject
    }

    /// Whether it is for the same key as another one.
    pub fn has_key_of(&self, other: &CertificateFacts) -> bool {
        self.key == other.key
    }

    /// Whether a certificate request, PEM, is for the same key.
    pub fn is_for_request(&self, request: &str) -> bool {
        let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(request.as_bytes()) else { return false };
        X509CertificationRequest::from_der(&pem.contents)
            .is_ok_and(|(_, request)| request.certification_request_info.subject_pki.raw == self.key)
    }

    /// When two thirds of its life are over.
    pub fn renew_at(&self) -> Timestamp {
        self.not_before.plus_ms(self.life_ms() / 3 * 2)
    }

    /// When so little of its life is left that its renewal must have failed: a sixth.
    pub fn overdue_at(&self) -> Timestamp {
        self.not_after.plus_ms(-self.life_ms() / 6)
    }

    fn life_ms(&self) -> i64 {
        self.not_after.ms_since(self.not_before)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quorate_license::{ClusterId, NodeId, NodeRole};

    use super::*;
    use crate::pki::{Authority, CertificateSubject, NodeTlsKey};

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_certificate_tells_its_node_its_issuer_and_when_it_is_renewed() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let cluster_id = ClusterId([3; 16]);
        let [old, new] = [0, 1].map(|number| Authority::create(&cluster_id, number, now).unwrap());
        let identity =
            PeerIdentity { cluster_id, epoch_number: 1, role: NodeRole::Spooler, node: NodeId::new(1, 4) };
        let subject =
            CertificateSubject { identity, hosts: vec!["sc-1.example.com".to_owned()], beside: None };
        let request = NodeTlsKey::generate().unwrap().request;
        let pem = new.issue(&request, &subject, 90 * DAY, now).unwrap();
        let facts = CertificateFacts::from_pem(&pem, "node certificate").unwrap();
        let ca = |authority: &Authority| CertificateFacts::from_pem(authority.certificate(), "CA").unwrap();
        assert_eq!(facts.identity, Some(identity));
        assert!(facts.is_issued_by(&ca(&new)) && !facts.is_issued_by(&ca(&old)));
        assert_eq!(
            (facts.not_before, facts.not_after),
            (now.plus_days(0).plus_ms(-86_400_000), now.plus_days(90))
        );
        assert_eq!(facts.renew_at(), now.plus_ms(-86_400_000).plus_ms(91 * 86_400_000 / 3 * 2));
        assert!(facts.renew_at() < facts.overdue_at() && facts.overdue_at() < facts.not_after);

        let short = new.issue(&request, &subject, Duration::from_secs(16), now).unwrap();
        let short = CertificateFacts::from_pem(&short, "node certificate").unwrap();
        assert_eq!((now.ms_since(short.not_before), short.not_after.ms_since(now)), (2000, 16_000));
        let long = new.issue(&request, &subject, 100 * 365 * DAY, now).unwrap();
        let long = CertificateFacts::from_pem(&long, "node certificate").unwrap();
        assert_eq!(long.not_after, ca(&new).not_after, "none outlives its CA");
    }
}
