//! Preparing a data directory: `init` for the first node, `join` for every other one.

mod error;
mod init;
mod join;

pub use error::SetupError;
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

/// The host part of every address at which a node is reached, for its certificate.
pub(crate) fn hosts_of(addresses: &quorate_raft_store::state::Addresses) -> Vec<String> {
    let mut hosts: Vec<String> = [&addresses.raft, &addresses.http]
        .into_iter()
        .filter_map(|address| address.rsplit_once(':'))
        .map(|(host, _)| host.trim_start_matches('[').trim_end_matches(']'))
        .map(|host| host.trim_end_matches('.').to_ascii_lowercase())
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

/// Whether the name is one by which nodes know each other: those are the cluster's to give.
pub(crate) fn is_reserved(host: &str) -> bool {
    host == "quorate.internal" || host.ends_with(".quorate.internal")
}

/// The hosts that a node's certificate may name: those of its addresses, but no reserved ones, and for a Spooler
/// Controller none of a Management Server's. Administrators' tools know a server by its host alone.
pub(crate) fn certified_hosts(
    state: &quorate_raft_store::State,
    role: NodeRole,
    addresses: &quorate_raft_store::state::Addresses,
) -> Vec<String> {
    let servers = state.nodes().values().filter(|node| node.role == NodeRole::Management);
    let taken: Vec<String> = match role {
        NodeRole::Management => Vec::new(),
        NodeRole::Spooler => servers.flat_map(|node| hosts_of(&node.addresses)).collect(),
    };
    let local = |host: &str| host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    let mut hosts = hosts_of(addresses);
    hosts.retain(|host| !is_reserved(host) && (local(host) || !taken.contains(host)));
    hosts
}

/// Where a node is reached, by its configuration.
pub(crate) fn addresses(config: &Config) -> quorate_raft_store::state::Addresses {
    quorate_raft_store::state::Addresses {
        raft: config.advertise.raft.clone(),
        http: config.advertise.http.clone(),
    }
}

#[cfg(test)]
mod tests {
    use quorate_raft_store::state::Addresses;

    use super::*;
    use crate::service::licensing::samples;

    #[test]
    fn a_spooler_controllers_certificate_names_no_host_of_a_management_server() {
        let state = samples::Installation::licensed().view(7).state;
        let server = state.nodes().values().find(|node| node.role == NodeRole::Management).unwrap();
        let host = hosts_of(&server.addresses).remove(0);
        let claimed = |raft: &str, http: &str| Addresses { raft: raft.to_owned(), http: http.to_owned() };
        let hosts = |role, addresses| certified_hosts(&state, role, &addresses);
        let loud = host.to_uppercase();
        for raft in [format!("{host}:7400"), format!("{loud}.:1"), "x.QUORATE.internal:7400".to_owned()] {
            assert_eq!(
                hosts(NodeRole::Spooler, claimed(&raft, "sc-9.example.com:7443")),
                ["sc-9.example.com"]
            );
        }
        let reserved = claimed("quorate.internal:1", &format!("{host}:7443"));
        assert_eq!(hosts(NodeRole::Management, reserved), [host]);
        let local = claimed("127.0.0.1:7400", "[::1]:7443");
        assert_eq!(hosts(NodeRole::Spooler, local), ["127.0.0.1", "::1"]);
    }
}
