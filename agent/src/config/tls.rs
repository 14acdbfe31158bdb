//! How long certificates live, and certificates of the administrator's own.

use std::{path::PathBuf, time::Duration};

use serde::{Serialize, Serializer};

use super::{
    ConfigError,
    raw::{Given, RawTls},
};
use crate::pki::{BroughtFiles, BroughtPolicy, CertificateFiles};

const DAY: u64 = 24 * 60 * 60;
/// Of a certificate that nothing else is said about.
const DEFAULT_SECONDS: u64 = 90 * DAY;
/// Shorter than any that makes sense, so that a renewal can be seen to happen.
const SHORTEST_SECONDS: u64 = 10;
const LONGEST_SECONDS: u64 = 10 * 365 * DAY;
const UNITS: [(&str, u64); 5] = [("w", 7 * DAY), ("d", DAY), ("h", 60 * 60), ("m", 60), ("s", 1)];

/// Which certificates other nodes have to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeCertificates {
    /// The cluster's, and one of a CA in `tls.ca_file`.
    Brought,
    /// The cluster's at least.
    Any,
}

/// How long certificates live, and certificates of the administrator's own.
#[derive(Debug, Clone, Serialize)]
pub struct Tls {
    /// The lifetime of the certificates that this node signs, as a Management Server.
    #[serde(serialize_with = "as_text")]
    pub certificate_lifetime: Duration,
    /// The node's own certificate with its chain; `None`: it brings none. With it, the next two are there.
    pub certificate_file: Option<PathBuf>,
    /// Its private key.
    pub key_file: Option<PathBuf>,
    /// The CAs whose certificates other nodes have to bring.
    pub ca_file: Option<PathBuf>,
    /// Which certificates other nodes have to show.
    pub node_certificates: NodeCertificates,
    /// The management port's certificate with its chain; `None`: the node's own.
    pub http_certificate_file: Option<PathBuf>,
    /// Its private key.
    pub http_key_file: Option<PathBuf>,
}

/// Applies the rules of `[tls]`.
pub(super) fn check(raw: RawTls, given: &Given<'_>) -> Result<Tls, ConfigError> {
    let seconds = match &raw.certificate_lifetime {
        None => DEFAULT_SECONDS,
        Some(text) => seconds(text)
            .filter(|seconds| (SHORTEST_SECONDS..=LONGEST_SECONDS).contains(seconds))
            .ok_or_else(|| {
                let rule = format!(
                    "'{text}' is no lifetime: a number with its unit, from 10s to 3650d, as 90d or 12h"
                );
                given.wrong("tls", "certificate_lifetime", rule)
            })?,
    };
    let file = |path: Option<PathBuf>| path.map(|path| given.path(path));
    let tls = Tls {
        certificate_lifetime: Duration::from_secs(seconds),
        certificate_file: file(raw.certificate_file),
        key_file: file(raw.key_file),
        ca_file: file(raw.ca_file),
        node_certificates: node_certificates(raw.node_certificates.as_deref(), given)?,
        http_certificate_file: file(raw.http_certificate_file),
        http_key_file: file(raw.http_key_file),
    };
    // Some of them are none: who has forgotten one would be less safe than it seems.
    let sets: [&[_]; 2] = [
        &[
            ("http_certificate_file", &tls.http_certificate_file, "http_certificate_file = \"tls.crt\""),
            ("http_key_file", &tls.http_key_file, "http_key_file = \"tls.key\""),
        ],
        &[
            ("certificate_file", &tls.certificate_file, "certificate_file = \"node/tls.crt\""),
            ("key_file", &tls.key_file, "key_file = \"node/tls.key\""),
            ("ca_file", &tls.ca_file, "ca_file = \"node/ca.crt\""),
        ],
    ];
    for set in sets {
        let missing = set.iter().find(|(_, file, _)| file.is_none());
        if let Some((name, _, example)) = missing.filter(|_| set.iter().any(|(_, file, _)| file.is_some())) {
            return Err(given.missing("tls", name, example));
        }
    }
    if tls.certificate_file.is_none() && raw.node_certificates.is_some() {
        return Err(given.missing("tls", "certificate_file", "certificate_file = \"node/tls.crt\""));
    }
    Ok(tls)
}

fn node_certificates(text: Option<&str>, given: &Given<'_>) -> Result<NodeCertificates, ConfigError> {
    match text {
        None | Some("brought") => Ok(NodeCertificates::Brought),
        Some("any") => Ok(NodeCertificates::Any),
        Some(other) => {
            let rule = format!("'{other}' is neither brought nor any");
            Err(given.wrong("tls", "node_certificates", rule))
        }
    }
}

impl Tls {
    /// The files of the node's own certificate, and what it asks of others; none if it brings none.
    pub fn brought(&self) -> Option<(BroughtFiles, BroughtPolicy)> {
        let (certificate, key) = (self.certificate_file.clone()?, self.key_file.clone()?);
        let policy = match self.node_certificates {
            NodeCertificates::Brought => BroughtPolicy::Required,
            NodeCertificates::Any => BroughtPolicy::Accepted,
        };
        let pair = CertificateFiles { certificate, key };
        Some((BroughtFiles { pair, ca: self.ca_file.clone()? }, policy))
    }

    /// The files of the management port's own certificate, if it has one.
    pub fn http(&self) -> Option<CertificateFiles> {
        let (certificate, key) = (self.http_certificate_file.clone()?, self.http_key_file.clone()?);
        Some(CertificateFiles { certificate, key })
    }
}

/// A time as `90d`, `12h`, `30m` or `45s`.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*unit)
}

fn as_text<S: Serializer>(lifetime: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = lifetime.as_secs();
    // Weeks are read, and written as days.
    let whole = UNITS[1..].iter().find(|(_, unit)| seconds.is_multiple_of(*unit));
    let (unit, length) = whole.copied().unwrap_or(("s", 1));
    serializer.collect_str(&format!("{}{unit}", seconds / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_numbers_with_units() {
        for (text, expected) in
            [("90d", Some(90 * DAY)), ("2w", Some(14 * DAY)), ("20s", Some(20)), ("1h", Some(3600))]
        {
            assert_eq!(seconds(text), expected, "{text}");
        }
        for wrong in ["", "d", "90", "1.5h", "-1d", "90 d", "99999999999999999999d", "9y"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
