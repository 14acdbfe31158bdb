//! Nodes that leave, come back, are set up anew, move, and are copied: real processes, public faces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use quorate_chaos_tests::{
    Cluster, Node, Result, Role, Stage,
    cli::{Answer, Refusal},
    http,
    wait::{self, PATIENCE, Seen},
};
use quorate_proto::v1::{ClusterHealthResponse, NodeStatus, StatusResponse};
use serde::Deserialize;

fn refused(answer: Answer) -> Refusal {
    assert!(answer.code.is_some_and(|code| code != 0), "{answer:?}");
    answer.refusal().unwrap()
}

fn three(plan: &mut quorate_chaos_tests::Plan) {
    plan.spoolers = 0;
}

fn remove(node: &Node, name: &str) -> Answer {
    node.cli(["node", "remove", name, "--yes", "-o", "json"]).run().unwrap()
}

fn named<'s>(status: &'s StatusResponse, name: &str) -> &'s NodeStatus {
    status.nodes.iter().find(|node| node.name == name).unwrap()
}

fn term(node: &Node) -> u64 {
    node.admin().health().unwrap().term
}

fn signal(node: &Node, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(node.pid().unwrap()).unwrap()), signal).unwrap();
}

fn log(node: &Node) -> String {
    fs::read_to_string(node.log()).unwrap_or_default()
}

/// How often the log has a line with these words.
fn lines(node: &Node, words: &str) -> usize {
    log(node).lines().filter(|line| line.contains(words)).count()
}

fn health(node: &Node, what: &str, wanted: impl Fn(&ClusterHealthResponse) -> bool) -> ClusterHealthResponse {
    wait::until(what, PATIENCE, || {
        let health = match node.admin().health() {
            Ok(health) => health,
            Err(failure) => return Ok(Seen::not_yet(failure.to_string())),
        };
        Ok(if wanted(&health) { Seen::Done(health) } else { Seen::not_yet(format!("{health:?}")) })
    })
    .unwrap()
}

/// Starts a node that refuses to serve, and gives what it says at its end.
fn refuses_to_serve(node: &mut Node) -> String {
    let before = log(node).len();
    node.serve().unwrap();
    let status = node.wait_end(PATIENCE).unwrap();
    assert!(!status.success(), "{status}");
    node.stop().unwrap();
    log(node)[before..].to_owned()
}

/// Copies a stopped node's data directory, as a backup of the machine would.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

fn move_away(node: &Node) {
    let mut away = node.data_dir.clone();
    away.set_extension(format!("away-{}", rand::random::<u32>()));
    fs::rename(&node.data_dir, away).unwrap();
    // The folder of its sockets may be the data directory; `join` makes it again.
}

/// Joins a node in its own place, by a token made on `server`.
fn replace(cluster: &Cluster, node: &Node, server: usize) -> Answer {
    let server = &cluster.nodes[server];
    let token = server.cli(["token", "create", "--role", node.role.as_str(), "--name", &node.name]);
    let token: quorate_chaos_tests::cluster::NewToken = token.json().unwrap();
    replace_with(node, &token.token, server, &node.name)
}

fn replace_with(node: &Node, token: &str, server: &Node, name: &str) -> Answer {
    node.cli([
        "join",
        "--replace",
        name,
        "--token-file",
        "-",
        "--server",
        &server.raft.to_string(),
        "-o",
        "json",
    ])
    .stdin(token)
    .run()
    .unwrap()
}

/// What `quorate debug digest` says of a stopped node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Digest {
    applied_index: Option<u64>,
    recomputed: String,
}

/// Stops all nodes at rest; their states are the same.
fn digests_are_equal(cluster: &mut Cluster) {
    wait::until("all nodes at the same log index", PATIENCE, || {
        let status = cluster.status()?;
        let indexes: Vec<_> = status.nodes.iter().map(|node| node.applied_index).collect();
        Ok(Seen::when(indexes.iter().all(|index| index.is_some() && *index == indexes[0]), || {
            format!("{indexes:?}")
        }))
    })
    .unwrap();
    cluster.kill_all().unwrap();
    let digests: Vec<Digest> =
        cluster.nodes.iter().map(|node| node.cli(["debug", "digest"]).json().unwrap()).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:#?}");
}

/// That a change goes through.
fn changes_work(cluster: &Cluster, node: usize) -> Result<()> {
    let token = cluster.nodes[node].cli(["token", "create", "--admin", "membership"]);
    token.json::<quorate_chaos_tests::cluster::NewToken>().map(|_| ())
}

#[test]
fn a_living_node_leaves_is_told_so_and_joins_again_as_a_new_one() {
    let (mut stage, _) = Stage::activated(|_| {}).unwrap();
    let cluster = &mut stage.cluster;
    let before = cluster.status().unwrap();
    assert!(before.warnings.is_empty() && before.removed.is_empty(), "{before:?}");
    let healthy = health(&cluster.nodes[0], "a healthy cluster", |health| health.healthy);
    assert_eq!((healthy.failure_tolerance, healthy.quorum), (1, 2));
    assert!(healthy.nodes.iter().all(|node| node.condition == "healthy"), "{healthy:?}");

    // Refused by name.
    assert_eq!(refused(remove(&cluster.nodes[1], "management-1")).code, "first_license_node");
    assert_eq!(refused(remove(&cluster.nodes[1], "management-9")).code, "node_unknown");
    let unconfirmed = cluster.nodes[0].cli(["node", "remove", "management-3", "-o", "json"]).run().unwrap();
    assert_eq!((unconfirmed.code, refused(unconfirmed).code.as_str()), (Some(2), "confirmation_needed"));
    let reader = remove(&cluster.nodes[3], "management-3");
    assert_eq!(reader.code, Some(4), "{reader:?}");

    // A dead node, and one that the others can't do without.
    cluster.nodes[2].kill().unwrap();
    let ill = health(&cluster.nodes[0], "a missing node to be noticed", |health| health.voters_online == 2);
    assert_eq!(ill.failure_tolerance, 0);
    let missing = ill.nodes.iter().find(|node| node.name == "management-3").unwrap();
    assert_eq!(missing.condition, "offline");
    assert!(missing.since_ms.is_some() && missing.lag_entries.is_some(), "{missing:?}");
    assert!(ill.problems.iter().any(|problem| problem.contains("management-3 is offline since")), "{ill:?}");
    let dead = refused(remove(&cluster.nodes[0], "management-3"));
    assert_eq!(dead.code, "node_not_answering");
    assert!(dead.hint.unwrap().contains("join --replace management-3"));
    let few = refused(remove(&cluster.nodes[0], "management-2"));
    assert_eq!(few.code, "voters_too_few");
    assert!(few.message.contains("management-3"), "{few:?}");
    cluster.nodes[2].serve().unwrap();
    cluster.wait_for_members(4).unwrap();

    // The leader itself, on its own socket: it hands over first.
    let third = named(&before, "management-3").id;
    cluster.nodes[0].admin().transfer_leader(third).unwrap();
    assert_eq!(cluster.leader().unwrap(), 2);
    let term_before = term(&cluster.nodes[0]);
    let answer = remove(&cluster.nodes[2], "management-3").success().unwrap();
    assert!(answer.stdout.contains("\"left_group\": true"), "{answer:?}");
    let after = health(&cluster.nodes[0], "two voters", |health| health.voters == 2);
    assert!(after.healthy && after.warnings.iter().any(|warning| warning.contains("even")), "{after:?}");
    let status = cluster.status().unwrap();
    assert_eq!(status.nodes.len(), 3);
    assert_eq!((status.removed.len(), status.removed[0].id), (1, third));
    assert!(status.removed[0].detail.contains("local administrator on management-3"), "{status:?}");
    assert_eq!(refused(remove(&cluster.nodes[0], "management-3")).code, "node_unknown", "by name it is gone");

    // It knows, says so once, and stands for no election.
    wait::until("the removed node not to be ready", PATIENCE, || {
        let reply = http::get(cluster.nodes[2].ops, "/readyz")?;
        Ok(Seen::when(reply.status == 503 && reply.body.contains("node_removed"), || format!("{reply:?}")))
    })
    .unwrap();
    let own = cluster.nodes[2].admin().status().unwrap();
    assert!(own.warnings.iter().any(|warning| warning.contains("node_removed")), "{own:?}");
    assert_eq!(lines(&cluster.nodes[2], "no part of the cluster any more"), 1);

    // Several election times later it has disturbed nobody.
    let disturbed = wait::until("a higher term", Duration::from_secs(6), || {
        let now = term(&cluster.nodes[0]);
        // The hand-over raised it once.
        Ok(if now > term_before + 1 { Seen::Done(now) } else { Seen::not_yet(format!("term {now}")) })
    });
    assert!(disturbed.is_err(), "the removed node raised the term: {disturbed:?}");
    assert_eq!(lines(&cluster.nodes[2], "no part of the cluster any more"), 1);

    // It does not serve again, and its data is there.
    cluster.nodes[2].stop().unwrap();
    let words = refuses_to_serve(&mut cluster.nodes[2]);
    assert!(words.contains("taken out of the cluster") && words.contains("quorate join"), "{words}");
    assert!(cluster.nodes[2].data_dir.join("store/db/CURRENT").exists());

    // The same machine joins as a new node.
    move_away(&cluster.nodes[2]);
    cluster.join(2).unwrap();
    cluster.nodes[2].serve().unwrap();
    cluster.wait_for_members(4).unwrap();
    let again = cluster.status().unwrap();
    assert!(named(&again, "management-3").id > named(&before, "spooler-1").id, "ids are never reused");
    assert_eq!(again.license.unwrap().status, "active", "the binding knows it by its computer");

    // A Spooler Controller leaves, too; one of four is tolerated or not, as the binding says.
    remove(&cluster.nodes[1], "spooler-1").success().unwrap();
    cluster.nodes[3].kill().unwrap();
    cluster.nodes.truncate(3);
    cluster.wait_for_members(3).unwrap();
    digests_are_equal(cluster);
}

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
    let token = |role: Role| -> String {
        let token = cluster.nodes[1].cli(["token", "create", "--role", role.as_str()]);
        token.json::<quorate_chaos_tests::cluster::NewToken>().unwrap().token
    };
    let (management, spooler) = (token(Role::Management), token(Role::Spooler));
    let node = &cluster.nodes[0];
    let other_name = refused(replace_with(node, &management, &cluster.nodes[1], "management-2"));
    assert_eq!(other_name.code, "node_name_differs");
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
    quorate_chaos_tests::cluster::wait_for_serial(&mut cluster.nodes[0], serial).unwrap();

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

    // Counting on does not help a directory that is older than two starts.
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
fn nodes_come_back_at_other_addresses_the_leader_among_them() {
    let mut stage = Stage::start(three).unwrap();
    let second = named(&stage.cluster.status().unwrap(), "management-2").id;
    stage.cluster.nodes[0].admin().transfer_leader(second).unwrap();
    assert_eq!(stage.cluster.leader().unwrap(), 1);
    let before = stage.cluster.status().unwrap();

    // Two of three move, and a stranger takes the old address of one of them.
    let mut plan = stage.plan.clone();
    plan.management = 1;
    plan.first_host = 2;
    plan.folder = stage.folder.path().join("stranger");
    let mut stranger = plan.prepare().unwrap();
    for index in [1, 2] {
        stage.cluster.nodes[index].stop().unwrap();
    }
    stranger.found().unwrap();
    for index in [1, 2] {
        let address = stage.plan.network.host(20 + u8::try_from(index).unwrap());
        move_to(&mut stage.cluster.nodes[index], address);
        stage.cluster.nodes[index].serve().unwrap();
    }
    stage.cluster.wait_for_members(3).unwrap();
    stage.cluster.leader().unwrap();
    let after = stage.cluster.status().unwrap();
    let ids =
        |status: &StatusResponse| status.nodes.iter().map(|node| (node.id, node.voter)).collect::<Vec<_>>();
    assert_eq!(ids(&after), ids(&before), "the same members vote");
    for index in [1, 2] {
        let node = &stage.cluster.nodes[index];
        assert_eq!(named(&after, &node.name).raft_address, node.raft.to_string());
        changes_work(&stage.cluster, index).unwrap();
    }
    assert_eq!(stranger.status().unwrap().nodes.len(), 1, "the stranger is alone");

    // And the third.
    stage.cluster.nodes[0].stop().unwrap();
    let address = stage.plan.network.host(20);
    move_to(&mut stage.cluster.nodes[0], address);
    stage.cluster.nodes[0].serve().unwrap();
    stage.cluster.wait_for_members(3).unwrap();
    changes_work(&stage.cluster, 0).unwrap();
    stage.cluster.leader().unwrap();
    wait::until("each node to tell once that it has moved", PATIENCE, || {
        let nodes = stage.cluster.nodes.iter();
        let told: Vec<usize> = nodes.map(|node| lines(node, "came back at another address")).collect();
        Ok(Seen::when(told == [1, 1, 1], || format!("{told:?} lines")))
    })
    .unwrap();
    digests_are_equal(&mut stage.cluster);
}

#[test]
fn a_renamed_node_goes_on_and_starts_under_its_old_name_and_its_new_one() {
    let (mut stage, serial) = Stage::activated(three).unwrap();
    let cluster = &mut stage.cluster;
    let before = named(&cluster.status().unwrap(), "management-3").clone();
    let rename = |node: &Node, from: &str, to: &str| node.cli(["node", "rename", from, to, "-o", "json"]);
    let taken = refused(rename(&cluster.nodes[0], "management-3", "management-2").run().unwrap());
    assert_eq!(taken.code, "node_name_taken");
    let malformed = rename(&cluster.nodes[0], "management-3", "a name").run().unwrap();
    assert_eq!(malformed.code, Some(2), "{malformed:?}");
    rename(&cluster.nodes[0], "management-3", "west").run().unwrap().success().unwrap();
    let renamed = |status: &StatusResponse| status.nodes.iter().any(|node| node.name == "west");
    cluster.wait_for_status("the new name", renamed).unwrap();
    let after = cluster.status().unwrap();
    let west = named(&after, "west");
    assert_eq!((west.id, &west.computer_id, west.voter), (before.id, &before.computer_id, true));
    assert_eq!(after.license.as_ref().unwrap().status, "active");

    // Its configuration has the old name still, then the new one, then one that is nobody's.
    for (configured, serves) in [("management-3", true), ("west", true), ("east", false)] {
        cluster.nodes[2].stop().unwrap();
        cluster.nodes[2].set("node", "name", configured);
        cluster.nodes[2].write_config().unwrap();
        if serves {
            cluster.nodes[2].serve().unwrap();
            cluster.wait_for_members(3).unwrap();
            quorate_chaos_tests::cluster::wait_for_serial(&mut cluster.nodes[2], serial).unwrap();
        } else {
            let words = refuses_to_serve(&mut cluster.nodes[2]);
            assert!(words.contains("belongs to node west"), "{words}");
        }
    }
    assert_eq!(lines(&cluster.nodes[2], "the cluster has given this node another name"), 1);
    cluster.nodes[2].set("node", "name", "west");
    cluster.nodes[2].write_config().unwrap();
    cluster.nodes[2].serve().unwrap();
    cluster.wait_for_members(3).unwrap();
    // It can be named in further commands, and the old name is free.
    rename(&cluster.nodes[1], "management-2", "management-3").run().unwrap().success().unwrap();
    assert_eq!(cluster.nodes[2].admin().status().unwrap().nodes.len(), 3);
    digests_are_equal(cluster);
}

/// All its addresses are others now.
fn move_to(node: &mut Node, address: std::net::Ipv4Addr) {
    for (key, at) in
        [("raft", &mut node.raft), ("grpc", &mut node.grpc), ("http", &mut node.http), ("ops", &mut node.ops)]
    {
        at.set_ip(address.into());
        let text = at.to_string();
        if let Some(toml::Value::Table(listen)) = node.settings.get_mut("listen") {
            listen.insert(key.to_owned(), text.into());
        }
    }
    node.write_config().unwrap();
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
