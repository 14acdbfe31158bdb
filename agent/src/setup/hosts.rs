//! Which hosts a node's certificate names.

use std::net::IpAddr;

use quorate_license::NodeRole;
use quorate_raft_store::{State, state::Addresses};

/// The host part of every address at which a node is reached, for its certificate.
pub(crate) fn hosts_of(addresses: &Addresses) -> Vec<String> {
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
pub(crate) fn certified_hosts(state: &State, role: NodeRole, addresses: &Addresses) -> Vec<String> {
    let servers = state.nodes().values().filter(|node| node.role == NodeRole::Management);
    let taken: Vec<String> = match role {
        NodeRole::Management => Vec::new(),
        NodeRole::Spooler => servers.flat_map(|node| hosts_of(&node.addresses)).collect(),
    };
    let local = |host: &str| host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    let mut hosts = hosts_of(addresses);
    hosts.retain(|host| !is_reserved(host) && (local(host) || !taken.contains(host)));
    hosts
}

#[cfg(test)]
#[path = "hosts_tests.rs"]
mod tests;
