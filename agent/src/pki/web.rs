//! The certificate of the management port, if the administrator brings one: from files, read again when they change.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::{
    CertificateFacts, PkiError,
    tls::{certificates, provider, web_config},
};

/// How often the files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Where the administrator's certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate with its chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// A certificate from files.
#[derive(Debug)]
pub struct FileCertificate {
    files: CertificateFiles,
    shown: ArcSwap<Shown>,
}

#[derive(Debug)]
struct Shown {
    certificate: Arc<CertifiedKey>,
    facts: CertificateFacts,
    /// Of both files' content.
    hash: [u8; 32],
}

impl FileCertificate {
    /// Reads the files. Blocks on the disk.
    ///
    /// # Errors
    /// [`PkiError`] if a file is not what it should be, the key is not the certificate's, or everybody may read it.
    pub fn read(files: CertificateFiles) -> Result<Arc<Self>, PkiError> {
        let shown = read(&files)?;
        Ok(Arc::new(FileCertificate { files, shown: ArcSwap::from_pointee(shown) }))
    }

    /// TLS that shows this certificate: no client certificates.
    ///
    /// # Errors
    /// [`PkiError::Tls`].
    pub fn config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, PkiError> {
        web_config(self.clone())
    }

    /// What the certificate says that is shown at this moment.
    pub fn facts(&self) -> CertificateFacts {
        self.shown.load().facts.clone()
    }

    /// Shows what the files hold, whenever they have changed, until `stop`. What can't be used is told once, and the
    /// certificate before it is shown on. `renewed` is told the new one.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken, renewed: impl Fn(&CertificateFacts)) {
        let mut told = String::new();
        renewed(&self.facts());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            let files = self.files.clone();
            let Ok(found) = tokio::task::spawn_blocking(move || read(&files)).await else { return };
            match found {
                Ok(found) if found.hash != self.shown.load().hash => {
                    let facts = found.facts.clone();
                    self.shown.store(Arc::new(found));
                    tracing::info!(
                        serial = facts.serial, not_after = %facts.not_after,
                        "the management port shows a new certificate"
                    );
                    renewed(&facts);
                    told.clear();
                }
                Ok(_) => told.clear(),
                Err(error) if error.to_string() != told => {
                    told = error.to_string();
                    tracing::warn!("the management port shows its old certificate on: {told}");
                }
                Err(_) => {}
            }
        }
    }
}

impl ResolvesServerCert for FileCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown.load().certificate.clone())
    }
}

fn read(files: &CertificateFiles) -> Result<Shown, PkiError> {
    let text = |path: &Path, what: &'static str| {
        std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|error| PkiError::Pem { what, reason: format!("{}: {error}", path.display()) })
    };
    let (certificate, key) =
        (text(&files.certificate, "management certificate")?, text(&files.key, "management key")?);
    // A mounted secret may belong to another user and be its group's, but never everybody's.
    let mode = std::fs::metadata(&files.key).map_or(0, |found| found.mode());
    if mode & 0o007 != 0 {
        let path = files.key.display();
        let reason =
            format!("{path} can be read by everybody (mode {:04o}): run `chmod 600 {path}`", mode & 0o777);
        return Err(PkiError::Pem { what: "management key", reason });
    }
    let chain = certificates(&certificate, "management certificate")?;
    let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| PkiError::Pem { what: "management key", reason: error.to_string() })?;
    let certified = CertifiedKey::from_der(chain, private, &provider()).map_err(super::tls::tls_error)?;
    let hash = Sha256::new().chain_update(certificate.as_bytes()).chain_update(key.as_bytes());
    Ok(Shown {
        certificate: Arc::new(certified),
        facts: CertificateFacts::from_pem(&certificate, "management certificate")?,
        hash: hash.finalize().into(),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn pair(folder: &Path, name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(folder.join("tls.crt"), &certificate).unwrap();
        fs::write(folder.join("tls.key"), &key).unwrap();
        fs::set_permissions(folder.join("tls.key"), fs::Permissions::from_mode(0o640)).unwrap();
        (certificate, key)
    }

    #[test]
    fn a_pair_is_read_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: folder.path().join("tls.crt"),
            key: folder.path().join("tls.key"),
        };
        assert!(read(&files).unwrap_err().to_string().contains("tls.crt"));
        let (certificate, _) = pair(folder.path(), "one.example.com");
        let before = read(&files).unwrap();
        assert_eq!(before.hash, read(&files).unwrap().hash);
        pair(folder.path(), "two.example.com");
        assert_ne!(before.hash, read(&files).unwrap().hash);
        // Half replaced, as it is seen in between.
        fs::write(&files.certificate, certificate).unwrap();
        assert!(read(&files).is_err(), "the key is another certificate's");
        pair(folder.path(), "three.example.com");
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&files).unwrap_err().to_string().contains("chmod 600"));
    }
}
