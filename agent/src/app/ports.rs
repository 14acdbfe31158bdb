//! What a node listens on. All of it is opened before consensus starts, so that an address that another program has
//! is told by a node that has not begun anything.

use std::{io, net::SocketAddr, path::Path};

use tokio::{
    net::{TcpListener, UnixListener},
    runtime::Handle,
};

use super::AppError;
use crate::{config::Listen, net::bind_unix};

/// The open listeners of a node; nobody is answered yet.
pub(super) struct Ports {
    /// Node to node, driven by the threads of Raft.
    pub(super) raft: TcpListener,
    /// The management interface.
    pub(super) http: TcpListener,
    /// The product.
    pub(super) product: TcpListener,
    /// Health and metrics.
    pub(super) ops: TcpListener,
    /// The product, on this host.
    pub(super) product_socket: UnixListener,
    /// The administrator, on this host.
    pub(super) admin_socket: UnixListener,
}

impl Ports {
    /// Opens them all, or names the one that can't be had.
    pub(super) async fn open(listen: &Listen, raft: &Handle) -> Result<Ports, AppError> {
        Ok(Ports {
            raft: raft.spawn(tcp("node-to-node", listen.raft)).await??,
            http: tcp("management", listen.http).await?,
            product: tcp("product", listen.grpc).await?,
            ops: tcp("operations", listen.ops).await?,
            product_socket: unix("product", &listen.socket, 0o666)?,
            admin_socket: unix("administration", &listen.admin_socket, 0o600)?,
        })
    }
}

async fn tcp(what: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    TcpListener::bind(address).await.map_err(|source| unusable(what, &address, source))
}

fn unix(what: &'static str, path: &Path, mode: u32) -> Result<UnixListener, AppError> {
    bind_unix(path, mode).map_err(|source| unusable(what, &path.display(), source))
}

fn unusable(what: &'static str, address: &dyn std::fmt::Display, source: io::Error) -> AppError {
    AppError::Listen { what, address: address.to_string(), source }
}
