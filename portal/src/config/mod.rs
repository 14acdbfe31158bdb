//! The portal's configuration: one TOML file, `QUORATE_PORTAL_*` from the environment on top.
//!
//! ```text
//! file text -> TOML table -> environment laid over it -> RawConfig (unknown keys are errors)
//!           -> Config (parsed, checked; nothing behind it checks again)
//! ```
//!
//! A variable names a key in upper case, `__` between a section and its key:
//! `QUORATE_PORTAL_LISTEN`, `QUORATE_PORTAL_LIMITS__MAX_CONNECTIONS`.

mod raw;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_license::{Entitlement, Graces};

use crate::store::DatabaseUrl;

/// Variables of the same prefix that are not keys of the file.
const OTHER_VARIABLES: [&str; 1] = ["QUORATE_PORTAL_CONFIG"];
const PREFIX: &str = "QUORATE_PORTAL_";

/// What `quorate-portal` runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the portal is served over TLS. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `/metrics` and `/healthz` are served without TLS; without it they are on `listen`.
    pub ops_listen: Option<SocketAddr>,
    /// The address that customers use, for certificate and pages.
    pub public_url: PublicUrl,
    /// Where the records are.
    pub database: DatabaseUrl,
    /// Certificates.
    pub tls: TlsConfig,
    /// Signing keys.
    pub keys: KeyFiles,
    /// Bounds on what callers may ask for.
    pub limits: Limits,
    /// What licenses grant beyond their terms.
    pub policy: Policy,
    /// How the log is written.
    pub log: LogConfig,
    /// A file that holds the process id while the portal serves.
    pub pid_file: Option<PathBuf>,
    /// How long requests in flight may take at a stop.
    pub drain: Duration,
}

/// The address that customers use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    /// The whole address, without a slash at its end.
    pub text: String,
    /// The host in it: a name or an IP address.
    pub host: String,
}

/// Where the server's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsConfig {
    /// The vendor's own.
    Files {
        /// The chain, PEM, the server's certificate first.
        cert_file: PathBuf,
        /// The key, PEM.
        key_file: PathBuf,
    },
    /// Made at the first start, with a CA of its own: `ca.pem` there is what clients trust.
    SelfSigned {
        /// The folder for it.
        folder: PathBuf,
    },
}

/// Where the signing keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFiles {
    /// The root key. Only `admin init` and `admin key rotate-issuing` read it: keep it away otherwise.
    pub root_key_file: PathBuf,
    /// The issuing key with its certificate.
    pub issuing_key_file: PathBuf,
    /// How long a new issuing key may sign.
    pub issuing_days: u32,
}

/// Bounds on what callers may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The largest request body.
    pub max_body_bytes: usize,
    /// Connections at a time.
    pub max_connections: usize,
    /// Connections at a time from one address.
    pub max_connections_per_address: usize,
    /// Requests in one minute from one address.
    pub requests_per_minute: u32,
    /// Submissions of the pages' forms in one minute from one address.
    pub page_submissions_per_minute: u32,
    /// How long a request may take, its body included.
    pub request_deadline: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long the head of a request may take.
    pub header_timeout: Duration,
}

/// What licenses grant beyond their terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Signed into every binding and license.
    pub graces: Graces,
    /// How many bound nodes may be missing before an installed license asks for reactivation.
    pub tolerance: u32,
    /// Whether a computer ID may come from a volume instead of the host's operating system.
    pub accept_volume_computer_ids: bool,
    /// How long a trial lasts; 0 if there are none.
    pub trial_days: u32,
    /// What a trial licenses; empty for every feature of every product, without limit.
    pub trial_entitlements: Vec<Entitlement>,
    /// How many restores from nothing an installation has within a year before each needs the vendor's
    /// approval.
    pub restores_per_year: u32,
}

/// How the log is written to standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Lines for people, or JSON.
    pub format: LogFormat,
    /// Which events, as `tracing` filters are written (`info`, `quorate_portal=debug`).
    pub filter: String,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("the configuration file {path} can't be read: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// The file is not TOML, lacks a key, has an unknown one, or a value of the wrong type.
    #[error("the configuration {path} is wrong: {cause}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        cause: String,
    },
    /// A variable of the environment can't be laid over the file.
    #[error("the variable {variable} can't be used: {reason}")]
    Variable {
        /// Its name.
        variable: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A value breaks a rule.
    #[error("the configuration value '{key}' is wrong: {rule}")]
    Value {
        /// The key.
        key: &'static str,
        /// The rule, in words.
        rule: String,
    },
}

impl Config {
    /// Reads the file, and the environment on top of it.
    ///
    /// # Errors
    /// The file can't be read, or a key or value in it or in the environment is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ConfigError::File { path: path.to_owned(), cause })?;
        Self::parse(path, &text, std::env::vars())
    }

    /// The configuration in `text`, with `variables` on top of it. Relative paths in it are relative
    /// to the folder of `path`.
    ///
    /// # Errors
    /// A key or value is wrong.
    pub fn parse(
        path: &Path,
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let form =
            |cause: toml::de::Error| ConfigError::Form { path: path.to_owned(), cause: cause.to_string() };
        let mut table: toml::Table = text.parse().map_err(form)?;
        for (name, value) in variables {
            if let Some(key) = name.strip_prefix(PREFIX)
                && !OTHER_VARIABLES.contains(&name.as_str())
            {
                lay_over(&mut table, key, &value)
                    .map_err(|reason| ConfigError::Variable { variable: name.clone(), reason })?;
            }
        }
        let raw: raw::RawConfig = table.try_into().map_err(form)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        raw.check(folder)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl PublicUrl {
    /// The host as an IP address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// Puts a variable's value where its name points to. Whole numbers and `true`/`false` become such.
fn lay_over(table: &mut toml::Table, key: &str, value: &str) -> Result<(), &'static str> {
    let value = match (value.parse::<i64>(), value.parse::<bool>()) {
        (Ok(number), _) => toml::Value::Integer(number),
        (_, Ok(truth)) => toml::Value::Boolean(truth),
        _ => toml::Value::String(value.to_owned()),
    };
    let key = key.to_lowercase();
    match key.split_once("__") {
        None => {
            table.insert(key, value);
        }
        Some((section, key)) => {
            let section = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            section
                .as_table_mut()
                .ok_or("the part before __ is not a section")?
                .insert(key.to_owned(), value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = r#"
        listen = "127.0.0.1:7600"
        database = "sqlite:///var/lib/quorate-portal/portal.db"
        public_url = "https://portal.example:7600/"
        data_dir = "state"
        [tls]
        self_signed = true
    "#;

    fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::parse(Path::new("/etc/quorate/portal.toml"), text, variables)
    }

    #[test]
    fn the_smallest_file_has_safe_defaults() {
        let config = parse(SMALLEST, &[]).unwrap();
        assert_eq!(config.public_url.text, "https://portal.example:7600");
        assert_eq!(config.public_url.host, "portal.example");
        assert_eq!(config.tls, TlsConfig::SelfSigned { folder: "/etc/quorate/state/tls".into() });
        assert_eq!(config.keys.root_key_file, Path::new("/etc/quorate/state/keys/root.key"));
        assert_eq!(config.limits.max_body_bytes, 512 * 1024);
        assert_eq!(config.limits.max_connections, 256);
        assert_eq!(config.limits.request_deadline, Duration::from_secs(10));
        assert_eq!(config.pid_file, None);
    }

    #[test]
    fn the_environment_is_laid_over_the_file() {
        let variables = [
            ("QUORATE_PORTAL_LISTEN", "127.0.0.1:0"),
            ("QUORATE_PORTAL_LIMITS__MAX_CONNECTIONS", "7"),
            ("QUORATE_PORTAL_CONFIG", "/etc/quorate/portal.toml"),
            ("PATH", "/bin"),
        ];
        let config = parse(SMALLEST, &variables).unwrap();
        assert_eq!(config.listen.port(), 0);
        assert_eq!(config.limits.max_connections, 7);
    }

    #[test]
    fn unknown_keys_are_errors_wherever_they_stand() {
        for (text, name) in [
            (format!("colour = 1\n{SMALLEST}"), "colour"),
            (format!("{SMALLEST}\n[limits]\nmax_conections = 1"), "max_conections"),
        ] {
            let refusal = parse(&text, &[]).unwrap_err().to_string();
            assert!(refusal.contains(name) && refusal.contains("portal.toml"), "{refusal}");
        }
        let refusal = parse(SMALLEST, &[("QUORATE_PORTAL_LISTN", "x")]).unwrap_err().to_string();
        assert!(refusal.contains("listn"), "{refusal}");
        let refusal = parse(SMALLEST, &[("QUORATE_PORTAL_LISTEN__PORT", "1")]).unwrap_err().to_string();
        assert!(refusal.contains("QUORATE_PORTAL_LISTEN__PORT"), "{refusal}");
    }

    #[test]
    fn values_that_break_a_rule_are_refused_by_key() {
        for (from, to, key) in [
            ("https://portal.example:7600/", "http://portal.example", "public_url"),
            ("https://portal.example:7600/", "https://", "public_url"),
            ("sqlite:///var/lib/quorate-portal/portal.db", "mysql://x", "database"),
            ("self_signed = true", "self_signed = false", "tls"),
            ("self_signed = true", "self_signed = true\ncert_file = \"a\"", "tls"),
            (
                "self_signed = true",
                "self_signed = true\n[limits]\nmax_connections = 0",
                "limits.max_connections",
            ),
            (
                "self_signed = true",
                "self_signed = true\n[limits]\nmax_body_bytes = 9",
                "limits.max_body_bytes",
            ),
            ("self_signed = true", "self_signed = true\n[log]\nfilter = \"a=b=c\"", "log.filter"),
        ] {
            match parse(&SMALLEST.replace(from, to), &[]) {
                Err(ConfigError::Value { key: found, .. }) => assert_eq!(found, key, "{to}"),
                other => panic!("{to}: {other:?}"),
            }
        }
    }
}
