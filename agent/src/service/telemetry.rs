//! Telemetry: what the vendor hears of an installation, if its administrator agrees. Off until then.
//!
//! ```text
//! state ──> report (pure) ──> telemetry show
//!                        └──> the first license node, once a day ──> portal
//! ```
//!
//! Each cluster has its time of the day, by its id, so that not all of them send at once, and none needs to
//! remember when it has sent. After `telemetry enable` a first report follows at once. A report that can't be delivered
//! is tried again a few times, then left to the next day. Nothing else depends on it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_license::{ClusterId, DAY_MS, LicenseKind, NodeRole, SupportId, TenantId, Timestamp};
use quorate_raft_store::{Command, Outcome, State, command::SetTelemetry};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{activation::Portal, admission::unexpected, history::quantity};
use crate::{
    api::{ApiError, Caller},
    clock,
    cluster::Cluster,
    config,
    metrics::Metrics,
};

/// The report's format.
const VERSION: u32 = 1;
/// The most that a first report waits.
const FIRST_WITHIN: Duration = Duration::from_secs(5);
/// How long it takes at most until a day's report is looked after again: clocks are moved, and machines sleep.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Between two looks whether an administrator has turned it on or off.
const AFTER_CHANGE: Duration = Duration::from_millis(100);

/// What is sent: the whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    version: u32,
    cluster_id: ClusterId,
    support_id: Option<SupportId>,
    /// How many nodes there are of each role, of each build, and so on.
    nodes: BTreeMap<NodeRole, u32>,
    builds: BTreeMap<String, u32>,
    agent_versions: BTreeMap<String, u32>,
    operating_systems: BTreeMap<String, u32>,
    license: Option<LicenseReport>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct LicenseReport {
    kind: LicenseKind,
    entitlements: BTreeMap<String, String>,
    expires_at: Option<Timestamp>,
}

impl Report {
    /// What would be sent now; none before the cluster is initialized.
    pub fn of(state: &State) -> Option<Report> {
        let cluster = state.cluster()?;
        let count = |of: &dyn Fn(&quorate_raft_store::state::Node) -> String| {
            let mut counts = BTreeMap::new();
            for node in state.nodes().values() {
                *counts.entry(of(node)).or_default() += 1;
            }
            counts
        };
        let mut nodes = BTreeMap::new();
        for node in state.nodes().values() {
            *nodes.entry(node.role).or_default() += 1;
        }
        let license = state.licenses().get(&TenantId::default_tenant()).map(|installed| {
            let license = &installed.license.claims;
            LicenseReport {
                kind: license.kind,
                entitlements: license
                    .entitlements
                    .iter()
                    .map(|one| (one.feature.to_string(), quantity(&one.quantity)))
                    .collect(),
                expires_at: license.expires_at,
            }
        });
        Some(Report {
            version: VERSION,
            cluster_id: cluster.id,
            support_id: state.binding().map(|installed| installed.binding.claims.support_id.clone()),
            nodes,
            builds: count(&|node| node.build.as_ref().map_or("unknown".to_owned(), ToString::to_string)),
            agent_versions: count(&|node| node.agent_version.clone()),
            operating_systems: count(&|node| node.host.os.clone()),
            license,
        })
    }

    /// The bytes that are sent.
    ///
    /// # Errors
    /// If it can't be written as JSON, which no report gives.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

/// The next time at which a cluster's report is due, later than `now`.
pub fn next_report(cluster: ClusterId, now: Timestamp) -> Timestamp {
    let drawn = cluster.0.iter().fold(0u64, |sum, byte| sum.wrapping_mul(257).wrapping_add(u64::from(*byte)));
    let of_day = i64::try_from(drawn % DAY_MS.unsigned_abs()).unwrap_or_default();
    let today = now.as_unix_ms().div_euclid(DAY_MS) * DAY_MS + of_day;
    Timestamp::from_unix_ms(if today > now.as_unix_ms() { today } else { today + DAY_MS })
}

/// Sends the reports of a cluster, on its first license node.
pub struct Telemetry {
    cluster: Arc<Cluster>,
    portal: Option<config::Portal>,
    metrics: Arc<Metrics>,
}

impl Telemetry {
    /// The telemetry of this node.
    pub fn new(cluster: Arc<Cluster>, portal: Option<config::Portal>, metrics: Arc<Metrics>) -> Self {
        Telemetry { cluster, portal, metrics }
    }

    /// Where reports go, if a portal is configured.
    pub fn address(&self) -> Option<String> {
        self.portal.as_ref().map(Portal::telemetry_url)
    }

    /// The administrator's decision.
    ///
    /// # Errors
    /// If it can't be committed.
    pub async fn set(&self, enabled: bool, caller: &Caller) -> Result<(), ApiError> {
        let command = Command::SetTelemetry(SetTelemetry { enabled, requested_by: caller.name.clone() });
        match self.cluster.propose(command, &caller.asked_by).await?.result? {
            Outcome::TelemetrySet { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Whether this node sends now, and for which cluster.
    fn due_here(&self) -> Option<ClusterId> {
        let view = self.cluster.view();
        let row = view.state.cluster()?;
        let here = row.first_license_node == self.cluster.node() && self.portal.is_some();
        (row.telemetry && here).then_some(row.id)
    }

    /// Sends what is due until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut applied = self.cluster.views().subscribe();
        // What a restart finds enabled has sent its first report before.
        let mut sent_first = self.due_here().is_some();
        let mut due = None;
        loop {
            let pause = match self.due_here() {
                None => {
                    (sent_first, due) = (false, None);
                    None
                }
                Some(_) if !sent_first => Some(FIRST_WITHIN),
                Some(id) => {
                    let now = clock::now();
                    let next = *due.get_or_insert_with(|| next_report(id, now));
                    let left = next.as_unix_ms().saturating_sub(now.as_unix_ms()).max(0);
                    Some(Duration::from_millis(left.unsigned_abs()).min(LOOK_AGAIN))
                }
            };
            let waited = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            let turned = async {
                loop {
                    if applied.changed().await.is_err() {
                        return false;
                    }
                    if self.due_here().is_some() != pause.is_some() {
                        return true;
                    }
                    // Not with every entry: waking up for each would cost a busy cluster more than the look.
                    tokio::time::sleep(AFTER_CHANGE).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = waited => {}
                still_there = turned => {
                    if still_there {
                        continue;
                    }
                    return;
                }
            }
            let is_due = !sent_first || due.is_some_and(|due| due <= clock::now());
            if !is_due || self.due_here().is_none() {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.send() => {}
            }
            (sent_first, due) = (true, None);
        }
    }

    async fn send(&self) {
        let Some(config) = &self.portal else { return };
        let Some(Ok(json)) = Report::of(&self.cluster.view().state).map(|report| report.to_json()) else {
            return;
        };
        let sent = match Portal::new(config, self.metrics.clone()).await {
            Ok(portal) => portal.report(json).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(()) => tracing::info!("a telemetry report was sent"),
            Err(error) => {
                tracing::info!(%error, "a telemetry report could not be sent; the next is due tomorrow")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::licensing::samples;

    #[test]
    fn a_report_is_due_once_a_day_at_the_clusters_own_time() {
        let mut times = std::collections::BTreeSet::new();
        for byte in 0..50u8 {
            let id = ClusterId([byte; 16]);
            let start = Timestamp::ZERO.plus_days(20_000);
            let first = next_report(id, start);
            assert!(first > start && first <= start.plus_days(1));
            assert_eq!(next_report(id, first), first.plus_days(1), "not twice at one time");
            assert_eq!(next_report(id, first.plus_ms(-1)), first);
            times.insert(first.as_unix_ms());
        }
        assert!(times.len() > 45, "clusters don't send all at once");
    }

    #[test]
    fn a_report_counts_and_names_nobody() {
        let view = samples::Installation::licensed().view(1);
        let report = Report::of(&view.state).unwrap().to_json().unwrap();
        for node in view.state.nodes().values() {
            let secrets = [
                node.name.to_string(),
                node.computer_id.to_string(),
                node.addresses.raft.clone(),
                node.addresses.http.clone(),
            ];
            for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
                assert!(!report.contains(secret.as_str()), "{secret} in {report}");
            }
        }
        let value: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(value["nodes"], serde_json::json!({ "management": 3, "spooler": 1 }));
        assert_eq!(value["license"]["entitlements"]["devices"], "25");
        assert!(Report::of(&State::default()).is_none());
    }
}
