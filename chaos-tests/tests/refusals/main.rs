//! What is refused by name, with nothing changed: activation keys, portal answers, joins, data directories,
//! configurations.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../attacks/caller.rs"]
#[allow(dead_code, reason = "not every way to call is needed here")]
mod caller;
mod cluster;
mod commands;
mod license_file;
mod reasons;
mod requests;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use quorate_chaos_tests::{
    Cluster, Node, Role, Stage,
    cli::{Answer, Refusal},
    fake_portal::{Claims, Signer},
    files,
    stage::FakeStage,
    tls_server::Reply,
    wait::{self, PATIENCE, Seen},
};
use quorate_license::{ActivationKey, ClusterId, EpochId, Fence, Nonce, Serial};
use quorate_proto::v1::CreateTokenRequest;

fn refused(answer: Answer) -> Refusal {
    assert!(answer.code.is_some_and(|code| code != 0), "{answer:?}");
    answer.refusal().unwrap()
}

fn single(plan: &mut quorate_chaos_tests::Plan) {
    plan.management = 1;
    plan.spoolers = 0;
}

#[test]
fn wrong_activation_keys_are_refused_and_the_right_one_works_afterwards() {
    // Two installations of one portal.
    let mut elsewhere = Stage::start(single).unwrap();
    let used = elsewhere.portal.order().unwrap().activation_key;
    elsewhere.cluster.activate(0, &used).unwrap();
    elsewhere.cluster.stop().unwrap();
    let mut plan = elsewhere.plan.clone();
    plan.first_host = 50;
    plan.folder = elsewhere.folder.path().join("second-installation");
    let mut cluster = plan.prepare().unwrap();
    cluster.start().unwrap();

    let before = elsewhere.portal.activations().unwrap();
    let good = elsewhere.portal.order().unwrap().activation_key;
    // One symbol mistyped.
    let last = if good.ends_with('7') { "8" } else { "7" };
    let malformed = format!("{}{last}", &good[..good.len() - 1]);
    let unknown = ActivationKey::from_entropy(rand::random()).expose().to_string();
    for (key, code) in [
        (malformed.as_str(), "activation_key_malformed"),
        ("hello", "activation_key_malformed"),
        (&unknown, "activation_key_unknown"),
        (&used, "activation_key_used"),
    ] {
        let refusal = refused(cluster.try_activate(0, key).unwrap());
        assert_eq!(refusal.code, code, "{refusal:?}");
        let advice = refusal.hint.as_ref().is_some_and(|hint| !hint.is_empty());
        assert!(
            advice || ["compare it", "check that"].iter().any(|words| refusal.message.contains(words)),
            "{refusal:?}"
        );
        // The secret is in no message; its last five characters may be.
        assert!(key.len() < 10 || !refusal.message.contains(key));
        cluster.nothing_changed().unwrap();
        assert_eq!(elsewhere.portal.activations().unwrap(), before);
    }
    let activated = cluster.activate(0, &good).unwrap();
    cluster.wait_for_serial(activated.serial).unwrap();
}

type Tweak = Box<dyn Fn(&mut Claims) + Send>;

#[test]
fn portal_answers_that_do_not_belong_to_the_open_intent_are_refused() {
    let tweak: Arc<Mutex<Option<Tweak>>> = Arc::new(Mutex::new(None));
    let breaks_signature: Arc<Mutex<bool>> = Arc::new(Mutex::new(false));
    let (its_tweak, its_break) = (Arc::clone(&tweak), Arc::clone(&breaks_signature));
    let mut stage = FakeStage::prepare(single, move |signer, key| {
        let mut claims = signer.claims(key);
        if let Some(tweak) = its_tweak.lock().unwrap().as_ref() {
            tweak(&mut claims);
        }
        let mut license_key = signer.sign(&claims).unwrap();
        if *its_break.lock().unwrap() {
            license_key.licenses[0] = with_one_signature_symbol_changed(&license_key.licenses[0]);
        }
        signer.reply(&claims, &license_key)
    })
    .unwrap();
    stage.cluster.start().unwrap();
    let key = ActivationKey::from_entropy(rand::random()).expose().to_string();

    let other_nonce = Nonce(rand::random());
    let other_cluster = ClusterId(rand::random());
    let other_epoch = EpochId(rand::random());
    let cases: [(&str, Tweak); 6] = [
        (
            "nonce_mismatch",
            Box::new(move |claims| {
                (claims.binding.nonce, claims.license.nonce) = (other_nonce, other_nonce);
            }),
        ),
        (
            "cluster_mismatch",
            Box::new(move |claims| {
                (claims.binding.cluster_id, claims.license.cluster_id) = (other_cluster, other_cluster);
            }),
        ),
        (
            "binding_serial_not_higher",
            Box::new(|claims| {
                (claims.binding.serial, claims.license.serial) = (Serial(0), Serial(0));
            }),
        ),
        ("epoch_mismatch", Box::new(move |claims| claims.binding.epoch.id = other_epoch)),
        ("serial_not_higher", Box::new(|claims| claims.license.serial = Serial(0))),
        ("fence_not_higher", Box::new(|claims| claims.binding.fence = Fence(0))),
    ];
    for (code, case) in cases {
        *tweak.lock().unwrap() = Some(case);
        let refusal = refused(activate_when_free(&stage.cluster, &key));
        assert_eq!(refusal.code, code, "{refusal:?}");
        no_license(&stage.cluster);
    }
    *tweak.lock().unwrap() = None;
    *breaks_signature.lock().unwrap() = true;
    let refusal = refused(activate_when_free(&stage.cluster, &key));
    assert!(refusal.message.to_lowercase().contains("signature"), "{refusal:?}");
    no_license(&stage.cluster);

    *breaks_signature.lock().unwrap() = false;

    // The portal that answers honestly again is believed: the open activation ends well, by itself or by this.
    let _ = stage.cluster.try_activate(0, &key).unwrap();
    stage.cluster.wait_for_serial(1).unwrap();
    let states: Vec<String> =
        stage.cluster.nodes[0].admin().activations().unwrap().into_iter().map(|one| one.state).collect();
    assert_eq!(states, ["installed"], "all these answers were for one intent");
}

/// An activation that was left open is also taken up by the node itself; while it does, nobody else can.
fn activate_when_free(cluster: &Cluster, key: &str) -> Answer {
    wait::until("the node to be free for an activation", PATIENCE, || {
        let answer = cluster.try_activate(0, key)?;
        let busy = answer.refusal().is_ok_and(|refusal| refusal.code == "activation_in_progress");
        Ok(if busy { Seen::not_yet(answer.stderr) } else { Seen::Done(answer) })
    })
    .unwrap()
}

#[test]
fn an_answer_of_a_vendor_whom_nobody_trusts_is_refused() {
    let stranger = Signer::new().unwrap();
    let mut stage = FakeStage::prepare(single, move |_, key| {
        let claims = stranger.claims(key);
        stranger.sign(&claims).map_or(Reply::Nothing, |license_key| stranger.reply(&claims, &license_key))
    })
    .unwrap();
    stage.cluster.start().unwrap();
    let key = ActivationKey::from_entropy(rand::random()).expose().to_string();
    let refusal = refused(stage.cluster.try_activate(0, &key).unwrap());
    let words = refusal.message.to_lowercase();
    assert!(words.contains("trust") || words.contains("issu"), "{refusal:?}");
    no_license(&stage.cluster);
}

fn no_license(cluster: &Cluster) {
    for node in &cluster.nodes {
        assert_eq!(node.product().license().unwrap().status, "unlicensed");
        assert!(!node.license_file().exists());
    }
}

/// A PASETO token is `v4.public.<claims and signature>.<footer>`: this changes a symbol within the signature.
fn with_one_signature_symbol_changed(token: &str) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let at = parts[2].len() - 20;
    let other = if parts[2].as_bytes()[at] == b'A' { "B" } else { "A" };
    parts[2].replace_range(at..=at, other);
    parts.join(".")
}

fn same_members(cluster: &Cluster, count: usize) {
    assert_eq!(cluster.status().unwrap().nodes.len(), count);
}

#[test]
fn joins_that_must_not_be_are_refused_by_name() {
    let mut stage = Stage::prepare(|plan| {
        plan.management = 1;
        plan.spoolers = 1;
    })
    .unwrap();
    stage.cluster.found().unwrap();
    let cluster = &mut stage.cluster;
    let server = cluster.nodes[0].raft;

    // A machine that was cloned from the first node.
    let machine_id = files::read(&cluster.nodes[0].machine_id_file).unwrap();
    let own_machine_id = files::read(&cluster.nodes[1].machine_id_file).unwrap();
    files::write(&cluster.nodes[1].machine_id_file, &machine_id).unwrap();
    let token = cluster.token(Role::Spooler, None).unwrap();
    let refusal = refused(cluster.nodes[1].join(&token.token, server).unwrap());
    assert_eq!(refusal.code, "computer_id_in_use", "{refusal:?}");
    assert!(refusal.message.contains("management-1"), "{refusal:?}");
    same_members(cluster, 1);
    files::write(&cluster.nodes[1].machine_id_file, &own_machine_id).unwrap();

    // A token with another secret; one that does not exist any more in time; one for the other role.
    let wrong = with_another_secret(&token.token);
    assert_eq!(refused(cluster.nodes[1].join(&wrong, server).unwrap()).code, "token_unknown");
    let expires_soon =
        CreateTokenRequest { role: "spooler".to_owned(), ttl_seconds: 1, ..Default::default() };
    let short = cluster.nodes[0].admin().create_token(expires_soon).unwrap();
    wait::until("the token to expire", PATIENCE, || {
        let tokens = cluster.nodes[0].admin().tokens()?;
        let state = tokens.iter().find(|listed| listed.id == short.id).map(|listed| listed.state.clone());
        Ok(Seen::when(state.as_deref() == Some("expired"), || format!("{state:?}")))
    })
    .unwrap();
    assert_eq!(refused(cluster.nodes[1].join(&short.token, server).unwrap()).code, "token_expired");
    let revoked = cluster.token(Role::Spooler, None).unwrap();
    cluster.nodes[0].cli(["token", "revoke", &revoked.id]).run().unwrap().success().unwrap();
    assert_eq!(refused(cluster.nodes[1].join(&revoked.token, server).unwrap()).code, "token_revoked");
    same_members(cluster, 1);

    // A server that is not of the token's cluster: its CA is another one, and nothing is sent to it.
    let mut plan = stage.plan.clone();
    plan.first_host = 50;
    plan.spoolers = 0;
    plan.folder = stage.folder.path().join("other-cluster");
    let mut other = plan.prepare().unwrap();
    other.found().unwrap();
    let refusal = refused(cluster.nodes[1].join(&token.token, other.nodes[0].raft).unwrap());
    let words = format!("{} {}", refusal.code, refusal.message).to_lowercase();
    assert!(words.contains("ca") && (words.contains("other") || words.contains("another")), "{refusal:?}");
    same_members(&other, 1);
    assert_eq!(
        other.nodes[0].admin().tokens().unwrap().iter().filter(|token| token.state == "used").count(),
        0
    );

    // The token was not used up by all this.
    cluster.nodes[1].join(&token.token, server).unwrap().success().unwrap();
    cluster.nodes[1].serve().unwrap();
    cluster.wait_for_members(2).unwrap();

    // It is used up now.
    let third = stage.plan.node(2).unwrap();
    assert_eq!(refused(third.join(&token.token, server).unwrap()).code, "token_used");
}

/// `qj1-<id>-<secret>-<fingerprint>` with another secret.
fn with_another_secret(token: &str) -> String {
    let mut parts: Vec<String> = token.split('-').map(str::to_owned).collect();
    let other = if parts[2].starts_with('A') { "B" } else { "A" };
    parts[2].replace_range(0..1, other);
    parts.join("-")
}

/// Serves, and waits for the end that has to come; gives what it said.
fn refused_to_serve(node: &mut Node) -> String {
    node.serve().unwrap();
    let status = node.wait_end(Duration::from_secs(30)).unwrap();
    assert!(!status.success(), "{} served", node.name);
    files::tail(node.log(), 30)
}

#[test]
fn a_data_directory_of_another_node_is_refused_and_left_as_it_is() {
    let mut stage = Stage::start(|plan| {
        plan.management = 2;
        plan.spoolers = 0;
    })
    .unwrap();
    stage.cluster.stop().unwrap();
    let others = stage.cluster.nodes[1].data_dir.clone();
    let own = stage.cluster.nodes[0].data_dir.clone();
    let node = &mut stage.cluster.nodes[0];
    node.set("node", "data_dir", others.to_string_lossy().into_owned());
    node.write_config().unwrap();
    let said = refused_to_serve(node);
    assert!(said.contains("management-2") && said.contains(&*others.to_string_lossy()), "{said}");
    let node = &mut stage.cluster.nodes[0];
    node.set("node", "data_dir", own.to_string_lossy().into_owned());
    node.write_config().unwrap();
    // Another computer is an alarm and no end: tests/clones.rs.
    for node in &mut stage.cluster.nodes {
        node.serve().unwrap();
    }
    stage.cluster.wait_for_members(2).unwrap();

    // A directory that was never prepared, and one that is prepared already.
    let mut unprepared = stage.plan.node(2).unwrap();
    let said = refused_to_serve(&mut unprepared);
    assert!(said.contains("not prepared") && said.contains("init"), "{said}");
    let refusal = refused(stage.cluster.nodes[0].cli(["init", "-o", "json"]).run().unwrap());
    assert!(refusal.message.contains("already"), "{refusal:?}");
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused_with_the_nearest_known_one() {
    let stage = Stage::prepare(single).unwrap();
    let mut cluster = stage.cluster;
    let node = &mut cluster.nodes[0];
    node.set("listen", "grcp", "127.0.0.1:1");
    node.write_config().unwrap();
    let config = node.config.to_string_lossy().into_owned();
    for command in [vec!["config", "check"], vec!["init"]] {
        let refusal = refused(node.cli(command).args(["-o", "json"]).run().unwrap());
        assert!(refusal.message.contains("grcp") && refusal.message.contains(&config), "{refusal:?}");
        let words = format!("{} {}", refusal.message, refusal.hint.unwrap_or_default());
        assert!(words.contains("grpc"), "{words}");
    }
    let said = refused_to_serve(node);
    assert!(said.contains("grcp"), "{said}");

    // The same for the environment.
    node.settings.get_mut("listen").and_then(toml::Value::as_table_mut).unwrap().remove("grcp");
    node.write_config().unwrap();
    let answer =
        node.cli(["config", "check", "-o", "json"]).env("QUORATE_LISTEN_GRCP", "127.0.0.1:1").run().unwrap();
    assert!(refused(answer).message.contains("QUORATE_LISTEN_GRCP"));
    node.cli(["config", "check"]).run().unwrap().success().unwrap();
}
