//! What each port bears.

use std::{fmt, net::IpAddr};

/// What one listener bears. Whoever shows a node's certificate of this cluster is a member and has places of its
/// own, so that strangers never take a member's.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections of strangers at once, after the TLS handshake.
    pub strangers: usize,
    /// Of these from one address or one local user.
    pub strangers_per_client: usize,
    /// Requests at once on one HTTP/2 connection of a stranger.
    pub streams: u32,
}

impl Limits {
    /// Between nodes: strangers are those who join.
    pub const NODE_TO_NODE: Limits = Limits { strangers: 128, strangers_per_client: 32, streams: 16 };
    /// Administrators' tools, over TLS.
    pub const MANAGEMENT: Limits = Limits { strangers: 256, strangers_per_client: 64, streams: 32 };
    /// The product on this machine, which may hold a connection for each of its own clients.
    pub const PRODUCT: Limits = Limits { strangers: 1024, strangers_per_client: 1024, streams: 512 };
    /// The product by its socket: one user leaves room for others.
    pub const PRODUCT_SOCKET: Limits = Limits { strangers: 1024, strangers_per_client: 768, streams: 512 };
    /// The administrator on this machine.
    pub const ADMINISTRATION: Limits = Limits { strangers: 1024, strangers_per_client: 768, streams: 512 };
    /// Whatever scrapes metrics and asks for health.
    pub const OPERATIONS: Limits = Limits { strangers: 128, strangers_per_client: 32, streams: 16 };
}

/// TLS handshakes at once, which end in 5 seconds. More than strangers have, so that a few addresses that open
/// connections and say nothing keep no member from connecting again.
pub(super) const HANDSHAKES: usize = 1024;
/// Of these from one address.
pub(super) const HANDSHAKES_PER_CLIENT: usize = 32;
/// Connections of all members at once.
pub(super) const MEMBERS: usize = 4096;
/// Connections of one member at once. A node keeps five to each of the others.
pub(super) const PER_MEMBER: usize = 64;
/// Requests at once on one HTTP/2 connection of a member.
pub(super) const MEMBER_STREAMS: u32 = 512;
/// Bytes of request headers, and four times as many for the buffer of an HTTP/1.1 connection.
pub(super) const HEADER_BYTES: u32 = 16 << 10;

/// Bytes that may be under way and are not read yet: on one request, and on one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Windows {
    pub(super) stream: u32,
    pub(super) connection: u32,
}

impl Windows {
    /// Appends and snapshots.
    pub(super) const MEMBER: Windows = Windows { stream: 1 << 20, connection: 4 << 20 };
    /// Small requests.
    pub(super) const STRANGER: Windows = Windows { stream: 64 << 10, connection: 128 << 10 };
}

/// Whom a place is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// An address, or the network that one customer has.
    Address(IpAddr),
    /// A local user; none if the system does not tell.
    User(Option<u32>),
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Client::Address(address) => address.fmt(f),
            Client::User(Some(uid)) => write!(f, "user {uid}"),
            Client::User(None) => f.write_str("a local user"),
        }
    }
}
