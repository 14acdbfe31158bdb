//! The configuration as the file spells it, and the rules that make a [`Config`] of it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_license::{Entitlement, Graces};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use super::{Config, ConfigError, KeyFiles, Limits, LogConfig, LogFormat, Policy, PublicUrl, TlsConfig};
use crate::names;

/// The largest integrity key with its armour must fit.
const SMALLEST_MAX_BODY: usize = 512 * 1024;
const LARGEST_MAX_BODY: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    listen: SocketAddr,
    ops_listen: Option<SocketAddr>,
    public_url: String,
    database: String,
    data_dir: PathBuf,
    pid_file: Option<PathBuf>,
    #[serde(default = "default_drain_seconds")]
    drain_seconds: u32,
    #[serde(default)]
    tls: RawTls,
    #[serde(default)]
    keys: RawKeys,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    policy: RawPolicy,
    #[serde(default)]
    log: RawLog,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTls {
    cert_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    self_signed: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawKeys {
    root_key_file: Option<PathBuf>,
    issuing_key_file: Option<PathBuf>,
    issuing_days: Option<u32>,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLimits {
    max_body_bytes: usize,
    max_connections: usize,
    max_connections_per_address: usize,
    requests_per_minute: u32,
    page_submissions_per_minute: u32,
    request_deadline_seconds: u32,
    handshake_timeout_seconds: u32,
    header_timeout_seconds: u32,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawPolicy {
    expiry_grace_days: u32,
    reactivation_grace_days: u32,
    unbound_grace_days: u32,
    receipt_max_age_days: u32,
    tolerance: u32,
    accept_volume_computer_ids: bool,
    trial_days: u32,
    trial_entitlements: Vec<String>,
    restores_per_year: u32,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawLog {
    format: LogFormat,
    filter: String,
}

fn default_drain_seconds() -> u32 {
    15
}

impl Default for RawLimits {
    fn default() -> Self {
        RawLimits {
            max_body_bytes: SMALLEST_MAX_BODY,
            max_connections: 256,
            max_connections_per_address: 64,
            requests_per_minute: 300,
            page_submissions_per_minute: 20,
            request_deadline_seconds: 10,
            handshake_timeout_seconds: 5,
            header_timeout_seconds: 10,
        }
    }
}

impl Default for RawPolicy {
    fn default() -> Self {
        RawPolicy {
            expiry_grace_days: 14,
            reactivation_grace_days: 30,
            unbound_grace_days: 14,
            receipt_max_age_days: 35,
            tolerance: 1,
            accept_volume_computer_ids: true,
            trial_days: 30,
            trial_entitlements: Vec::new(),
            restores_per_year: 3,
        }
    }
}

impl Default for RawLog {
    fn default() -> Self {
        RawLog { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

impl RawConfig {
    pub(super) fn check(self, folder: &Path) -> Result<Config, ConfigError> {
        let data_dir = folder.join(self.data_dir);
        Ok(Config {
            listen: self.listen,
            ops_listen: self.ops_listen,
            public_url: public_url(&self.public_url)?,
            database: self.database.parse().map_err(|error| wrong("database", error))?,
            tls: self.tls.check(folder, &data_dir)?,
            keys: self.keys.check(folder, &data_dir)?,
            limits: self.limits.check()?,
            policy: self.policy.check()?,
            log: self.log.check()?,
            pid_file: self.pid_file.map(|path| folder.join(path)),
            drain: Duration::from_secs(self.drain_seconds.into()),
        })
    }
}

impl RawTls {
    fn check(self, folder: &Path, data_dir: &Path) -> Result<TlsConfig, ConfigError> {
        match (self.cert_file, self.key_file, self.self_signed) {
            (Some(cert_file), Some(key_file), false) => {
                Ok(TlsConfig::Files { cert_file: folder.join(cert_file), key_file: folder.join(key_file) })
            }
            (None, None, true) => Ok(TlsConfig::SelfSigned { folder: data_dir.join("tls") }),
            _ => Err(wrong("tls", "give cert_file and key_file, or self_signed = true, and not both")),
        }
    }
}

impl RawKeys {
    fn check(self, folder: &Path, data_dir: &Path) -> Result<KeyFiles, ConfigError> {
        let keys = data_dir.join("keys");
        let path =
            |given: Option<PathBuf>, name| given.map_or_else(|| keys.join(name), |path| folder.join(path));
        let issuing_days = self.issuing_days.unwrap_or(365);
        if !(1..=3650).contains(&issuing_days) {
            return Err(wrong("keys.issuing_days", "it is 1 to 3650"));
        }
        Ok(KeyFiles {
            root_key_file: path(self.root_key_file, "root.key"),
            issuing_key_file: path(self.issuing_key_file, "issuing.key"),
            issuing_days,
        })
    }
}

impl RawLimits {
    fn check(self) -> Result<Limits, ConfigError> {
        if !(SMALLEST_MAX_BODY..=LARGEST_MAX_BODY).contains(&self.max_body_bytes) {
            let rule = format!("it is {SMALLEST_MAX_BODY} to {LARGEST_MAX_BODY}");
            return Err(wrong("limits.max_body_bytes", rule));
        }
        Ok(Limits {
            max_body_bytes: self.max_body_bytes,
            max_connections: at_least_one("limits.max_connections", self.max_connections)?,
            max_connections_per_address: at_least_one(
                "limits.max_connections_per_address",
                self.max_connections_per_address,
            )?,
            requests_per_minute: at_least_one("limits.requests_per_minute", self.requests_per_minute)?,
            page_submissions_per_minute: at_least_one(
                "limits.page_submissions_per_minute",
                self.page_submissions_per_minute,
            )?,
            request_deadline: seconds("limits.request_deadline_seconds", self.request_deadline_seconds)?,
            handshake_timeout: seconds("limits.handshake_timeout_seconds", self.handshake_timeout_seconds)?,
            header_timeout: seconds("limits.header_timeout_seconds", self.header_timeout_seconds)?,
        })
    }
}

impl RawPolicy {
    fn check(self) -> Result<Policy, ConfigError> {
        Ok(Policy {
            graces: Graces {
                expiry_days: self.expiry_grace_days,
                reactivation_days: self.reactivation_grace_days,
                unbound_days: self.unbound_grace_days,
                receipt_max_age_days: at_least_one("policy.receipt_max_age_days", self.receipt_max_age_days)?,
            },
            tolerance: self.tolerance,
            accept_volume_computer_ids: self.accept_volume_computer_ids,
            trial_days: at_most("policy.trial_days", self.trial_days, 365)?,
            trial_entitlements: entitlements("policy.trial_entitlements", &self.trial_entitlements)?,
            restores_per_year: self.restores_per_year,
        })
    }
}

impl RawLog {
    fn check(self) -> Result<LogConfig, ConfigError> {
        EnvFilter::try_new(&self.filter).map_err(|error| wrong("log.filter", error))?;
        Ok(LogConfig { format: self.format, filter: self.filter })
    }
}

fn public_url(text: &str) -> Result<PublicUrl, ConfigError> {
    let rule = || wrong("public_url", "it is https:// and a host, with a port if it is not 443, and no path");
    let uri: hyper::Uri = text.parse().map_err(|_| rule())?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(rule)?;
    if uri.scheme_str() != Some("https") || uri.path() != "/" || uri.query().is_some() {
        return Err(rule());
    }
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(PublicUrl { text: text.trim_end_matches('/').to_owned(), host })
}

fn at_least_one<T: PartialOrd + From<u8>>(key: &'static str, value: T) -> Result<T, ConfigError> {
    if value >= T::from(1) { Ok(value) } else { Err(wrong(key, "it is at least 1")) }
}

fn at_most(key: &'static str, value: u32, most: u32) -> Result<u32, ConfigError> {
    if value <= most { Ok(value) } else { Err(wrong(key, format!("it is at most {most}"))) }
}

/// Sorted by feature, each once.
fn entitlements(key: &'static str, texts: &[String]) -> Result<Vec<Entitlement>, ConfigError> {
    let parsed: Result<Vec<Entitlement>, String> =
        texts.iter().map(|text| names::entitlement(text)).collect();
    let mut parsed = parsed.map_err(|rule| wrong(key, rule))?;
    parsed.sort_by(|a, b| a.feature.cmp(&b.feature));
    if parsed.windows(2).any(|pair| pair[0].feature == pair[1].feature) {
        return Err(wrong(key, "a feature is given twice"));
    }
    Ok(parsed)
}

fn seconds(key: &'static str, value: u32) -> Result<Duration, ConfigError> {
    at_least_one(key, value).map(|value| Duration::from_secs(value.into()))
}

fn wrong(key: &'static str, rule: impl ToString) -> ConfigError {
    ConfigError::Value { key, rule: rule.to_string() }
}
