//! The certificate that the portal shows: the vendor's own, or one under a CA made here.
//!
//! Self-signed means: a CA is made once and kept (`ca.pem` for clients, `ca.key` for the portal
//! alone); the server's own key is made anew at every start and never written.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use quorate_license::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
};

use crate::{
    clock,
    config::{PublicUrl, TlsConfig},
    files,
};

/// How long a self-made CA, and a certificate under it, are valid.
const VALID_DAYS: u32 = 3650;

/// There is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read or written.
    #[error("the TLS file {path} can't be used: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// One of the two files of the CA is missing.
    #[error("{present} is there, but {missing} is not; put it back, or remove both to have a new CA made")]
    HalfCa {
        /// The file that is there.
        present: PathBuf,
        /// The one that is not.
        missing: PathBuf,
    },
    /// A certificate can't be made.
    #[error("a certificate can't be made: {0}")]
    Make(#[from] rcgen::Error),
    /// Certificate and key don't go together, or are of an unknown kind.
    #[error("the certificate can't be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// What listeners show, for HTTP/2 and HTTP/1.1.
///
/// # Errors
/// The files can't be read, or no certificate can be made.
pub(super) fn server_config(
    config: &TlsConfig,
    listen: IpAddr,
    url: &PublicUrl,
) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = match config {
        TlsConfig::Files { cert_file, key_file } => (read_chain(cert_file)?, read_key(key_file)?),
        TlsConfig::SelfSigned { folder } => self_signed(folder, listen, url)?,
    };
    let mut server = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

type ChainAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(error.to_string()))?;
    if chain.is_empty() { Err(unusable("it holds no certificate".to_owned())) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| TlsError::File { path: path.to_owned(), reason: error.to_string() })
}

fn self_signed(folder: &Path, listen: IpAddr, url: &PublicUrl) -> Result<ChainAndKey, TlsError> {
    let issuer = certificate_authority(folder)?;
    let mut params = params("Quorate License Portal");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names.push(match url.ip() {
        Some(ip) => SanType::IpAddress(ip),
        None => SanType::DnsName(url.host.as_str().try_into()?),
    });
    if !listen.is_unspecified() && url.ip() != Some(listen) {
        params.subject_alt_names.push(SanType::IpAddress(listen));
    }
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok((vec![certificate.der().clone()], key))
}

/// The CA in the folder, made if there is none.
fn certificate_authority(folder: &Path) -> Result<Issuer<'static, KeyPair>, TlsError> {
    let (cert_path, key_path) = (folder.join("ca.pem"), folder.join("ca.key"));
    match (cert_path.exists(), key_path.exists()) {
        (true, true) => {}
        (false, false) => make_authority(&cert_path, &key_path)?,
        (true, false) => return Err(TlsError::HalfCa { present: cert_path, missing: key_path }),
        (false, true) => return Err(TlsError::HalfCa { present: key_path, missing: cert_path }),
    }
    let cert = std::fs::read_to_string(&cert_path).map_err(|cause| unusable(&cert_path, &cause))?;
    let key = files::read_secret(&key_path).map_err(|cause| unusable(&key_path, &cause))?;
    let key = KeyPair::from_pem(&key).map_err(|cause| unusable(&key_path, &cause))?;
    Issuer::from_ca_cert_pem(&cert, key).map_err(|cause| unusable(&cert_path, &cause))
}

/// The key comes first: a start that is killed in between leaves a key without a certificate, which
/// the next start names.
fn make_authority(cert_path: &Path, key_path: &Path) -> Result<(), TlsError> {
    let mut params = params("Quorate License Portal CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    files::write_secret(key_path, &key.serialize_pem()).map_err(|cause| unusable(key_path, &cause))?;
    files::write_public(cert_path, &certificate.pem()).map_err(|cause| unusable(cert_path, &cause))
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = clock::now();
    // Clients' clocks may be behind.
    params.not_before = system_time(now.plus_ms(-quorate_license::DAY_MS)).into();
    params.not_after = system_time(now.plus_days(VALID_DAYS)).into();
    params
}

fn system_time(time: Timestamp) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_millis(time.as_unix_ms().unsigned_abs())
}

fn unusable(path: &Path, cause: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: cause.to_string() }
}
