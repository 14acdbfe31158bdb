//! Who leads, as this node knows it: kept apart from Raft's metrics, so that callers who look don't
//! hold up Raft, which writes its metrics with every entry.

use openraft::{
    alias::WatchReceiverOf, async_runtime::watch::WatchReceiver, metrics::RaftServerMetrics,
    vote::RaftLeaderId as _,
};
use quorate_license::NodeId;
use quorate_raft_store::raft_types::{TypeConfig, Vote};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

type ServerMetrics = WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>;

/// Who leads in which term.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leadership {
    /// The vote that this node holds.
    pub(super) vote: Vote,
    /// The leader that it names, if a quorum granted it.
    pub(super) leader: Option<NodeId>,
    /// Since when this node has known it.
    pub(super) since: Instant,
}

impl Leadership {
    /// The term.
    pub(super) fn term(&self) -> u64 {
        self.vote.leader_id().term()
    }
}

/// Follows who leads; one task keeps all of them.
pub(super) type LeaderWatch = watch::Receiver<Leadership>;

fn seen(metrics: &ServerMetrics) -> Leadership {
    let now = metrics.borrow_watched();
    Leadership { vote: now.vote, leader: now.current_leader, since: Instant::now() }
}

/// Begins to follow Raft. The future keeps the watch, until `stop` or Raft's end.
pub(super) fn follow(
    mut metrics: ServerMetrics,
    stop: CancellationToken,
) -> (LeaderWatch, impl Future<Output = ()>) {
    let (sender, watch) = watch::channel(seen(&metrics));
    let keep = async move {
        while let Some(Ok(())) = stop.run_until_cancelled(metrics.changed()).await {
            let now = seen(&metrics);
            sender.send_if_modified(|known| {
                let changed = (known.vote, known.leader) != (now.vote, now.leader);
                if changed {
                    *known = now;
                }
                changed
            });
        }
    };
    (watch, keep)
}
