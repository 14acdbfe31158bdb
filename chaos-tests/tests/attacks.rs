//! Who must not get in, or not so far: each attack on real processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use quorate_chaos_tests::{Cluster, Node, Stage, cli::Answer, files};
use quorate_proto::v1::{CreateTokenRequest, CreateTokenResponse};
use serde_json::Value;

fn refusal_code(answer: &Answer) -> String {
    assert!(answer.code.is_some_and(|code| code != 0), "{answer:?}");
    answer.refusal().unwrap().code
}

fn person(cluster: &Cluster, label: &str, access: &str) -> CreateTokenResponse {
    let message = CreateTokenRequest {
        label: label.to_owned(),
        access: access.to_owned(),
        ttl_seconds: 3600,
        ..Default::default()
    };
    cluster.nodes[0].admin().create_token(message).unwrap()
}

/// Runs a command with a token, over the node port of `node`.
fn by_token(stage: &Stage, node: &Node, token: &str, arguments: &[&str]) -> Answer {
    let file = stage.folder.path().join("person.token");
    files::write_atomically(&file, token).unwrap();
    let ca = node.data_dir.join("tls/ca.crt");
    let server = node.raft.to_string();
    node.cli(arguments.iter().copied())
        .args(["-o", "json", "--server", &server, "--ca-file", ca.to_str().unwrap()])
        .args(["--token-file", file.to_str().unwrap()])
        .run()
        .unwrap()
}

fn audit(node: &Node) -> Vec<Value> {
    let answer = node.cli(["audit", "list", "-o", "json"]).run().unwrap().success().unwrap();
    answer.parse().unwrap()
}

#[test]
fn a_viewer_reads_and_changes_nothing_and_a_revoked_administrator_is_out_on_every_node_at_once() {
    let stage = Stage::start(|plan| plan.spoolers = 1).unwrap();
    let cluster = &stage.cluster;
    let viewer = person(cluster, "otto", "viewer");
    let admin = person(cluster, "anna", "admin");
    let victim = person(cluster, "victim", "viewer");

    for node in &cluster.nodes {
        by_token(&stage, node, &viewer.token, &["status"]).success().unwrap();
        by_token(&stage, node, &viewer.token, &["audit", "list"]).success().unwrap();
        for change in [
            &["token", "create", "--admin", "mine"][..],
            &["token", "revoke", &victim.id],
            &["token", "list"],
            &["node", "remove", "management-3", "--yes"],
            &["cluster", "transfer-leader"],
        ] {
            let answer = by_token(&stage, node, &viewer.token, change);
            assert_eq!((refusal_code(&answer), answer.code), ("denied".to_owned(), Some(4)), "{change:?}");
        }
    }

    // An administrator's token works everywhere, a Spooler Controller included, and is over everywhere at once.
    for node in &cluster.nodes {
        by_token(&stage, node, &admin.token, &["token", "create", "--admin", "spare"]).success().unwrap();
    }
    cluster.nodes[1].cli(["token", "revoke", &admin.id]).run().unwrap().success().unwrap();
    for node in &cluster.nodes {
        let answer = by_token(&stage, node, &admin.token, &["token", "create", "--admin", "late"]);
        assert_eq!(refusal_code(&answer), "token_invalid", "{}", node.name);
    }

    // All of it is in the audit of every node: who, from where, what.
    let records = audit(&cluster.nodes[0]);
    let spares: Vec<&Value> =
        records.iter().filter(|record| record["particulars"].to_string().contains("spare")).collect();
    assert_eq!(spares.len(), cluster.nodes.len());
    for (record, node) in spares.iter().zip(&cluster.nodes) {
        assert!(record["who"].as_str().unwrap().starts_with("anna (token"), "{record}");
        assert_eq!(record["node_name"], node.name.as_str());
        assert!(record["address"].as_str().unwrap().starts_with("127."), "{record}");
    }
    let revoked = records.iter().find(|record| record["command"] == "RevokeToken").unwrap();
    assert_eq!(revoked["who"], "local administrator on management-2");
    assert_eq!(revoked["actor_detail"].as_str().unwrap(), nix::unistd::geteuid().to_string());
    assert_eq!(records[0]["command"], "InitCluster", "from the beginning on");

    // An export is verified without a cluster; a changed one names the record.
    let export = cluster.nodes[2].cli(["audit", "export"]).run().unwrap().success().unwrap().stdout;
    let file = stage.folder.path().join("audit.jsonl");
    let verify =
        || cluster.nodes[0].cli(["audit", "verify", file.to_str().unwrap(), "-o", "json"]).run().unwrap();
    files::write(&file, &export).unwrap();
    verify().success().unwrap();
    files::write(&file, export.replacen("anna (", "otto (", 1)).unwrap();
    assert_eq!(refusal_code(&verify()), "audit_broken");
    cluster.nodes[1].cli(["audit", "verify"]).run().unwrap().success().unwrap();
    for node in &cluster.nodes {
        assert!(node.metric("quorate_api_calls_denied_total{face=\"node\"}").unwrap() >= 5.0);
    }
}
