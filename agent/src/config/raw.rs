//! The configuration as the file spells it: every key optional, every value still text or a number.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    Advertise, Build, ClusterConfig, Config, ConfigError, Identity, IntegrityConfig, LicenseConfig, Listen,
    Log, Node, Raft, address, keys::Key, layers::Layers, portal, rules, tls,
};

/// Where everything is kept if nothing else is said.
const DEFAULT_DATA_DIR: &str = "/var/lib/quorate";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) node: RawNode,
    pub(super) listen: RawListen,
    pub(super) advertise: RawAdvertise,
    pub(super) identity: RawIdentity,
    pub(super) build: RawBuild,
    pub(super) portal: RawPortal,
    pub(super) license: RawLicense,
    pub(super) cluster: RawCluster,
    pub(super) integrity: RawIntegrity,
    pub(super) tls: RawTls,
    pub(super) raft: RawRaft,
    pub(super) log: RawLog,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawNode {
    pub(super) name: Option<String>,
    pub(super) data_dir: Option<PathBuf>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawListen {
    pub(super) raft: Option<String>,
    pub(super) grpc: Option<String>,
    pub(super) http: Option<String>,
    pub(super) ops: Option<String>,
    pub(super) socket: Option<PathBuf>,
    pub(super) admin_socket: Option<PathBuf>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawAdvertise {
    pub(super) raft: Option<String>,
    pub(super) http: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawIdentity {
    pub(super) machine_id_file: Option<PathBuf>,
    pub(super) source: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawBuild {
    pub(super) file: Option<PathBuf>,
    pub(super) number: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawPortal {
    pub(super) url: Option<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) proxy: Option<String>,
    pub(super) timeout_seconds: Option<u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLicense {
    pub(super) trust_roots: Option<Vec<String>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCluster {
    pub(super) expected_nodes: Option<u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawIntegrity {
    pub(super) scope: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) certificate_lifetime: Option<String>,
    pub(super) certificate_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) node_certificates: Option<String>,
    pub(super) http_certificate_file: Option<PathBuf>,
    pub(super) http_key_file: Option<PathBuf>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawRaft {
    pub(super) heartbeat_ms: Option<u64>,
    pub(super) election_min_ms: Option<u64>,
    pub(super) election_max_ms: Option<u64>,
    pub(super) snapshot_after_entries: Option<u64>,
    pub(super) snapshot_bytes_per_second: Option<u64>,
    pub(super) snapshot_key_file: Option<PathBuf>,
    pub(super) least_free_bytes: Option<u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) format: Option<String>,
    pub(super) filter: Option<String>,
}

impl RawConfig {
    pub(super) fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        layers.table().try_into().map_err(|error: toml::de::Error| ConfigError::NotToml {
            path: layers.path().to_owned(),
            line: 1,
            reason: error.message().to_owned(),
        })
    }

    /// The administrator's socket; of all rules, only those about it are applied.
    pub(super) fn admin_socket(self, layers: &Layers) -> Result<PathBuf, ConfigError> {
        let given = Given { layers };
        let data_dir = self.node.data_dir(&given);
        given.socket("admin_socket", self.listen.admin_socket, &data_dir, "admin.sock")
    }

    /// Applies every rule.
    pub(super) fn check(self, layers: &Layers) -> Result<Config, ConfigError> {
        let given = Given { layers };
        let data_dir = self.node.data_dir(&given);
        let name = given
            .parsed("node", "name", self.node.name)?
            .ok_or_else(|| given.missing("node", "name", "name = \"ms-1\""))?;
        let listen = self.listen.check(&given, &data_dir)?;
        let license = self.license.check(&given)?;
        let portal = portal::check(self.portal, &given)?;
        if portal.is_some() && license.trust_roots.is_empty() {
            return Err(given.missing("license", "trust_roots", "trust_roots = [\"k4.public.…\"]"));
        }
        Ok(Config {
            file: layers.path().to_owned(),
            node: Node { name, data_dir },
            advertise: self.advertise.check(&given, &listen)?,
            listen,
            identity: self.identity.check(&given)?,
            build: self.build.check(&given)?,
            portal,
            license,
            cluster: self.cluster.check(&given)?,
            integrity: IntegrityConfig { scope: rules::scope(&given, self.integrity.scope)? },
            tls: tls::check(self.tls, &given)?,
            raft: self.raft.check(&given)?,
            log: self.log.check(&given)?,
        })
    }
}

impl RawNode {
    fn data_dir(&self, given: &Given<'_>) -> PathBuf {
        given.path(self.data_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR)))
    }
}

impl RawListen {
    fn check(self, given: &Given<'_>, data_dir: &Path) -> Result<Listen, ConfigError> {
        let listen = Listen {
            raft: address::listen(given, "raft", self.raft, "0.0.0.0:7400")?,
            grpc: address::loopback(given, "grpc", self.grpc, "127.0.0.1:7401")?,
            http: address::listen(given, "http", self.http, "0.0.0.0:7443")?,
            ops: address::listen(given, "ops", self.ops, "127.0.0.1:7480")?,
            socket: given.socket("socket", self.socket, data_dir, "quorate.sock")?,
            admin_socket: given.socket("admin_socket", self.admin_socket, data_dir, "admin.sock")?,
        };
        address::all_differ(given, &listen)?;
        Ok(listen)
    }
}

impl RawAdvertise {
    fn check(self, given: &Given<'_>, listen: &Listen) -> Result<Advertise, ConfigError> {
        Ok(Advertise {
            raft: address::advertise(given, "raft", self.raft, listen.raft)?,
            http: address::advertise(given, "http", self.http, listen.http)?,
        })
    }
}

impl RawIdentity {
    fn check(self, given: &Given<'_>) -> Result<Identity, ConfigError> {
        let source = rules::identity_source(given, self.source, self.machine_id_file.is_some())?;
        Ok(Identity { machine_id_file: self.machine_id_file.map(|file| given.path(file)), source })
    }
}

impl RawBuild {
    fn check(self, given: &Given<'_>) -> Result<Build, ConfigError> {
        Ok(Build {
            file: self.file.map(|file| given.path(file)),
            number: given.parsed("build", "number", self.number)?,
        })
    }
}

impl RawLicense {
    fn check(self, given: &Given<'_>) -> Result<LicenseConfig, ConfigError> {
        Ok(LicenseConfig { trust_roots: rules::trust_roots(given, self.trust_roots.unwrap_or_default())? })
    }
}

impl RawCluster {
    fn check(self, given: &Given<'_>) -> Result<ClusterConfig, ConfigError> {
        let expected_nodes = match self.expected_nodes {
            None => None,
            Some(_) => {
                u32::try_from(given.number("cluster", "expected_nodes", self.expected_nodes, 1, 1..=1000)?)
                    .ok()
            }
        };
        Ok(ClusterConfig { expected_nodes })
    }
}

impl RawRaft {
    fn check(self, given: &Given<'_>) -> Result<Raft, ConfigError> {
        let raft = Raft {
            heartbeat_ms: given.number("raft", "heartbeat_ms", self.heartbeat_ms, 300, 10..=10_000)?,
            election_min_ms: given.number(
                "raft",
                "election_min_ms",
                self.election_min_ms,
                1200,
                30..=60_000,
            )?,
            election_max_ms: given.number(
                "raft",
                "election_max_ms",
                self.election_max_ms,
                2400,
                60..=120_000,
            )?,
            snapshot_after_entries: given.number(
                "raft",
                "snapshot_after_entries",
                self.snapshot_after_entries,
                10_000,
                1..=10_000_000,
            )?,
            snapshot_bytes_per_second: given.number(
                "raft",
                "snapshot_bytes_per_second",
                self.snapshot_bytes_per_second,
                64 << 20,
                0..=1 << 40,
            )?,
            snapshot_key_file: self.snapshot_key_file.map(|path| given.path(path)),
            least_free_bytes: given.number(
                "raft",
                "least_free_bytes",
                self.least_free_bytes,
                64 << 20,
                0..=1 << 50,
            )?,
        };
        rules::snapshot_rate(given, &raft)?;
        rules::raft_times(given, &raft)?;
        Ok(raft)
    }
}

impl RawLog {
    fn check(self, given: &Given<'_>) -> Result<Log, ConfigError> {
        Ok(Log {
            format: rules::log_format(given, self.format)?,
            filter: rules::log_filter(given, self.filter)?,
        })
    }
}

/// What was given, for errors that name the place.
pub(super) struct Given<'a> {
    layers: &'a Layers,
}

impl Given<'_> {
    /// A value breaks a rule.
    pub(super) fn wrong(
        &self,
        section: &'static str,
        name: &'static str,
        rule: impl ToString,
    ) -> ConfigError {
        let key = key(section, name);
        ConfigError::Invalid {
            key: key.dotted(),
            given: self.layers.source(key),
            path: self.layers.path().to_owned(),
            rule: rule.to_string(),
        }
    }

    /// A value is needed, and nobody gave it.
    pub(super) fn missing(
        &self,
        section: &'static str,
        name: &'static str,
        example: &'static str,
    ) -> ConfigError {
        let key = key(section, name);
        ConfigError::Missing {
            key: key.dotted(),
            path: self.layers.path().to_owned(),
            variable: key.variable(),
            example,
        }
    }

    /// A path; a relative one is relative to the configuration's folder.
    pub(super) fn path(&self, path: PathBuf) -> PathBuf {
        match self.layers.path().parent() {
            Some(folder) => folder.join(path),
            None => path,
        }
    }

    /// The text as a type whose rule is its own.
    pub(super) fn parsed<T: std::str::FromStr<Err: ToString>>(
        &self,
        section: &'static str,
        name: &'static str,
        text: Option<String>,
    ) -> Result<Option<T>, ConfigError> {
        text.map(|text| text.parse().map_err(|error: T::Err| self.wrong(section, name, error.to_string())))
            .transpose()
    }

    /// A number within its range.
    pub(super) fn number(
        &self,
        section: &'static str,
        name: &'static str,
        value: Option<u64>,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        let value = value.unwrap_or(default);
        if range.contains(&value) {
            return Ok(value);
        }
        let rule = format!("{value} is not within {} to {}", range.start(), range.end());
        Err(self.wrong(section, name, rule))
    }

    /// A Unix socket's path; the kernel bounds its length.
    fn socket(
        &self,
        name: &'static str,
        path: Option<PathBuf>,
        data_dir: &Path,
        default: &str,
    ) -> Result<PathBuf, ConfigError> {
        let path = path.map_or_else(|| data_dir.join(default), |path| self.path(path));
        rules::socket_length(&path).map_err(|rule| self.wrong("listen", name, rule))?;
        Ok(path)
    }
}

fn key(section: &'static str, name: &'static str) -> Key {
    super::keys::find(section, name).unwrap_or(Key { section, name, kind: super::keys::Kind::Text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::KEYS;

    #[test]
    fn every_key_of_the_table_is_a_field_and_every_field_is_in_the_table() {
        let fields = serde_json::to_value(RawConfig::default()).unwrap();
        let mut named: Vec<String> = Vec::new();
        for (section, keys) in fields.as_object().unwrap() {
            named.extend(keys.as_object().unwrap().keys().map(|name| format!("{section}.{name}")));
        }
        let mut known: Vec<String> = KEYS.iter().map(|key| key.dotted()).collect();
        named.sort();
        known.sort();
        assert_eq!(named, known);
    }
}
