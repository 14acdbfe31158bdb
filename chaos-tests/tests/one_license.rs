//! Two administrators at once, a first license node that dies, a network that breaks between it and the portal or its
//! peers, all in the middle of an activation: one license, one Support ID, one use of the order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, thread};

use quorate_chaos_tests::{
    Cluster, Failure, PeerNetwork, Stage, Wire, WireProxy,
    cli::Answer,
    wait::{self, PATIENCE, Seen},
};
use serde_json::Value;

/// Three Management Servers and a Spooler Controller, which reach the portal by a wire that the test holds: a proxy that
/// asks for a password.
fn wired() -> (Stage, WireProxy) {
    let (mut stage, wire) = prepared();
    stage.cluster.start().unwrap();
    (stage, wire)
}

/// The same, not started yet.
fn prepared() -> (Stage, WireProxy) {
    let mut stage = Stage::prepare(|plan| plan.raft_times_ms = Some([100, 400, 800])).unwrap();
    let wire = WireProxy::start(&stage.plan.network).unwrap();
    for node in &mut stage.cluster.nodes {
        node.set("portal", "proxy", wire.url());
        node.write_config().unwrap();
    }
    (stage, wire)
}

/// Asks a node for an activation, in the background.
fn activating(cluster: &Cluster, node: usize, key: &str) -> thread::JoinHandle<Answer> {
    let words = ["license", "activate", "--key-file", "-", "--yes", "-o", "json"];
    let command = cluster.nodes[node].cli(words).stdin(format!("{key}\n"));
    thread::spawn(move || command.run().unwrap())
}

/// The portal has used the order, whether anybody has heard of it or not.
fn answered(stage: &Stage, serial: u64) {
    wait::until("the portal to answer", PATIENCE, || {
        let issued = stage.portal.activations()?.len() as u64;
        Ok(Seen::when(issued >= serial, || format!("{issued} answers")))
    })
    .unwrap();
}

/// Asks again until the key has done its work: the node may have taken up the open activation by itself, and is at it.
fn finish(stage: &Stage, node: usize, key: &str, serial: u64) {
    wait::until(&format!("serial {serial}"), PATIENCE, || {
        if stage.cluster.nodes[0].product().license()?.license.is_some_and(|found| found.serial >= serial) {
            return Ok(Seen::Done(()));
        }
        let answer = stage.cluster.try_activate(node, key)?;
        match answer.refusal().map(|refusal| refusal.code) {
            Ok(code) if !is_passing(&code) => Err(Failure::wrong(format!("refused for good: {answer:?}"))),
            _ => Ok(Seen::not_yet(format!("{answer:?}"))),
        }
    })
    .unwrap();
}

/// What is said while an activation is under way, and after it was done by somebody else.
fn is_passing(code: &str) -> bool {
    [
        "activation_in_progress",
        "already_activated",
        "portal_unreachable",
        "no_leader",
        "outcome_unknown",
        "first_license_node_away",
        "nodes_offline",
        "node_away",
        "statement_refused",
    ]
    .contains(&code)
}

/// One installation, one license on every node, each order used once, nothing left open.
fn one_license(stage: &mut Stage, serial: u64) {
    stage.cluster.wait_for_members(4).unwrap();
    stage.cluster.wait_for_serial(serial).unwrap();
    let issued = stage.portal.activations().unwrap();
    let serials: Vec<u64> = issued.iter().map(|one| one.serial).collect();
    assert_eq!(serials, (1..=serial).collect::<Vec<_>>(), "one license key for each order: {issued:?}");
    let installations = stage.portal.installations().unwrap();
    assert_eq!(installations.len(), 1, "{installations:?}");
    for node in &stage.cluster.nodes {
        let license = node.product().license().unwrap().license.unwrap();
        assert_eq!((&license.support_id, license.serial), (&installations[0], serial), "{}", node.name);
        assert_eq!(license.orders.len() as u64, serial, "each order once: {:?}", license.orders);
    }
    let orders: Vec<Value> = stage.portal.admin(["order", "list"]).unwrap();
    let used = orders
        .iter()
        .filter(|order| order["usage"]["support_id"].as_str() == Some(&installations[0]))
        .count();
    assert_eq!(used as u64, serial, "{orders:?}");
    let activations = stage.cluster.nodes[0].admin().activations().unwrap();
    let open = |state: &str| matches!(state, "opened" | "requested");
    assert!(!activations.iter().any(|one| open(&one.state)), "{activations:?}");
    let installed: BTreeSet<&str> =
        activations.iter().filter(|one| one.state == "installed").map(|one| one.nonce.as_str()).collect();
    let answered: BTreeSet<&str> = issued.iter().map(|one| one.nonce.as_str()).collect();
    assert_eq!(installed, answered, "what the portal issued is what was installed");
}

#[test]
fn two_administrators_at_once_make_one_installation_and_use_each_order_once() {
    let (mut stage, _wire) = wired();
    // The same order from two nodes.
    let key = stage.portal.order().unwrap().activation_key;
    let both = [1, 2].map(|node| activating(&stage.cluster, node, &key));
    let answers = both.map(|thread| thread.join().unwrap());
    let done = answers.iter().filter(|answer| answer.code == Some(0)).count();
    assert!(done >= 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.code != Some(0)) {
        assert!(is_passing(&answer.refusal().unwrap().code), "{answer:?}");
    }
    one_license(&mut stage, 1);

    // Two orders from two nodes: one after the other, or one is told that it has to wait, and works afterwards.
    let mut serial = 1;
    for [first, second] in [[0, 1], [1, 2], [2, 0]] {
        let keys = [(); 2].map(|()| stage.portal.order().unwrap().activation_key);
        let asked = [first, second];
        let both: Vec<_> =
            asked.iter().zip(&keys).map(|(node, key)| activating(&stage.cluster, *node, key)).collect();
        let answers: Vec<Answer> = both.into_iter().map(|thread| thread.join().unwrap()).collect();
        for ((answer, node), key) in answers.iter().zip(asked).zip(&keys) {
            if answer.code != Some(0) {
                assert_eq!(answer.refusal().unwrap().code, "activation_in_progress", "{answer:?}");
                stage.cluster.activate(node, key).unwrap();
            }
        }
        serial += 2;
        one_license(&mut stage, serial);
    }
}

#[test]
fn an_answer_that_the_network_loses_is_asked_for_again_and_is_the_same() {
    let (mut stage, wire) = wired();
    // Lost once: the node asks again by itself, within the same command.
    let key = stage.portal.order().unwrap().activation_key;
    wire.set(Wire::Holding);
    let asking = activating(&stage.cluster, 1, &key);
    answered(&stage, 1);
    let asked = wire.asked();
    wire.set(Wire::Cut);
    wire.set(Wire::Open);
    asking.join().unwrap().success().unwrap();
    assert!(wire.asked() > asked, "it was asked for again");
    one_license(&mut stage, 1);

    // Lost, and the portal is cut off for longer than the command waits: the activation stays open, and the node
    // finishes it when the network is back.
    stage.cluster.nodes[0].stop().unwrap();
    stage.cluster.nodes[0].set("portal", "timeout_seconds", 2);
    stage.cluster.nodes[0].write_config().unwrap();
    stage.cluster.nodes[0].serve().unwrap();
    stage.cluster.wait_for_members(4).unwrap();
    let key = stage.portal.order().unwrap().activation_key;
    wire.set(Wire::Holding);
    let asking = activating(&stage.cluster, 2, &key);
    answered(&stage, 2);
    wire.set(Wire::Cut);
    assert_eq!(asking.join().unwrap().refusal().unwrap().code, "portal_unreachable");
    wire.set(Wire::Open);
    finish(&stage, 2, &key, 2);
    one_license(&mut stage, 2);
}

#[test]
fn a_first_license_node_that_is_killed_while_the_portal_answers_goes_on_when_it_is_back() {
    let (mut stage, wire) = wired();
    for serial in 1..=2 {
        let key = stage.portal.order().unwrap().activation_key;
        wire.set(Wire::Holding);
        let asking = activating(&stage.cluster, 1, &key);
        answered(&stage, serial);
        stage.cluster.nodes[0].kill().unwrap();
        let told = asking.join().unwrap();
        assert_ne!(told.code, Some(0), "whoever asked is told: {told:?}");
        wire.set(Wire::Open);
        stage.cluster.leader().unwrap();
        // Nobody else takes its place meanwhile.
        let refusal = stage.cluster.try_activate(2, &key).unwrap().refusal().unwrap();
        assert_eq!(refusal.code, "first_license_node_away");
        stage.cluster.nodes[0].serve().unwrap();
        stage.cluster.wait_for_members(4).unwrap();
        finish(&stage, 1, &key, serial);
        one_license(&mut stage, serial);
    }
}

#[test]
fn a_first_license_node_that_is_cut_off_from_its_peers_while_the_portal_answers_ends_in_one_license() {
    let (mut stage, wire) = prepared();
    let network = PeerNetwork::between(&mut stage.cluster.nodes).unwrap();
    stage.cluster.start().unwrap();
    // Whoever asked is at the first license node, then at another one, to which it does not get through any more.
    for (serial, asked) in [(1, 0), (2, 1)] {
        let key = stage.portal.order().unwrap().activation_key;
        wire.set(Wire::Holding);
        let asking = activating(&stage.cluster, asked, &key);
        answered(&stage, serial);
        network.cut_off(&stage.cluster.nodes[0]).unwrap();
        wire.set(Wire::Open);
        let told = asking.join().unwrap();
        assert_ne!(told.code, Some(0), "it has the answer and can't commit it: {told:?}");

        // The others go on, and nobody of them takes the first license node's place.
        wait::until("the others to have a leader among them", PATIENCE, || {
            let status = stage.cluster.nodes[1].admin().status()?;
            let leads = status.nodes.iter().find(|node| Some(node.id) == status.leader);
            let other = leads.is_some_and(|node| node.name != "management-1");
            Ok(Seen::when(other, || format!("{:?}", status.leader)))
        })
        .unwrap();
        let token = ["token", "create", "--role", "spooler"];
        stage.cluster.nodes[1].cli(token).run().unwrap().success().unwrap();
        let refusal = stage.cluster.try_activate(2, &key).unwrap().refusal().unwrap();
        assert_eq!(refusal.code, "first_license_node_away");
        assert_eq!(stage.portal.activations().unwrap().len() as u64, serial);

        network.heal();
        stage.cluster.wait_for_members(4).unwrap();
        finish(&stage, 1, &key, serial);
        one_license(&mut stage, serial);
    }
}
