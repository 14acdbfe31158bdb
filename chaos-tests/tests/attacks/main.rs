//! Who must not get in, or not so far: each attack on real processes. What is recorded of whoever may.
//!
//! Joins, clones, a man in the middle and false answers of a portal have tests of their own; the table in
//! `docs/security.md` names them all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod caller;
mod first_node;
mod nodes;
mod records;

use quorate_chaos_tests::{
    Cluster, Node, Stage,
    cli::Answer,
    files,
    wait::{self, PATIENCE, Seen},
};
use quorate_proto::v1::{CreateTokenRequest, CreateTokenResponse};
use serde_json::Value;

use caller::https_get;

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
        for read in [
            &["audit", "list"][..],
            &["node", "pending"],
            &["cert", "list"],
            &["ca", "status"],
            &["cluster", "health"],
        ] {
            by_token(&stage, node, &viewer.token, read).success().unwrap();
        }
        assert_eq!(https_get(node, "/api/v1/status", &viewer.token).0, 200);
        for change in [
            &["token", "create", "--admin", "mine"][..],
            &["token", "revoke", &victim.id],
            &["token", "list"],
            &["node", "remove", "management-3", "--yes"],
            &["node", "rename", "management-3", "mine"],
            &["node", "accept", "management-3"],
            &["cert", "rotate", "management-3"],
            &["ca", "rotate", "--no-wait"],
            &["cluster", "transfer-leader"],
        ] {
            let answer = by_token(&stage, node, &viewer.token, change);
            assert_eq!((refusal_code(&answer), answer.code), ("denied".to_owned(), Some(4)), "{change:?}");
        }
    }

    // An administrator's token works everywhere, a Spooler Controller included, and is over everywhere at once.
    for node in &cluster.nodes {
        by_token(&stage, node, &admin.token, &["token", "create", "--admin", "spare"]).success().unwrap();
        assert_eq!(https_get(node, "/api/v1/license", &admin.token).0, 200);
    }
    cluster.nodes[1].cli(["token", "revoke", &admin.id]).run().unwrap().success().unwrap();
    for node in &cluster.nodes {
        let answer = by_token(&stage, node, &admin.token, &["token", "create", "--admin", "late"]);
        assert_eq!(refusal_code(&answer), "token_invalid", "{}", node.name);
    }
    for node in &cluster.nodes {
        // Reads end when the node that is asked has heard of it.
        wait::until("the revoked token to read nothing", PATIENCE, || {
            let (status, body) = https_get(node, "/api/v1/license", &admin.token);
            Ok(Seen::when(status == 403 && body.contains("token_invalid"), || format!("{status} {body}")))
        })
        .unwrap();
        assert_eq!(https_get(node, "/api/v1/status", "qa1-nobody").0, 403);
    }

    // One whose time is over, and tokens that are none of a person's.
    let short = CreateTokenRequest { label: "short".to_owned(), ttl_seconds: 1, ..Default::default() };
    let short = cluster.nodes[0].admin().create_token(short).unwrap();
    wait::until("the token to end", PATIENCE, || {
        let answer = by_token(&stage, &cluster.nodes[0], &short.token, &["status"]);
        let ended = answer.refusal().is_ok_and(|refusal| refusal.code == "token_invalid");
        Ok(Seen::when(ended, || format!("{answer:?}")))
    })
    .unwrap();
    let join = cluster.token(quorate_chaos_tests::Role::Spooler, None).unwrap();
    assert_eq!(https_get(&cluster.nodes[0], "/api/v1/status", &join.token).0, 403);

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

fn run(node: &Node, arguments: &[&str]) -> Answer {
    node.cli(arguments.iter().copied()).args(["-o", "json"]).run().unwrap()
}

/// Every node's export; waits until they are the same.
fn exports(cluster: &Cluster) -> String {
    wait::until("the same audit on every node", PATIENCE, || {
        let exports: Vec<String> = cluster
            .nodes
            .iter()
            .map(|node| Ok(run(node, &["audit", "export"]).success()?.stdout))
            .collect::<quorate_chaos_tests::Result<_>>()?;
        let (first, others) = exports.split_first().unwrap();
        let same = others.iter().all(|other| other == first);
        Ok(if same { Seen::Done(first.clone()) } else { Seen::not_yet("they differ") })
    })
    .unwrap()
}

#[test]
fn every_change_is_in_the_audit_of_every_node_refused_ones_too_and_stays_over_restarts() {
    let mut stage = Stage::start(|plan| plan.spoolers = 1).unwrap();
    let activation_key = stage.portal.order().unwrap().activation_key;
    let cluster = &stage.cluster;
    let asked = &cluster.nodes[1];
    for change in [
        &["token", "create", "--role", "spooler", "--approval"][..],
        &["node", "rename", "spooler-1", "printers"],
        &["node", "rename", "printers", "spooler-1"],
        &["ca", "rotate"],
    ] {
        run(asked, change).success().unwrap();
    }
    assert_eq!(refusal_code(&run(asked, &["token", "revoke", "00000000000000aa"])), "token_unknown");
    assert_eq!(
        refusal_code(&run(asked, &["node", "rename", "spooler-1", "management-1"])),
        "node_name_taken"
    );
    stage.cluster.activate(1, &activation_key).unwrap();

    let records = audit(&stage.cluster.nodes[3]);
    let of = |command: &str| -> Vec<&Value> {
        records.iter().filter(|record| record["command"] == command).collect()
    };
    let local = "local administrator on management-2";
    for (command, who, outcomes) in [
        ("RenameNode", local, &["ok", "ok", "node_name_taken"][..]),
        ("RotateCa", local, &["ok"]),
        ("RevokeToken", local, &["token_unknown"]),
        ("BeginActivation", local, &["ok"]),
        ("RecordRequest", local, &["ok"]),
        ("InstallLicense", local, &["ok"]),
    ] {
        let found = of(command);
        let told: Vec<&str> = found.iter().map(|record| record["outcome"].as_str().unwrap()).collect();
        assert_eq!(told, outcomes, "{command}");
        assert!(
            found.iter().all(|record| record["who"] == who && record["face"] == "admin_socket"),
            "{found:?}"
        );
    }
    // The leader itself leads the rotation through its phases; who joins is known by its token.
    assert_eq!(of("AdvanceCa").len(), 2);
    assert!(of("AdvanceCa").iter().all(|record| record["actor"] == "node"));
    let joined = of("AdmitNode");
    assert_eq!(joined.len(), 3);
    for record in joined {
        assert_eq!(record["actor"], "joiner");
        assert!(record["address"].as_str().unwrap().starts_with("127."), "{record}");
    }
    assert!(
        of("CreateToken").iter().any(|record| record["particulars"].to_string().contains("needs_approval"))
    );
    // Nothing secret is in it.
    let export = exports(&stage.cluster);
    assert!(!export.contains(&activation_key) && !export.contains("PRIVATE"));
    let last5 = &activation_key[activation_key.len() - 5..];
    assert!(of("BeginActivation")[0]["particulars"].to_string().contains(last5));

    // It stays: over a restart of everything, and for a node that joins later.
    stage.cluster.stop().unwrap();
    for node in &mut stage.cluster.nodes {
        node.serve().unwrap();
    }
    stage.cluster.wait_for_members(4).unwrap();
    let again = exports(&stage.cluster);
    assert!(again.starts_with(&export), "records were changed or lost over the restart");
    let late = stage.plan.node(4).unwrap();
    stage.cluster.nodes.push(late);
    let token = stage.cluster.token(quorate_chaos_tests::Role::Spooler, None).unwrap();
    let server = stage.cluster.nodes[0].raft;
    stage.cluster.nodes[4].join(&token.token, server).unwrap().success().unwrap();
    stage.cluster.nodes[4].serve().unwrap();
    stage.cluster.wait_for_members(5).unwrap();
    let whole = exports(&stage.cluster);
    assert!(whole.starts_with(&again) && whole.len() > again.len());
    for node in &stage.cluster.nodes {
        let verified: Value = run(node, &["audit", "verify"]).success().unwrap().parse().unwrap();
        assert_eq!(
            verified["records"].as_u64().unwrap() as usize,
            whole.lines().count() - 1,
            "{}",
            node.name
        );
    }
}
