//! TLS of a joiner: it trusts the CA that its token names, and nothing else.

use std::sync::Arc;

use quorate_license::NodeRole;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use sha2::{Digest, Sha256};

use super::{
    Brought, BroughtPolicy, PeerIdentity, PkiError, Side,
    brought::{cluster_certificate, judge},
    tls::{provider, tls_error, with_client_alpn},
};
use crate::clock;

/// The server is a node of the cluster that the token names, and can't admit anybody.
#[derive(Debug, thiserror::Error)]
#[error("the server is not a Management Server")]
pub struct NotManagement;

/// TLS for a joiner: it trusts the CA with this SHA-256, wherever the server is. It has nothing to
/// show yet. If it brings a certificate, and so asks one of others, the server has to show one of a CA that it trusts.
///
/// # Errors
/// [`PkiError::Tls`].
pub fn pinned_client(
    ca_fingerprint: [u8; 32],
    brought: Option<(BroughtPolicy, Arc<Brought>)>,
) -> Result<Arc<ClientConfig>, PkiError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls_error)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedCa {
            ca_fingerprint,
            brought,
            provider: provider(),
        }))
        .with_no_client_auth();
    Ok(Arc::new(with_client_alpn(config)))
}

/// Accepts a Management Server whose certificate was issued by the CA with this hash, which must be in
/// the presented chain. Names don't matter: the CA issues to nodes of one cluster only.
#[derive(Debug)]
struct PinnedCa {
    ca_fingerprint: [u8; 32],
    brought: Option<(BroughtPolicy, Arc<Brought>)>,
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
                    "its CA is not the one that the token names: it belongs to another cluster, or the cluster's \
                     CA was changed after the token was made"
                        .to_owned(),
                )
            })?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let cluster = cluster_certificate(end_entity, intermediates).unwrap_or(end_entity);
        let certificate = ParsedCertificate::try_from(cluster)?;
        verify_server_cert_signed_by_trust_anchor(&certificate, &roots, intermediates, now, algorithms)?;
        // A Spooler Controller can't admit nodes, and must not see a token.
        if PeerIdentity::from_certificate(cluster).is_none_or(|peer| peer.role != NodeRole::Management) {
            return Err(Error::Other(OtherError(Arc::new(NotManagement))));
        }
        let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        let policy = self.brought.as_ref().map(|(policy, brought)| (*policy, &brought.trust));
        if let Some(flaw) =
            judge(&chain, Side::Server, policy, [clock::now(); 2]).and_then(|presented| presented.flaw)
        {
            return Err(Error::General(flaw.to_string()));
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
