//! How many syncs of the write-ahead log an entry takes: fewer than one where what waits is synced together.

use quorate_chaos_tests::{Failure, Node, Result};
use serde::Serialize;

/// Syncs of the write-ahead log for one entry.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Syncs {
    /// How many writers there were.
    pub(crate) writers: usize,
    /// At the leader.
    pub(crate) leader: f64,
    /// At a follower.
    pub(crate) follower: f64,
}

/// What a node has written since its start.
pub(crate) struct Written {
    syncs: f64,
    entries: f64,
}

impl Written {
    /// By the node's own metrics.
    pub(crate) fn so_far(node: &Node) -> Result<Written> {
        Ok(Written {
            syncs: node.metric("quorate_disk_wal_syncs_total")?,
            entries: node.metric("quorate_disk_appended_entries_total")?,
        })
    }

    /// Syncs for each entry between the two.
    pub(crate) fn syncs_per_entry(before: &Result<Written>, after: &Result<Written>) -> Result<f64> {
        match (before, after) {
            (Ok(before), Ok(after)) if after.entries > before.entries => {
                Ok((after.syncs - before.syncs) / (after.entries - before.entries))
            }
            _ => Err(Failure::wrong("a node does not tell what it has written")),
        }
    }
}
