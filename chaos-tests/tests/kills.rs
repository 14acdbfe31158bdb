//! Nodes are killed as `kill -9` does: what is licensed stays licensed on the others without a gap, and the
//! killed one comes back by `quorate serve` alone, to the same license, also to one that it missed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use quorate_chaos_tests::{
    Cluster, Role, Stage,
    checker::{Checker, OwnFiles},
    cluster,
    stage::FakeStage,
    tls_server::Reply,
    wait::{self, PATIENCE, Seen},
};

/// An answer from memory takes less than a millisecond; the rest is a busy machine.
const LONGEST_GAP: Duration = Duration::from_secs(2);

fn pids(cluster: &Cluster) -> Vec<u32> {
    cluster.nodes.iter().map(|node| node.pid().unwrap()).collect()
}

#[test]
fn checks_go_on_without_a_gap_whichever_node_is_killed_and_it_comes_back() {
    let mut stage = Stage::start(|_| {}).unwrap();
    let before = pids(&stage.cluster);
    let key = stage.portal.order().unwrap().activation_key;
    let serial = stage.cluster.activate(0, &key).unwrap().serial;
    stage.cluster.wait_for_serial(serial).unwrap();
    for node in &mut stage.cluster.nodes {
        node.must_run().unwrap();
    }
    assert_eq!(pids(&stage.cluster), before, "an activation restarts nothing");

    let roots = stage.portal.link.trust_roots().unwrap();
    let start = |node| Checker::start(node, OwnFiles::of(node, roots.clone(), true));
    let checkers: Vec<Checker> = stage.cluster.nodes.iter().map(start).collect();
    let cluster = &mut stage.cluster;

    // The leader is moved away from the first license node first, so that these are two different kills.
    let second = cluster.status().unwrap().nodes.iter().find(|node| node.name == "management-2").unwrap().id;
    cluster.nodes[0].admin().transfer_leader(second).unwrap();
    let leader = cluster.leader().unwrap();
    for victim in [leader, 0, 3] {
        let held = checkers[victim].hold();
        cluster.nodes[victim].kill().unwrap();
        if cluster.nodes[victim].role == Role::Management {
            let leader = cluster.leader().unwrap();
            assert_ne!(leader, victim);
        }
        // The others are asked for a while without it; their checkers count.
        let other = &cluster.nodes[(victim + 1) % 4];
        for _ in 0..50 {
            assert!(other.product().check("", 1).unwrap().allowed);
        }
        cluster.nodes[victim].serve().unwrap();
        cluster::wait_for_serial(&mut cluster.nodes[victim], serial).unwrap();
        drop(held);
        cluster.wait_for_members(4).unwrap();
    }
    for findings in checkers.into_iter().map(|checker| checker.finish().unwrap()) {
        assert!(findings.wrong.is_empty(), "{findings:?}");
        assert!(findings.longest_gap < LONGEST_GAP, "{findings:?}");
        assert!(findings.rounds > 20, "{findings:?}");
    }

    // All at once.
    let token = cluster.token(Role::Spooler, Some("kept-token")).unwrap();
    cluster.kill_all().unwrap();
    for node in &mut cluster.nodes {
        node.serve().unwrap();
    }
    cluster.wait_for_serial(serial).unwrap();
    cluster.wait_for_members(4).unwrap();
    let status = cluster.status().unwrap();
    assert!(status.nodes.iter().all(|node| node.license_serial == Some(serial)), "{status:?}");
    assert_eq!(status.license.unwrap().support_id, Some(stage.portal.installations().unwrap()[0].clone()));
    assert!(cluster.nodes[1].admin().tokens().unwrap().iter().any(|kept| kept.id == token.id));
}

#[test]
fn license_is_readable_without_quorum_and_without_the_portal() {
    let (mut stage, serial) = Stage::activated(|plan| plan.management = 2).unwrap();
    stage.portal.kill().unwrap();
    let roots = stage.portal.link.trust_roots().unwrap();
    stage.cluster.nodes[0].kill().unwrap();
    // Started anew without quorum, too.
    stage.cluster.nodes[1].kill().unwrap();
    stage.cluster.nodes[1].serve().unwrap();
    stage.cluster.wait_for_serial(serial).unwrap();
    for node in &stage.cluster.nodes[1..] {
        let findings = {
            let checker = Checker::start(node, OwnFiles::of(node, roots.clone(), true));
            for _ in 0..50 {
                assert!(node.product().check("devices", 1).unwrap().allowed);
            }
            checker.finish().unwrap()
        };
        assert!(findings.wrong.is_empty() && findings.rounds > 0, "{findings:?}");
    }
}

#[test]
fn a_spooler_that_was_down_in_an_activation_gets_the_license_when_it_is_back() {
    let mut stage = Stage::start(|plan| plan.scope = "management").unwrap();
    stage.cluster.nodes[3].kill().unwrap();
    let key = stage.portal.order().unwrap().activation_key;
    let serial = stage.cluster.activate(1, &key).unwrap().serial;
    stage.cluster.wait_for_serial(serial).unwrap();
    stage.cluster.nodes[3].serve().unwrap();
    stage.cluster.wait_for_serial(serial).unwrap();
    let spooler = &stage.cluster.nodes[3];
    let own = OwnFiles::of(spooler, stage.portal.link.trust_roots().unwrap(), false);
    let (allowed, code) = own.decide("devices", 51).unwrap();
    let answer = spooler.product().check("devices", 51).unwrap();
    assert_eq!((answer.allowed, answer.reason.as_str()), (allowed, code));
    assert!(
        spooler.product().check("devices", 50).unwrap().allowed,
        "a spooler outside the scope is licensed"
    );
}

#[test]
fn a_management_server_that_dies_while_the_portal_answers_gets_the_license_when_it_is_back() {
    let (asked, go_on) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (its_asked, its_go_on) = (Arc::clone(&asked), Arc::clone(&go_on));
    let mut stage = FakeStage::prepare(
        |_| {},
        move |signer, key| {
            its_asked.store(true, Ordering::SeqCst);
            let _ = wait::until("the test to go on", PATIENCE, || {
                Ok(Seen::when(its_go_on.load(Ordering::SeqCst), String::new))
            });
            let claims = signer.claims(key);
            signer.sign(&claims).map_or(Reply::Nothing, |license_key| signer.reply(&claims, &license_key))
        },
    )
    .unwrap();
    stage.cluster.start().unwrap();
    let cluster = &mut stage.cluster;
    let command = cluster.nodes[0].cli(["license", "activate", "--key-file", "-", "--yes", "-o", "json"]);
    let key = quorate_license::ActivationKey::from_entropy(rand::random()).expose().to_string();
    let activating = thread::spawn(move || command.stdin(key).run());
    wait::until("the portal to be asked", PATIENCE, || {
        Ok(Seen::when(asked.load(Ordering::SeqCst), || format!("ended: {}", activating.is_finished())))
    })
    .unwrap();
    cluster.nodes[2].kill().unwrap();
    go_on.store(true, Ordering::SeqCst);
    let answer = activating.join().unwrap().unwrap().success().unwrap();
    let activated: cluster::Activated = answer.parse().unwrap();
    cluster.wait_for_serial(activated.serial).unwrap();
    cluster.nodes[2].serve().unwrap();
    cluster.wait_for_serial(activated.serial).unwrap();
    assert!(cluster.nodes[2].product().check("devices", 50).unwrap().allowed);
}
