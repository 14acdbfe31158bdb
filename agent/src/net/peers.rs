//! Channels to the other nodes, one per node and use.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use quorate_license::NodeId;
use quorate_raft_store::Views;
use tonic::transport::Channel;

use super::channel::{ChannelOptions, tls_channel};
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

/// Where a node says that it is, before the log says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// How often its agent had started then: an older start's word counts for nothing.
    pub start_counter: u64,
    /// Node-to-node address.
    pub address: String,
}

/// The channels of this node.
///
/// Addresses are in the replicated state. A node that came back at another address announces it besides,
/// because a majority that has moved could not commit anything before its members find each other. An
/// address is only where to look: who answers has to show the node's certificate.
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
    /// No channels yet; addresses are looked up in the replicated state.
    pub fn new(tls: NodeTls, views: Arc<Views>) -> Self {
        let addresses = Arc::new(AddressBook { views, announced: Mutex::default() });
        Peers { tls, addresses, channels: Mutex::default() }
    }

    /// Takes note of where a node says that it is. Only the node itself, or one that it has told, may say so.
    pub fn announce(&self, node: NodeId, announced: Announced) {
        let mut all = self.addresses.announced.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(&node).is_none_or(|known| known.start_counter < announced.start_counter) {
            all.insert(node, announced);
        }
    }

    /// Where every member is, as far as this node knows.
    pub fn known(&self) -> Vec<(NodeId, Announced)> {
        let view = self.addresses.views.current();
        let nodes = view.state.nodes().values();
        nodes.filter_map(|node| Some((node.id, self.addresses.newest(node.id)?))).collect()
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

/// Where nodes are: what the log says, or what they have announced since.
struct AddressBook {
    views: Arc<Views>,
    announced: Mutex<HashMap<NodeId, Announced>>,
}

impl AddressBook {
    fn of(&self, node: NodeId) -> Option<String> {
        let newest = self.newest(node).map(|newest| newest.address);
        newest
            .or_else(|| self.views.current().state.addresses_of(node).map(|addresses| addresses.raft.clone()))
    }

    /// A member's word, if it is from a later start than its row.
    fn newest(&self, node: NodeId) -> Option<Announced> {
        let view = self.views.current();
        let row = view.state.nodes().get(&node)?;
        let mut all = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(announced) = all.get(&node) {
            if announced.start_counter > row.start_counter {
                return Some(announced.clone());
            }
            all.remove(&node);
        }
        Some(Announced { start_counter: row.start_counter, address: row.addresses.raft.clone() })
    }
}
