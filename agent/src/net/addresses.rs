//! Where the other nodes are.
//!
//! Addresses are in the replicated state. A node that came back at another address announces it besides,
//! because a majority that has moved could not commit anything before its members find each other. An
//! address is only where to look: who answers has to show the node's certificate.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use quorate_license::NodeId;
use quorate_raft_store::Views;

/// Where a node says that it is, before the log says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// How often its agent had started then: an older start's word counts for nothing.
    pub start_counter: u64,
    /// Node-to-node address.
    pub address: String,
}

/// Where nodes are: what the log says, or what they have announced since.
pub struct AddressBook {
    views: Arc<Views>,
    announced: Mutex<HashMap<NodeId, Announced>>,
}

impl AddressBook {
    /// Knows what the log says.
    pub fn new(views: Arc<Views>) -> Self {
        AddressBook { views, announced: Mutex::default() }
    }

    /// Takes note of where a node says that it is.
    pub fn announce(&self, node: NodeId, announced: Announced) {
        let mut all = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(&node).is_none_or(|known| known.start_counter < announced.start_counter) {
            all.insert(node, announced);
        }
    }

    /// Where every member is, as far as this node knows.
    pub fn known(&self) -> Vec<(NodeId, Announced)> {
        let view = self.views.current();
        let nodes = view.state.nodes().values();
        nodes.filter_map(|node| Some((node.id, self.newest(node.id)?))).collect()
    }

    /// Where a node is, or was when it was taken out; none while it is not known.
    pub fn of(&self, node: NodeId) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use quorate_raft_store::View;

    use super::*;
    use crate::service::licensing::samples;

    #[test]
    fn a_later_start_than_the_rows_is_believed_until_the_log_has_it() {
        let state = samples::initialized();
        let node = samples::node_id(1);
        let row = state.nodes().get(&node).unwrap();
        let (address, starts) = (row.addresses.raft.clone(), row.start_counter);
        let book = AddressBook::new(Arc::new(Views::new(View { state, ..View::default() })));
        let said = |start_counter, at: &str| Announced { start_counter, address: at.to_owned() };
        assert_eq!(book.of(node), Some(address.clone()));
        book.announce(node, said(starts, "old:7400"));
        assert_eq!(
            book.of(node),
            Some(address),
            "the word of the start that the log knows is older than its row"
        );
        book.announce(node, said(starts + 2, "new:7400"));
        book.announce(node, said(starts + 1, "between:7400"));
        assert_eq!(book.of(node).as_deref(), Some("new:7400"));
        assert_eq!(book.known(), [(node, said(starts + 2, "new:7400"))]);
        let stranger = samples::node_id(9);
        book.announce(stranger, said(1, "stranger:7400"));
        assert_eq!(book.of(stranger), None, "only a member has an address");
    }
}
