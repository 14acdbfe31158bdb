//! Keeping this node's row in the replicated state up to date.

use std::{sync::Arc, time::Duration};

use quorate_raft_store::{
    Answer, Command, FEATURE_LEVEL, State,
    command::{ReportNode, ReportStart},
    state::{Addresses, HostReport},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::OwnStart,
    cluster::{Cluster, ProposeError},
    host::{BuildWatcher, HostComputer},
    net::Announced,
};

/// Between two reports, at least.
const AFTER_REPORT: Duration = Duration::from_secs(1);
/// Between two announcements of this node's address.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks whether there is something to report.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// What this node tells of itself; the build comes from its watcher.
#[derive(Debug, Clone)]
pub struct OwnReport {
    /// Which computer it is on; another one than the registered is reported only if that was accepted.
    pub computer: Arc<HostComputer>,
    /// Where it is reached.
    pub addresses: Addresses,
    /// What its host says of itself.
    pub host: HostReport,
    /// Which start of its agent this is.
    pub start: OwnStart,
}

/// Reports this node at start, and whenever its build changes, until `stop`.
pub async fn report_node(
    cluster: Arc<Cluster>,
    own: OwnReport,
    build: BuildWatcher,
    stop: CancellationToken,
) {
    let mut builds = build.subscribe();
    let mut applied = cluster.views().subscribe();
    let mut retry = RETRY_MIN;
    let mut moved_from = None;
    loop {
        // Before its row is here, a new node has nothing to bring up to date.
        let view = cluster.view();
        match known_at_another_address(&view.state, &cluster, &own) {
            Some(before) => moved_from = Some(before),
            None => {
                if let Some(before) = moved_from.take() {
                    let now = &own.addresses.raft;
                    tracing::info!(%before, %now, "this node came back at another address; the cluster knows it there");
                }
            }
        }
        let command = news(&view.state, &cluster, &own, &build);
        let result = match command {
            Some(command) => tokio::select! {
                () = stop.cancelled() => return,
                result = tell(&cluster, &own, command) => Some(result),
            },
            None => None,
        };
        let pause = match result {
            Some(Ok(answer)) => {
                retry = RETRY_MIN;
                match answer.result {
                    // Two copies of one node would otherwise answer each other's reports for ever.
                    Ok(_) => Some(AFTER_REPORT),
                    Err(refusal) => {
                        tracing::error!(code = refusal.code(), "this node's report was refused: {refusal}");
                        cluster.report_refused(&refusal);
                        Some(RETRY_MAX)
                    }
                }
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "this node's report was not committed; trying again");
                retry = (retry * 2).min(RETRY_MAX);
                Some(retry)
            }
            None => None,
        };
        let waited = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => {
                    tokio::select! {
                        _ = builds.changed() => {}
                        _ = applied.changed() => {}
                    }
                    // Not with every entry: waking up for each costs a busy cluster more than the look.
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = waited => {}
        }
    }
}

/// Brings a report to the leader. While none is heard from, the other servers are told where this node is:
/// a majority that came back at other addresses has to find each other before anything can be committed.
async fn tell(cluster: &Cluster, own: &OwnReport, command: Command) -> Result<Answer, ProposeError> {
    let announced = Announced { start_counter: own.start.counter, address: own.addresses.raft.clone() };
    let itself = cluster.itself();
    let mut proposal = std::pin::pin!(cluster.propose(command, &itself));
    loop {
        tokio::select! {
            answer = &mut proposal => return answer,
            () = async {
                if cluster.live_leader().is_none() {
                    cluster.announce(&announced).await;
                }
                tokio::time::sleep(ANNOUNCE_AGAIN).await;
            } => {}
        }
    }
}

/// The address at which the cluster still looks for this node, if that is another one.
fn known_at_another_address(state: &State, cluster: &Cluster, own: &OwnReport) -> Option<String> {
    let known = &state.nodes().get(&cluster.node())?.addresses.raft;
    (*known != own.addresses.raft).then(|| known.clone())
}

/// The report, if the row is not up to date, or does not know this start yet.
fn news(state: &State, cluster: &Cluster, own: &OwnReport, build: &BuildWatcher) -> Option<Command> {
    let node = state.nodes().get(&cluster.node())?;
    let by_start = state.cluster().is_some_and(|cluster| cluster.feature_level >= 2);
    let start_known = !by_start || state.starts().get(&node.id).is_some_and(|known| known.id == own.start.id);
    let build = build.current();
    let computer_id = own.computer.reported(node.computer_id);
    let known = node.computer_id == computer_id
        && node.build == build
        && node.agent_version == crate::VERSION
        && node.feature_level == FEATURE_LEVEL
        && node.addresses == own.addresses
        && node.host == own.host
        && node.start_counter == own.start.counter
        && start_known;
    if known {
        return None;
    }
    let report = ReportNode {
        node: node.id,
        computer_id,
        build,
        agent_version: crate::VERSION.to_owned(),
        feature_level: FEATURE_LEVEL,
        addresses: own.addresses.clone(),
        host: own.host.clone(),
        start_counter: own.start.counter,
    };
    Some(if by_start {
        Command::ReportStart(ReportStart { report, start: own.start.id })
    } else {
        Command::ReportNode(report)
    })
}
