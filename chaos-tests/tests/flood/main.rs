//! Thousands of connections that only cost: the cluster goes on, and remembers nothing of them.
//!
//! ```sh
//! cargo test --workspace --test flood
//! QUORATE_FLOOD_SECONDS=60 cargo test --workspace --test flood -- --nocapture
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "what a test has measured is said on the terminal")]

mod attack;
mod checks;

use std::{fs, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use quorate_chaos_tests::{
    Node, Silences, Stage, http,
    usage::{forget_peak, usage},
    wait::{self, PATIENCE, Seen},
};

use attack::{Attack, Target};
use checks::Checks;

/// How many connections there are at a time, if this process may open so many.
const CONNECTIONS: usize = 10_000;
/// The attackers' addresses.
const ATTACKERS: std::ops::Range<u8> = 200..208;
/// A node never needs more memory for them than this.
const MOST_MORE_KIB: u64 = 96 << 10;
/// Without a word of the leader for this long every follower stands for election.
const ELECTION: f64 = 2.4;

fn length() -> Duration {
    let seconds = std::env::var("QUORATE_FLOOD_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// Lets this process open as many files as it may. Returns how many connections that is.
fn connections() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    CONNECTIONS.min(usize::try_from(hard).unwrap_or(usize::MAX).saturating_sub(500))
}

fn open_files(node: &Node) -> usize {
    fs::read_dir(format!("/proc/{}/fd", node.pid().unwrap())).unwrap().count()
}

/// Connections that a node has closed at once, on this listener.
fn turned_away(node: &Node, listener: &str) -> u64 {
    let metrics = http::get(node.ops, "/metrics").unwrap().body;
    let wanted = format!("quorate_network_connections_refused_total{{listener=\"{listener}\"");
    let counts = metrics.lines().filter(|line| line.starts_with(&wanted));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn a_flood_on_every_port_delays_no_heartbeat_takes_no_memory_and_leaves_nothing_behind() {
    let (mut stage, serial) = Stage::activated(|_| {}).unwrap();
    let leader = stage.cluster.leader().unwrap();
    let term = stage.cluster.nodes[leader].admin().health().unwrap().term;
    let pids: Vec<u32> = stage.cluster.nodes.iter().map(|node| node.pid().unwrap()).collect();

    let quiet = Checks::during(&stage.cluster.nodes, || std::thread::sleep(length() / 4));
    let files: Vec<usize> = stage.cluster.nodes.iter().map(open_files).collect();
    let memory: Vec<u64> = pids.iter().map(|pid| usage(*pid).unwrap().resident_kib).collect();
    pids.iter().for_each(|pid| forget_peak(*pid).unwrap());
    let silences = Silences::of(&stage.cluster.nodes).unwrap();

    let sources: Vec<_> = ATTACKERS.map(|host| stage.plan.network.host(host)).collect();
    let targets: Vec<Target> = stage.cluster.nodes.iter().flat_map(Target::of_node).collect();
    let attack = Attack::start(connections(), &targets, &sources);
    let flooded = Checks::during(&stage.cluster.nodes, || std::thread::sleep(length()));

    // Whoever watches the cluster still sees it, from an address of its own.
    let later = Silences::of(&stage.cluster.nodes).unwrap();
    for listener in ["node", "management", "operations"] {
        wait::until("somebody to be turned away", PATIENCE, || {
            let count = turned_away(&stage.cluster.nodes[0], listener);
            Ok(Seen::when(count > 100, || format!("{count} at the listener {listener}")))
        })
        .unwrap();
    }
    let peaks: Vec<u64> = pids.iter().map(|pid| usage(*pid).unwrap().peak_kib).collect();
    let done = attack.done();
    eprintln!("{done}\nCheck, quiet:   {quiet}\nCheck, flooded: {flooded}");
    eprintln!("longest without a word of the leader: {} s at most", silences.longest_until(&later));
    eprintln!("memory before and at most, KiB: {memory:?} {peaks:?}");

    assert_eq!(flooded.refused, 0, "{flooded}");
    assert!(silences.longest_until(&later) <= ELECTION, "{silences:?}\n{later:?}");
    assert_eq!(stage.cluster.leader().unwrap(), leader);
    assert_eq!(stage.cluster.nodes[leader].admin().health().unwrap().term, term);
    for (before, peak) in memory.iter().zip(&peaks) {
        assert!(*peak < before + MOST_MORE_KIB, "{before} KiB grew to {peak} KiB");
    }

    // A member that connects again gets through.
    let follower = (leader + 1) % 3;
    stage.cluster.nodes[follower].kill().unwrap();
    stage.cluster.nodes[follower].serve().unwrap();
    stage.cluster.wait_for_members(4).unwrap();
    stage.cluster.wait_for_serial(serial).unwrap();
    drop(attack);

    // And afterwards nothing is left of it.
    for (index, node) in stage.cluster.nodes.iter().enumerate().filter(|(index, _)| *index != follower) {
        wait::until("the attackers' connections to be closed", PATIENCE, || {
            let now = open_files(node);
            Ok(Seen::when(now <= files[index] + 16, || format!("{now} files, {} before", files[index])))
        })
        .unwrap();
    }
}
