//! Following Raft's own metrics.

use std::ops::Deref;

use openraft::{alias::WatchReceiverOf, async_runtime::watch::WatchReceiver};
use quorate_raft_store::raft_types::{RaftMetrics, TypeConfig};

/// Raft's metrics, now and whenever they change.
pub struct RaftWatch(WatchReceiverOf<TypeConfig, RaftMetrics>);

impl RaftWatch {
    pub(super) fn new(receiver: WatchReceiverOf<TypeConfig, RaftMetrics>) -> Self {
        RaftWatch(receiver)
    }

    /// The metrics now. Don't hold them over an await: Raft waits for it.
    pub fn now(&mut self) -> impl Deref<Target = RaftMetrics> + '_ {
        self.0.borrow_and_update()
    }

    /// Waits for a change. False once Raft has ended.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    /// Waits until `pick` finds what it looks for. None once Raft has ended.
    pub async fn wait_for<T>(&mut self, pick: impl Fn(&RaftMetrics) -> Option<T>) -> Option<T> {
        loop {
            let found = pick(&self.now());
            if found.is_some() {
                return found;
            }
            if !self.changed().await {
                return None;
            }
        }
    }
}
