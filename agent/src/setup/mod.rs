//! Preparing a data directory: `init` for the first node, `join` for every other one.

mod error;
mod hosts;
mod init;
mod join;

pub use error::SetupError;
pub(crate) use hosts::{certified_hosts, hosts_of, is_reserved};
pub use init::{InitOptions, InitReport, init};
pub(crate) use join::key_fingerprint;
pub use join::{JoinOptions, JoinReport, Waiting, join};

use std::sync::Arc;

use quorate_license::NodeRole;

use crate::{
    config::Config,
    pki::{Brought, BroughtPolicy, FilesError, Material},
};

/// The certificate that this node is to bring, if one is configured: it has to name the node. `role` is none where it is
/// not known yet. Blocks on the disk.
fn brought(
    config: &Config,
    role: Option<NodeRole>,
) -> Result<Option<(BroughtPolicy, Arc<Brought>)>, FilesError> {
    let Some((files, policy)) = config.tls.brought() else { return Ok(None) };
    let brought = Brought::read(&files)?;
    brought.check_name(role, &config.node.name)?;
    Ok(Some((policy, Arc::new(brought))))
}

/// Where a node is reached, by its configuration.
pub(crate) fn addresses(config: &Config) -> quorate_raft_store::state::Addresses {
    quorate_raft_store::state::Addresses {
        raft: config.advertise.raft.clone(),
        http: config.advertise.http.clone(),
    }
}
