//! What is remembered of a node that was taken out of the cluster.

use std::fmt;

use quorate_license::{ComputerId, NodeId, NodeName, NodePublicKey, NodeRole, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Addresses, Node, State};

/// Tombstones that are kept; the oldest are forgotten first. Ids are never reused all the same: they are
/// counted up in the cluster's row.
pub(crate) const MAX_TOMBSTONES: usize = 1024;

/// A node that is a member no more. Its id, its key and its directory count for nothing from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Its id.
    pub id: NodeId,
    /// The name that it had. Another node may have it now.
    pub name: NodeName,
    /// What it was to the cluster.
    pub role: NodeRole,
    /// Its identity key.
    pub key: NodePublicKey,
    /// The computer that it ran on.
    pub computer_id: ComputerId,
    /// Where it was reached.
    pub addresses: Addresses,
    /// When it was taken out.
    pub removed_at: Timestamp,
    /// Why.
    pub reason: RemovalReason,
}

/// Why a node was taken out. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemovalReason {
    /// It left.
    Removed {
        /// Who asked for it, in words.
        requested_by: String,
    },
    /// A node set up anew on the same computer took its place.
    Replaced {
        /// That node.
        by: NodeId,
    },
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemovalReason::Removed { requested_by } => write!(f, "removed by {requested_by}"),
            RemovalReason::Replaced { by } => write!(f, "replaced by node {by} on the same computer"),
        }
    }
}

/// Takes a node's row away and leaves a tombstone.
pub(crate) fn bury(state: &mut State, node: Node, removed_at: Timestamp, reason: RemovalReason) {
    let Node { id, name, role, key, computer_id, addresses, .. } = node;
    state.nodes.remove(&id);
    state.starts.remove(&id);
    state.certificates.remove(&id);
    let tombstone = Tombstone { id, name, role, key, computer_id, addresses, removed_at, reason };
    state.tombstones.put(id, tombstone);
    while state.tombstones.len() > MAX_TOMBSTONES {
        let oldest = state.tombstones.values().min_by_key(|one| (one.removed_at, one.id)).map(|one| one.id);
        match oldest {
            Some(oldest) => state.tombstones.remove(&oldest),
            None => break,
        }
    }
}
