//! Keeping this node's row in the replicated state up to date.

use std::{sync::Arc, time::Duration};

use quorate_license::ComputerId;
use quorate_raft_store::{
    Command, FEATURE_LEVEL,
    command::ReportNode,
    state::{Addresses, HostReport, Node},
};
use tokio_util::sync::CancellationToken;

use crate::{cluster::Cluster, host::BuildWatcher};

/// Between two reports, at least.
const AFTER_REPORT: Duration = Duration::from_secs(1);
/// Between two looks whether there is something to report.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// What this node tells of itself; the build comes from its watcher.
#[derive(Debug, Clone)]
pub struct OwnReport {
    /// The computer ID that was read at this start.
    pub computer_id: ComputerId,
    /// Where it is reached.
    pub addresses: Addresses,
    /// What its host says of itself.
    pub host: HostReport,
    /// How often its agent has started.
    pub start_counter: u64,
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
    loop {
        // Before its row is here, a new node has nothing to bring up to date.
        let view = cluster.view();
        let command = view.state.nodes().get(&cluster.node()).and_then(|node| news(node, &own, &build));
        let result = match command {
            Some(command) => tokio::select! {
                () = stop.cancelled() => return,
                result = cluster.propose(command) => Some(result),
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

/// The report, if the row is not up to date.
fn news(node: &Node, own: &OwnReport, build: &BuildWatcher) -> Option<Command> {
    let build = build.current();
    let known = node.computer_id == own.computer_id
        && node.build == build
        && node.agent_version == crate::VERSION
        && node.feature_level == FEATURE_LEVEL
        && node.addresses == own.addresses
        && node.host == own.host
        && node.start_counter == own.start_counter;
    (!known).then(|| {
        Command::ReportNode(ReportNode {
            node: node.id,
            computer_id: own.computer_id,
            build,
            agent_version: crate::VERSION.to_owned(),
            feature_level: FEATURE_LEVEL,
            addresses: own.addresses.clone(),
            host: own.host.clone(),
            start_counter: own.start_counter,
        })
    })
}
