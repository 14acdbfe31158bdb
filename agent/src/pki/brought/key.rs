//! A request for the cluster's certificate for a key that the administrator has brought: RSA, ECDSA or Ed25519, in
//! whichever form the files have it.

use std::sync::Arc;

use rcgen::{CertificateParams, PublicKeyData, SignatureAlgorithm};
use rustls::{SignatureScheme, pki_types::CertificateDer, sign};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Pair;
use crate::pki::{NodeTlsKey, PkiError, authority::certificate_error};

/// The kinds of keys that the cluster's CA certifies.
static KINDS: [(SignatureScheme, &SignatureAlgorithm); 4] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, &rcgen::PKCS_ECDSA_P384_SHA384),
    (SignatureScheme::ED25519, &rcgen::PKCS_ED25519),
    (SignatureScheme::RSA_PKCS1_SHA256, &rcgen::PKCS_RSA_SHA256),
];

/// A brought key that signs a request.
struct BroughtKey {
    signer: Box<dyn sign::Signer>,
    algorithm: &'static SignatureAlgorithm,
    public: Vec<u8>,
}

impl PublicKeyData for BroughtKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl rcgen::SigningKey for BroughtKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signer.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// The public key of a certificate, without its kind.
fn public_key(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.public_key().subject_public_key.data.to_vec())
}

/// The brought key, and the request for the cluster's certificate for it.
///
/// # Errors
/// [`PkiError`] for a kind of key that the cluster's CA does not certify.
pub(in crate::pki) fn request(pair: &Pair) -> Result<NodeTlsKey, PkiError> {
    let key: &Arc<dyn sign::SigningKey> = &pair.certified.key;
    let found = KINDS
        .iter()
        .find_map(|(scheme, algorithm)| key.choose_scheme(&[*scheme]).map(|signer| (signer, *algorithm)))
        .zip(public_key(&pair.chain[0]));
    let Some(((signer, algorithm), public)) = found else {
        return Err(PkiError::Tls(
            "the key of the brought certificate is of a kind that the cluster does not certify: make an ECDSA P-256 or \
             P-384, an Ed25519 or an RSA key"
                .to_owned(),
        ));
    };
    let request = CertificateParams::default()
        .serialize_request(&BroughtKey { signer, algorithm, public })
        .and_then(|request| request.pem())
        .map_err(certificate_error("certificate request"))?;
    Ok(NodeTlsKey { key: pair.key_pem.clone(), request })
}
