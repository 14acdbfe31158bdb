//! What one member may use up: certificates make nobody harmless.

use std::{sync::Arc, time::Instant};

use quorate_license::{NodeId, NodeRole};
use quorate_limits::{RateLimit, Slot, Slots};

use crate::api::{ApiError, ErrorKind, NodeCaller};

/// Streams of changes at once, of all nodes and of one. A node has one; while it breaks and is made anew, two.
const MOST_STREAMS: usize = 1024;
const MOST_STREAMS_PER_NODE: usize = 4;
/// What a Spooler Controller may tell of itself in a minute.
const REPORTS_PER_MINUTE: u32 = 300;

/// Counts what members use.
#[derive(Debug)]
pub(super) struct MemberBounds {
    streams: Arc<Slots<NodeId>>,
    reports: RateLimit<NodeId>,
}

impl MemberBounds {
    pub(super) fn new() -> Self {
        MemberBounds {
            streams: Slots::new(MOST_STREAMS, MOST_STREAMS_PER_NODE),
            reports: RateLimit::new(REPORTS_PER_MINUTE),
        }
    }

    /// A place for one more stream of changes.
    ///
    /// # Errors
    /// Busy: `too_many_streams`.
    pub(super) fn stream(&self, caller: NodeCaller) -> Result<Slot<NodeId>, ApiError> {
        self.streams.take(caller.node).map_err(|_| {
            ApiError::new(
                ErrorKind::Busy,
                "too_many_streams",
                format!("node {} has too many streams of changes open", caller.node),
                "the node tries again by itself",
            )
        })
    }

    /// Counts one change; none of a Management Server's, which may make any.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(super) fn report(&self, caller: NodeCaller, now: Instant) -> Result<(), String> {
        if caller.role == NodeRole::Management {
            return Ok(());
        }
        let wait = self.reports.count(caller.node, now);
        wait.map_err(|_| {
            format!("a Spooler Controller may tell of itself {REPORTS_PER_MINUTE} times a minute")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_a_few_streams_and_a_spooler_controller_so_many_reports() {
        let bounds = MemberBounds::new();
        let caller = |node, role| NodeCaller { node: NodeId(node), role };
        let (spooler, server) = (caller(4, NodeRole::Spooler), caller(1, NodeRole::Management));
        let taken: Vec<_> = (0..MOST_STREAMS_PER_NODE).map(|_| bounds.stream(spooler).unwrap()).collect();
        assert_eq!(bounds.stream(spooler).unwrap_err().code, "too_many_streams");
        let _other = bounds.stream(server).unwrap();
        drop(taken);
        let _again = bounds.stream(spooler).unwrap();

        let now = Instant::now();
        for _ in 0..REPORTS_PER_MINUTE {
            bounds.report(spooler, now).unwrap();
            bounds.report(server, now).unwrap();
        }
        bounds.report(spooler, now).unwrap_err();
        bounds.report(server, now).unwrap();
        bounds.report(caller(5, NodeRole::Spooler), now).unwrap();
    }
}
