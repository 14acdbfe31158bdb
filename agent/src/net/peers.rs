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

/// The channels of this node.
pub struct Peers {
    tls: NodeTls,
    views: Arc<Views>,
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
        Peers { tls, views, channels: Mutex::default() }
    }

    /// The channel to a node. It need not be reachable. A node at another address gets another channel, so
    /// nothing more goes to the old one, even if somebody still answers there.
    ///
    /// # Errors
    /// Never, for ids that the cluster gave.
    pub fn channel(&self, node: NodeId, purpose: Use) -> Result<Channel, PkiError> {
        let address = address_of(&self.views, node);
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = channels.get(&(node, purpose))
            && known.address == address
        {
            return Ok(known.channel.clone());
        }
        let views = self.views.clone();
        let channel = tls_channel(ChannelOptions {
            address: move || address_of(&views, node),
            tls: self.tls.client.clone(),
            server_name: self.tls.server_name(node)?,
            node: Some(node),
        });
        channels.insert((node, purpose), Known { address, channel: channel.clone() });
        Ok(channel)
    }
}

fn address_of(views: &Views, node: NodeId) -> Option<String> {
    views.current().state.addresses_of(node).map(|addresses| addresses.raft.clone())
}
