//! What administrators are shown of a license: its claims, its status, and what is about to end.

use std::time::Duration;

use quorate_chaos_tests::{
    Cluster, Node, files,
    wait::{self, PATIENCE, Seen},
};
use quorate_license::{Binding, License, Timestamp};
use quorate_proto::v1::{CheckResponse, NodeStatus};
use serde::Deserialize;
use serde_json::Value;

/// A node looks every minute for what is about to end, and after every change.
const LOG_PATIENCE: Duration = Duration::from_secs(90);

/// As `quorate license show` tells it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Shown {
    pub(crate) status: String,
    pub(crate) days_left: Option<u32>,
    pub(crate) reasons: Vec<String>,
    pub(crate) endings: Vec<Ending>,
    pub(crate) license: Option<License>,
    pub(crate) binding: Option<Binding>,
    /// The command's exit code.
    #[serde(skip)]
    pub(crate) exit_code: Option<i32>,
}

/// Something that is about to end.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Ending {
    pub(crate) what: String,
    pub(crate) ends_at: Timestamp,
    pub(crate) days_left: u32,
    pub(crate) within_days: u32,
}

impl Shown {
    /// What this node shows.
    pub(crate) fn on(node: &Node) -> Self {
        let answer = node.cli(["license", "show", "-o", "json"]).run().unwrap();
        let shown: Shown = answer.parse().unwrap();
        Shown { exit_code: answer.code, ..shown }
    }

    /// The claims, of which there must be some.
    pub(crate) fn license(&self) -> &License {
        self.license.as_ref().unwrap()
    }

    /// The binding, of which there must be one.
    pub(crate) fn binding(&self) -> &Binding {
        self.binding.as_ref().unwrap()
    }

    /// Features with their quantities, and the orders behind them.
    pub(crate) fn sums(&self) -> (Vec<(String, String)>, usize) {
        let sum = |e: &quorate_license::Entitlement| (e.feature.to_string(), e.quantity.to_string());
        (self.license().entitlements.iter().map(sum).collect(), self.license().orders.len())
    }

    /// How many days of the term are left, and how many of support; counted from `now`.
    pub(crate) fn days(&self, now: Timestamp) -> (Option<u32>, Option<u32>) {
        let days = |end: Option<Timestamp>| end.map(|end| now.days_until(end));
        (days(self.license().expires_at), days(self.license().support_until))
    }

    /// The builds that the binding holds, in the nodes' order.
    pub(crate) fn bound_builds(&self) -> Vec<String> {
        let build = |node: &quorate_license::BoundNode| node.build.as_ref().map(ToString::to_string);
        self.binding().nodes.iter().map(|node| build(node).unwrap_or_default()).collect()
    }

    fn announces(&self, what: &str, within_days: u32) -> bool {
        self.endings.iter().any(|ending| ending.what == what && ending.within_days == within_days)
    }
}

/// Waits until every node tells, in every place, that this ends within so many days, and not that it ends sooner.
pub(crate) fn announced(cluster: &Cluster, what: &str, within_days: u32) {
    for node in &cluster.nodes {
        let told = format!("{} to tell that {what} ends within {within_days} days", node.name);
        wait::until(&told, PATIENCE, || {
            let shown = Shown::on(node);
            Ok(Seen::when(shown.exit_code == Some(7) && shown.announces(what, within_days), || {
                format!("{shown:?}")
            }))
        })
        .unwrap();
        let status: Value = node.cli(["status"]).json().unwrap();
        let endings: Vec<Ending> = serde_json::from_value(status["license"]["endings"].clone()).unwrap();
        assert!(endings.iter().any(|e| e.what == what && e.within_days == within_days), "{endings:?}");
        let metric = format!("quorate_license_ending_within_days{{tenant=\"default\",what=\"{what}\"}}");
        assert_eq!(node.metric(&metric).unwrap(), f64::from(within_days), "{}", node.name);
        wait::until(&format!("{told} in its log"), LOG_PATIENCE, || {
            let events = events(node);
            let is_there = events.iter().any(|(said, within)| said == what && *within == within_days);
            Ok(Seen::when(is_there, || format!("{events:?}")))
        })
        .unwrap();
    }
}

/// That no node tells of an end any more.
pub(crate) fn nothing_ends(cluster: &Cluster) {
    for node in &cluster.nodes {
        let shown = Shown::on(node);
        assert!(shown.exit_code == Some(0) && shown.endings.is_empty(), "{shown:?}");
    }
}

/// Waits until the status names these builds, node by node.
pub(crate) fn told_builds(cluster: &mut Cluster, builds: &[impl AsRef<str>]) {
    let names = cluster.nodes.iter().map(|node| node.name.clone());
    let wanted: Vec<(String, String)> =
        names.zip(builds.iter().map(|build| build.as_ref().to_owned())).collect();
    cluster
        .wait_for_status(&format!("{wanted:?}"), |status| {
            wanted.iter().all(|(name, build)| {
                let is = |node: &NodeStatus| node.name == *name && node.build.as_ref() == Some(build);
                status.nodes.iter().any(is)
            })
        })
        .unwrap();
}

/// Waits until the product of each of these nodes gets such an answer when it asks for this much of a feature.
pub(crate) fn wait_for_answer(
    nodes: &[Node],
    (feature, quantity): (&str, u64),
    wanted: impl Fn(&CheckResponse) -> bool,
) {
    for node in nodes {
        wait::until(&format!("the answer of {} to {feature} x {quantity}", node.name), PATIENCE, || {
            Ok(match node.product().check(feature, quantity) {
                Ok(check) => Seen::when(wanted(&check), || format!("{check:?}")),
                Err(failure) => Seen::not_yet(failure.to_string()),
            })
        })
        .unwrap();
    }
}

/// Waits until it may, or may not, for this reason.
pub(crate) fn answered(nodes: &[Node], asked: (&str, u64), allowed: bool, reason: &str) {
    wait_for_answer(nodes, asked, |check| check.allowed == allowed && check.reason == reason);
}

/// What the node's log has told to end so far, and within how many days; one process after the other.
pub(crate) fn events(node: &Node) -> Vec<(String, u32)> {
    let log = files::read(node.log()).unwrap();
    let lines = log.lines().filter(|line| line.contains("license_ending"));
    lines
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|event| {
            let within = u32::try_from(event["within_days"].as_u64()?).ok()?;
            Some((event["what"].as_str()?.to_owned(), within))
        })
        .collect()
}
