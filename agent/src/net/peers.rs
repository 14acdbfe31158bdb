//! Channels to the other nodes, one per node and use.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use quorate_license::NodeId;
use quorate_raft_store::Views;
use tokio::runtime::Handle;
use tonic::transport::Channel;

use super::{
    addresses::AddressBook,
    channel::{ChannelOptions, tls_channel},
    link::{Attempts, Peer},
};
use crate::{
    metrics::Metrics,
    pki::{NodeTls, PkiError},
};

/// What a channel is used for. Each use has connections of its own, so that a snapshot or a long
/// batch never holds up a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Use {
    /// Log entries.
    Append,
    /// Heartbeats, votes, and handing over.
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
    addresses: Arc<AddressBook>,
    metrics: Arc<Metrics>,
    /// Where the connections of Raft are driven.
    raft: Handle,
    known: Mutex<HashMap<NodeId, Known>>,
}

struct Known {
    peer: Arc<Peer>,
    channels: HashMap<Use, KnownChannel>,
}

/// A channel, its attempts, and the address that it was made for.
struct KnownChannel {
    address: Option<String>,
    channel: Channel,
    attempts: Arc<Attempts>,
}

impl Peers {
    /// No channels yet; addresses are looked up when a connection is made. The connections of Raft are
    /// driven by `raft`, the others by the runtime of whoever asks for them first.
    pub fn new(tls: NodeTls, views: Arc<Views>, metrics: Arc<Metrics>, raft: Handle) -> Self {
        let addresses = Arc::new(AddressBook::new(views.clone()));
        Peers { tls, views, addresses, metrics, raft, known: Mutex::default() }
    }

    /// Where nodes are.
    pub fn addresses(&self) -> &AddressBook {
        &self.addresses
    }

    fn known(&self) -> MutexGuard<'_, HashMap<NodeId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node's name; its id while it is not known.
    pub fn name(&self, node: NodeId) -> String {
        let view = self.views.current();
        view.state.nodes().get(&node).map_or_else(|| node.to_string(), |node| node.name.to_string())
    }

    /// Its address for other nodes, if it is known.
    pub fn address(&self, node: NodeId) -> Option<String> {
        self.addresses.of(node)
    }

    fn entry<'k>(&self, known: &'k mut HashMap<NodeId, Known>, node: NodeId) -> &'k mut Known {
        known.entry(node).or_insert_with(|| {
            let name = self.name(node);
            let sent = self.metrics.peer_sent_bytes.with_label_values(&[&name]);
            let received = self.metrics.peer_received_bytes.with_label_values(&[&name]);
            Known { peer: Peer::new(name, sent, received), channels: HashMap::new() }
        })
    }

    /// What is known of the connections to and from a node.
    pub(super) fn peer(&self, node: NodeId) -> Arc<Peer> {
        self.entry(&mut self.known(), node).peer.clone()
    }

    /// The channel to a node. It need not be reachable. A node at another address gets another channel, so
    /// nothing more goes to the old one, even if somebody still answers there.
    ///
    /// # Errors
    /// Never, for ids that the cluster gave.
    pub fn channel(&self, node: NodeId, purpose: Use) -> Result<Channel, PkiError> {
        let address = self.addresses.of(node);
        let mut known = self.known();
        let known = self.entry(&mut known, node);
        if let Some(channel) = known.channels.get(&purpose)
            && channel.address == address
        {
            return Ok(channel.channel.clone());
        }
        let addresses = self.addresses.clone();
        let attempts = Arc::new(Attempts::default());
        let _context = (purpose != Use::Service).then(|| self.raft.enter());
        let channel = tls_channel(ChannelOptions {
            address: move || addresses.of(node),
            tls: self.tls.client.clone(),
            server_name: self.tls.server_name(node)?,
            node: Some((node, self.tls.clone())),
            peer: Some(known.peer.clone()),
            attempts: attempts.clone(),
        });
        known.channels.insert(purpose, KnownChannel { address, channel: channel.clone(), attempts });
        Ok(channel)
    }

    /// A channel of its own, that nobody else uses, to a node.
    ///
    /// # Errors
    /// Never, for ids that the cluster gave.
    pub fn new_channel(&self, node: NodeId) -> Result<Channel, PkiError> {
        let addresses = self.addresses.clone();
        Ok(tls_channel(ChannelOptions {
            address: move || addresses.of(node),
            tls: self.tls.client.clone(),
            server_name: self.tls.server_name(node)?,
            node: Some((node, self.tls.clone())),
            peer: None,
            attempts: Arc::default(),
        }))
    }

    /// A channel to whoever answers for a node at this very address, whatever the address book says. It is not kept.
    ///
    /// # Errors
    /// Never, for ids that the cluster gave.
    pub fn channel_at(&self, node: NodeId, address: String) -> Result<Channel, PkiError> {
        Ok(tls_channel(ChannelOptions {
            address: move || Some(address.clone()),
            tls: self.tls.client.clone(),
            server_name: self.tls.server_name(node)?,
            node: Some((node, self.tls.clone())),
            peer: None,
            attempts: Arc::default(),
        }))
    }

    /// The node has just called this one: it is there, so it may be called at once.
    pub fn heard_from(&self, node: NodeId) {
        if let Some(known) = self.known().get(&node) {
            known.channels.values().for_each(|channel| channel.attempts.forget());
        }
    }
}
