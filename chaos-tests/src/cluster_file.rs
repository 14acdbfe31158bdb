//! `cluster.json`: what a running demo tells others about itself.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Failure, Node, Result, Role, files};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterFile {
    /// The nodes, in the order in which they joined.
    pub nodes: Vec<NodeEntry>,
    /// The License Portal.
    pub portal: PortalEntry,
    /// The `quorate` program.
    pub quorate: PathBuf,
    /// The `quorate-portal` program.
    pub quorate_portal: PathBuf,
    /// Two activation keys that nobody has used yet.
    pub spare_keys: Vec<String>,
    /// An activation key that another installation uses.
    pub foreign_key: String,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Its name.
    pub name: String,
    /// `management` or `spooler`.
    pub role: Role,
    /// The id of the process that the demo started.
    pub pid: u32,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Management over HTTPS, `host:port`.
    pub http: String,
    /// The operations port, `host:port`.
    pub ops: String,
    /// The product's gRPC over TCP, `host:port`.
    pub grpc: String,
    /// Node to node, `host:port`.
    pub raft: String,
    /// The product's gRPC, a Unix socket.
    pub socket: PathBuf,
    /// The administrator's gRPC, a Unix socket.
    pub admin_socket: PathBuf,
}

/// The License Portal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortalEntry {
    /// Its address.
    pub url: String,
    /// The id of its process.
    pub pid: u32,
    /// The vendor's root public key.
    pub root_key: String,
    /// Its configuration file.
    pub config: PathBuf,
    /// What its TLS certificate is checked against.
    pub ca_file: PathBuf,
}

impl NodeEntry {
    /// The entry of a node that runs.
    ///
    /// # Errors
    /// It does not run.
    pub fn of(node: &Node) -> Result<Self> {
        let pid = node.pid().ok_or_else(|| Failure::wrong(format!("{} does not run", node.name)))?;
        Ok(NodeEntry {
            name: node.name.clone(),
            role: node.role,
            pid,
            config: node.config.clone(),
            data_dir: node.data_dir.clone(),
            http: node.http.to_string(),
            ops: node.ops.to_string(),
            grpc: node.grpc.to_string(),
            raft: node.raft.to_string(),
            socket: node.socket.clone(),
            admin_socket: node.admin_socket.clone(),
        })
    }
}

impl ClusterFile {
    /// Writes it so that a reader sees all of it or nothing.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|cause| Failure::wrong(cause.to_string()))?;
        files::write_atomically(path, &(text + "\n"))
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is not there or not readable.
    pub fn read(path: &Path) -> Result<Self> {
        let text = files::read(path)?;
        serde_json::from_str(&text)
            .map_err(|cause| Failure::wrong(format!("{} can't be read: {cause}", path.display())))
    }
}
