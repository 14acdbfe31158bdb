//! Takes secrets out of texts, whatever brought them there.
//!
//! What the bundle is made of holds no secrets by itself. This is the second lock: the very secrets of this host
//! are looked for by their value, and those of others by their form.

use std::{fs, path::Path};

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use zeroize::Zeroizing;

use crate::{config::Config, data_dir::SECRET_FILES};

/// What stands in the place of a secret.
pub(super) const REDACTED: &str = "[redacted]";

/// Texts that begin a secret of a form of ours; it goes on as long as its characters do.
const FORMS: [&str; 5] = ["qa1-", "qj1-", "QA-", "qa-", "Bearer "];
/// Shorter ones are words.
const SHORTEST: usize = 16;

/// The secrets that must not be in a bundle.
pub(super) struct Scrubber {
    needles: Vec<Zeroizing<String>>,
    /// How often something was taken out.
    pub(super) count: usize,
}

impl Scrubber {
    /// Knows the secrets of this host that may be read.
    pub(super) fn new(config: &Config) -> Self {
        let mut scrubber = Scrubber { needles: Vec::new(), count: 0 };
        for file in SECRET_FILES {
            scrubber.file(&config.node.data_dir.join(file));
        }
        let (tls, raft) = (&config.tls, &config.raft);
        for key in [&tls.key_file, &tls.http_key_file, &raft.snapshot_key_file].into_iter().flatten() {
            scrubber.file(key);
        }
        let machine_ids = ["/etc/machine-id", "/var/lib/dbus/machine-id"].map(Path::new);
        for file in config.identity.machine_id_file.as_deref().into_iter().chain(machine_ids) {
            scrubber.file(file);
        }
        scrubber
    }

    fn file(&mut self, path: &Path) {
        let Ok(text) = fs::read_to_string(path).map(Zeroizing::new) else { return };
        // A key in PEM is recognized by any of its lines.
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with("-----")) {
            self.secret(line);
        }
    }

    /// Knows a secret, as it is and in other writings.
    fn secret(&mut self, text: &str) {
        if text.len() < SHORTEST {
            return;
        }
        let mut needles = vec![text.to_owned(), text.to_uppercase()];
        let mut bytes = vec![text.as_bytes().to_vec()];
        bytes.extend(HEXLOWER.decode(text.to_lowercase().as_bytes()).ok());
        for bytes in bytes {
            let base64 = BASE64.encode(&bytes);
            needles.extend([
                base64.trim_end_matches('=').to_owned(),
                BASE64URL_NOPAD.encode(&bytes),
                HEXLOWER.encode(&bytes),
                HEXUPPER.encode(&bytes),
            ]);
        }
        self.needles.extend(needles.into_iter().map(Zeroizing::new));
    }

    /// The text without secrets.
    pub(super) fn clean(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for needle in &self.needles {
            let found = text.matches(needle.as_str()).count();
            if found > 0 {
                self.count += found;
                text = text.replace(needle.as_str(), REDACTED);
            }
        }
        for form in FORMS {
            text = self.without_form(&text, form);
        }
        self.without_keys(&text)
    }

    /// Everything that begins like this and is long enough.
    fn without_form(&mut self, text: &str, form: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(form) {
            let (before, found) = rest.split_at(start);
            let body = &found[form.len()..];
            let end = body
                .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.~+/=".contains(c)))
                .unwrap_or(body.len());
            out.push_str(before);
            if end >= SHORTEST {
                out.push_str(REDACTED);
                self.count += 1;
            } else {
                out.push_str(&found[..form.len() + end]);
            }
            rest = &body[end..];
        }
        out.push_str(rest);
        out
    }

    /// Private keys in PEM, and credentials in addresses.
    fn without_keys(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut in_key = false;
        for line in text.split_inclusive('\n') {
            if line.contains("-----BEGIN") && line.contains("PRIVATE KEY") {
                in_key = true;
                self.count += 1;
                out.push_str(REDACTED);
                out.push('\n');
            }
            if !in_key {
                out.push_str(&self.without_credentials(line));
            }
            if line.contains("-----END") {
                in_key = false;
            }
        }
        out
    }

    fn without_credentials(&mut self, line: &str) -> String {
        let mut out = String::with_capacity(line.len());
        let mut rest = line;
        while let Some(start) = rest.find("://") {
            let (before, after) = rest.split_at(start + 3);
            out.push_str(before);
            let authority =
                after.find(|c: char| c.is_whitespace() || "/\"'<>,".contains(c)).unwrap_or(after.len());
            match after[..authority].rfind('@') {
                Some(at) if &after[..at] != "redacted" => {
                    out.push_str(REDACTED);
                    self.count += 1;
                    rest = &after[at..];
                }
                _ => rest = after,
            }
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubber(secrets: &[&str]) -> Scrubber {
        let mut scrubber = Scrubber { needles: Vec::new(), count: 0 };
        for secret in secrets {
            scrubber.secret(secret);
        }
        scrubber
    }

    #[test]
    fn secrets_go_whatever_they_are_written_like() {
        let secret = "00112233445566778899aabbccddeeff";
        let bytes = HEXLOWER.decode(secret.as_bytes()).unwrap();
        let mut scrubber = scrubber(&[secret]);
        for text in
            [secret.to_owned(), secret.to_uppercase(), BASE64.encode(&bytes), BASE64URL_NOPAD.encode(&bytes)]
        {
            let clean = scrubber.clean(&format!("before {text} after"));
            assert!(clean.starts_with("before [redacted]") && clean.ends_with("after"), "{clean}");
        }
        assert_eq!(scrubber.count, 4);
    }

    #[test]
    fn forms_of_secrets_go_and_other_words_stay() {
        let mut scrubber = scrubber(&[]);
        for (text, expected) in [
            ("token qa1-0123456789abcdef-x_y.z end", "token [redacted] end"),
            ("QA-ABCDE-FGHJK-LMNPQ-RSTVW-XYZ12.", "[redacted]"),
            ("a QA-team", "a QA-team"),
            ("authorization: Bearer abcdefghijklmnopqrst", "authorization: [redacted]"),
            ("http://user:word@proxy:3128/x", "http://[redacted]@proxy:3128/x"),
            ("https://portal:7600/a@b", "https://portal:7600/a@b"),
            ("a\n-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\nb\n", "a\n[redacted]\nb\n"),
            ("-----BEGIN CERTIFICATE-----\nabc\n", "-----BEGIN CERTIFICATE-----\nabc\n"),
        ] {
            assert_eq!(scrubber.clean(text), expected);
        }
    }
}
