//! Nodes that leave, come back, are set up anew, move, and are copied: real processes, public faces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod leaving;
mod moving;
mod replacing;

use std::{fs, path::Path, process::Command};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use quorate_chaos_tests::{
    Cluster, Node, Plan, Result,
    cli::{Answer, Refusal},
    cluster::NewToken,
    wait::{self, PATIENCE, Seen},
};
use quorate_proto::v1::{ClusterHealthResponse, NodeStatus, StatusResponse};
use serde::Deserialize;

fn refused(answer: Answer) -> Refusal {
    assert!(answer.code.is_some_and(|code| code != 0), "{answer:?}");
    answer.refusal().unwrap()
}

fn three(plan: &mut Plan) {
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
    let token: NewToken = token.json().unwrap();
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
    token.json::<NewToken>().map(|_| ())
}
