//! A node that is gone is replaced under a new ID, and what is left of it disturbs nobody.

use std::fs;

use nix::sys::signal::Signal;
use quorate_chaos_tests::{
    Role, Stage,
    cluster::{NewToken, wait_for_serial},
    http,
    wait::{self, PATIENCE, Seen},
};

use super::{
    changes_work, copy, digests_are_equal, health, log, move_away, named, refused, refuses_to_serve, replace,
    replace_with, signal, term, three,
};

#[test]
fn a_wiped_voter_is_refused_and_replaced_under_a_new_id() {
    let (mut stage, serial) = Stage::activated(|_| {}).unwrap();
    let cluster = &mut stage.cluster;
    let before = cluster.status().unwrap();
    let old = named(&before, "management-1").clone();
    assert_eq!(before.first_license_node, old.id);

    // While it lives, it can't be replaced, whoever asks.
    let data_dir = cluster.nodes[0].data_dir.to_string_lossy().into_owned();
    let spare = cluster.nodes[0].data_dir.with_extension("spare").to_string_lossy().into_owned();
    cluster.nodes[0].set("node", "data_dir", spare.clone());
    cluster.nodes[0].write_config().unwrap();
    let living = refused(replace(cluster, &cluster.nodes[0], 1));
    assert_eq!(living.code, "node_answers", "{living:?}");
    cluster.nodes[0].set("node", "data_dir", data_dir);
    cluster.nodes[0].write_config().unwrap();

    // Its store is lost.
    cluster.nodes[0].kill().unwrap();
    fs::remove_dir_all(cluster.nodes[0].data_dir.join("store")).unwrap();
    let words = refuses_to_serve(&mut cluster.nodes[0]);
    assert!(words.contains("store_lost") || words.contains("is gone"), "{words}");
    assert!(words.contains("quorate join --replace management-1"), "{words}");
    assert!(!cluster.nodes[0].data_dir.join("store/db").exists(), "nothing was made in its place");
    cluster.leader().unwrap();

    // What is no replacement.
    let prepared = refused(replace(cluster, &cluster.nodes[0], 1));
    assert_eq!(prepared.code, "already_prepared");
    assert!(prepared.message.contains("move it away"), "{prepared:?}");
    move_away(&cluster.nodes[0]);
    let token = |role: Role, name: &[&str]| -> String {
        let token =
            cluster.nodes[1].cli(["token", "create", "--role", role.as_str()]).args(name.iter().copied());
        token.json::<NewToken>().unwrap().token
    };
    let of = |name: &'static str| ["--name", name];
    let management = token(Role::Management, &of("management-1"));
    let node = &cluster.nodes[0];
    let any_name =
        refused(replace_with(node, &token(Role::Management, &[]), &cluster.nodes[1], "management-1"));
    assert_eq!(any_name.code, "token_not_for_replacing");
    assert!(any_name.hint.unwrap().contains("--name management-1"));
    let second = token(Role::Management, &of("management-2"));
    let other_name = refused(replace_with(node, &second, &cluster.nodes[1], "management-2"));
    assert_eq!(other_name.code, "node_name_differs");
    let spooler = token(Role::Spooler, &of("management-1"));
    let other_role = refused(replace_with(node, &spooler, &cluster.nodes[1], "management-1"));
    assert_eq!(other_role.code, "node_role_differs");
    let machine_id = fs::read_to_string(&node.machine_id_file).unwrap();
    fs::write(&node.machine_id_file, format!("{:032x}\n", rand::random::<u128>() | 1)).unwrap();
    let other_computer = refused(replace_with(node, &management, &cluster.nodes[1], "management-1"));
    assert_eq!(other_computer.code, "computer_id_differs");
    assert!(other_computer.message.contains("transfer"), "{other_computer:?}");
    fs::write(&node.machine_id_file, machine_id).unwrap();
    assert_eq!(refused(node.join(&management, cluster.nodes[1].raft).unwrap()).code, "node_name_taken");

    // And one that is.
    replace_with(node, &management, &cluster.nodes[1], "management-1").success().unwrap();
    cluster.nodes[0].serve().unwrap();
    cluster.wait_for_members(4).unwrap();
    let after = cluster.status().unwrap();
    let new = named(&after, "management-1").clone();
    assert!(new.id > old.id && new.computer_id == old.computer_id, "{new:?}");
    assert_eq!(after.first_license_node, new.id, "it is the first license node again");
    assert_eq!(
        after.removed.iter().map(|gone| (gone.id, gone.replaced_by)).collect::<Vec<_>>(),
        [(old.id, Some(new.id))]
    );
    assert_eq!(after.license.unwrap().status, "active");
    assert!(cluster.nodes[0].product().check("", 0).unwrap().allowed);
    wait_for_serial(&mut cluster.nodes[0], serial).unwrap();

    // It leads activations: a further order.
    let key = stage.portal.order().unwrap().activation_key;
    let further = stage.cluster.activate(1, &key).unwrap();
    stage.cluster.wait_for_serial(further.serial).unwrap();
    digests_are_equal(&mut stage.cluster);
}

#[test]
fn a_copied_or_rolled_back_directory_is_refused_by_name() {
    let mut stage = Stage::start(three).unwrap();
    let cluster = &mut stage.cluster;
    let id = named(&cluster.status().unwrap(), "management-3").id;
    let term_before = term(&cluster.nodes[0]);
    let backup = cluster.nodes[2].data_dir.with_extension("backup");
    cluster.nodes[2].stop().unwrap();
    copy(&cluster.nodes[2].data_dir, &backup);
    cluster.nodes[2].serve().unwrap();
    cluster
        .wait_for_status("the second start to be known", |status| {
            named(status, "management-3").start_counter == 2
        })
        .unwrap();

    // The machine is set back to the backup: its next start has the number of the last one.
    cluster.nodes[2].stop().unwrap();
    move_away(&cluster.nodes[2]);
    copy(&backup, &cluster.nodes[2].data_dir);
    let words = refuses_to_serve(&mut cluster.nodes[2]);
    assert!(words.contains("copy, or was rolled back"), "{words}");
    assert!(words.contains("quorate join --replace management-3"), "{words}");
    // Counting on does not help: a service manager may start it again at once.
    let again = cluster.nodes[2].cli(["serve", "-o", "json"]).run().unwrap();
    assert_eq!(refused(again).code, "node_start_outdated");

    move_away(&cluster.nodes[2]);
    replace(cluster, &cluster.nodes[2], 0).success().unwrap();
    cluster.nodes[2].serve().unwrap();
    cluster.wait_for_members(3).unwrap();
    let new = named(&cluster.status().unwrap(), "management-3").id;
    assert!(new > id);

    // The old directory once more: its node is gone, and the others are not disturbed.
    cluster.nodes[2].stop().unwrap();
    move_away(&cluster.nodes[2]);
    copy(&backup, &cluster.nodes[2].data_dir);
    let words = refuses_to_serve(&mut cluster.nodes[2]);
    assert!(words.contains("taken out of the cluster") && words.contains("replaced by node"), "{words}");
    changes_work(cluster, 0).unwrap();
    let leader_changes = term(&cluster.nodes[0]) - term_before;
    assert!(leader_changes <= 2, "stops hand over at most: {leader_changes}");
}

#[test]
fn a_change_of_voters_that_a_crash_left_half_done_is_finished() {
    let mut stage = Stage::prepare(|plan| {
        plan.spoolers = 0;
        // A leader that lost its quorum goes on for a while: long enough to begin the change.
        plan.raft_times_ms = Some([300, 6000, 8000]);
    })
    .unwrap();
    let cluster = &mut stage.cluster;
    cluster.found().unwrap();
    cluster.join(1).unwrap();
    cluster.nodes[1].serve().unwrap();
    cluster.wait_for_members(2).unwrap();
    cluster.join(2).unwrap();
    cluster.nodes[2].serve().unwrap();
    cluster
        .wait_for_status("the third node to have caught up", |status| {
            let third = named(status, "management-3");
            third.online == Some(true) && third.applied_index.is_some()
        })
        .unwrap();
    let third = named(&cluster.status().unwrap(), "management-3").clone();
    assert!(!third.voter, "it is not promoted at the first look");

    // With the second voter paused the first half can be written, and not be committed.
    signal(&cluster.nodes[1], Signal::SIGSTOP);
    health(&cluster.nodes[0], "the first half of the change", |health| health.membership_changing);
    cluster.nodes[0].kill().unwrap();
    signal(&cluster.nodes[1], Signal::SIGCONT);
    cluster.nodes[0].serve().unwrap();
    cluster.wait_for_members(3).unwrap();
    let done = health(&cluster.nodes[0], "the change to be finished", |health| {
        health.voters == 3 && !health.membership_changing && health.healthy
    });
    assert_eq!(done.failure_tolerance, 1);
    changes_work(cluster, 2).unwrap();
}

#[test]
fn a_replaced_node_that_never_heard_of_it_raises_no_term() {
    let mut stage = Stage::prepare(|plan| {
        plan.spoolers = 0;
        // Long enough that pausing the others for a moment makes none of them stand for election.
        plan.raft_times_ms = Some([300, 6000, 8000]);
    })
    .unwrap();
    let cluster = &mut stage.cluster;
    cluster.start().unwrap();

    // It is away when it is replaced, so its log ends before: by its log it is a voter.
    cluster.nodes[2].kill().unwrap();
    let old = cluster.nodes[2].data_dir.with_extension("old");
    fs::rename(&cluster.nodes[2].data_dir, &old).unwrap();
    replace(cluster, &cluster.nodes[2], 0).success().unwrap();
    cluster.nodes[2].serve().unwrap();
    cluster.wait_for_members(3).unwrap();
    cluster.nodes[2].stop().unwrap();
    move_away(&cluster.nodes[2]);
    fs::rename(&old, &cluster.nodes[2].data_dir).unwrap();
    let (leader, before) = (cluster.leader().unwrap(), term(&cluster.nodes[0]));

    // Nobody can tell it at its start: the others are paused just then.
    let mark = log(&cluster.nodes[2]).len();
    for node in &cluster.nodes[..2] {
        signal(node, Signal::SIGSTOP);
    }
    cluster.nodes[2].serve().unwrap();
    let started = wait::until("the old node to serve", PATIENCE, || {
        let log = log(&cluster.nodes[2])[mark..].to_owned();
        Ok(Seen::when(log.contains("this node serves"), || log.clone()))
    });
    for node in &cluster.nodes[..2] {
        signal(node, Signal::SIGCONT);
    }
    started.unwrap();

    // It asks for votes, is refused by name, and hears why in the end.
    wait::until("the old node to hear that it was replaced", PATIENCE, || {
        let log = log(&cluster.nodes[2])[mark..].to_owned();
        Ok(Seen::when(log.contains("no part of the cluster any more"), || log.clone()))
    })
    .unwrap();
    let metrics = http::get(cluster.nodes[2].ops, "/metrics").unwrap().body;
    let refused: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("quorate_network_peer_sent_failures_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!(refused > 0.0, "it has asked for no vote:\n{metrics}");
    assert_eq!((cluster.leader().unwrap(), term(&cluster.nodes[0])), (leader, before));
    changes_work(cluster, 1).unwrap();
    cluster.nodes[2].stop().unwrap();
    let words = refuses_to_serve(&mut cluster.nodes[2]);
    assert!(words.contains("replaced by node"), "{words}");
}
