//! The node's configuration: one TOML file, `QUORATE_*` from the environment on top.
//!
//! ```text
//! file text ──┐
//!             ├─> layers (unknown keys and variables are errors) ─> RawConfig ─> Config
//! environment ┘    each value remembers where it comes from                      (parsed, checked)
//! ```
//!
//! A variable names section and key in upper case: `QUORATE_NODE_NAME`, `QUORATE_LISTEN_RAFT`. What
//! stands in a [`Config`] holds; nothing behind it checks again.

mod address;
mod error;
mod keys;
mod layers;
mod nearest;
mod portal;
mod raw;
mod rules;
mod show;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use quorate_license::{BuildNumber, ComputerIdSource, IntegrityScope, NodeName, RootPublicKey};
use serde::Serialize;

pub use error::{ConfigError, Source};
pub use portal::{Portal, ProxyUrl};
pub use show::{Effective, EffectiveValue};
pub use tls::{NodeCertificates, Tls};

/// What a node runs with: effective and checked.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    /// The file that it was read from. Relative paths in it are relative to its folder.
    #[serde(skip)]
    pub file: PathBuf,
    /// Who the node is and where it keeps its state.
    pub node: Node,
    /// Where it listens.
    pub listen: Listen,
    /// Where others reach it.
    pub advertise: Advertise,
    /// How the host is identified.
    pub identity: Identity,
    /// Where the product's version comes from.
    pub build: Build,
    /// The License Portal; `None` without `portal.url`.
    pub portal: Option<Portal>,
    /// Whose licenses are accepted.
    pub license: LicenseConfig,
    /// What the administrator expects of the cluster.
    pub cluster: ClusterConfig,
    /// Whom an activation binds.
    pub integrity: IntegrityConfig,
    /// How long certificates live.
    pub tls: Tls,
    /// Raft's times and sizes.
    pub raft: Raft,
    /// How the log is written.
    pub log: Log,
}

/// Who the node is and where it keeps its state.
#[derive(Debug, Clone, Serialize)]
pub struct Node {
    /// Unique within the cluster.
    pub name: NodeName,
    /// The folder of everything that the node keeps.
    pub data_dir: PathBuf,
}

/// Where the node listens.
#[derive(Debug, Clone, Serialize)]
pub struct Listen {
    /// Node to node, and administrators from afar: gRPC with TLS.
    pub raft: SocketAddr,
    /// The product's gRPC; a loopback address.
    pub grpc: SocketAddr,
    /// The management interface: HTTPS.
    pub http: SocketAddr,
    /// Health and metrics: HTTP.
    pub ops: SocketAddr,
    /// The product's gRPC as a Unix socket.
    pub socket: PathBuf,
    /// The administrator's gRPC as a Unix socket.
    pub admin_socket: PathBuf,
}

/// Where others reach the node, each as `host:port`.
#[derive(Debug, Clone, Serialize)]
pub struct Advertise {
    /// The other nodes.
    pub raft: String,
    /// Administrators' browsers.
    pub http: String,
}

/// How the host is identified.
#[derive(Debug, Clone, Serialize)]
pub struct Identity {
    /// A file with the machine id; `None`: the operating system's own.
    pub machine_id_file: Option<PathBuf>,
    /// What the machine id belongs to; part of the computer ID.
    pub source: ComputerIdSource,
}

impl Default for Identity {
    /// The operating system's own machine id.
    fn default() -> Self {
        Identity { machine_id_file: None, source: ComputerIdSource::Host }
    }
}

/// Where the product's version comes from. The product's own call wins over both.
#[derive(Debug, Clone, Serialize)]
pub struct Build {
    /// A file with the version, watched.
    pub file: Option<PathBuf>,
    /// The version where neither the product nor the file tells one.
    pub number: Option<BuildNumber>,
}

/// Whose licenses are accepted.
#[derive(Debug, Clone, Serialize)]
pub struct LicenseConfig {
    /// The vendor's root keys.
    pub trust_roots: Vec<RootPublicKey>,
}

/// What the administrator expects of the cluster.
#[derive(Debug, Clone, Serialize)]
pub struct ClusterConfig {
    /// An activation with fewer nodes is refused. Taken over at `init`.
    pub expected_nodes: Option<u32>,
}

/// Whom an activation binds.
#[derive(Debug, Clone, Serialize)]
pub struct IntegrityConfig {
    /// All nodes, or Management Servers only. Taken over at `init`.
    pub scope: IntegrityScope,
}

/// Raft's times and sizes.
#[derive(Debug, Clone, Serialize)]
pub struct Raft {
    /// How often the leader shows that it lives.
    pub heartbeat_ms: u64,
    /// The shortest silence after which a node calls an election.
    pub election_min_ms: u64,
    /// The longest.
    pub election_max_ms: u64,
    /// After so many entries a snapshot is taken and the log before it dropped.
    pub snapshot_after_entries: u64,
    /// How fast snapshots are sent to other nodes, to all of them together; 0: as fast as it goes.
    pub snapshot_bytes_per_second: u64,
    /// The key that seals snapshots at rest; `None`: they are not sealed.
    pub snapshot_key_file: Option<PathBuf>,
    /// With less free disk, and what a snapshot needs, the leader refuses new changes; 0: never.
    pub least_free_bytes: u64,
}

/// How the log is written to standard error.
#[derive(Debug, Clone, Serialize)]
pub struct Log {
    /// Lines for people, or JSON.
    pub format: LogFormat,
    /// Which events, as `tracing` filters are written (`info`, `quorate=debug`).
    pub filter: String,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads the file, and the environment on top of it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: the file can't be read, or a key, variable or value is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Effective::load(path).map(|effective| effective.config)
    }

    /// The configuration in `text`, with `variables` on top of it, as if it had been read from `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: a key, variable or value is wrong.
    pub fn parse(
        path: &Path,
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Effective::parse(path, text, variables).map(|effective| effective.config)
    }
}

/// Where the running node's administrator socket is, by the file and the environment.
///
/// Reads nothing else, so that a node which was started before its file was broken can be asked.
///
/// # Errors
///
/// [`ConfigError`]: the file can't be read, is no TOML, or one of the two keys is wrong.
pub fn admin_socket(path: &Path) -> Result<PathBuf, ConfigError> {
    let text = layers::read_file(path)?;
    let layers = layers::Layers::lenient(path, &text, layers::environment()?)?;
    raw::RawConfig::from_layers(&layers)?.admin_socket(&layers)
}
