//! A leader that died is replaced at once, not after an election timeout.
//!
//! ```text
//! leader dies ─> its connections close ─> is anybody listening at its address?
//!                                            ├─ yes: it lives; nothing happens
//!                                            └─ refused: it is gone
//!                                                 ├─ its lease ends here
//!                                                 └─ pre-vote and election, in the order of the ids
//! ```
//!
//! Every survivor finds out for itself. Who has not is still bound by the leader's lease and grants
//! nobody a vote, so what one node alone believes to see disturbs nobody. An election is safe in Raft
//! at any time; nothing here reads by a lease. A machine that vanishes without closing anything is
//! noticed by its silence, as ever.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use openraft::raft::TransferLeaderRequest;
use quorate_license::NodeId;
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Cluster, leader::Leadership};

/// A dying process closes its connections and its listener one after the other, and on a busy machine
/// that takes a while: a listener that still answers is looked at again, until the leader is heard from.
const LOOK_AGAIN: [Duration; 7] = [
    Duration::ZERO,
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];
/// How long a connection attempt may take; it is refused at once where nobody listens.
const LOOK: Duration = Duration::from_millis(500);
/// The voters begin one after the other, so that they don't split the votes.
const STAGGER: Duration = Duration::from_millis(25);
/// A survivor that has not noticed yet refuses: it is asked again, and later less often.
const ASK_AGAIN: Duration = Duration::from_millis(15);
const ASK_AGAIN_LATER: Duration = Duration::from_millis(100);
/// After so many rounds, about four seconds, the election timeouts have long taken over.
const ROUNDS: u32 = 50;

/// Looks after the leader whenever a connection of it was closed, until `stop`.
pub async fn watch_closed_connections(
    cluster: Arc<Cluster>,
    mut closed: mpsc::Receiver<NodeId>,
    stop: CancellationToken,
) {
    let mut others = VecDeque::new();
    loop {
        let node = match others.pop_front() {
            Some(node) => node,
            None => match stop.run_until_cancelled(closed.recv()).await {
                Some(Some(node)) => node,
                _ => return,
            },
        };
        let leadership = *cluster.leadership.borrow();
        if leadership.leader != Some(node)
            || node == cluster.node
            || !cluster.voters().contains(&cluster.node)
            || cluster.expelled().is_some()
        {
            continue;
        }
        let since = Instant::now();
        let replaced = async {
            let lives = || cluster.heard_since(since);
            if is_gone(cluster.peers.address(node), lives).await {
                tracing::warn!(
                    leader = %node, name = cluster.peers.name(node), term = leadership.term(),
                    "the leader has closed its connections and refuses new ones; a new one is elected"
                );
                elect(&cluster, leadership, node).await;
                true
            } else {
                tracing::info!(
                    leader = %node, name = cluster.peers.name(node),
                    "a connection of the leader was closed; it is still there"
                );
                false
            }
        };
        let Some(gone) = stop.run_until_cancelled(replaced).await else { return };
        // A dead leader's other connections tell nothing new. What was heard of one that seems to live
        // may have been on its way when it died: then the end of its next connection tells.
        while gone && let Ok(other) = closed.try_recv() {
            if other != node {
                others.push_back(other);
            }
        }
    }
}

/// Whether nobody listens at the address. False if that can't be said, or if the node turns out to live.
async fn is_gone(address: Option<String>, lives: impl Fn() -> bool) -> bool {
    let Some(address) = address else { return false };
    for pause in LOOK_AGAIN {
        tokio::time::sleep(pause).await;
        if lives() {
            return false;
        }
        match timeout(LOOK, TcpStream::connect(&address)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return true,
            Ok(Ok(_)) => {}
            // Silence says nothing: the election timeout decides.
            Ok(Err(_)) | Err(_) => return false,
        }
    }
    false
}

/// Ends the lease of the leader that is gone, and calls elections until there is another.
async fn elect(cluster: &Cluster, gone: Leadership, leader: NodeId) {
    // Named to somebody else, a handing over only ends the lease.
    let release = TransferLeaderRequest::new(gone.vote, leader, None);
    match cluster.raft.handle_transfer_leader(release).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return tracing::debug!(%error, "the leader's lease was not ended"),
        Err(error) => return tracing::debug!(%error, "consensus has stopped"),
    }
    let before = cluster.voters().into_iter().filter(|id| *id != leader && *id < cluster.node).count();
    let mut leadership = cluster.leadership.clone();
    // By then all is read that was on its way when the leader died.
    let settled = Instant::now() + Duration::from_millis(100);
    let mut pause = STAGGER * u32::try_from(before).unwrap_or(u32::MAX);
    for round in 1..=ROUNDS {
        // A vote for somebody else, or a new leader: it goes on without us.
        let moved_on = leadership.wait_for(|now| now.vote != gone.vote);
        if timeout(pause, moved_on).await.is_ok() || cluster.heard_since(settled) {
            return;
        }
        // With a pre-vote: the term is raised only if a majority has noticed, too.
        if let Err(error) = cluster.raft.trigger().elect(true).await {
            return tracing::debug!(%error, "consensus has stopped");
        }
        pause = (ASK_AGAIN * round.div_ceil(4)).min(ASK_AGAIN_LATER);
    }
    tracing::info!("the other voters still follow the leader that is gone from here");
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn only_a_refused_connection_says_that_a_node_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        // It listens, though it takes nothing: as a paused or busy process does.
        assert!(!is_gone(Some(address.clone()), || false).await);
        drop(listener);
        assert!(!is_gone(Some(address.clone()), || true).await, "it was heard from");
        assert!(is_gone(Some(address), || false).await);
        assert!(!is_gone(None, || false).await, "an unknown address says nothing");
        let unknown = Some("no-such-host.invalid:7400".to_owned());
        assert!(!is_gone(unknown, || false).await, "nor does an unknown name");
    }

    #[tokio::test]
    async fn a_listener_that_closes_a_moment_after_the_connections_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let looking = is_gone(Some(address), || false);
        let closing = async {
            // The first look finds it; a dying process has its listener for a moment more.
            drop(listener.accept().await);
            drop(listener);
        };
        let (gone, ()) = tokio::join!(looking, closing);
        assert!(gone);
    }
}
