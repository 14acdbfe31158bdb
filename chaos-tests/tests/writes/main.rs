//! What was acknowledged is never lost and never done twice: 200 kills under load, 60 of them of the leader.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and prints its seed"
)]

mod client;
mod digest;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use quorate_chaos_tests::{Cluster, Node, Stage, http, wait, wait::Seen};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::client::Writers;

const KILLS: u32 = 200;
const LEADER_KILLS: u32 = 60;
const CHANGES: usize = 20_000;

/// Elections take half a second, so that 60 of them fit into a test.
const RAFT_TIMES_MS: [u32; 3] = [100, 400, 800];

/// Kills a node, leaves it down for a moment, and starts it again.
fn kill(cluster: &mut Cluster, victim: usize, random: &mut StdRng) {
    cluster.nodes[victim].kill().unwrap();
    std::thread::sleep(Duration::from_millis(random.random_range(0..150)));
    cluster.nodes[victim].serve().unwrap();
}

/// Who says that it leads; none while nobody does. Asked at the operations ports: that takes no time, also while
/// half of the nodes are down.
fn leader_now(cluster: &Cluster) -> Option<usize> {
    let leads = |node: &Node| {
        let metrics = http::get(node.ops, "/metrics").map(|reply| reply.body).unwrap_or_default();
        metrics.lines().any(|line| line == "quorate_server_is_leader 1")
    };
    cluster.nodes.iter().position(leads)
}

#[test]
fn acknowledged_changes_survive_200_kills_and_are_applied_once() {
    let seed: u64 =
        std::env::var("QUORATE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("seed {seed} (set QUORATE_SEED to repeat the choices)");
    let mut random = StdRng::seed_from_u64(seed);
    let mut stage = Stage::start(|plan| plan.raft_times_ms = Some(RAFT_TIMES_MS)).unwrap();
    let cluster = &mut stage.cluster;
    let writers = Writers::start(cluster, CHANGES);
    let begun = Instant::now();
    let (mut kills, mut of_leader) = (0, 0);
    while kills < KILLS || of_leader < LEADER_KILLS || writers.acknowledged() < CHANGES {
        assert!(
            begun.elapsed() < Duration::from_secs(600),
            "{kills} kills, {} changes",
            writers.acknowledged()
        );
        if kills >= KILLS && of_leader >= LEADER_KILLS {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        // More than a third are of the leader, as long as one is known.
        let leader = if random.random_bool(0.37) { leader_now(cluster) } else { None };
        let victim = leader.unwrap_or_else(|| random.random_range(0..cluster.nodes.len()));
        kill(cluster, victim, &mut random);
        kills += 1;
        of_leader += u32::from(leader.is_some());
        // Some changes go through between two kills; otherwise there is nothing to lose.
        let enough = writers.acknowledged() + random.random_range(1..80);
        let seen = wait::until("changes between two kills", Duration::from_secs(30), || {
            Ok(Seen::when(writers.acknowledged() >= enough, || format!("{}", writers.acknowledged())))
        });
        seen.unwrap_or_else(|failure| panic!("after {kills} kills: {failure}"));
    }
    let acknowledged = writers.finish();
    eprintln!(
        "{kills} kills ({of_leader} of the leader), {} changes, {:.0} s",
        acknowledged.len(),
        begun.elapsed().as_secs_f64()
    );
    assert!(acknowledged.len() >= CHANGES);
    cluster.wait_for_members(4).unwrap();

    // Everything once, and nothing that nobody asked for.
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    let leader = cluster.leader().unwrap();
    for token in cluster.nodes[leader].admin().tokens().unwrap() {
        *found.entry(token.label).or_default() += 1;
    }
    found.retain(|label, _| label.starts_with(client::PREFIX));
    let lost: Vec<&String> =
        acknowledged.iter().filter(|label| !found.contains_key(*label)).take(5).collect();
    let twice: Vec<_> = found.iter().filter(|(_, count)| **count > 1).take(5).collect();
    let labels: BTreeSet<String> = found.keys().cloned().collect();
    let invented: Vec<&String> = labels.difference(&acknowledged).take(5).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(twice.is_empty(), "applied twice: {twice:?}");
    assert!(invented.is_empty(), "never acknowledged, though every writer tried until it was: {invented:?}");

    digest::equal_on_all_and_a_changed_byte_is_noticed(cluster);
}
