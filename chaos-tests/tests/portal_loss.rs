//! The portal, or an agent, dies in the middle of an activation: the retry ends in one activation, one license,
//! one Support ID.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use quorate_chaos_tests::{
    Failure, Plan, Stage,
    cluster::Activated,
    files,
    wait::{self, PATIENCE, Seen},
};

/// Two Management Servers and a Spooler Controller: every kind of node, and no quorum when one dies. Elections are
/// short, since there are two for each failpoint.
fn three(plan: &mut Plan) {
    plan.management = 2;
    plan.spoolers = 1;
    plan.raft_times_ms = Some([100, 400, 800]);
}

#[test]
fn a_portal_that_dies_after_its_commit_gives_the_same_license_to_the_retry() {
    let mut stage = Stage::start(three).unwrap();
    let key = stage.portal.order().unwrap().activation_key;
    stage.portal.stop().unwrap();
    stage.portal.serve_with(&[("FAILPOINTS", "portal.after_commit=return")]).unwrap();

    // The agent may retry by itself until its patience ends: the portal is brought back once it has died.
    let command =
        stage.cluster.nodes[0].cli(["license", "activate", "--key-file", "-", "--yes", "-o", "json"]);
    let stdin = key.clone();
    let activating = std::thread::spawn(move || command.stdin(stdin).run());
    let portal = stage.portal.process().unwrap();
    portal.wait(PATIENCE).unwrap();
    stage.portal.kill().unwrap();
    let committed = stage.portal.activations().unwrap();
    assert_eq!(committed.len(), 1, "{committed:?}");
    stage.portal.serve().unwrap();

    activating.join().unwrap().unwrap();
    let activated = finished(&stage, &key).unwrap();
    stage.cluster.wait_for_serial(activated.serial).unwrap();
    assert_eq!(stage.portal.activations().unwrap(), committed, "the retry added nothing");
    assert_eq!(
        (activated.support_id, activated.serial),
        (committed[0].support_id.clone(), committed[0].serial)
    );
    assert_eq!(stage.portal.installations().unwrap().len(), 1);
    let nonces: BTreeSet<String> = stage.cluster.nodes[0]
        .admin()
        .activations()
        .unwrap()
        .into_iter()
        .map(|activation| activation.nonce)
        .collect();
    assert!(nonces.contains(&committed[0].nonce), "{nonces:?}");
}

/// Asks again with the same key until the license is there. The node may have taken the open activation up by
/// itself in between, and then says that it is at it, or that it is done.
fn finished(stage: &Stage, key: &str) -> Result<Activated, Failure> {
    wait::until("the activation to be finished", PATIENCE, || {
        if let Some(installed) = installed(stage) {
            return Ok(Seen::Done(installed));
        }
        let answer = stage.cluster.try_activate(0, key)?;
        match answer.refusal() {
            Ok(refusal)
                if !["activation_in_progress", "already_activated"].contains(&refusal.code.as_str()) =>
            {
                Err(Failure::wrong(format!("the second attempt is refused: {refusal:?}")))
            }
            _ => Ok(Seen::not_yet(format!("{answer:?}"))),
        }
    })
}

fn installed(stage: &Stage) -> Option<Activated> {
    let license = stage.cluster.nodes[0].product().license().unwrap().license?;
    Some(Activated { support_id: license.support_id, serial: license.serial })
}

/// The places at which an agent can be made to die.
fn failpoints(stage: &Stage) -> Vec<String> {
    let names: Vec<String> = stage.cluster.nodes[0].cli(["debug", "failpoints"]).json().unwrap();
    assert!(names.len() >= 5, "{names:?}");
    names
}

#[test]
fn an_agent_that_dies_at_any_step_of_an_activation_leaves_one_that_can_be_finished() {
    // Portal and cluster are set up once; every failpoint begins with a copy of that.
    let mut stage = Stage::start(three).unwrap();
    let names = failpoints(&stage);
    let key = stage.portal.order().unwrap().activation_key;
    stage.cluster.stop().unwrap();
    stage.portal.stop().unwrap();
    let copy = stage.folder.path().join("fresh");
    let parts = ["portal", "nodes"].map(|part| (stage.folder.path().join(part), copy.join(part)));
    for (place, kept) in &parts {
        files::copy_folder(place, kept).unwrap();
    }
    let mut not_hit = Vec::new();
    for name in &names {
        for (place, kept) in &parts {
            files::remove_folder(place).unwrap();
            files::copy_folder(kept, place).unwrap();
        }
        if let Err(what) = dies_at(&mut stage, name, &key) {
            not_hit.push(format!("{name}: {what}"));
        }
        stage.cluster.kill_all().unwrap();
        stage.portal.kill().unwrap();
    }
    assert!(not_hit.is_empty(), "failpoints that are wrong:\n{}", not_hit.join("\n"));
}

/// Activates with a failpoint armed on all nodes, restarts the dead ones without it, and finishes.
fn dies_at(stage: &mut Stage, name: &str, key: &str) -> Result<(), String> {
    let said = |failure: Failure| failure.to_string();
    stage.portal.serve().map_err(said)?;
    for node in &mut stage.cluster.nodes {
        node.serve_with(&[("FAILPOINTS", &format!("{name}=return"))]).map_err(said)?;
    }
    stage.cluster.wait_for_members(3).map_err(said)?;
    let command =
        stage.cluster.nodes[0].cli(["license", "activate", "--key-file", "-", "--yes", "-o", "json"]);
    let stdin = key.to_owned();
    let activating = std::thread::spawn(move || command.stdin(stdin).run());
    let begun = Instant::now();
    let mut dead = 0;
    while dead == 0 && !(activating.is_finished() && begun.elapsed() > Duration::from_secs(5)) {
        std::thread::sleep(Duration::from_millis(20));
        dead = stage.cluster.nodes.iter_mut().filter_map(|node| node.ended()).count();
    }
    if dead == 0 {
        return Err("it was never hit".to_owned());
    }
    // Every node without the failpoint: those that died, and those that would die next.
    stage.cluster.kill_all().map_err(said)?;
    activating.join().map_err(|_| "the activating thread failed")?.map_err(said)?;
    for node in &mut stage.cluster.nodes {
        node.serve().map_err(said)?;
    }
    stage.cluster.wait_for_members(3).map_err(said)?;
    // Finished by itself, or visibly open and finished by the same command.
    let summary = wait::until("the outcome to be visible", PATIENCE, || {
        let activations = stage.cluster.nodes[0].admin().activations()?;
        let license = stage.cluster.nodes[0].product().license()?.license;
        Ok(match (activations.as_slice(), license) {
            ([], None) => Seen::Done("no intent".to_owned()),
            (_, Some(_)) => Seen::Done("installed".to_owned()),
            (some, None) => Seen::Done(some.iter().map(|a| a.state.clone()).collect::<Vec<_>>().join(", ")),
        })
    })
    .map_err(said)?;
    let activated = finished(stage, key).map_err(|failure| format!("after {summary}: {failure}"))?;
    stage.cluster.wait_for_serial(activated.serial).map_err(said)?;
    let (issued, installations) =
        (stage.portal.activations().map_err(said)?, stage.portal.installations().map_err(said)?);
    if installations != [activated.support_id.clone()] {
        return Err(format!("after {summary}: the portal has the installations {installations:?}"));
    }
    if !issued.iter().any(|one| one.serial == activated.serial) {
        return Err(format!("after {summary}: the portal issued {issued:?}, installed is {activated:?}"));
    }
    let states: Vec<String> =
        stage.cluster.nodes[0].admin().activations().map_err(said)?.into_iter().map(|a| a.state).collect();
    let (installed, open) = (
        states.iter().filter(|state| *state == "installed").count(),
        states.iter().filter(|state| matches!(state.as_str(), "opened" | "requested")).count(),
    );
    if installed != 1 || open != 0 {
        return Err(format!("after {summary}: the activations are {states:?}"));
    }
    Ok(())
}
