//! Replays: every license key that was ever issued to a cluster, and one of another cluster, installed again in random
//! order on random nodes, while an activation is open and while none is, over restarts. Only the right one is taken.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use quorate_chaos_tests::{Cluster, Portal, Stage, cli::Answer};
use quorate_license::{Binding, License, LicenseKey};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Deserialize;
use serde_json::Value;

/// A license key that was issued.
#[derive(Debug, Clone)]
struct Issued {
    text: String,
    what: String,
}

#[derive(Debug, Deserialize)]
struct Installed {
    serial: u64,
    already_installed: bool,
}

/// What an activation by hand prints.
#[derive(Debug, Deserialize)]
struct Offline {
    integrity_key: String,
}

/// A cluster, its portal, and everything that the portal ever gave it.
struct Replays {
    stage: Stage,
    issued: Vec<Issued>,
    /// Serial of the installed license.
    current: u64,
    dice: StdRng,
}

/// Why a license key that does not fit is refused: what it answers gave way, is over, was never open here, or belongs
/// elsewhere.
const REFUSALS: [&str; 4] =
    ["activation_superseded", "binding_serial_not_higher", "no_open_activation", "cluster_mismatch"];

fn install(cluster: &Cluster, node: usize, text: &str) -> Answer {
    cluster.nodes[node].cli(["license", "install", "-", "-o", "json"]).stdin(text).run().unwrap()
}

/// The license key that a cluster has installed, made of what every product can read.
fn of_installed(cluster: &Cluster, portal: &Portal) -> String {
    let installed = cluster.nodes[0].product().license().unwrap().license.unwrap();
    let roots = portal.link.trust_roots().unwrap();
    let license = roots.verify::<License>(&installed.license_token).unwrap();
    let binding = roots.verify::<Binding>(&installed.binding_token).unwrap();
    LicenseKey::new(&binding, &[license]).to_text().unwrap()
}

impl Replays {
    fn remember(&mut self, text: String, what: &str) {
        self.issued.push(Issued { text, what: what.to_owned() });
    }

    /// Begins an activation by hand; gives the portal's answer, which is not installed yet.
    fn begin(&mut self, words: &[&str], key: &str) -> String {
        let node = self.dice.random_range(0..3);
        let all = ["license", words[0], "--offline", "--yes"].into_iter().chain(words[1..].iter().copied());
        let open: Offline = self.stage.cluster.nodes[node].cli(all).stdin(key.to_owned()).json().unwrap();
        let text = self.stage.portal.link.bring(&open.integrity_key).unwrap().license_key().unwrap();
        self.remember(text.clone(), &format!("{words:?}"));
        text
    }

    /// Installs the answer to the open activation, on a random node.
    fn take(&mut self, text: &str) {
        let node = self.dice.random_range(0..3);
        let done: Installed = install(&self.stage.cluster, node, text).success().unwrap().parse().unwrap();
        assert_eq!((done.serial > self.current, done.already_installed), (true, false), "{done:?}");
        self.current = done.serial;
        self.stage.cluster.wait_for_serial(self.current).unwrap();
    }

    /// Activates online.
    fn online(&mut self) {
        let key = self.stage.portal.order().unwrap().activation_key;
        let node = self.dice.random_range(0..3);
        self.current = self.stage.cluster.activate(node, &key).unwrap().serial;
        self.stage.cluster.wait_for_serial(self.current).unwrap();
        let text = of_installed(&self.stage.cluster, &self.stage.portal);
        self.remember(text, &format!("online, serial {}", self.current));
    }

    /// Installs everything again in random order, but the answer that is still to come. Nothing is taken, and nothing
    /// changes.
    fn replay(&mut self, to_come: Option<&str>) {
        let before = self.standing();
        let mut order: Vec<Issued> = self.issued.clone();
        order.extend(self.issued.clone());
        order.retain(|issued| Some(issued.text.as_str()) != to_come);
        for index in (1..order.len()).rev() {
            order.swap(index, self.dice.random_range(0..=index));
        }
        for Issued { text, what } in order {
            let node = self.dice.random_range(0..3);
            let answer = install(&self.stage.cluster, node, &text);
            if answer.code == Some(0) {
                let known: Installed = answer.parse().unwrap();
                let present = (known.serial, known.already_installed) == (self.current, true);
                assert!(present, "{what} was taken again: {known:?}, {} is installed", self.current);
            } else {
                let code = answer.refusal().unwrap().code;
                assert!(REFUSALS.contains(&code.as_str()), "{what}: {answer:?}");
            }
        }
        assert_eq!(self.standing(), before, "a replay changes nothing");
    }

    /// The license as every node has it, the history, and the activations.
    fn standing(&self) -> (Vec<String>, usize, Vec<(String, String)>) {
        let cluster = &self.stage.cluster;
        let licenses = cluster.nodes.iter().map(|node| {
            let license = node.product().license().unwrap().license;
            license.map_or_else(String::new, |license| license.license_token)
        });
        let history: Vec<Value> = cluster.nodes[1].cli(["license", "history"]).json().unwrap();
        let activations = cluster.nodes[0].admin().activations().unwrap();
        let states = activations.into_iter().map(|one| (one.nonce, one.state)).collect();
        (licenses.collect(), history.len(), states)
    }
}

#[test]
fn of_all_license_keys_ever_issued_only_the_right_one_is_taken() {
    // Another installation of the same portal.
    let mut other = Stage::start(|plan| (plan.management, plan.spoolers) = (1, 0)).unwrap();
    let key = other.portal.order().unwrap().activation_key;
    let serial = other.cluster.activate(0, &key).unwrap().serial;
    other.cluster.wait_for_serial(serial).unwrap();
    let foreign = of_installed(&other.cluster, &other.portal);
    other.cluster.stop().unwrap();
    let mut plan = other.plan.clone();
    (plan.management, plan.spoolers, plan.first_host) = (3, 1, 50);
    plan.folder = other.folder.path().join("replayed");
    let mut cluster = plan.prepare().unwrap();
    cluster.start().unwrap();
    let Stage { portal, folder, .. } = other;

    let seed: u64 = rand::random();
    println!("seed {seed}");
    let stage = Stage { cluster, portal, plan, folder };
    let mut replays = Replays { stage, issued: Vec::new(), current: 0, dice: StdRng::seed_from_u64(seed) };
    replays.remember(foreign, "of another cluster");
    replays.replay(None);

    // A trial by hand, whose first answer is lost: a newer attempt gets one of its own.
    replays.begin(&["trial"], "");
    let text = replays.begin(&["trial", "--renew"], "");
    replays.replay(Some(&text));
    replays.take(&text);
    replays.replay(None);

    // The purchase, by hand, and twice again on the way.
    let order = replays.stage.portal.order().unwrap().activation_key;
    replays.begin(&["activate", "--key-file", "-"], &order);
    replays.begin(&["activate", "--key-file", "-", "--renew"], &order);
    let text = replays.begin(&["activate", "--key-file", "-", "--renew"], &order);
    replays.replay(Some(&text));
    replays.take(&text);
    replays.replay(None);

    // Further orders, online.
    replays.online();
    replays.online();
    replays.replay(None);

    // A reactivation by hand stays open over a restart of everything.
    let text = replays.begin(&["reactivate"], "");
    replays.stage.cluster.kill_all().unwrap();
    for node in &mut replays.stage.cluster.nodes {
        node.serve().unwrap();
    }
    replays.stage.cluster.wait_for_members(4).unwrap();
    replays.stage.cluster.wait_for_serial(replays.current).unwrap();
    replays.replay(Some(&text));
    replays.take(&text);
    replays.online();
    replays.replay(None);

    // One installation; every order is in the license once.
    let license = replays.stage.cluster.nodes[3].product().license().unwrap().license.unwrap();
    assert_eq!((license.orders.len(), license.serial), (4, replays.current), "{license:?}");
    assert_eq!(replays.stage.portal.installations().unwrap().len(), 2, "this one and the other one");
    replays.stage.cluster.stop().unwrap();
}
