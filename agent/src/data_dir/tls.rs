//! The node's certificate with its key, and the CAs that it trusts.
//!
//! ```text
//! tls/node.pem   certificate and private key in one file: replaced together or not at all
//! tls/ca.crt     the CAs; above them a line with the version of this trust
//! tls/beside.crt the cluster's certificate for the key that the administrator has brought, if one is
//! ```
//!
//! Older directories hold the certificate in `tls/node.crt` and the key in `tls/node.key`, until the first renewal.

use zeroize::Zeroizing;

use super::{DataDir, DataDirError};

const IDENTITY: &str = "tls/node.pem";
const TRUSTED: &str = "tls/ca.crt";
const BESIDE: &str = "tls/beside.crt";
/// The two files of older directories.
const PAIR: [&str; 2] = ["tls/node.crt", "tls/node.key"];
/// What stands above the CAs, before the number. Readers of certificates skip it.
const VERSION: &str = "Quorate: CAs of the cluster, version ";

/// A node's TLS files, PEM.
#[derive(Clone)]
pub struct TlsFiles {
    /// The CAs that the node trusts.
    pub trusted: Trusted,
    /// The node's certificate, and its private key.
    pub identity: Zeroizing<String>,
}

/// The CAs that a node trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// Counts the changes of this trust in the cluster; an older one never takes a newer one's place.
    pub version: u64,
    /// The certificates, PEM.
    pub certificates: String,
}

impl Trusted {
    fn to_text(&self) -> String {
        format!("{VERSION}{}\n{}", self.version, self.certificates)
    }

    fn from_text(text: &str) -> Self {
        let numbered = text.strip_prefix(VERSION).and_then(|rest| rest.split_once('\n'));
        match numbered.and_then(|(number, rest)| Some((number.trim().parse().ok()?, rest))) {
            Some((version, certificates)) => Trusted { version, certificates: certificates.to_owned() },
            None => Trusted { version: 0, certificates: text.to_owned() },
        }
    }
}

/// A certificate and its private key as the one text that is kept.
pub fn identity(certificate: &str, key: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{}\n{}\n", certificate.trim_end(), key.trim_end()))
}

impl DataDir {
    /// The TLS files.
    ///
    /// # Errors
    /// See [`DataDir::node_key`].
    pub fn tls(&self) -> Result<TlsFiles, DataDirError> {
        let identity = if self.path.join(IDENTITY).exists() {
            Zeroizing::new(self.text(IDENTITY)?)
        } else {
            let [certificate, key] = PAIR;
            identity(&self.text(certificate)?, &Zeroizing::new(self.text(key)?))
        };
        Ok(TlsFiles { trusted: Trusted::from_text(&self.text(TRUSTED)?), identity })
    }

    /// Saves the TLS files.
    ///
    /// # Errors
    /// See [`DataDir::save_node_file`].
    pub fn save_tls(&self, files: &TlsFiles) -> Result<(), DataDirError> {
        self.save_trusted(&files.trusted)?;
        self.save_identity(&files.identity)
    }

    /// Saves the CAs that the node trusts.
    ///
    /// # Errors
    /// See [`DataDir::save_node_file`].
    pub fn save_trusted(&self, trusted: &Trusted) -> Result<(), DataDirError> {
        self.write(TRUSTED, trusted.to_text().as_bytes())
    }

    /// The cluster's certificate for a brought key, PEM, if there is one.
    ///
    /// # Errors
    /// See [`DataDir::node_key`].
    pub fn beside(&self) -> Result<Option<String>, DataDirError> {
        if self.path.join(BESIDE).exists() { self.text(BESIDE).map(Some) } else { Ok(None) }
    }

    /// Saves the cluster's certificate for a brought key. The key stays where it was brought.
    ///
    /// # Errors
    /// See [`DataDir::save_node_file`].
    pub fn save_beside(&self, certificate: &str) -> Result<(), DataDirError> {
        self.write(BESIDE, certificate.as_bytes())
    }

    /// Saves the node's certificate and its key, both or none.
    ///
    /// # Errors
    /// See [`DataDir::save_node_file`].
    pub fn save_identity(&self, identity: &str) -> Result<(), DataDirError> {
        self.write(IDENTITY, identity.as_bytes())?;
        PAIR.iter().try_for_each(|older| self.remove(older))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn certificate_and_key_are_one_file_for_its_owner_alone_and_older_pairs_are_read() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(&temp.path().join("data"));
        dir.create().unwrap();
        for (name, text) in [("ca.crt", "CA\n"), ("node.crt", "CERTIFICATE\n"), ("node.key", "KEY\n")] {
            fs::write(dir.path().join("tls").join(name), text).unwrap();
        }
        let older = dir.tls().unwrap();
        assert_eq!(older.identity.as_str(), "CERTIFICATE\nKEY\n");
        assert_eq!(older.trusted, Trusted { version: 0, certificates: "CA\n".to_owned() });

        dir.save_identity(&identity("NEW", "NEW KEY")).unwrap();
        dir.save_trusted(&Trusted { version: 7, certificates: "CA\nCA 2\n".to_owned() }).unwrap();
        let newer = dir.tls().unwrap();
        assert_eq!(newer.identity.as_str(), "NEW\nNEW KEY\n");
        assert_eq!((newer.trusted.version, newer.trusted.certificates.as_str()), (7, "CA\nCA 2\n"));
        let mut names: Vec<_> =
            fs::read_dir(dir.path().join("tls")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["ca.crt", "node.pem"], "the older pair is gone");
        let mode = fs::metadata(dir.path().join(IDENTITY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
