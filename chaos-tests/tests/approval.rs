//! Nodes that an administrator accepts or refuses before they join: real processes, public faces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::thread;

use quorate_chaos_tests::{
    Cluster, Node, Stage,
    cli::Answer,
    cluster::NewToken,
    wait::{self, PATIENCE, Seen},
};
use serde::Deserialize;

/// What `quorate node pending` says of a node.
#[derive(Debug, Clone, Deserialize)]
struct Pending {
    name: String,
    role: String,
    computer_id: String,
    raft_address: String,
    key_fingerprint: String,
    state: String,
    decided_by: Option<String>,
    token: String,
}

fn token(cluster: &Cluster) -> NewToken {
    cluster.nodes[0].cli(["token", "create", "--role", "spooler", "--approval"]).json().unwrap()
}

fn pending(node: &Node) -> Vec<Pending> {
    node.cli(["node", "pending"]).json().unwrap()
}

fn waits(node: &Node, name: &str) -> Pending {
    wait::until("the node to wait", PATIENCE, || {
        let all = pending(node);
        let found = all.iter().find(|one| one.name == name && one.state == "waiting").cloned();
        Ok(found.map_or_else(|| Seen::not_yet(format!("{all:?}")), Seen::Done))
    })
    .unwrap()
}

fn join(node: &Node, server: &Node, token: &str, patience: &str, format: &str) -> Answer {
    let server = server.raft.to_string();
    let words = ["join", "--token-file", "-", "--server", &server, "--wait", patience, "-o", format];
    node.cli(words).stdin(token).run().unwrap()
}

fn decide(node: &Node, what: &str, name: &str) -> Answer {
    node.cli(["node", what, name, "-o", "json"]).run().unwrap()
}

#[test]
fn a_node_joins_after_an_administrator_has_accepted_it_and_not_if_one_refuses() {
    let mut stage = Stage::start(|plan| (plan.management, plan.spoolers) = (2, 0)).unwrap();
    let servers: Vec<&Node> = stage.cluster.nodes.iter().collect();
    let before = stage.cluster.status().unwrap();

    // Accepted while it waits, on another server than the one that it has asked.
    let mut first = stage.plan.node(2).unwrap();
    let shown = token(&stage.cluster);
    thread::scope(|scope| {
        let joining = scope.spawn(|| join(&first, servers[0], &shown.token, "60s", "table"));
        let seen = waits(servers[1], &first.name);
        assert_eq!((seen.role.as_str(), seen.raft_address), ("spooler", first.raft.to_string()));
        let own_id: serde_json::Value = first.cli(["node", "id"]).json().unwrap();
        assert_eq!(own_id["computer_id"], seen.computer_id.as_str());
        let status = stage.cluster.status().unwrap();
        assert_eq!(status.nodes.len(), before.nodes.len(), "it is no member yet");
        let warned = status.warnings.iter().any(|warning| warning.contains("spooler-1 waits to be accepted"));
        assert!(warned, "{:?}", status.warnings);
        let accepted = decide(servers[1], "accept", &first.name).success().unwrap();
        assert!(accepted.stdout.contains("\"accepted\": true"), "{accepted:?}");
        let joined = joining.join().unwrap().success().unwrap();
        assert!(joined.stderr.contains("quorate node accept spooler-1"), "{joined:?}");
        assert!(joined.stderr.contains(&seen.key_fingerprint), "both sides show the same key");
    });
    first.serve().unwrap();
    stage.cluster.wait_for_members(3).unwrap();
    first.must_run().unwrap();
    let servers: Vec<&Node> = stage.cluster.nodes.iter().collect();

    // Nobody decides in time; the same command goes on once somebody has.
    let second = stage.plan.node(3).unwrap();
    let shown = token(&stage.cluster);
    let late = join(&second, servers[0], &shown.token, "1s", "json");
    let refusal = late.refusal().unwrap();
    assert_eq!(refusal.code, "join_pending", "{refusal:?}");
    assert!(refusal.hint.unwrap().contains("quorate node accept spooler-2"));
    // By another node the token can't be used meanwhile.
    let other = stage.plan.node(4).unwrap();
    let stolen = join(&other, servers[1], &shown.token, "1s", "json").refusal().unwrap();
    assert_eq!(stolen.code, "token_shown_by_other", "{stolen:?}");
    decide(servers[0], "accept", &second.name).success().unwrap();
    join(&second, servers[1], &shown.token, "1s", "json").success().unwrap();

    // Refused: the joiner is told by whom, and its token is good for nothing.
    let shown = token(&stage.cluster);
    thread::scope(|scope| {
        let joining = scope.spawn(|| join(&other, servers[0], &shown.token, "60s", "json"));
        let seen = waits(servers[0], &other.name);
        // By the token's id, as it is done where two nodes have one name.
        decide(servers[0], "refuse", &seen.token).success().unwrap();
        let refusal = joining.join().unwrap().refusal().unwrap();
        assert_eq!(refusal.code, "join_refused", "{refusal:?}");
        assert!(refusal.message.contains("local administrator on management-1 has refused spooler-3"));
    });
    assert_eq!(join(&other, servers[1], &shown.token, "1s", "json").refusal().unwrap().code, "join_refused");
    assert_eq!(decide(servers[0], "accept", &other.name).refusal().unwrap().code, "join_decided");
    assert_eq!(decide(servers[0], "accept", "nobody").refusal().unwrap().code, "no_pending_join");
    let listed = pending(servers[0]);
    let refused = listed.iter().find(|one| one.name == other.name).unwrap();
    assert_eq!(refused.state, "refused");
    assert_eq!(refused.decided_by.as_deref(), Some("local administrator on management-1"));
    first.stop().unwrap();
}
