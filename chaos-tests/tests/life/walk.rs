//! The walk itself: one step after the other, each with what everybody sees before and after it.
//!
//! | day | step |
//! |---|---|
//! | 0 to 29 | the trial, whose end comes nearer |
//! | 29 | activation with the order A: a year |
//! | 32 | upgrades with the order B, a year of more devices and another feature, and C, support alone |
//! | 42 | a new build; on day 47 reactivation |
//! | 47 | everything is lost, and restored |
//! | 365 to 394 | the end of A comes nearer |
//! | 395 to 409 | the grace, and the refusal after it |
//! | 409 | renewal of A and B |

use std::{fs, path::PathBuf};

use quorate_chaos_tests::{
    FakeTime, Node, Stage, files,
    portal::{CUSTOMER, Order, PRODUCT},
};
use quorate_license::{LicenseKind, SupportId};
use serde_json::Value;

use crate::{
    asking::Products,
    pace,
    shown::{Shown, announced, answered, events, nothing_ends, told_builds},
    way::{self, Way},
};

const OLD_BUILD: &str = "7.2.0";
const NEW_BUILD: &str = "7.3.0";

/// A license on its way.
pub(crate) struct Walk {
    stage: Stage,
    time: FakeTime,
    way: Way,
}

impl Walk {
    /// A portal that nobody has asked yet, and a cluster without a license.
    pub(crate) fn start(way: impl FnOnce(&Stage) -> Way) -> Self {
        let (mut stage, time) = Stage::prepare_in_time(|_| {}).unwrap();
        for node in &mut stage.cluster.nodes {
            node.set("log", "format", "json");
            node.write_config().unwrap();
        }
        stage.cluster.start().unwrap();
        let way = way(&stage);
        Walk { stage, time, way }
    }

    /// Every step.
    pub(crate) fn whole_life(mut self) {
        self.refused("scan", 1, "unlicensed");
        let support_id = self.trial();
        let first = self.activation(&support_id);
        let second = self.upgrades();
        self.build_update();
        self.restore_from_nothing();
        self.end_comes_nearer();
        self.grace_and_refusal();
        self.renewal(&[&first, &second]);
        assert_eq!(self.stage.portal.installations().unwrap(), [support_id.to_string()]);
    }

    fn trial(&mut self) -> SupportId {
        let support_id = self.go("trial", None, |_| {});
        self.allowed("scan", 1, "trial");
        for (days, within) in [(0, 30), (17, 14), (7, 7), (5, 2)] {
            self.days(days);
            announced(&self.stage.cluster, "trial", within);
            let shown = self.shown();
            assert_eq!((shown.status.as_str(), shown.license().kind), ("trial", LicenseKind::Trial));
        }
        for node in &self.stage.cluster.nodes {
            let told = [30, 14, 7, 2].map(|within| ("trial".to_owned(), within));
            assert_eq!(events(node), told, "{}: each once", node.name);
        }
        support_id
    }

    /// A day before the trial ends, and beyond.
    fn activation(&mut self, support_id: &SupportId) -> Order {
        let products = Products::start(&self.stage.cluster.nodes, "scan", 1);
        let terms = [
            "--days",
            "365",
            "--support-days",
            "365",
            "--feature",
            "devices=50",
            "--feature",
            "scan=unlimited",
        ];
        let order = self.order("subscription", &terms);
        assert_eq!(self.go("activate", Some(&order.activation_key), |_| {}), *support_id);
        self.days(3);
        products.finish_allowed(&["licensed", "trial"]);

        let shown = self.shown();
        assert_eq!((shown.status.as_str(), shown.license().kind), ("active", LicenseKind::Subscription));
        assert_eq!(shown.sums(), (sums(&[("devices", "50"), ("scan", "unlimited")]), 1));
        assert_eq!(shown.days(self.time.now()), (Some(362), Some(362)));
        nothing_ends(&self.stage.cluster);
        order
    }

    /// Two further orders: one adds devices and a feature, one adds support alone.
    fn upgrades(&mut self) -> Order {
        self.refused("devices", 75, "quantity_exceeded");
        self.refused("workflow", 1, "feature_not_licensed");
        let before = self.shown();
        let products = Products::start(&self.stage.cluster.nodes, "devices", 50);
        let terms = [
            "--days",
            "365",
            "--support-days",
            "400",
            "--feature",
            "devices=25",
            "--feature",
            "workflow=unlimited",
        ];
        let order = self.order("subscription", &terms);
        self.go("upgrade", Some(&order.activation_key), |_| {});
        let more = self.shown();
        let added = sums(&[("devices", "75"), ("scan", "unlimited"), ("workflow", "unlimited")]);
        assert_eq!(more.sums(), (added.clone(), 2));
        assert_eq!(more.license().expires_at, before.license().expires_at, "A ends first");
        assert_eq!(more.days(self.time.now()).1, Some(400));
        self.allowed("devices", 75, "licensed");
        self.refused("devices", 76, "quantity_exceeded");
        self.allowed("workflow", 1, "licensed");

        // The portal signs with another key when the answer is fetched than when it was asked for.
        let support = self.order("perpetual", &["--support-days", "100"]);
        self.go("upgrade", Some(&support.activation_key), rotate_issuing_key);
        let longer = self.shown();
        assert_eq!(longer.sums(), (added, 3));
        assert_eq!(longer.license().expires_at, before.license().expires_at);
        let later = more.license().support_until.unwrap().plus_days(100);
        assert_eq!(longer.license().support_until, Some(later));
        products.finish_allowed(&["licensed"]);
        let history: Vec<Value> = self.stage.cluster.nodes[3].cli(["license", "history"]).json().unwrap();
        let kinds: Vec<&str> = history.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["trial", "upgrade", "upgrade", "upgrade"]);
        let changes = history[2]["changes"].to_string();
        assert!(changes.contains("devices: 50, now 75"), "{changes}");
        order
    }

    fn build_update(&mut self) {
        self.days(10);
        let products = Products::start(&self.stage.cluster.nodes, "scan", 1);
        for node in &self.stage.cluster.nodes {
            files::write(&node.build_file, format!("{NEW_BUILD}\n")).unwrap();
        }
        told_builds(&mut self.stage.cluster, &[NEW_BUILD; 4]);
        self.allowed("scan", 1, "reactivation_grace");
        announced(&self.stage.cluster, "reactivation_grace", 30);
        self.days(5);
        let shown = self.shown();
        assert_eq!(shown.status, "reactivation_required");
        assert_eq!(shown.bound_builds(), [OLD_BUILD; 4]);
        assert_eq!(shown.reasons.len(), 4, "{:?}", shown.reasons);

        self.go("reactivate", None, |_| {});
        products.finish_allowed(&["licensed", "reactivation_grace"]);
        let again = self.shown();
        assert_eq!((again.status.as_str(), again.reasons.len()), ("active", 0));
        assert_eq!(again.bound_builds(), [NEW_BUILD; 4]);
        assert_eq!((again.sums(), again.license().expires_at), (shown.sums(), shown.license().expires_at));
        nothing_ends(&self.stage.cluster);
    }

    /// All data directories are gone; the computers are the same.
    fn restore_from_nothing(&mut self) {
        let before = self.shown();
        let open = way::begin(&self.stage, 1, "reactivate", None);
        self.stage.cluster.stop().unwrap();
        self.swap("lost");
        self.stage.cluster.start().unwrap();
        self.refused("scan", 1, "unlicensed");

        let support_id = self.go("reactivate", None, |_| {});
        self.allowed("devices", 75, "licensed");
        let after = self.shown();
        assert_eq!((&support_id, after.status.as_str()), (&before.license().support_id, "active"));
        assert_eq!(after.license().orders, before.license().orders, "all three");
        assert_eq!(after.sums(), before.sums());
        assert_eq!(after.license().expires_at, before.license().expires_at);
        assert_eq!(after.license().support_until, before.license().support_until);
        assert_ne!(after.license().cluster_id, before.license().cluster_id);
        assert!(after.license().serial > before.license().serial);
        assert!(after.binding().fence > before.binding().fence);
        let known: Value = self.stage.portal.admin(["installation", "show", support_id.as_str()]).unwrap();
        let count = |what: &str| known[what].as_array().unwrap().len();
        assert_eq!((count("orders"), count("restores"), count("nodes")), (3, 1, 4));

        let refused = match &self.way {
            Way::ByHand(browser) => way::paste_refused(browser, &open),
            Way::Online => self.the_lost_cluster_comes_back(),
        };
        assert!(refused.contains("cluster_replaced"), "{refused}");
    }

    /// Somebody finds the lost disks and starts the old cluster in place of the new one. It goes on with what it has, and
    /// gets nothing more. Gives the refusal.
    fn the_lost_cluster_comes_back(&mut self) -> String {
        self.change_clusters("restored", "lost");
        self.allowed("devices", 75, "licensed");
        let again = ["license", "reactivate", "--yes", "-o", "json"];
        let refusal = self.stage.cluster.nodes[0].cli(again).run().unwrap().refusal().unwrap();
        self.change_clusters("lost", "restored");
        self.allowed("devices", 75, "licensed");
        format!("{refusal:?}")
    }

    /// Stops the cluster that runs, puts its data aside under the first name, and starts the one with the second.
    fn change_clusters(&mut self, aside: &str, wanted: &str) {
        self.stage.cluster.stop().unwrap();
        self.swap(aside);
        for node in &mut self.stage.cluster.nodes {
            fs::rename(aside_of(node, wanted), &node.data_dir).unwrap();
            node.serve().unwrap();
        }
        self.stage.cluster.wait_for_members(4).unwrap();
    }

    /// Puts all data directories aside.
    fn swap(&self, aside: &str) {
        for node in &self.stage.cluster.nodes {
            fs::rename(&node.data_dir, aside_of(node, aside)).unwrap();
        }
    }

    fn end_comes_nearer(&mut self) {
        // Twice so long that every certificate between the nodes has ended.
        let left = i64::from(self.shown().days(self.time.now()).0.unwrap());
        self.days((left - 29) / 2);
        pace::certificates_last(&self.stage.cluster, 60);
        self.allowed("scan", 1, "licensed");
        nothing_ends(&self.stage.cluster);
        let left = i64::from(self.shown().days(self.time.now()).0.unwrap());
        for (days, within) in [(left - 29, 30), (16, 14), (7, 7), (5, 2)] {
            self.days(days);
            announced(&self.stage.cluster, "term", within);
            self.allowed("devices", 75, "licensed");
        }
    }

    fn grace_and_refusal(&mut self) {
        for (days, within) in [(2, 14), (6, 7), (6, 2)] {
            self.days(days);
            announced(&self.stage.cluster, "expiry_grace", within);
            self.allowed("devices", 75, "grace");
            assert_eq!(self.shown().status, "grace");
        }
        self.days(2);
        self.refused("scan", 1, "expired");
        for node in &self.stage.cluster.nodes {
            let shown = Shown::on(node);
            assert_eq!((shown.exit_code, shown.status.as_str()), (Some(6), "expired"), "{shown:?}");
            assert_eq!((shown.days_left, shown.endings.len()), (Some(0), 0));
        }
    }

    /// Their days begin now, since the ends have passed.
    fn renewal(&mut self, renewed: &[&Order]) {
        let before = self.shown();
        let mut terms = vec!["--days", "365"];
        renewed.iter().for_each(|order| terms.extend(["--renews", &order.order_id]));
        let order = self.order("subscription", &terms);
        // The key with which the portal signed has ended, too.
        let support_id = self.go("activate", Some(&order.activation_key), rotate_issuing_key);
        self.allowed("devices", 75, "licensed");
        self.allowed("workflow", 1, "licensed");
        let after = self.shown();
        assert_eq!((&support_id, after.status.as_str()), (&before.license().support_id, "active"));
        assert_eq!(after.sums().0, before.sums().0);
        assert_eq!(after.days(self.time.now()).0, Some(365));
        assert_eq!(after.license().support_until, before.license().support_until);
        nothing_ends(&self.stage.cluster);
    }

    /// An order of one kind, with these terms.
    fn order(&self, kind: &str, terms: &[&str]) -> Order {
        let first = ["order", "add", "--customer", CUSTOMER, "--product", PRODUCT, "--kind", kind];
        self.stage.portal.admin(first.iter().chain(terms).copied()).unwrap()
    }

    /// Gets a license this walk's way, and waits until every node has it.
    fn go(
        &mut self,
        kind: &str,
        activation_key: Option<&str>,
        between: impl FnOnce(&mut Stage),
    ) -> SupportId {
        let activated = self.way.go(&mut self.stage, kind, activation_key, between);
        self.stage.cluster.wait_for_serial(activated.serial).unwrap();
        activated.support_id.parse().unwrap()
    }

    fn days(&mut self, days: i64) {
        pace::days(&mut self.stage.cluster, &self.time, days);
    }

    /// What the first node shows.
    fn shown(&self) -> Shown {
        Shown::on(&self.stage.cluster.nodes[0])
    }

    /// Waits until the product may on every node, for this reason.
    fn allowed(&self, feature: &str, quantity: u64, reason: &str) {
        answered(&self.stage.cluster.nodes, (feature, quantity), true, reason);
    }

    /// Waits until it may not on any node.
    fn refused(&self, feature: &str, quantity: u64, reason: &str) {
        answered(&self.stage.cluster.nodes, (feature, quantity), false, reason);
    }
}

/// The portal makes itself another key to sign with, and is restarted with it.
fn rotate_issuing_key(stage: &mut Stage) {
    let _: Value = stage.portal.admin(["key", "rotate-issuing"]).unwrap();
    stage.portal.stop().unwrap();
    stage.portal.serve().unwrap();
}

fn sums(features: &[(&str, &str)]) -> Vec<(String, String)> {
    features.iter().map(|(name, quantity)| ((*name).to_owned(), (*quantity).to_owned())).collect()
}

fn aside_of(node: &Node, name: &str) -> PathBuf {
    node.data_dir.with_file_name(name)
}
