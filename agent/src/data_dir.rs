//! The data directory: what a node keeps on disk, and whose it is.
//!
//! ```text
//! node.json          whose directory this is; written last by `init` and `join`
//! bootstrap          the cluster's first command, until it is committed (first node only)
//! admin.token        the administrator's first token (first node only)
//! keys/node          seed of the node's identity key
//! keys/management    the management key (Management Servers only)
//! tls/ca.crt         the CAs that the node trusts
//! tls/node.pem       the node's certificate and its private key
//! tls/beside.crt     its certificate for the key that the administrator has brought, if one is
//! starts             how often the agent has started
//! removed            why the node was taken out of the cluster, if it was
//! outdated           why the cluster has refused a start on this directory, if it has: it is a copy, or was set back
//! store/             database and snapshots
//! licenses/          license files and receipts, for the product
//! ```

mod marks;
mod private;
mod tls;

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use quorate_license::{ClusterId, Epoch, NodeId, NodeKey, NodeName, NodeRole};
use quorate_raft_store::{disk, seal::ManagementKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use private::{SECRET_FILES, check_private_file};
pub use tls::{TlsFiles, Trusted, identity};

use crate::durable_file;

/// The format of the data directory.
const FORMAT: u32 = 1;

/// The folder in it that holds the license files.
pub const LICENSES: &str = "licenses";

/// Why a data directory can't be used. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// `serve` before `init` or `join`.
    #[error("the data directory {} is not prepared: run `quorate init` on the first node, `quorate join` on the others", .0.display())]
    Unprepared(PathBuf),
    /// `init` or `join` on a prepared directory.
    #[error(
        "the data directory {} is prepared already: it belongs to node {name} ({node}) of cluster {cluster_id}. \
         Choose another node.data_dir, or start this one with `quorate serve`. If it is lost or damaged, move it away \
         first: nothing is deleted by itself",
        path.display()
    )]
    Prepared {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        name: NodeName,
        /// Its id.
        node: NodeId,
        /// Its cluster.
        cluster_id: ClusterId,
    },
    /// The configuration names another node than the directory's.
    #[error(
        "the data directory {} belongs to node {found}, the configuration says node.name = \"{expected}\": \
         correct node.data_dir or node.name; nothing was changed",
        path.display()
    )]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: NodeName,
        /// Whose it should be.
        expected: NodeName,
    },
    /// A file in it is damaged.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Written by a newer version.
    #[error("{} has format {found}, written by a newer version; this version reads format {FORMAT}", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A secret that others may read.
    #[error(
        "{} can be read by other users (mode {mode:04o}), and holds a secret: if it may have been read, join this computer \
         anew; otherwise run `chmod 600 {}`",
        path.display(), path.display()
    )]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A secret of another user.
    #[error(
        "{} belongs to the user {owner}, the agent runs as the user {user}: run `chown {user} {}`, or start the agent as \
         the user that has prepared the data directory",
        path.display(), path.display()
    )]
    OtherOwner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The agent's user.
        user: u32,
    },
    /// A second agent on the same directory.
    #[error("the data directory {} is in use by another running agent", .0.display())]
    InUse(PathBuf),
}

/// Whose a data directory is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFile {
    format: u32,
    /// The cluster.
    pub cluster_id: ClusterId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The node's id.
    pub node_id: NodeId,
    /// The node's name.
    pub name: NodeName,
    /// The node's role.
    pub role: NodeRole,
}

impl NodeFile {
    /// The marker of a node in this format.
    pub fn new(cluster_id: ClusterId, epoch: Epoch, node_id: NodeId, name: NodeName, role: NodeRole) -> Self {
        NodeFile { format: FORMAT, cluster_id, epoch, node_id, name, role }
    }

    /// What the store writes into its database.
    pub fn store_marker(&self) -> disk::Marker {
        disk::Marker { cluster_id: self.cluster_id, epoch: self.epoch, node: self.node_id }
    }
}

/// A data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

/// The right to use a data directory; ends with the process.
pub struct Lock(#[allow(dead_code, reason = "held for its lock")] nix::fcntl::Flock<fs::File>);

impl DataDir {
    /// The directory at `path`, which need not be there yet.
    pub fn new(path: &Path) -> Self {
        DataDir { path: path.to_owned() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory. Others may pass through it, to the product's socket and license files;
    /// what is secret is its owner's alone.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn create(&self) -> Result<(), DataDirError> {
        for (folder, mode) in [("", 0o711), ("keys", 0o700), ("tls", 0o700), ("store", 0o700)] {
            let path = self.path.join(folder);
            fs::create_dir_all(&path)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
                .map_err(|source| DataDirError::Io { path, source })?;
        }
        Ok(())
    }

    /// Takes the directory for this process.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] if another process has it.
    pub fn lock(&self) -> Result<Lock, DataDirError> {
        let path = self.path.join("lock");
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| DataDirError::Io { path, source })?;
        nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock)
            .map(Lock)
            .map_err(|_| DataDirError::InUse(self.path.clone()))
    }

    /// Reads whose directory this is; none if it is not prepared.
    ///
    /// # Errors
    /// If the file is there and can't be used.
    pub fn node_file(&self) -> Result<Option<NodeFile>, DataDirError> {
        let path = self.path.join("node.json");
        let Some(text) = self.read("node.json")? else { return Ok(None) };
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let damaged = |error: serde_json::Error| DataDirError::Damaged {
            path: path.clone(),
            reason: error.to_string(),
        };
        let format: Format = serde_json::from_slice(&text).map_err(damaged)?;
        if format.format > FORMAT {
            return Err(DataDirError::NewerFormat { path, found: format.format });
        }
        serde_json::from_slice(&text).map(Some).map_err(damaged)
    }

    /// Reads whose directory this is, and checks that it is the configured node's, by the name under which
    /// it was prepared or by the one that `renamed` finds the cluster to have given it since.
    ///
    /// # Errors
    /// [`DataDirError::Unprepared`], [`DataDirError::OtherNode`], or a file that can't be used.
    pub fn prepared_for(
        &self,
        name: &NodeName,
        renamed: impl FnOnce(&NodeFile) -> Option<NodeName>,
    ) -> Result<NodeFile, DataDirError> {
        let file = self.node_file()?.ok_or_else(|| DataDirError::Unprepared(self.path.clone()))?;
        if file.name == *name {
            return Ok(file);
        }
        let known = renamed(&file).unwrap_or_else(|| file.name.clone());
        if known == *name {
            return Ok(file);
        }
        Err(DataDirError::OtherNode { path: self.path.clone(), found: known, expected: name.clone() })
    }

    /// Checks that nobody has prepared the directory.
    ///
    /// # Errors
    /// [`DataDirError::Prepared`].
    pub fn check_unprepared(&self) -> Result<(), DataDirError> {
        match self.node_file()? {
            None => Ok(()),
            Some(file) => Err(DataDirError::Prepared {
                path: self.path.clone(),
                name: file.name,
                node: file.node_id,
                cluster_id: file.cluster_id,
            }),
        }
    }

    /// Writes whose directory this is: the last step of preparing it.
    ///
    /// # Errors
    /// [`DataDirError::Io`], here and in the other `save` methods.
    pub fn save_node_file(&self, file: &NodeFile) -> Result<(), DataDirError> {
        let text = serde_json::to_vec_pretty(file).map_err(|error| DataDirError::Damaged {
            path: self.path.join("node.json"),
            reason: error.to_string(),
        })?;
        self.write("node.json", &text)
    }

    /// The node's identity key.
    ///
    /// # Errors
    /// If it is missing or damaged, here and in the other readers.
    pub fn node_key(&self) -> Result<NodeKey, DataDirError> {
        self.secret("keys/node").map(|seed| NodeKey::from_seed(*seed))
    }

    /// Saves the node's identity key.
    ///
    /// # Errors
    /// See [`DataDir::save_node_file`].
    pub fn save_node_key(&self, seed: &[u8; 32]) -> Result<(), DataDirError> {
        self.save_secret("keys/node", seed)
    }

    /// The node key that an earlier, unfinished `join` has made, if one did.
    ///
    /// # Errors
    /// See [`DataDir::node_key`].
    pub fn node_key_if_any(&self) -> Result<Option<NodeKey>, DataDirError> {
        if self.path.join("keys/node").exists() { self.node_key().map(Some) } else { Ok(None) }
    }

    /// The management key; none on a Spooler Controller.
    ///
    /// # Errors
    /// See [`DataDir::node_key`].
    pub fn management_key(&self) -> Result<Option<ManagementKey>, DataDirError> {
        if self.path.join("keys/management").exists() {
            self.secret("keys/management").map(|bytes| Some(ManagementKey::from_bytes(*bytes)))
        } else {
            Ok(None)
        }
    }

    /// Saves the management key.
    ///
    /// # Errors
    /// See [`DataDir::save_node_file`].
    pub fn save_management_key(&self, key: &ManagementKey) -> Result<(), DataDirError> {
        self.save_secret("keys/management", key.expose())
    }

    /// The cluster's first command, as an encoded record, until it is committed.
    ///
    /// # Errors
    /// See [`DataDir::node_key`].
    pub fn bootstrap(&self) -> Result<Option<Vec<u8>>, DataDirError> {
        self.read("bootstrap")
    }

    /// Saves the cluster's first command.
    ///
    /// # Errors
    /// See [`DataDir::save_node_file`].
    pub fn save_bootstrap(&self, record: &[u8]) -> Result<(), DataDirError> {
        self.write("bootstrap", record)
    }

    /// Removes the cluster's first command, once it is committed.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn remove_bootstrap(&self) -> Result<(), DataDirError> {
        self.remove("bootstrap")
    }

    /// Removes a management key that does not belong here.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn remove_management_key(&self) -> Result<(), DataDirError> {
        self.remove("keys/management")
    }

    fn remove(&self, name: &str) -> Result<(), DataDirError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DataDirError::Io { path, source }),
            _ => Ok(()),
        }
    }

    /// Saves the administrator's first token, and tells where it is.
    ///
    /// # Errors
    /// See [`DataDir::save_node_file`].
    pub fn save_admin_token(&self, token: &str) -> Result<PathBuf, DataDirError> {
        self.write("admin.token", format!("{token}\n").as_bytes())?;
        Ok(self.path.join("admin.token"))
    }

    /// Counts this start of the agent: one more than ever before.
    ///
    /// # Errors
    /// If the counter can't be read or written.
    pub fn count_start(&self) -> Result<u64, DataDirError> {
        let now = self.starts()? + 1;
        self.write("starts", format!("{now}\n").as_bytes())?;
        Ok(now)
    }

    /// How often the agent has started on this directory.
    fn starts(&self) -> Result<u64, DataDirError> {
        let Some(text) = self.read("starts")? else { return Ok(0) };
        let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
        number.ok_or_else(|| DataDirError::Damaged {
            path: self.path.join("starts"),
            reason: "it holds no number".to_owned(),
        })
    }

    /// Where the store is.
    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Where the license files are.
    pub fn licenses(&self) -> PathBuf {
        self.path.join(LICENSES)
    }

    fn secret(&self, name: &str) -> Result<Zeroizing<[u8; 32]>, DataDirError> {
        let text = Zeroizing::new(self.text(name)?);
        let decoded = HEXLOWER.decode(text.trim().as_bytes()).map(Zeroizing::new);
        decoded
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok())
            .map(Zeroizing::new)
            .ok_or_else(|| DataDirError::Damaged {
                path: self.path.join(name),
                reason: "it does not hold 64 hexadecimal digits".to_owned(),
            })
    }

    fn save_secret(&self, name: &str, bytes: &[u8; 32]) -> Result<(), DataDirError> {
        let text = Zeroizing::new(format!("{}\n", HEXLOWER.encode(bytes)));
        self.write(name, text.as_bytes())
    }

    fn text(&self, name: &str) -> Result<String, DataDirError> {
        let path = self.path.join(name);
        fs::read_to_string(&path).map_err(|source| DataDirError::Io { path, source })
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DataDirError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataDirError::Io { path, source }),
        }
    }

    /// Writes a file of this directory, for its owner alone, whole or not at all.
    fn write(&self, name: &str, content: &[u8]) -> Result<(), DataDirError> {
        let path = self.path.join(name);
        durable_file::replace(&path, content, 0o600).map_err(|source| DataDirError::Io { path, source })
    }
}

#[cfg(test)]
mod tests;
