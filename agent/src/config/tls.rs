//! How long certificates live, and a certificate of the administrator's own.

use std::{path::PathBuf, time::Duration};

use serde::{Serialize, Serializer};

use super::{
    ConfigError,
    raw::{Given, RawTls},
};

const DAY: u64 = 24 * 60 * 60;
/// Of a certificate that nothing else is said about.
const DEFAULT_SECONDS: u64 = 90 * DAY;
/// Shorter than any that makes sense, so that a renewal can be seen to happen.
const SHORTEST_SECONDS: u64 = 10;
const LONGEST_SECONDS: u64 = 10 * 365 * DAY;
const UNITS: [(&str, u64); 5] = [("w", 7 * DAY), ("d", DAY), ("h", 60 * 60), ("m", 60), ("s", 1)];

/// How long certificates live, and a certificate of the administrator's own.
#[derive(Debug, Clone, Serialize)]
pub struct Tls {
    /// The lifetime of the certificates that this node signs, as a Management Server.
    #[serde(serialize_with = "as_text")]
    pub certificate_lifetime: Duration,
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
    let (certificate, key) = (file(raw.http_certificate_file), file(raw.http_key_file));
    match (&certificate, &key) {
        (Some(_), None) => return Err(given.missing("tls", "http_key_file", "http_key_file = \"tls.key\"")),
        (None, Some(_)) => {
            return Err(given.missing("tls", "http_certificate_file", "http_certificate_file = \"tls.crt\""));
        }
        _ => {}
    }
    Ok(Tls {
        certificate_lifetime: Duration::from_secs(seconds),
        http_certificate_file: certificate,
        http_key_file: key,
    })
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
