//! Updates that roll over four nodes, with three builds of the product at a time: within the grace, with none, and with
//! one that is over.

use quorate_chaos_tests::{
    FakeTime, Node, Stage,
    cli::Answer,
    files,
    portal::UNLIMITED_FEATURE,
    wait::{self, PATIENCE, Seen},
};

use crate::{
    asking::Products,
    pace,
    shown::{Shown, announced, answered, nothing_ends, told_builds, wait_for_answer},
};

/// The build of every node at the start.
const FIRST: &str = "7.2.0";
const SECOND: &str = "7.3.0";
const THIRD: &str = "8.0.0";

/// What a product asks for.
const ASKED: (&str, u64) = (UNLIMITED_FEATURE, 1);

/// Four nodes that are to be updated one after the other.
struct Fleet {
    stage: Stage,
    time: FakeTime,
    grace_days: u32,
    /// What each of them has.
    builds: [String; 4],
}

impl Fleet {
    /// Activated with so many days of grace until a reactivation.
    fn start(grace_days: u32) -> Self {
        let (mut stage, time) = Stage::prepare_in_time(|_| {}).unwrap();
        for node in &mut stage.cluster.nodes {
            node.set("log", "format", "json");
            node.write_config().unwrap();
        }
        stage.portal.stop().unwrap();
        let days = grace_days.to_string();
        stage
            .portal
            .serve_with(&[("QUORATE_PORTAL_POLICY__REACTIVATION_GRACE_DAYS", days.as_str())])
            .unwrap();
        stage.cluster.start().unwrap();
        let mut fleet = Fleet { stage, time, grace_days, builds: [FIRST; 4].map(str::to_owned) };
        let key = fleet.stage.portal.order().unwrap().activation_key;
        let serial = fleet.stage.cluster.activate(0, &key).unwrap().serial;
        fleet.stage.cluster.wait_for_serial(serial).unwrap();
        fleet.are_bound([FIRST; 4]);
        fleet
    }

    /// A package with another build comes to a node; its agent is restarted with it, as packages do. `products` asks
    /// nothing there meanwhile.
    fn update(&mut self, node: usize, build: &str, products: Option<&Products>) {
        let held = products.map(|products| products.hold(node));
        let cluster = &mut self.stage.cluster;
        cluster.nodes[node].stop().unwrap();
        files::write(&cluster.nodes[node].build_file, format!("{build}\n")).unwrap();
        cluster.nodes[node].serve().unwrap();
        cluster.wait_for_members(4).unwrap();
        wait_for_answer(&cluster.nodes[node..=node], ASKED, |check| check.status != "unlicensed");
        drop(held);
        self.tell(node, build);
    }

    /// The same without a restart: the version file alone changes.
    fn update_in_place(&mut self, node: usize, build: &str) {
        files::write(&self.stage.cluster.nodes[node].build_file, format!("{build}\n")).unwrap();
        self.tell(node, build);
    }

    /// Waits until the status tells of this.
    fn tell(&mut self, node: usize, build: &str) {
        self.builds[node] = build.to_owned();
        told_builds(&mut self.stage.cluster, &self.builds);
    }

    fn reactivate(&mut self) {
        let again = ["license", "reactivate", "--yes", "-o", "json"];
        let done: serde_json::Value =
            self.stage.cluster.nodes[0].cli(again).run().unwrap().success().unwrap().parse().unwrap();
        self.stage.cluster.wait_for_serial(done["serial"].as_u64().unwrap()).unwrap();
    }

    /// That the license holds on the nodes for these builds, as it says itself and as each node's own file proves, which
    /// is written a moment later.
    fn are_bound(&self, builds: [&str; 4]) {
        for (node, build) in self.stage.cluster.nodes.iter().zip(builds) {
            assert_eq!(Shown::on(node).bound_builds(), builds);
            wait::until(&format!("the license file of {} to hold for {build}", node.name), PATIENCE, || {
                let holds = self.inspect(node, build);
                Ok(Seen::when(holds.code == Some(0), || holds.stderr))
            })
            .unwrap();
        }
    }

    /// Whether the license file on this node would hold for this build, as `quorate license inspect` says.
    fn inspect(&self, node: &Node, build: &str) -> Answer {
        node.cli(["license", "inspect", "--build", build, "-o", "json"]).run().unwrap()
    }

    /// That it would not without a reactivation, on any node: for the grace alone, or not at all.
    fn would_not_hold(&self, build: &str) {
        for node in &self.stage.cluster.nodes {
            let answer = self.inspect(node, build);
            if self.grace_days > 0 {
                let inspected: serde_json::Value = answer.parse().unwrap();
                assert_eq!((answer.code, inspected["code"].as_str()), (Some(7), Some("reactivation_grace")));
            } else {
                let code = answer.refusal().unwrap().code;
                assert_eq!((answer.code, code.as_str()), (Some(6), "build_not_covered"), "{}", node.name);
            }
        }
    }

    /// That `quorate license show` ends with this code on every node, as the product is refused there or not, and that
    /// the license file says the same to a product without an agent.
    fn ends_with(&self, code: i32) {
        for (node, build) in self.stage.cluster.nodes.iter().zip(&self.builds) {
            let shown = node.cli(["license", "show", "-o", "json"]).run().unwrap();
            let told: serde_json::Value = shown.parse().unwrap();
            let refused: Vec<&str> =
                told["refused"].as_array().unwrap().iter().filter_map(|one| one["reason"].as_str()).collect();
            let everywhere = if code == 6 { vec!["reactivation_required"; 4] } else { Vec::new() };
            assert_eq!((shown.code, refused), (Some(code), everywhere), "{}", node.name);
            wait::until(&format!("the license file of {} to say {code}", node.name), PATIENCE, || {
                let inspected = self.inspect(node, build);
                Ok(Seen::when(inspected.code == Some(code), || format!("{inspected:?}")))
            })
            .unwrap();
        }
    }

    /// Waits until every node answers so.
    fn answered(&self, allowed: bool, reason: &str) {
        answered(&self.stage.cluster.nodes, ASKED, allowed, reason);
    }

    /// What the license says of builds that it does not cover.
    fn reasons(&self) -> Vec<String> {
        let shown = Shown::on(&self.stage.cluster.nodes[0]);
        assert_eq!(shown.status, "reactivation_required");
        shown.reasons
    }
}

#[test]
fn an_update_that_rolls_over_four_nodes_is_refused_nothing_within_the_grace() {
    let mut fleet = Fleet::start(30);
    fleet.would_not_hold(SECOND);
    fleet.would_not_hold(THIRD);
    let products = Products::start(&fleet.stage.cluster.nodes, ASKED.0, ASKED.1);
    fleet.update(0, SECOND, Some(&products));
    fleet.update(3, SECOND, Some(&products));
    fleet.update_in_place(1, THIRD);
    let reasons = fleet.reasons();
    for (name, build) in [("management-1", SECOND), ("management-2", THIRD), ("spooler-1", SECOND)] {
        let said = format!("{name} runs build {build}, activated was {FIRST}");
        assert!(reasons.contains(&said), "{said} in {reasons:?}");
    }
    assert_eq!(reasons.len(), 3, "{reasons:?}");

    // It stands still for weeks.
    pace::days(&mut fleet.stage.cluster, &fleet.time, 17);
    announced(&fleet.stage.cluster, "reactivation_grace", 14);
    for node in 0..4 {
        if node != 1 {
            fleet.update(node, THIRD, Some(&products));
        }
    }
    fleet.reactivate();
    fleet.answered(true, "licensed");
    products.finish_allowed(&["licensed", "reactivation_grace"]);
    fleet.are_bound([THIRD; 4]);
    fleet.would_not_hold(FIRST);
    nothing_ends(&fleet.stage.cluster);
}

#[test]
fn an_update_that_stands_still_until_the_grace_is_over_is_refused_by_name_until_a_reactivation() {
    let mut fleet = Fleet::start(30);
    fleet.update_in_place(2, SECOND);
    fleet.update_in_place(3, THIRD);
    fleet.answered(true, "reactivation_grace");
    pace::days(&mut fleet.stage.cluster, &fleet.time, 29);
    announced(&fleet.stage.cluster, "reactivation_grace", 2);
    fleet.answered(true, "reactivation_grace");
    fleet.ends_with(7);
    pace::days(&mut fleet.stage.cluster, &fleet.time, 2);
    fleet.answered(false, "reactivation_required");
    fleet.ends_with(6);
    assert_eq!(fleet.reasons().len(), 2);
    // Back to the builds of the activation, nothing is wrong any more; and once more, everything is.
    fleet.update_in_place(2, FIRST);
    fleet.update_in_place(3, FIRST);
    fleet.answered(true, "licensed");
    fleet.update_in_place(2, SECOND);
    fleet.update_in_place(3, THIRD);

    // Three builds at a time can be activated.
    fleet.reactivate();
    fleet.answered(true, "licensed");
    fleet.are_bound([FIRST, FIRST, SECOND, THIRD]);
    nothing_ends(&fleet.stage.cluster);
}

#[test]
fn an_update_without_a_grace_is_refused_by_name_from_the_first_node_to_the_reactivation() {
    let mut fleet = Fleet::start(0);
    fleet.would_not_hold(SECOND);
    fleet.update(1, SECOND, None);
    fleet.answered(false, "reactivation_required");
    fleet.ends_with(6);
    fleet.update_in_place(2, THIRD);
    assert_eq!(fleet.reasons().len(), 2);
    fleet.reactivate();
    fleet.answered(true, "licensed");
    fleet.are_bound([FIRST, SECOND, THIRD, FIRST]);

    for node in [0, 1, 3] {
        fleet.update_in_place(node, THIRD);
    }
    fleet.answered(false, "reactivation_required");
    fleet.reactivate();
    fleet.answered(true, "licensed");
    fleet.are_bound([THIRD; 4]);
}
