//! Clones and ghosts on real processes: who is found, who is named, what is refused, and when it is over.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use quorate_chaos_tests::{
    Cluster, Node, Role, Stage,
    cli::Refusal,
    cluster::NewToken,
    files, http,
    wait::{self, PATIENCE, Seen},
};

/// How soon whoever lives twice is found.
const SECONDS: Duration = Duration::from_secs(30);
/// Two rounds in which the leader looks at how far the others are.
const ROUNDS: Duration = Duration::from_secs(6);

fn log(node: &Node) -> String {
    fs::read_to_string(node.log()).unwrap_or_default()
}

/// Copies a data directory while its node runs, as a snapshot of the machine would: at one moment.
fn snapshot(node: &mut Node, to: &Path) {
    files::remove_folder(to).unwrap();
    node.pause().unwrap();
    let copied = files::copy_folder(&node.data_dir, to);
    node.resume().unwrap();
    copied.unwrap();
}

fn move_away(node: &Node) -> PathBuf {
    let away = node.data_dir.with_extension(format!("away-{}", rand::random::<u32>()));
    fs::rename(&node.data_dir, &away).unwrap();
    away
}

/// A second machine with the same disk: its own address, the same machine id, name and keys.
fn clone_of(stage: &mut Stage, index: usize) -> Node {
    let mut plan = stage.plan.clone();
    plan.folder = stage.folder.path().join("clone");
    plan.first_host = 50;
    let clone = plan.node(index).unwrap();
    snapshot(&mut stage.cluster.nodes[index], &clone.data_dir);
    let original = &stage.cluster.nodes[index];
    fs::copy(&original.machine_id_file, &clone.machine_id_file).unwrap();
    clone
}

/// Waits until status and health of a node have a line with the code that names all of `names`.
fn named(node: &Node, code: &str, names: &[&str]) {
    wait::until(&format!("{code} naming {names:?} on {}", node.name), SECONDS, || {
        let (status, health) = (node.admin().status()?, node.admin().health()?);
        let has = |lines: &[String]| {
            lines.iter().any(|line| line.starts_with(code) && names.iter().all(|name| line.contains(name)))
        };
        Ok(Seen::when(has(&status.warnings) && has(&health.problems) && !health.healthy, || {
            format!("{:?} {:?}", status.warnings, health.problems)
        }))
    })
    .unwrap();
}

/// Waits until no node knows of anything any more.
fn over(cluster: &Cluster) {
    wait::until("nothing to be wrong any more", PATIENCE, || {
        let mut wrong = Vec::new();
        for node in &cluster.nodes {
            let health = node.admin().health()?;
            wrong.extend(health.problems);
            wrong.extend(alarms(node));
        }
        Ok(Seen::when(wrong.is_empty(), || wrong.join("; ")))
    })
    .unwrap();
}

/// The alarms of a node's metrics.
fn alarms(node: &Node) -> Vec<String> {
    let metrics = http::get(node.ops, "/metrics").unwrap().body;
    let lines = metrics.lines().filter(|line| line.starts_with("quorate_clones{") && !line.ends_with(" 0"));
    lines.map(str::to_owned).collect()
}

fn refused_activation(stage: &Stage, key: &str) -> Refusal {
    let asked = stage.portal.requests_seen().unwrap();
    let answer = stage.cluster.try_activate(0, key).unwrap();
    assert!(answer.code.is_some_and(|code| code != 0), "{answer:?}");
    assert_eq!(stage.portal.requests_seen().unwrap(), asked, "the portal was asked");
    answer.refusal().unwrap()
}

fn activates(stage: &mut Stage, key: &str) {
    let serial = stage.cluster.activate(0, key).unwrap().serial;
    stage.cluster.wait_for_serial(serial).unwrap();
}

/// How many lines of all logs have these words.
fn told(cluster: &Cluster, words: &str) -> usize {
    cluster.nodes.iter().map(|node| log(node).lines().filter(|line| line.contains(words)).count()).sum()
}

#[test]
fn a_copied_data_directory_is_refused_while_the_original_lives_and_both_are_named() {
    let mut stage = Stage::start(|plan| plan.spoolers = 0).unwrap();
    let key = stage.portal.order().unwrap().activation_key;
    let mut clone = clone_of(&mut stage, 2);
    let addresses = [stage.cluster.nodes[2].raft.to_string(), clone.raft.to_string()];
    let both = ["management-3", addresses[0].as_str(), addresses[1].as_str(), "since"];

    clone.serve().unwrap();
    let status = clone.wait_end(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(1));
    let words = log(&clone);
    assert!(words.contains("is used by two processes"), "{words}");
    assert!(both.iter().all(|name| words.contains(name)), "{words}");
    for node in &stage.cluster.nodes {
        named(node, "data_directory_cloned", &both);
    }
    let leader = stage.cluster.leader().unwrap();
    wait::until("the leader's metric", SECONDS, || {
        let metric = alarms(&stage.cluster.nodes[leader]);
        Ok(Seen::when(metric == ["quorate_clones{code=\"data_directory_cloned\"} 1"], || {
            format!("{metric:?}")
        }))
    })
    .unwrap();

    let refusal = refused_activation(&stage, &key);
    assert_eq!(refusal.code, "data_directory_cloned");
    assert!(both.iter().all(|name| refusal.message.contains(name)), "{refusal:?}");
    let lines = told(&stage.cluster, "who is who is not clear");
    assert!((1..=3).contains(&lines), "one line on each node that knows: {lines}");

    // The original was never disturbed, and once the clone is gone all is well.
    over(&stage.cluster);
    stage.cluster.wait_for_members(3).unwrap();
    activates(&mut stage, &key);

    // The leader's directory, too.
    let leader = stage.cluster.leader().unwrap();
    let name = stage.cluster.nodes[leader].name.clone();
    fs::remove_dir_all(stage.folder.path().join("clone")).unwrap();
    let mut clone = clone_of(&mut stage, leader);
    clone.serve().unwrap();
    clone.wait_end(PATIENCE).unwrap();
    named(&stage.cluster.nodes[0], "data_directory_cloned", &[&name, &clone.raft.to_string()]);
    assert_eq!(stage.cluster.leader().unwrap(), leader);
}

#[test]
fn two_processes_of_one_node_that_both_live_are_found_and_the_later_one_ends() {
    let mut stage = Stage::start(|plan| {
        plan.spoolers = 0;
        // Long enough that pausing the others for a moment makes none of them stand for election.
        plan.raft_times_ms = Some([300, 6000, 8000]);
    })
    .unwrap();
    let leader = stage.cluster.leader().unwrap();
    let victim = (leader + 1) % 3;
    let mut clone = clone_of(&mut stage, victim);
    let term = stage.cluster.nodes[leader].admin().health().unwrap().term;

    // Nobody can tell it at its start.
    let others: Vec<usize> = (0..3).filter(|index| *index != victim).collect();
    for index in &others {
        stage.cluster.nodes[*index].pause().unwrap();
    }
    clone.serve().unwrap();
    let served = wait::until("the clone to serve", PATIENCE, || {
        Ok(Seen::when(log(&clone).contains("this node serves"), || log(&clone)))
    });
    for index in &others {
        stage.cluster.nodes[*index].resume().unwrap();
    }
    served.unwrap();

    let (name, address) =
        (stage.cluster.nodes[victim].name.clone(), stage.cluster.nodes[victim].raft.to_string());
    named(&stage.cluster.nodes[victim], "data_directory_cloned", &[&name, &address, &clone.raft.to_string()]);
    let status = clone.wait_end(PATIENCE).unwrap();
    assert!(!status.success(), "{status}");
    assert!(log(&clone).contains("is used by two processes"), "{}", log(&clone));
    stage.cluster.nodes[victim].must_run().unwrap();
    assert_eq!(stage.cluster.nodes[leader].admin().health().unwrap().term, term, "nobody voted for it");
    over(&stage.cluster);
    stage.cluster.wait_for_members(3).unwrap();
}

#[test]
fn a_duplicate_machine_id_is_found_and_a_changed_one_is_an_alarm_and_no_end() {
    let (mut stage, _) = Stage::activated(|plan| plan.spoolers = 1).unwrap();
    let key = stage.portal.order().unwrap().activation_key;
    let spooler = 3;
    let file = stage.cluster.nodes[spooler].machine_id_file.clone();
    let own = fs::read_to_string(&file).unwrap();
    let computer = |stage: &Stage| {
        let status = stage.cluster.status().unwrap();
        status.nodes.iter().find(|node| node.name == "spooler-1").unwrap().computer_id.clone()
    };
    let registered = computer(&stage);

    // The machine was cloned: it has the machine id of another node, from one moment to the next.
    fs::copy(&stage.cluster.nodes[2].machine_id_file, &file).unwrap();
    named(&stage.cluster.nodes[1], "computer_id_cloned", &["spooler-1", "management-3", "since"]);
    let refusal = refused_activation(&stage, &key);
    assert_eq!(refusal.code, "computer_id_cloned");
    assert!(refusal.message.contains("spooler-1") && refusal.message.contains("management-3"), "{refusal:?}");
    fs::write(&file, &own).unwrap();
    over(&stage.cluster);

    // It was set up anew: old and new are shown, also after a restart, and the product goes on.
    fs::write(&file, format!("{:032x}\n", rand::random::<u128>() | 1)).unwrap();
    named(&stage.cluster.nodes[0], "computer_id_changed", &["spooler-1", &registered]);
    stage.cluster.nodes[spooler].stop().unwrap();
    stage.cluster.nodes[spooler].serve().unwrap();
    stage.cluster.wait_for_members(4).unwrap();
    named(&stage.cluster.nodes[0], "computer_id_changed", &["spooler-1", &registered]);
    let shown = log(&stage.cluster.nodes[spooler]);
    assert!(shown.contains(&format!("registered={registered}")), "{shown}");
    assert_eq!(computer(&stage), registered, "it is not replaced in silence");
    let check = stage.cluster.nodes[spooler].product().check("", 0).unwrap();
    assert!(
        check.allowed && check.days_left.is_some(),
        "it has the time of a node that is not bound: {check:?}"
    );
    assert!(stage.cluster.nodes[0].product().check("", 0).unwrap().allowed);
    assert_eq!(refused_activation(&stage, &key).code, "computer_id_changed");

    // An administrator accepts it.
    stage.cluster.nodes[spooler].stop().unwrap();
    accept(&mut stage.cluster.nodes[spooler]);
    stage
        .cluster
        .wait_for_status("the new computer ID to be registered", |status| {
            let row = status.nodes.iter().find(|node| node.name == "spooler-1");
            row.is_some_and(|row| row.computer_id != registered)
        })
        .unwrap();
    over(&stage.cluster);
    let after = stage.cluster.try_activate(0, &key).unwrap();
    let code = after.refusal().map(|refusal| refusal.code).unwrap_or_default();
    assert!(!code.starts_with("computer_id"), "the computer ID is no reason any more: {after:?}");
}

/// Starts a node whose administrator accepts its new computer ID.
fn accept(node: &mut Node) {
    let wrapper = std::mem::replace(
        &mut node.wrapper,
        ["sh", "-c", "exec \"$@\" --accept-computer-id", "sh"].map(Into::into).into(),
    );
    node.serve().unwrap();
    node.wrapper = wrapper;
}

#[test]
fn a_node_key_that_is_used_twice_is_found() {
    let mut stage = Stage::start(|plan| plan.spoolers = 1).unwrap();
    let key = stage.portal.order().unwrap().activation_key;
    let spooler = 3;
    let own = fs::read(stage.cluster.nodes[spooler].data_dir.join("keys/node")).unwrap();
    stage.cluster.nodes[spooler].stop().unwrap();
    fs::copy(
        stage.cluster.nodes[1].data_dir.join("keys/node"),
        stage.cluster.nodes[spooler].data_dir.join("keys/node"),
    )
    .unwrap();
    stage.cluster.nodes[spooler].serve().unwrap();
    named(&stage.cluster.nodes[0], "node_key_cloned", &["spooler-1", "management-2", "since"]);
    let refusal = refused_activation(&stage, &key);
    assert_eq!(refusal.code, "node_key_cloned");
    assert!(refusal.message.contains("spooler-1") && refusal.message.contains("management-2"), "{refusal:?}");

    // A joiner with a key that is in use does not get in.
    let joiner = {
        let mut plan = stage.plan.clone();
        plan.first_host = 60;
        plan.folder = stage.folder.path().join("joiner");
        let mut joiner = plan.node(spooler).unwrap();
        joiner.set("node", "name", "spooler-9");
        joiner.write_config().unwrap();
        joiner
    };
    fs::create_dir_all(joiner.data_dir.join("keys")).unwrap();
    fs::copy(stage.cluster.nodes[1].data_dir.join("keys/node"), joiner.data_dir.join("keys/node")).unwrap();
    let token: NewToken = stage.cluster.token(Role::Spooler, None).unwrap();
    let answer = joiner.join(&token.token, stage.cluster.nodes[0].raft).unwrap();
    assert_eq!(answer.refusal().unwrap().code, "node_key_in_use");

    // A key that nobody has is not the registered one either.
    let mut nobodys = own.clone();
    nobodys[0] = if nobodys[0] == b'a' { b'b' } else { b'a' };
    stage.cluster.nodes[spooler].stop().unwrap();
    fs::write(stage.cluster.nodes[spooler].data_dir.join("keys/node"), nobodys).unwrap();
    stage.cluster.nodes[spooler].serve().unwrap();
    named(&stage.cluster.nodes[0], "node_key_changed", &["spooler-1"]);
    assert_eq!(refused_activation(&stage, &key).code, "node_key_changed");

    stage.cluster.nodes[spooler].stop().unwrap();
    fs::write(stage.cluster.nodes[spooler].data_dir.join("keys/node"), own).unwrap();
    stage.cluster.nodes[spooler].serve().unwrap();
    stage.cluster.wait_for_members(4).unwrap();
    over(&stage.cluster);
    activates(&mut stage, &key);
}

#[test]
fn a_node_that_was_set_back_to_a_snapshot_is_refused_by_what_it_has_acknowledged() {
    let mut stage = Stage::start(|plan| plan.spoolers = 0).unwrap();
    let leader = stage.cluster.leader().unwrap();
    let victim = (leader + 1) % 3;
    let name = stage.cluster.nodes[victim].name.clone();
    let backup = stage.cluster.nodes[victim].data_dir.with_extension("backup");
    snapshot(&mut stage.cluster.nodes[victim], &backup);
    // It acknowledges more than the snapshot holds, in the same start: no start counter tells it.
    for round in 0..5 {
        stage.cluster.admin_token(&format!("after-{round}")).unwrap();
    }
    let asked = stage.cluster.nodes[leader].metric("quorate_server_proposals_applied_total").unwrap();
    let began = Instant::now();
    wait::until("the leader to have looked", PATIENCE, || {
        stage.cluster.admin_token("later").unwrap();
        let now = stage.cluster.nodes[leader].metric("quorate_server_proposals_applied_total").unwrap();
        Ok(Seen::when(now > asked + 10.0 && began.elapsed() > ROUNDS, || format!("{now}")))
    })
    .unwrap();
    stage.cluster.nodes[victim].kill().unwrap();
    move_away(&stage.cluster.nodes[victim]);
    fs::rename(&backup, &stage.cluster.nodes[victim].data_dir).unwrap();

    stage.cluster.nodes[victim].serve().unwrap();
    let status = stage.cluster.nodes[victim].wait_end(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(1));
    let words = log(&stage.cluster.nodes[victim]);
    assert!(words.contains("the node has acknowledged entry"), "{words}");
    assert!(words.contains(&format!("quorate join --replace {name}")), "{words}");
    stage.cluster.nodes[victim].kill().unwrap();
    named(&stage.cluster.nodes[leader], "node_rolled_back", &[&name]);
}
