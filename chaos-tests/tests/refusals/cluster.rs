//! What can't be done while somebody is away or something is not set up: named, and nothing is changed.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use quorate_chaos_tests::{
    Node, Stage,
    cli::Answer,
    client::{request, runtime},
    fake_portal::{Claims, Signer},
    files,
    stage::FakeStage,
    tls_server::Reply,
    wait::{self, PATIENCE, Seen},
};
use quorate_license::ActivationKey;
use quorate_proto::v1::WatchRequest;

use super::{refused, single};

fn run(node: &Node, words: &[&str]) -> Answer {
    node.cli(words.iter().copied()).args(["-o", "json"]).run().unwrap()
}

fn is(answer: Answer, code: &str, exit: i32) {
    let shown = format!("{answer:?}");
    let found = answer.code;
    assert_eq!((refused(answer).code.as_str(), found), (code, Some(exit)), "{shown}");
}

fn key() -> String {
    ActivationKey::from_entropy(rand::random()).expose().to_string()
}

const MAKE_A_TOKEN: [&str; 4] = ["token", "create", "--role", "spooler"];

#[test]
fn what_needs_nodes_that_are_away_names_them() {
    let mut stage = Stage::start(|_| {}).unwrap();
    let order = stage.portal.order().unwrap().activation_key;
    let token_file = stage.folder.path().join("admin.token");
    files::write_atomically(&token_file, &stage.cluster.admin_token("anna").unwrap().token).unwrap();
    let with_token = ["--token-file", token_file.to_str().unwrap()];
    let cluster = &mut stage.cluster;
    cluster.nodes[3].stop().unwrap();
    is(cluster.try_activate(0, &order).unwrap(), "nodes_offline", 1);
    cluster.nodes[3].serve().unwrap();
    cluster.wait_for_members(4).unwrap();

    cluster.nodes[0].stop().unwrap();
    cluster.leader().unwrap();
    is(cluster.try_activate(1, &order).unwrap(), "first_license_node_away", 1);
    cluster.nothing_changed().unwrap();
    cluster.nodes[0].serve().unwrap();
    cluster.wait_for_members(4).unwrap();

    // Another one than the first license node leads, and all are gone: whoever knows it can't reach it.
    let second = cluster.status().unwrap().nodes.iter().find(|node| node.name == "management-2").unwrap().id;
    let leader = cluster.leader().unwrap();
    if leader != 1 {
        cluster.nodes[leader].admin().transfer_leader(second).unwrap();
    }
    assert_eq!(cluster.leader().unwrap(), 1);
    wait::until("the Spooler Controller to know the leader", PATIENCE, || {
        let known = cluster.nodes[3].admin().status()?.leader;
        Ok(Seen::when(known == Some(second), || format!("{known:?}")))
    })
    .unwrap();
    for node in &mut cluster.nodes[..3] {
        node.kill().unwrap();
    }
    let words: Vec<&str> = with_token.into_iter().chain(MAKE_A_TOKEN).collect();
    is(run(&cluster.nodes[3], &words), "node_away", 1);
    for node in &mut cluster.nodes[..3] {
        node.serve().unwrap();
    }
    cluster.wait_for_members(4).unwrap();

    // The leader alone: what it has begun may still be done, or not.
    let leader = cluster.leader().unwrap();
    let others: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
    for node in &others {
        cluster.nodes[*node].pause().unwrap();
    }
    is(run(&cluster.nodes[leader], &MAKE_A_TOKEN), "outcome_unknown", 5);
    for node in others {
        cluster.nodes[node].kill().unwrap();
    }
    wait::until("nobody to lead", PATIENCE, || {
        let known = cluster.nodes[leader].admin().health()?.leader;
        Ok(Seen::when(known.is_none(), || format!("{known:?}")))
    })
    .unwrap();
    is(run(&cluster.nodes[leader], &MAKE_A_TOKEN), "no_leader", 5);
}

#[test]
fn a_node_that_has_heard_nothing_yet_says_so() {
    let mut stage = Stage::prepare(|plan| (plan.management, plan.spoolers) = (1, 1)).unwrap();
    stage.cluster.found().unwrap();
    stage.cluster.join(1).unwrap();
    stage.cluster.nodes[0].kill().unwrap();
    let spooler = &mut stage.cluster.nodes[1];
    spooler.serve().unwrap();
    let socket = spooler.admin_socket.clone();
    wait::until("the node to serve", PATIENCE, || {
        Ok(Seen::when(socket.exists(), || "no socket yet".to_owned()))
    })
    .unwrap();
    is(run(spooler, &["status"]), "not_initialized", 5);

    // Who watches hears so once, and then nothing until there is something to tell.
    let mut client = super::requests::product(spooler);
    let (first, second) = runtime().block_on(async move {
        let watching = client.watch(request(WatchRequest::default(), PATIENCE)).await.unwrap();
        let mut watching = watching.into_inner();
        let first = watching.message().await.unwrap().unwrap();
        // Longer than the node takes to look again.
        (first, tokio::time::timeout(Duration::from_millis(2500), watching.message()).await)
    });
    assert_eq!((first.status.as_str(), first.revision), ("unlicensed", None), "{first:?}");
    assert!(second.is_err(), "{second:?}");

    // The product's socket is not the administrator's.
    let product = spooler.socket.to_string_lossy().into_owned();
    spooler.set("listen", "admin_socket", product);
    spooler.unset("listen", "socket");
    spooler.write_config().unwrap();
    is(run(spooler, &["status"]), "not_supported", 1);
}

type Change = Box<dyn Fn(&mut Claims) + Send>;

#[test]
fn an_activation_that_lacks_something_or_gets_a_wrong_answer_changes_nothing() {
    let answers: Arc<Mutex<Option<Change>>> = Arc::default();
    let its_answers = Arc::clone(&answers);
    let mut stage = FakeStage::prepare(single, move |signer, key| {
        let mut claims = signer.claims(key);
        match its_answers.lock().unwrap().as_ref() {
            Some(change) => change(&mut claims),
            None => return Reply::Json(200, "{}".to_owned()),
        }
        signer.sign(&claims).map_or(Reply::Nothing, |license_key| signer.reply(&claims, &license_key))
    })
    .unwrap();
    let cluster = &mut stage.cluster;
    cluster.found().unwrap();
    let restarted = |cluster: &mut quorate_chaos_tests::Cluster, change: &dyn Fn(&mut Node)| {
        cluster.nodes[0].stop().unwrap();
        change(&mut cluster.nodes[0]);
        cluster.nodes[0].write_config().unwrap();
        cluster.nodes[0].serve().unwrap();
        cluster.wait_for_members(1).unwrap();
    };

    // Offline, and a license key that answers nothing here; one of a vendor whom nobody trusts.
    let begin = |cluster: &quorate_chaos_tests::Cluster| -> quorate_license::IntegrityKey {
        let words = ["license", "activate", "--offline", "--yes", "--renew", "--key-file", "-"];
        let shown: serde_json::Value = cluster.nodes[0].cli(words).stdin(key()).json().unwrap();
        quorate_license::IntegrityKey::from_text(shown["integrity_key"].as_str().unwrap()).unwrap()
    };
    let install = |cluster: &quorate_chaos_tests::Cluster, signer: &Signer, claims: &Claims| {
        let text = signer.sign(claims).unwrap().to_text().unwrap();
        cluster.nodes[0].cli(["license", "install", "-", "-o", "json"]).stdin(text).run().unwrap()
    };
    let integrity_key = begin(cluster);
    let mut claims = stage.signer.claims(&integrity_key);
    let stranger = Signer::new().unwrap();
    is(install(cluster, &stranger, &claims), "license_key_untrusted", 1);
    let nonce = quorate_license::Nonce(rand::random());
    (claims.binding.nonce, claims.license.nonce) = (nonce, nonce);
    is(install(cluster, &stage.signer, &claims), "no_open_activation", 1);

    // No portal, no root key, a portal that is not there, and one that answers nonsense.
    let kept = cluster.nodes[0].settings.clone();
    restarted(cluster, &|node| drop(node.settings.remove("portal")));
    is(cluster.try_activate(0, &key()).unwrap(), "portal_not_configured", 1);
    restarted(cluster, &|node| drop(node.settings.remove("license")));
    let words = ["license", "trial", "--offline", "--yes"];
    is(run(&cluster.nodes[0], &words), "no_trust_roots", 1);
    restarted(cluster, &|node| {
        node.settings.clone_from(&kept);
        node.set("portal", "url", "https://127.0.0.1:1");
        node.set("portal", "timeout_seconds", 1);
    });
    let own = key();
    is(cluster.try_activate(0, &own).unwrap(), "portal_unreachable", 1);
    restarted(cluster, &|node| node.settings.clone_from(&kept));
    let answer = super::activate_when_free(cluster, &own);
    is(answer, "portal_answer_invalid", 1);

    // The same portal is believed once it answers rightly; for a further order only under the same Support ID, and
    // only on the computer where it was activated first.
    let home = stage.signer.claims(&integrity_key).binding.home_computer_id;
    *answers.lock().unwrap() = Some(Box::new(|_| {}));
    let _ = super::activate_when_free(cluster, &own);
    cluster.wait_for_serial(1).unwrap();
    *answers.lock().unwrap() = Some(Box::new(|claims| {
        let other: quorate_license::SupportId = "QS-7K2M-94XD-0C8R".parse().unwrap();
        (claims.binding.support_id, claims.license.support_id) = (other.clone(), other);
    }));
    let further = key();
    is(cluster.try_activate(0, &further).unwrap(), "support_id_mismatch", 1);
    *answers.lock().unwrap() = Some(Box::new(move |claims| {
        let mut bytes = *home.as_bytes();
        bytes[20] ^= 1;
        let other = quorate_license::ComputerId::from_bytes(bytes).unwrap();
        claims.binding.home_computer_id = other;
        claims.binding.nodes[0].computer_id = other;
    }));
    let _ = super::activate_when_free(cluster, &further);
    cluster.wait_for_serial(2).unwrap();
    is(cluster.try_activate(0, &key()).unwrap(), "first_license_node_changed", 1);
}
