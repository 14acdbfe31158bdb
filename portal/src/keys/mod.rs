//! The vendor's signing keys: files that only their owner can read, never rows of the database.
//!
//! ```text
//! root.key     the root key's secret; only `admin init` and `admin key rotate-issuing` read it
//! issuing.key  the issuing key's secret, its certificate by the root, the root public key
//! ```
//!
//! A vendor may keep the root key away from the portal: serving needs `issuing.key` alone.

mod file;
mod signer;

use std::path::{Path, PathBuf};

use quorate_license::{
    IssuingCertificate, IssuingKey, IssuingSecret, RootKey, RootPublicKey, SignError, Timestamp,
};

pub use signer::{Signer, SigningError};

use crate::{config::KeyFiles, entropy, files};

/// A signing key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such file yet.
    #[error("there is no key file {path}")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file can't be read or written, or others may read it.
    #[error("the key file {path} can't be used: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate can't be made.
    #[error("the issuing key can't be certified: {0}")]
    Certify(#[from] SignError),
}

/// The public side of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    /// What agents and products trust.
    pub root: RootPublicKey,
    /// The issuing key and its term.
    pub certificate: IssuingCertificate,
}

impl KeyError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            KeyError::Missing { .. } => "key_missing",
            KeyError::File { .. } | KeyError::Certify(_) => "key_unusable",
        }
    }

    /// What to do now.
    pub fn hint(&self) -> &'static str {
        match self {
            KeyError::Missing { .. } => "Run quorate-portal admin init, or put the file back.",
            KeyError::File { .. } => "Check the file and its permissions, or put it back from a copy.",
            KeyError::Certify(_) => {
                "Check keys.issuing_days in the configuration and the clock of this host."
            }
        }
    }
}

/// Makes both keys; the root key first, so that a stop in between leaves nothing that can't be made
/// again from it.
///
/// # Errors
/// A file is there already, or can't be written.
pub fn make(keys: &KeyFiles, now: Timestamp) -> Result<KeySet, KeyError> {
    let root = loop {
        // The all-zero seed is the one that is refused.
        if let Ok(root) = RootKey::from_seed(*entropy::secret()) {
            break root;
        }
    };
    let text = file::write_root(&root)?;
    files::write_secret(&keys.root_key_file, &text).map_err(|cause| unusable(&keys.root_key_file, &cause))?;
    issue(keys, &root, now, files::write_secret)
}

/// Makes a new issuing key under the root key, in place of the one that is there.
///
/// # Errors
/// The root key can't be read, or the file can't be written.
pub fn rotate_issuing(keys: &KeyFiles, now: Timestamp) -> Result<KeySet, KeyError> {
    let root = read_root(&keys.root_key_file)?;
    issue(keys, &root, now, files::replace_secret)
}

/// The public side of the issuing key file.
///
/// # Errors
/// It can't be read, or is not what it should be.
pub fn load_public(keys: &KeyFiles) -> Result<KeySet, KeyError> {
    let (root, key) = read_issuing(&keys.issuing_key_file)?;
    Ok(KeySet { root, certificate: key.certificate().claims.clone() })
}

/// What the portal signs with. If the root key is on this host too, its file must be private.
///
/// # Errors
/// A file can't be read, is not what it should be, or others may read it.
pub fn load_signer(keys: &KeyFiles) -> Result<Signer, KeyError> {
    if keys.root_key_file.exists() {
        files::check_secret(&keys.root_key_file).map_err(|cause| unusable(&keys.root_key_file, &cause))?;
    }
    let (root, key) = read_issuing(&keys.issuing_key_file)?;
    Ok(Signer::new(key, vec![root]))
}

fn issue(
    keys: &KeyFiles,
    root: &RootKey,
    now: Timestamp,
    write: fn(&Path, &str) -> std::io::Result<()>,
) -> Result<KeySet, KeyError> {
    let secret = loop {
        if let Ok(secret) = IssuingSecret::from_seed(*entropy::secret()) {
            break secret;
        }
    };
    let certificate = root.certify(secret.public(), now, now.plus_days(keys.issuing_days))?;
    let public = KeySet { root: root.public(), certificate: certificate.claims.clone() };
    let text = file::write_issuing(&public.root, &secret, certificate.token)?;
    write(&keys.issuing_key_file, &text).map_err(|cause| unusable(&keys.issuing_key_file, &cause))?;
    Ok(public)
}

fn read_root(path: &Path) -> Result<RootKey, KeyError> {
    file::read_root(&read(path)?).map_err(|reason| KeyError::File { path: path.to_owned(), reason })
}

fn read_issuing(path: &Path) -> Result<(RootPublicKey, IssuingKey), KeyError> {
    file::read_issuing(&read(path)?).map_err(|reason| KeyError::File { path: path.to_owned(), reason })
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<String>, KeyError> {
    files::read_secret(path).map_err(|error| match error {
        files::SecretFileError::Io(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            KeyError::Missing { path: path.to_owned() }
        }
        other => unusable(path, &other),
    })
}

fn unusable(path: &Path, cause: &dyn std::fmt::Display) -> KeyError {
    KeyError::File { path: path.to_owned(), reason: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(folder: &Path) -> KeyFiles {
        KeyFiles {
            root_key_file: folder.join("root.key"),
            issuing_key_file: folder.join("issuing.key"),
            issuing_days: 365,
        }
    }

    #[test]
    fn issuing_keys_rotate_under_one_root() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path());
        let now = Timestamp::from_unix_ms(1_800_000_000_000);
        let made = make(&keys, now).unwrap();
        assert_eq!(load_public(&keys).unwrap(), made);
        assert_eq!(made.certificate.expires_at, now.plus_days(365));
        let rotated = rotate_issuing(&keys, now.plus_days(300)).unwrap();
        assert_eq!(rotated.root, made.root);
        assert_ne!(rotated.certificate.key_id, made.certificate.key_id);
        assert_eq!(load_signer(&keys).unwrap().roots(), [made.root]);
        assert!(matches!(make(&keys, now), Err(KeyError::File { .. })));
    }

    #[test]
    fn files_that_are_missing_mixed_up_or_damaged_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path());
        assert!(matches!(load_signer(&keys), Err(KeyError::Missing { .. })));
        make(&keys, Timestamp::from_unix_ms(1_800_000_000_000)).unwrap();
        let issuing = files::read_secret(&keys.issuing_key_file).unwrap();
        files::replace_secret(&keys.issuing_key_file, &issuing.replace("k4.public.", "k4.private.")).unwrap();
        let refusal = load_signer(&keys).unwrap_err().to_string();
        assert!(refusal.contains("issuing.key"), "{refusal}");
        let root = files::read_secret(&keys.root_key_file).unwrap();
        files::replace_secret(&keys.issuing_key_file, &root).unwrap();
        let refusal = load_signer(&keys).unwrap_err().to_string();
        assert!(refusal.contains("issuing.key"), "{refusal}");
    }
}
