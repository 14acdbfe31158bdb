//! Channels to the other nodes, one per node and use.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use quorate_license::NodeId;
use quorate_raft_store::Views;
use tonic::transport::Channel;

use super::{
    addresses::AddressBook,
    channel::{ChannelOptions, tls_channel},
};
use crate::pki::{NodeTls, PkiError};

/// What a channel is used for. Each use has connections of its own, so that a snapshot or a long
/// batch never holds up a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Use {
    /// Log entries.
    Append,
    /// Heartbeats and votes.
    Heartbeat,
    /// Snapshots.
    Snapshot,
    /// Everything else.
    Service,
}

/// The channels of this node.
pub struct Peers {
    tls: NodeTls,
    addresses: Arc<AddressBook>,
    channels: Mutex<HashMap<(NodeId, Use), Known>>,
}

/// A channel, and the address that it was made for.
struct Known {
    address: Option<String>,
    channel: Channel,
}

impl Peers {
    /// No channels yet; addresses are looked up when a connection is made.
    pub fn new(tls: NodeTls, views: Arc<Views>) -> Self {
        Peers { tls, addresses: Arc::new(AddressBook::new(views)), channels: Mutex::default() }
    }

    /// Where nodes are.
    pub fn addresses(&self) -> &AddressBook {
        &self.addresses
    }

    /// The channel to a node. It need not be reachable. A node at another address gets another channel, so
    /// nothing more goes to the old one, even if somebody still answers there.
    ///
    /// # Errors
    /// Never, for ids that the cluster gave.
    pub fn channel(&self, node: NodeId, purpose: Use) -> Result<Channel, PkiError> {
        let address = self.addresses.of(node);
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = channels.get(&(node, purpose))
            && known.address == address
        {
            return Ok(known.channel.clone());
        }
        let addresses = self.addresses.clone();
        let channel = tls_channel(ChannelOptions {
            address: move || addresses.of(node),
            tls: self.tls.client.clone(),
            server_name: self.tls.server_name(node)?,
            node: Some(node),
        });
        channels.insert((node, purpose), Known { address, channel: channel.clone() });
        Ok(channel)
    }
}
