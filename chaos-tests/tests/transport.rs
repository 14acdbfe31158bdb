//! What one node has is no trouble of the others: a follower that hangs, one that can't be reached, a leader that
//! dies and one that stops. Changes go on meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use quorate_chaos_tests::{
    Cluster, Stage,
    changes::Changes,
    wait::{self, PATIENCE, Seen},
};

const MEMORY: &str = "process_resident_memory_bytes";
const LEADER_CHANGES: &str = "quorate_server_leader_changes_seen_total";
const APPLIED: &str = "quorate_server_proposals_applied_total";
const LOG_ENTRIES: &str = "quorate_server_log_entries";

/// What a leader may need more while a follower takes nothing: what waits for it is bounded.
const MOST_MEMORY: f64 = 96.0 * 1024.0 * 1024.0;

/// A follower that hangs for longer than connections and elections wait.
const AWAY: Duration = Duration::from_secs(12);

/// Three Management Servers. One test at a time: they measure gaps.
fn three() -> (Stage, MutexGuard<'static, ()>) {
    static ONE: Mutex<()> = Mutex::new(());
    let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    (Stage::start(|plan| plan.spoolers = 0).unwrap(), alone)
}

/// Lets time pass while clients work; there is no condition to wait for.
fn pass(time: Duration) {
    std::thread::sleep(time);
}

fn applied_alike(cluster: &Cluster) {
    wait::until("all nodes to have applied the same", PATIENCE, || {
        let all: Vec<f64> = cluster.nodes.iter().map(|node| node.metric(APPLIED).unwrap_or(-1.0)).collect();
        Ok(Seen::when(all.iter().all(|index| *index == all[0] && *index > 0.0), || format!("{all:?}")))
    })
    .unwrap();
}

/// The leader, a follower that stays, and one that goes away.
fn roles(cluster: &Cluster) -> [usize; 3] {
    let leader = cluster.leader().unwrap();
    [leader, (leader + 1) % 3, (leader + 2) % 3]
}

#[test]
fn a_follower_that_hangs_costs_the_others_nothing_and_catches_up() {
    let (mut stage, _alone) = three();
    let cluster = &mut stage.cluster;
    let [leader, other, away] = roles(cluster);
    let changes_before = cluster.nodes[leader].metric(LEADER_CHANGES).unwrap();
    let memory_before = cluster.nodes[leader].metric(MEMORY).unwrap();
    let changes = Changes::start([&cluster.nodes[leader], &cluster.nodes[other]]);
    pass(AWAY / 3);
    let with_all = changes.finish().unwrap().acknowledged.len();
    let changes = Changes::start([&cluster.nodes[leader], &cluster.nodes[other]]);
    cluster.nodes[away].pause().unwrap();
    pass(AWAY);
    let memory = cluster.nodes[leader].metric(MEMORY).unwrap() - memory_before;
    cluster.nodes[away].resume().unwrap();
    let made = changes.finish().unwrap();
    assert!(made.failed.is_empty(), "{:?}", made.failed);
    // Three times as long: a third of the rate with all of them is far less than what a busy machine takes.
    assert!(made.acknowledged.len() > with_all, "{} of {with_all} before", made.acknowledged.len());
    assert!(made.longest_gap() < Duration::from_secs(2), "{:?}", made.longest_gap());
    assert!(memory < MOST_MEMORY, "the leader grew by {memory} bytes");
    applied_alike(cluster);
    assert_eq!(cluster.leader().unwrap(), leader);
    assert_eq!(cluster.nodes[leader].metric(LEADER_CHANGES).unwrap(), changes_before);
}

#[test]
fn a_follower_at_an_address_that_does_not_answer_costs_the_others_nothing_and_catches_up() {
    let (mut stage, _alone) = three();
    let [leader, other, away] = roles(&stage.cluster);
    // Connections are taken by the system, and nobody answers on them.
    let silent = TcpListener::bind(SocketAddr::from((stage.plan.network.host(90), 7400))).unwrap();
    let cluster = &mut stage.cluster;
    cluster.nodes[away].stop().unwrap();
    let address = silent.local_addr().unwrap().to_string();
    cluster.nodes[away].set("advertise", "raft", address);
    cluster.nodes[away].write_config().unwrap();
    let changes = Changes::start([&cluster.nodes[leader], &cluster.nodes[other]]);
    cluster.nodes[away].serve().unwrap();
    pass(AWAY);
    let made = changes.finish().unwrap();
    assert!(made.failed.is_empty(), "{:?}", made.failed);
    assert!(made.longest_gap() < Duration::from_secs(2), "{:?}", made.longest_gap());
    let behind = cluster.nodes[away].metric(APPLIED).unwrap();
    assert!(behind < cluster.nodes[leader].metric(APPLIED).unwrap(), "it was reached: {behind}");
    assert_eq!(cluster.leader().unwrap(), leader, "who can't be reached disturbs nobody");

    // Back at its own address, which it tells the leader by itself.
    cluster.nodes[away].stop().unwrap();
    let own = cluster.nodes[away].raft.to_string();
    cluster.nodes[away].set("advertise", "raft", own);
    cluster.nodes[away].write_config().unwrap();
    cluster.nodes[away].serve().unwrap();
    applied_alike(cluster);
}

#[test]
fn a_linearizable_read_works_on_every_node_and_ends_in_time_without_a_quorum() {
    let (mut stage, _alone) = three();
    let cluster = &mut stage.cluster;
    let [leader, one, two] = roles(cluster);
    for _ in 0..20 {
        let token = cluster.nodes[leader].cli(["token", "create", "--admin", "read"]);
        token.json::<quorate_chaos_tests::cluster::NewToken>().unwrap();
        let made = cluster.nodes[leader].metric(APPLIED).unwrap();
        for follower in [one, two] {
            let health = cluster.nodes[follower].admin().health().unwrap();
            assert!(health.linearizable, "{health:?}");
            // Whoever has read knows of every change that was acknowledged before.
            let applied = cluster.nodes[follower].admin().status().unwrap();
            let own = applied.nodes.iter().find(|node| node.name == cluster.nodes[follower].name).unwrap();
            assert!(own.applied_index.unwrap() as f64 >= made, "{own:?}, {made} at the leader");
        }
    }

    // Without a quorum it is refused, by the leader and by a follower that reaches it; nobody waits for ever.
    cluster.nodes[two].pause().unwrap();
    let health = cluster.nodes[one].admin().health().unwrap();
    assert!(health.linearizable, "two of three are enough: {health:?}");
    cluster.nodes[one].pause().unwrap();
    let health = cluster.nodes[leader].admin().health().unwrap();
    assert!(!health.linearizable, "{health:?}");
    assert!(health.problems.iter().any(|problem| problem.contains("linearizable")), "{health:?}");
    for node in [one, two] {
        cluster.nodes[node].resume().unwrap();
    }
    wait::until("a linearizable read again", PATIENCE, || {
        let health = cluster.nodes[one].admin().health()?;
        Ok(Seen::when(health.linearizable, || format!("{health:?}")))
    })
    .unwrap();
}

#[test]
fn a_killed_leader_is_replaced_long_before_an_election_timeout_and_no_change_fails() {
    let (mut stage, _alone) = three();
    let cluster = &mut stage.cluster;
    let mut gaps = Vec::new();
    for _ in 0..5 {
        let [leader, one, two] = roles(cluster);
        let changes = Changes::start([&cluster.nodes[one], &cluster.nodes[two]]);
        pass(Duration::from_millis(500));
        let killed = Instant::now();
        cluster.nodes[leader].kill().unwrap();
        pass(Duration::from_secs(2));
        let made = changes.finish().unwrap();
        assert!(made.failed.is_empty(), "{:?}", made.failed);
        assert!(made.acknowledged.iter().any(|at| *at > killed), "no change after the kill");
        gaps.push(made.longest_gap());
        cluster.nodes[leader].serve().unwrap();
        cluster.wait_for_members(3).unwrap();
    }
    gaps.sort();
    // The shortest election timeout is 1.2 s, and begins when the lease of 2.4 s is over.
    assert!(gaps[2] < Duration::from_secs(1), "{gaps:?}");
}

#[test]
fn a_leader_that_stops_under_load_lets_no_change_fail() {
    let (mut stage, _alone) = three();
    let cluster = &mut stage.cluster;
    for _ in 0..3 {
        let [leader, one, two] = roles(cluster);
        let changes = Changes::start([&cluster.nodes[one], &cluster.nodes[two]]);
        pass(Duration::from_millis(500));
        cluster.nodes[leader].stop().unwrap();
        pass(Duration::from_millis(500));
        let made = changes.finish().unwrap();
        assert!(made.failed.is_empty(), "{:?}", made.failed);
        assert!(made.longest_gap() < Duration::from_secs(1), "{:?}", made.longest_gap());
        cluster.nodes[leader].serve().unwrap();
        cluster.wait_for_members(3).unwrap();
    }
}

#[test]
fn a_follower_far_behind_gets_a_snapshot_at_the_bounded_rate_and_nobody_is_disturbed() {
    const RATE: i64 = 128 * 1024;
    let (mut stage, _alone) = three();
    let cluster = &mut stage.cluster;
    cluster.stop().unwrap();
    for node in &mut cluster.nodes {
        node.set("raft", "snapshot_after_entries", 1000);
        node.set("raft", "snapshot_bytes_per_second", RATE);
        node.write_config().unwrap();
        node.serve().unwrap();
    }
    cluster.wait_for_members(3).unwrap();
    let [leader, other, away] = roles(cluster);
    // The counter of leader changes follows a moment later, and may still count the start.
    let term = cluster.nodes[leader].admin().health().unwrap().term;
    let of = |cluster: &Cluster, node: usize, metric: &str| {
        cluster.nodes[node].metric(&format!("quorate_network_snapshot_{metric}")).unwrap()
    };
    cluster.nodes[away].stop().unwrap();
    let behind = cluster.nodes[leader].metric(APPLIED).unwrap();
    let nodes = [&cluster.nodes[leader], &cluster.nodes[other]];
    let changes = Changes::start(nodes.into_iter().cycle().take(24));
    wait::until("enough changes, and the leader to drop what the follower lacks", PATIENCE, || {
        let [applied, held] = [APPLIED, LOG_ENTRIES].map(|name| cluster.nodes[leader].metric(name));
        let (applied, held) = (applied?, held?);
        let done = applied > behind + 5000.0 && applied - held > behind;
        Ok(Seen::when(done, || format!("{applied} applied, {held} in the log, {behind} before")))
    })
    .unwrap();
    let made = changes.finish().unwrap();
    assert!(made.failed.is_empty(), "{:?}", made.failed);
    cluster.nodes[away].serve().unwrap();
    applied_alike(cluster);
    assert!(of(cluster, leader, "send_total_duration_seconds_count") >= 1.0);
    assert!(of(cluster, away, "receive_total_duration_seconds_count") >= 1.0);
    // What began to arrive arrived. (The leader may have tried while the follower was away.)
    assert_eq!(of(cluster, away, "receive_failures_total"), 0.0);
    // 5000 rows of over 100 bytes, and as many remembered answers.
    let took = of(cluster, leader, "send_total_duration_seconds_sum");
    assert!(took > 3.0, "{took} s for a snapshot of 500 KB or more at {RATE} bytes a second");
    assert_eq!(cluster.nodes[leader].admin().health().unwrap().term, term);
}

#[test]
fn a_follower_catches_up_by_a_snapshot_while_changes_go_on_and_the_log_is_dropped_afterwards() {
    // So slow that the log grows by more than what is kept behind a snapshot while one is sent.
    const RATE: i64 = 96 * 1024;
    const KEPT: f64 = 2000.0;
    const AFTER: f64 = 1000.0;
    let (mut stage, _alone) = three();
    let cluster = &mut stage.cluster;
    cluster.stop().unwrap();
    for node in &mut cluster.nodes {
        node.set("raft", "snapshot_after_entries", AFTER as i64);
        node.set("raft", "snapshot_bytes_per_second", RATE);
        node.write_config().unwrap();
        node.serve().unwrap();
    }
    cluster.wait_for_members(3).unwrap();
    let [leader, other, away] = roles(cluster);
    let term = cluster.nodes[leader].admin().health().unwrap().term;
    let sent = |cluster: &Cluster| {
        cluster.nodes[leader].metric("quorate_network_snapshot_send_total_duration_seconds_count").unwrap()
    };
    cluster.nodes[away].stop().unwrap();
    let nodes = [&cluster.nodes[leader], &cluster.nodes[other]];
    let changes = Changes::start(nodes);
    let log = |cluster: &Cluster| cluster.nodes[leader].metric(LOG_ENTRIES).unwrap();
    let behind = cluster.nodes[leader].metric(APPLIED).unwrap();
    wait::until("the leader to drop what the follower lacks", PATIENCE, || {
        let (applied, held) = (cluster.nodes[leader].metric(APPLIED)?, log(cluster));
        let dropped = applied - held > behind && applied > behind + 4000.0;
        Ok(Seen::when(dropped, || format!("{applied} applied, {held} in the log")))
    })
    .unwrap();
    cluster.nodes[away].serve().unwrap();
    wait::until("the follower to be as far as the leader", 2 * PATIENCE, || {
        let of = |node: usize| cluster.nodes[node].metric(APPLIED).unwrap_or(0.0);
        let (leader, away) = (of(leader), of(away));
        Ok(Seen::when(away > 0.0 && away + AFTER > leader, || format!("{away} of {leader}")))
    })
    .unwrap();
    let snapshots = sent(cluster);
    let last = cluster.nodes[leader].metric(APPLIED).unwrap();
    wait::until("the leader to drop its log again", PATIENCE, || {
        let (applied, held) = (cluster.nodes[leader].metric(APPLIED)?, log(cluster));
        let dropped = applied > last && held < KEPT + 2.0 * AFTER;
        Ok(Seen::when(dropped, || format!("{held} entries, {applied} applied")))
    })
    .unwrap();
    let made = changes.finish().unwrap();
    assert!(made.failed.is_empty(), "{:?}", made.failed);
    assert!(made.longest_gap() < Duration::from_secs(2), "{:?}", made.longest_gap());
    assert!((1.0..=2.0).contains(&snapshots), "{snapshots} snapshots were sent");
    assert_eq!(cluster.nodes[leader].admin().health().unwrap().term, term, "heartbeats were on time");
    applied_alike(cluster);
    assert_eq!(sent(cluster), snapshots, "none was needed later");
}

#[test]
fn a_leader_keeps_no_log_for_a_follower_whose_disk_hangs() {
    let (mut stage, _alone) = three();
    let cluster = &mut stage.cluster;
    cluster.stop().unwrap();
    for node in &mut cluster.nodes {
        node.set("raft", "snapshot_after_entries", 1000);
        node.write_config().unwrap();
        node.serve().unwrap();
    }
    cluster.wait_for_members(3).unwrap();
    let [leader, other, away] = roles(cluster);
    // After some more syncs its log's thread stands still; everything else of it goes on.
    cluster.nodes[away].stop().unwrap();
    cluster.nodes[away].serve_with(&[("FAILPOINTS", "store.append.written=200*off->pause")]).unwrap();
    cluster.wait_for_members(3).unwrap();
    let changes = Changes::start([&cluster.nodes[leader], &cluster.nodes[other]]);
    let mut before = (0.0, Instant::now());
    wait::until("the follower's disk to hang", PATIENCE, || {
        let syncs = cluster.nodes[away].metric("quorate_disk_wal_syncs_total")?;
        if syncs != before.0 {
            before = (syncs, Instant::now());
        }
        Ok(Seen::when(before.1.elapsed() > Duration::from_secs(2), || format!("{syncs} syncs")))
    })
    .unwrap();
    let lacks = cluster.nodes[leader].metric(APPLIED).unwrap();
    wait::until("the leader to drop entries that the follower lacks", 2 * PATIENCE, || {
        let [applied, held] = [APPLIED, LOG_ENTRIES].map(|name| cluster.nodes[leader].metric(name));
        let dropped_to = applied? - held?;
        Ok(Seen::when(dropped_to > lacks, || format!("the log begins at {dropped_to}, and it lacks {lacks}")))
    })
    .unwrap();
    let made = changes.finish().unwrap();
    assert!(made.failed.is_empty(), "{:?}", made.failed);
    // With its disk in order it catches up.
    cluster.nodes[away].kill().unwrap();
    cluster.nodes[away].serve().unwrap();
    applied_alike(cluster);
}
