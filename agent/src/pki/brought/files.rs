//! Certificates of the administrator's: read from files, checked, and read again when they change.

use std::{
    fmt, fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::FilesError;
use crate::pki::{
    CertificateFacts,
    tls::{certificates, provider},
};

/// How often the files are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// The largest file that is read: a chain of certificates is smaller by far.
const MOST_BYTES: u64 = 1 << 20;

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate with its chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// A certificate with its chain and its key, which belong together.
pub struct Pair {
    /// The certificate first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// The certificates as they are in the file.
    pub(crate) chain_pem: String,
    /// The key as it is in the file.
    pub(crate) key_pem: Zeroizing<String>,
    /// For handshakes.
    pub(crate) certified: Arc<CertifiedKey>,
    /// What the certificate says.
    pub facts: CertificateFacts,
}

/// What is made of files.
pub trait Material: Send + Sync + Sized + 'static {
    /// Where it is.
    type Files: Clone + Send + Sync + 'static;

    /// Reads and checks it. Blocks on the disk.
    ///
    /// # Errors
    /// [`FilesError`], with what to do.
    fn read(files: &Self::Files) -> Result<Self, FilesError>;

    /// A hash of what the files hold.
    fn hash(&self) -> [u8; 32];
}

/// What files hold, followed while they change.
pub struct Watched<M: Material> {
    files: M::Files,
    now: ArcSwap<M>,
    trouble: Mutex<Option<String>>,
}

impl<M: Material> Watched<M> {
    /// Reads the files. Blocks on the disk.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn read(files: M::Files) -> Result<Arc<Self>, FilesError> {
        let now = ArcSwap::from_pointee(M::read(&files)?);
        Ok(Arc::new(Watched { files, now, trouble: Mutex::default() }))
    }

    /// What they held when they could be used last.
    pub fn now(&self) -> Arc<M> {
        self.now.load_full()
    }

    /// Why what they hold now can't be used, if it can't.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Follows the files until `stop`. What can't be read, or what `fits` refuses, is told once, and what was there before
    /// counts on. `told` hears of every change: of what can be used, and of trouble that begins or ends.
    pub async fn watch(
        self: Arc<Self>,
        what: &'static str,
        fits: impl Fn(&M) -> Result<(), FilesError>,
        stop: CancellationToken,
        told: impl Fn(&M, bool),
    ) {
        told(&self.now(), false);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            let files = self.files.clone();
            let Ok(found) = tokio::task::spawn_blocking(move || M::read(&files)).await else { return };
            let found = found.and_then(|found| fits(&found).map(|()| found));
            let before = self.trouble();
            let trouble = found.as_ref().err().map(ToString::to_string);
            if let Some(trouble) = trouble.as_ref().filter(|trouble| before.as_ref() != Some(trouble)) {
                tracing::warn!("{what} goes on with its old certificate: {trouble}");
            }
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble.clone();
            let changed = match found {
                Ok(found) if found.hash() != self.now.load().hash() => {
                    self.now.store(Arc::new(found));
                    tracing::info!("{what}: the certificate's files were replaced");
                    true
                }
                _ => false,
            };
            if changed || trouble.is_some() != before.is_some() {
                told(&self.now(), trouble.is_some());
            }
        }
    }
}

fn unreadable(path: &Path, key: &'static str, source: io::Error) -> FilesError {
    FilesError::Unreadable { key, path: path.to_owned(), user: nix::unistd::geteuid().as_raw(), source }
}

/// The text of one file; `key` is the key of the configuration that names it.
pub(super) fn text(path: &Path, key: &'static str) -> Result<Zeroizing<String>, FilesError> {
    let refused = |source: io::Error| unreadable(path, key, source);
    let other = |reason: String| FilesError::NotPem { key, path: path.to_owned(), reason };
    // Neither a device nor a pipe is opened: they may never end.
    let found = fs::metadata(path).map_err(refused)?;
    if !found.is_file() {
        return Err(other("it is no file".to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    fs::File::open(path)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_string(&mut text))
        .map_err(refused)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(other(format!("it has more than {MOST_BYTES} bytes")));
    }
    Ok(text)
}

/// The certificates of one file.
pub(super) fn chain(
    text: &str,
    path: &Path,
    key: &'static str,
) -> Result<Vec<CertificateDer<'static>>, FilesError> {
    certificates(text, "certificate").map_err(|error| FilesError::NotPem {
        key,
        path: path.to_owned(),
        reason: error.reason(),
    })
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pair({}, key redacted)", self.facts.serial)
    }
}

impl Pair {
    /// Reads a pair; `keys` are the keys of the configuration that name the files.
    pub(super) fn read(files: &CertificateFiles, keys: [&'static str; 2]) -> Result<Self, FilesError> {
        let [certificate_key, key_key] = keys;
        // A mounted secret may belong to another user and be read by its group, but never by everybody, and nobody else
        // than its owner may put another one there. Looked at before it is read.
        let mode = fs::metadata(&files.key).map_err(|source| unreadable(&files.key, key_key, source))?;
        let mode = mode.mode();
        let (certificate, key) = (text(&files.certificate, certificate_key)?, text(&files.key, key_key)?);
        if mode & 0o027 != 0 {
            return Err(FilesError::Readable { key: key_key, path: files.key.clone(), mode: mode & 0o777 });
        }
        let chain = chain(&certificate, &files.certificate, certificate_key)?;
        let not_pem =
            |key, path: &Path, reason: String| FilesError::NotPem { key, path: path.to_owned(), reason };
        let private = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| not_pem(key_key, &files.key, error.to_string()))?;
        let signing = provider()
            .key_provider
            .load_private_key(private)
            .map_err(|error| not_pem(key_key, &files.key, error.to_string()))?;
        let facts = CertificateFacts::from_der(&chain[0], "certificate")
            .map_err(|error| not_pem(certificate_key, &files.certificate, error.reason()))?;
        let certified = CertifiedKey::new(chain.clone(), signing);
        certified.keys_match().map_err(|_| FilesError::OtherKey {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        })?;
        Ok(Pair {
            chain,
            chain_pem: certificate.to_string(),
            key_pem: key,
            certified: Arc::new(certified),
            facts,
        })
    }

    /// Of certificate and key.
    pub(super) fn hash(&self) -> Sha256 {
        Sha256::new().chain_update(self.chain_pem.as_bytes()).chain_update(self.key_pem.as_bytes())
    }
}
