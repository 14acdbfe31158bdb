//! What keeps an activation from happening: missing nodes, an absent first license node, a caller without rights.
//! And that it works wherever it is asked for by whoever may.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use quorate_chaos_tests::{Result, Stage, cli::Answer, cluster::Activated, files, http, wait, wait::Seen};

/// The refusal's code and words. It must be one: the command ended with an error.
fn refusal(answer: Answer) -> (String, String) {
    let refusal = answer.refusal().unwrap();
    assert!(answer.code.is_some_and(|code| code != 0), "{answer:?}");
    (refusal.code, format!("{} {}", refusal.message, refusal.hint.unwrap_or_default()))
}

/// Nothing happened: no license anywhere, no open activation, and the portal was not even asked.
fn nothing_happened(stage: &Stage) {
    stage.cluster.nothing_changed().unwrap();
    assert_eq!(stage.portal.requests_seen().unwrap(), 0);
    assert!(stage.portal.activations().unwrap().is_empty());
    assert!(stage.portal.installations().unwrap().is_empty());
}

/// How often a node asked the portal, by its own metrics.
fn portal_requests(stage: &Stage, node: usize) -> Result<u64> {
    let text = http::get(stage.cluster.nodes[node].ops, "/metrics")?.body;
    let counts =
        text.lines().filter(|line| line.starts_with("quorate_portal_request_duration_seconds_count"));
    Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64)
}

#[test]
fn an_activation_needs_every_node_and_a_caller_who_may() {
    let mut stage = Stage::prepare(|plan| plan.expected_nodes = Some(4)).unwrap();
    let key = stage.portal.order().unwrap().activation_key;

    // Two of four expected nodes.
    stage.cluster.found().unwrap();
    stage.cluster.join(1).unwrap();
    stage.cluster.nodes[1].serve().unwrap();
    stage.cluster.wait_for_members(2).unwrap();
    let (code, words) = refusal(stage.cluster.try_activate(0, &key).unwrap());
    assert_eq!(code, "fewer_nodes_than_expected");
    assert!(words.contains('2') && words.contains('4'), "{words}");
    nothing_happened(&stage);

    for index in [2, 3] {
        stage.cluster.join(index).unwrap();
        stage.cluster.nodes[index].serve().unwrap();
    }
    stage.cluster.wait_for_members(4).unwrap();

    // A Management Server away, a Spooler Controller away.
    for victim in [2, 3] {
        stage.cluster.nodes[victim].kill().unwrap();
        let (_, words) = refusal(stage.cluster.try_activate(0, &key).unwrap());
        assert!(words.contains(&stage.cluster.nodes[victim].name), "{words}");
        nothing_happened(&stage);
        stage.cluster.nodes[victim].serve().unwrap();
        stage.cluster.wait_for_members(4).unwrap();
    }

    // The first license node away: a follower, and the leader, name it.
    let token = stage.cluster.admin_token("guards").unwrap().token;
    stage.cluster.nodes[0].kill().unwrap();
    stage.cluster.leader().unwrap();
    for asked in [1, 2] {
        let (_, words) = refusal(stage.cluster.try_activate(asked, &key).unwrap());
        assert!(words.contains("management-1"), "{words}");
    }
    nothing_happened(&stage);
    stage.cluster.nodes[0].serve().unwrap();
    stage.cluster.wait_for_members(4).unwrap();

    // On a Spooler Controller: its local administrator may only read.
    let answer = stage.cluster.try_activate(3, &key).unwrap();
    assert_eq!(answer.code, Some(4), "{answer:?}");
    refusal(answer);
    nothing_happened(&stage);
    stage.cluster.nodes[3].cli(["status", "-o", "json"]).run().unwrap().success().unwrap();

    // With a token it is relayed to the first license node.
    let token_file = stage.folder.path().join("admin.token");
    files::write_atomically(&token_file, &token).unwrap();
    let arguments =
        ["--token-file", token_file.to_str().unwrap(), "license", "activate", "--key-file", "-", "--yes"];
    let activated: Activated = stage.cluster.nodes[3]
        .cli(arguments)
        .args(["-o", "json"])
        .stdin(key)
        .run()
        .unwrap()
        .success()
        .unwrap()
        .parse()
        .unwrap();
    stage.cluster.wait_for_serial(activated.serial).unwrap();
    assert_eq!(stage.portal.installations().unwrap(), [activated.support_id]);
    let asked: Vec<u64> = (0..4).map(|node| portal_requests(&stage, node).unwrap()).collect();
    assert!(asked[0] > 0 && asked[1..].iter().all(|count| *count == 0), "{asked:?}");
}

#[test]
fn a_follower_takes_the_request_and_the_first_license_node_leads_it() {
    let mut stage = Stage::start(|plan| plan.spoolers = 0).unwrap();
    let second =
        stage.cluster.status().unwrap().nodes.iter().find(|node| node.name == "management-2").unwrap().id;
    stage.cluster.nodes[0].admin().transfer_leader(second).unwrap();
    assert_eq!(stage.cluster.leader().unwrap(), 1, "another node leads in Raft than the first license node");
    let key = stage.portal.order().unwrap().activation_key;
    let activated = stage.cluster.activate(2, &key).unwrap();
    stage.cluster.wait_for_serial(activated.serial).unwrap();
    let asked: Vec<u64> = (0..3).map(|node| portal_requests(&stage, node).unwrap()).collect();
    assert!(asked[0] > 0 && asked[1..].iter().all(|count| *count == 0), "{asked:?}");

    // The same key once more: refused with what there is. A further order's key adds to the installation.
    let (code, words) = refusal(stage.cluster.try_activate(0, &key).unwrap());
    assert_eq!(code, "already_activated");
    assert!(words.contains(&activated.support_id), "{words}");
    assert_eq!(stage.portal.activations().unwrap().len(), 1);
    let spare = stage.portal.order().unwrap();
    let further = stage.cluster.activate(1, &spare.activation_key).unwrap();
    assert_eq!((further.support_id, further.serial), (activated.support_id, activated.serial + 1));
    stage.cluster.wait_for_serial(further.serial).unwrap();
}

#[test]
fn a_graceful_stop_of_the_leader_hands_leadership_over_first() {
    let mut stage = Stage::start(|plan| plan.spoolers = 0).unwrap();
    let leader = stage.cluster.leader().unwrap();
    let status = stage.cluster.nodes[leader].stop().unwrap().unwrap();
    assert!(status.success(), "{status}");
    // No election timeout (1.2 s at least) passes: another one leads by the time the process is gone.
    let others: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
    let new = wait::until("another leader", std::time::Duration::from_millis(1000), || {
        let status = stage.cluster.nodes[others[0]].admin().status()?;
        let name =
            status.nodes.iter().find(|node| Some(node.id) == status.leader).map(|node| node.name.clone());
        let old = &stage.cluster.nodes[leader].name;
        Ok(match name {
            Some(name) if name != *old => Seen::Done(name),
            other => Seen::not_yet(format!("{other:?}")),
        })
    })
    .unwrap();
    assert!(others.iter().any(|index| stage.cluster.nodes[*index].name == new));
}
