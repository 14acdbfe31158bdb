//! What this node knows of its own place in the cluster: a member, taken out, or not the node that the
//! cluster knows.
//!
//! ```text
//! own tombstone applied ──────────────────────────────┐
//! no leader for a while -> asked another server ──────┼─> Expelled: one log line, no more elections,
//! own report refused ─────────────────────────────────┘   status, /readyz, and a mark for the next start
//! ```

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use quorate_license::{NodeId, NodeRole};
use quorate_proto::node::v1::{NodeStateRequest, cluster_service_client::ClusterServiceClient};
use quorate_raft_store::{Refusal, State};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use super::Cluster;
use crate::{
    api::{ApiError, addressed, removed, status_parts},
    data_dir::DataDir,
    net::{Peers, Use},
};

/// How long other servers may take to say what they think of this node.
const DEADLINE: Duration = Duration::from_secs(2);
/// The refusals that say that this node is no part of the cluster.
const EXPELLING: [&str; 5] = [
    "node_removed",
    "node_start_outdated",
    "node_start_repeated",
    "data_directory_cloned",
    "node_rolled_back",
];
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Between two questions to the other servers.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// Why this node is no part of the cluster any more, with a stable code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expelled {
    /// `node_removed`, `node_start_outdated`, `node_start_repeated`, `data_directory_cloned` or `node_rolled_back`.
    pub code: String,
    /// What happened, in words.
    pub message: String,
    /// Whether another node said so. It may know more of the log than this one.
    pub by_peer: bool,
}

impl Expelled {
    /// Whether the node was taken out. Otherwise its data directory is not the one that the cluster knows.
    pub fn is_removed(&self) -> bool {
        self.code == "node_removed"
    }

    fn from_error(error: ApiError, by_peer: bool) -> Self {
        Expelled { code: error.code, message: error.message, by_peer }
    }

    fn from_status(status: &Status) -> Option<Self> {
        let code = status_parts(status)?.code;
        EXPELLING.contains(&code.as_str()).then(|| Expelled {
            code,
            message: status.message().to_owned(),
            by_peer: true,
        })
    }
}

/// Where it is kept, and waited for.
pub(super) type Standing = watch::Sender<Option<Arc<Expelled>>>;

impl Cluster {
    /// Why this node is no part of the cluster any more; none while it is.
    pub fn expelled(&self) -> Option<Arc<Expelled>> {
        self.standing.borrow().clone()
    }

    /// The same, for whoever has to know when it changes.
    pub fn watch_expelled(&self) -> watch::Receiver<Option<Arc<Expelled>>> {
        self.standing.subscribe()
    }

    /// Waits until the cluster has said that this node's data directory is a copy, or was rolled back: what
    /// its log holds can't be trusted, so it has to stop.
    pub async fn outdated(&self) -> Arc<Expelled> {
        let mut standing = self.standing.subscribe();
        loop {
            let now = standing.borrow_and_update().clone();
            if let Some(expelled) = now.filter(|expelled| !expelled.is_removed()) {
                return expelled;
            }
            if standing.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Takes note of a refusal of this node's own report.
    pub fn report_refused(&self, refusal: &Refusal) {
        if matches!(refusal, Refusal::NodeStartOutdated { .. } | Refusal::NodeStartRepeated { .. }) {
            self.expel(Expelled::from_error(refusal.clone().into(), true));
        }
    }

    /// The first reason stays, unless another node confirms it.
    fn expel(&self, expelled: Expelled) {
        let known = self.expelled();
        if known.is_none() {
            tracing::error!(
                code = expelled.code,
                "this node is no part of the cluster any more: {}",
                expelled.message
            );
        }
        if known.is_none_or(|known| !known.by_peer && expelled.by_peer) {
            self.standing.send_replace(Some(Arc::new(expelled)));
        }
        self.cease_to_stand();
    }

    /// No more elections, unless this node may still be needed in one: it has applied its own end, but the
    /// group has not been told yet, and only it may have the newest entries.
    fn cease_to_stand(&self) {
        let Some(expelled) = self.expelled() else { return };
        let votes = self.raft_metrics().now().membership_config.voter_ids().any(|id| id == self.node);
        if expelled.by_peer || !votes {
            self.raft.runtime_config().elect(false);
        }
    }
}

/// Watches this node's standing until `stop`.
pub async fn watch_standing(cluster: Arc<Cluster>, dir: DataDir, stop: CancellationToken) {
    let mut applied = cluster.views().subscribe();
    let mut alone_since: Option<Instant> = None;
    let mut asked: Option<Instant> = None;
    let mut marked = false;
    loop {
        let view = cluster.view();
        if view.state.is_gone(cluster.node) {
            cluster.expel(Expelled::from_error(removed(&view.state, cluster.node), false));
        }
        if cluster.live_leader().is_some() {
            alone_since = None;
        } else {
            let since = *alone_since.get_or_insert_with(Instant::now);
            let due = asked.is_none_or(|at| at.elapsed() >= ASK_AGAIN);
            if since.elapsed() >= 2 * cluster.absent_after && due {
                asked = Some(Instant::now());
                let last = cluster.last_log_index();
                let answer = tokio::select! {
                    () = stop.cancelled() => return,
                    answer = ask_others(&cluster.peers, &view.state, cluster.node, last) => answer,
                };
                if let Some(expelled) = answer {
                    cluster.expel(expelled);
                }
            }
        }
        cluster.cease_to_stand();
        if let Some(expelled) = cluster.expelled().filter(|expelled| expelled.is_removed() && !marked) {
            marked = true;
            let dir = dir.clone();
            let saved = tokio::task::spawn_blocking(move || dir.save_removed(&expelled.message)).await;
            if let Ok(Err(error)) = saved {
                tracing::warn!(%error, "the data directory could not be marked as a removed node's");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = applied.changed() => {
                if changed.is_err() {
                    return;
                }
                // Not more often than somebody could look.
                tokio::time::sleep(LOOK_AGAIN / 10).await;
            }
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// Asks the other Management Servers what they think of `own`, all at once; the first that refuses it
/// decides. None if nobody does, or nobody answers in time. `last_log_index` is that of the own log.
pub async fn ask_others(peers: &Peers, state: &State, own: NodeId, last_log_index: u64) -> Option<Expelled> {
    let servers = state.nodes().values().filter(|node| node.role == NodeRole::Management && node.id != own);
    let mut questions: FuturesUnordered<_> = servers
        .map(|server| {
            let channel = peers.channel(server.id, Use::Service);
            let mut request =
                Request::new(NodeStateRequest { last_log_index: Some(last_log_index), vetting: false });
            request.set_timeout(DEADLINE);
            addressed(request.metadata_mut(), state, own, server.id);
            async move {
                let answer = ClusterServiceClient::new(channel.ok()?).node_state(request).await;
                answer.err().as_ref().and_then(Expelled::from_status)
            }
        })
        .collect();
    let first = async {
        while let Some(answer) = questions.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    };
    tokio::time::timeout(DEADLINE, first).await.ok().flatten()
}
