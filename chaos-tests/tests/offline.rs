//! Activation by hand: an integrity key out of the cluster, a license key back into it, over restarts, changes of
//! leader and newer attempts; and what telemetry sends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use quorate_chaos_tests::{
    Stage,
    cli::{Answer, Refusal},
    files,
    stage::FakeStage,
    tls_server::Reply,
    wait::{self, PATIENCE, Seen},
};
use quorate_license::{ActivationKey, IntegrityKey};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Deserialize;
use serde_json::{Value, json};

/// What an offline activation prints.
#[derive(Debug, Clone, Deserialize)]
struct Offline {
    nonce: String,
    kind: String,
    portal_page: String,
    integrity_key: String,
    superseded: Vec<String>,
    shown_again: bool,
}

/// What an installation prints.
#[derive(Debug, Clone, Deserialize)]
struct Installed {
    support_id: String,
    serial: u64,
    already_installed: bool,
}

/// The portal's answers, at the bench where a person would paste: every license key that it ever gave.
type Answers = Arc<Mutex<Vec<(String, String)>>>;

/// A portal that nobody but the test asks; it issues for any key, each time with the next serial.
fn stage() -> FakeStage {
    FakeStage::prepare(
        |_| {},
        |_, _| Reply::Json(500, json!({ "code": "internal", "message": "x" }).to_string()),
    )
    .unwrap()
}

fn offline(stage: &FakeStage, node: usize, arguments: &[&str], stdin: &str) -> Offline {
    let words =
        ["license", arguments[0], "--offline", "--yes"].into_iter().chain(arguments[1..].iter().copied());
    stage.cluster.nodes[node].cli(words).stdin(stdin).json().unwrap()
}

fn install(stage: &FakeStage, node: usize, license_key: &str) -> Answer {
    let command = stage.cluster.nodes[node].cli(["license", "install", "-", "-o", "json"]);
    command.stdin(license_key).run().unwrap()
}

fn installed(answer: Answer) -> Installed {
    answer.success().unwrap().parse().unwrap()
}

fn refused(answer: Answer) -> Refusal {
    assert_ne!(answer.code, Some(0), "{answer:?}");
    answer.refusal().unwrap()
}

/// What the portal's page does with a pasted integrity key.
fn paste(stage: &FakeStage, integrity_key: &str, answers: &Answers) -> String {
    let key = IntegrityKey::from_text(integrity_key).unwrap();
    key.verify_signatures().unwrap();
    let mut answers = answers.lock().unwrap();
    if let Some((_, license_key)) = answers.iter().find(|(nonce, _)| *nonce == key.nonce.to_string()) {
        return license_key.clone();
    }
    let claims = stage.signer.claims(&key);
    let license_key = stage.signer.sign(&claims).unwrap().to_text().unwrap();
    answers.push((key.nonce.to_string(), license_key.clone()));
    license_key
}

fn activation_key(seed: u8) -> String {
    ActivationKey::from_entropy([seed; 15]).expose().to_string()
}

fn states(stage: &FakeStage) -> Vec<(String, String)> {
    let activations = stage.cluster.nodes[0].admin().activations().unwrap();
    activations.into_iter().map(|activation| (activation.nonce, activation.state)).collect()
}

fn state_of(stage: &FakeStage, nonce: &str) -> String {
    states(stage).into_iter().find(|(other, _)| other == nonce).unwrap().1
}

#[test]
fn an_activation_by_hand_survives_restarts_leaders_and_newer_attempts_and_takes_one_answer_only() {
    let mut stage = stage();
    stage.cluster.start().unwrap();
    let answers = Answers::default();

    // Begun on one node; the same again shows the same integrity key.
    let first = offline(&stage, 1, &["activate", "--key-file", "-"], &activation_key(1));
    assert!(first.portal_page.ends_with("/activate") && !first.shown_again, "{first:?}");
    assert_eq!((first.kind.as_str(), first.superseded.len()), ("activate", 0));
    let again = offline(&stage, 2, &["activate", "--key-file", "-"], &activation_key(1));
    assert_eq!((again.integrity_key, again.shown_again), (first.integrity_key.clone(), true));
    let late_answer = paste(&stage, &first.integrity_key, &answers);

    // Everything is killed and comes back, and another node leads.
    stage.cluster.kill_all().unwrap();
    for node in &mut stage.cluster.nodes {
        node.serve().unwrap();
    }
    stage.cluster.wait_for_members(4).unwrap();
    let leader = stage.cluster.leader().unwrap();
    let status = stage.cluster.status().unwrap();
    let other = status.nodes.iter().find(|node| node.voter && Some(node.id) != status.leader).unwrap();
    stage.cluster.nodes[leader].admin().transfer_leader(other.id).unwrap();
    assert_eq!(state_of(&stage, &first.nonce), "requested");

    // A newer attempt takes its place; the answer to the older one is refused with the way out.
    let second = offline(&stage, 0, &["activate", "--key-file", "-", "--renew"], &activation_key(1));
    assert_eq!(second.superseded, [first.nonce.as_str()]);
    let refusal = refused(install(&stage, 2, &late_answer));
    assert_eq!(refusal.code, "activation_superseded");
    assert!(refusal.message.contains(&second.nonce), "{refusal:?}");
    assert!(refusal.hint.unwrap_or_default().contains("license intents"));
    assert_eq!(state_of(&stage, &first.nonce), "superseded");

    // A damaged character is pointed at; quoting as in mail is forgiven. A Spooler Controller relays an administrator.
    let answer = paste(&stage, &second.integrity_key, &answers);
    let damaged = refused(install(&stage, 2, &answer.replacen("eyJ2", "eyJ%", 1)));
    assert_eq!(damaged.code, "license_key_malformed");
    assert!(damaged.message.contains("line 2, column 4"), "{damaged:?}");
    let quoted: String = answer.lines().map(|line| format!("> {} \r\n", line.to_owned() + "  ")).collect();
    assert_eq!(install(&stage, 3, &quoted).code, Some(4), "its local administrator may only read");
    let token_file = stage.folder.path().join("admin.token");
    let token = stage.cluster.admin_token("offline").unwrap().token;
    files::write_atomically(&token_file, &token).unwrap();
    let words = ["--token-file", token_file.to_str().unwrap(), "license", "install", "-", "-o", "json"];
    let done = installed(stage.cluster.nodes[3].cli(words).stdin(quoted).run().unwrap());
    assert!(!done.already_installed);
    stage.cluster.wait_for_serial(done.serial).unwrap();

    // Further orders, by hand and without a pause.
    for seed in 2..4 {
        let order = offline(&stage, 1, &["activate", "--key-file", "-"], &activation_key(seed));
        assert_eq!(order.kind, "upgrade");
        let answer = paste(&stage, &order.integrity_key, &answers);
        let further = installed(install(&stage, 2, &answer));
        assert_eq!(further.support_id, done.support_id);
        stage.cluster.wait_for_serial(further.serial).unwrap();
    }

    // A reactivation is open. Of all license keys that were ever issued, in any order, its own is the only one taken.
    let open = offline(&stage, 0, &["reactivate"], "");
    assert_eq!(open.kind, "reactivate");
    let right = paste(&stage, &open.integrity_key, &answers);
    let seed = rand::random();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let issued: Vec<(String, String)> = answers.lock().unwrap().clone();
    let before = stage.cluster.status().unwrap().license.unwrap().serial;
    let mut taken = 0;
    let mut order: Vec<usize> = (0..issued.len()).chain(0..issued.len()).collect();
    for index in (1..order.len()).rev() {
        order.swap(index, dice.random_range(0..=index));
    }
    for index in order {
        let (nonce, license_key) = &issued[index];
        let node = dice.random_range(0..3);
        let answer = install(&stage, node, license_key);
        if *nonce == open.nonce {
            let outcome = installed(answer);
            assert_eq!(outcome.already_installed, taken == 1, "once, and then told so");
            taken += 1;
            stage.cluster.wait_for_serial(outcome.serial).unwrap();
        } else if taken == 0 && issued[issued.len() - 2].0 == *nonce {
            assert!(installed(answer).already_installed, "the installed one changes nothing");
        } else {
            let code = refused(answer).code;
            assert!(
                ["activation_superseded", "binding_serial_not_higher"].contains(&code.as_str()),
                "{code}"
            );
        }
    }
    assert_eq!(taken, 2);
    assert_eq!(stage.cluster.status().unwrap().license.unwrap().serial, before.map(|serial| serial + 1));
    assert!(right.starts_with("-----BEGIN QUORATE LICENSE KEY-----"));

    let history: Vec<Value> = stage.cluster.nodes[2].cli(["license", "history"]).json().unwrap();
    let kinds: Vec<&str> = history.iter().filter_map(|entry| entry["kind"].as_str()).collect();
    assert_eq!(kinds, ["activate", "upgrade", "upgrade", "reactivate"]);
    assert!(history.iter().all(|entry| entry["method"] == "offline"), "{history:?}");
}

#[test]
fn a_trial_needs_no_key_and_codes_hold_the_integrity_key() {
    let mut stage = stage();
    stage.cluster.start().unwrap();
    let folder = stage.folder.path().join("codes");
    std::fs::create_dir(&folder).unwrap();
    let (text, image) = (folder.join("key.txt"), folder.join("key.svg"));
    let words = ["license", "trial", "--offline", "--yes", "--qr", "--file"];
    let command = stage.cluster.nodes[0].cli(words).args([text.clone().into_os_string()]);
    let shown = command.args(["--qr-file".into(), image.into_os_string()]).run().unwrap().success().unwrap();
    let count = std::fs::read_dir(&folder).unwrap().count() - 1;
    assert!(count > 1, "a key of four nodes does not fit into one code");
    assert!(shown.stdout.contains("QR code 1 of ") && shown.stdout.contains("/activate"), "{}", shown.stdout);
    assert!(!shown.stdout.contains("BEGIN QUORATE"), "it is in the file");
    let key = IntegrityKey::from_text(&std::fs::read_to_string(&text).unwrap()).unwrap();
    assert_eq!((key.kind.as_str(), key.activation_key.is_none()), ("trial", true));

    let answer = paste(&stage, &key.to_text(), &Answers::default());
    let done = installed(install(&stage, 1, &answer));
    stage.cluster.wait_for_serial(done.serial).unwrap();
    let again =
        stage.cluster.nodes[0].cli(["license", "trial", "--offline", "--yes", "-o", "json"]).run().unwrap();
    assert_eq!(refused(again).code, "already_activated");
}

#[test]
fn an_order_goes_the_other_way_while_it_is_open_and_is_used_once() {
    let mut stage = Stage::start(|plan| plan.spoolers = 0).unwrap();
    let key = stage.portal.order().unwrap().activation_key;
    let words = ["license", "activate", "--offline", "--yes", "--key-file", "-"];
    let open: Offline = stage.cluster.nodes[1].cli(words).stdin(key.clone()).json().unwrap();
    assert_eq!(stage.portal.activations().unwrap(), []);
    // The connection is back: the same command without --offline sends the same bytes.
    let activated = stage.cluster.activate(2, &key).unwrap();
    stage.cluster.wait_for_serial(activated.serial).unwrap();
    let issued = stage.portal.activations().unwrap();
    assert_eq!(issued.len(), 1);
    assert_eq!(issued[0].nonce, open.nonce);
}

#[test]
fn the_portal_issues_by_hand_again_for_a_newer_attempt_and_uses_the_order_once() {
    let mut stage = Stage::start(|plan| plan.spoolers = 0).unwrap();
    let order = stage.portal.order().unwrap();
    let begin = |stage: &Stage, key: &str, renew: bool| -> Offline {
        let words = ["license", "activate", "--offline", "--yes", "--key-file", "-"];
        let command = stage.cluster.nodes[1].cli(words).args(renew.then_some("--renew"));
        command.stdin(key).json().unwrap()
    };
    let take = |stage: &Stage, license_key: &str| {
        let command = stage.cluster.nodes[2].cli(["license", "install", "-", "-o", "json"]);
        command.stdin(license_key).run().unwrap()
    };
    // The first answer is lost on its way; a newer attempt gets one of its own.
    let first = begin(&stage, &order.activation_key, false);
    let lost = stage.portal.link.bring(&first.integrity_key).unwrap().license_key().unwrap();
    let second = begin(&stage, &order.activation_key, true);
    let answer = stage.portal.link.bring(&second.integrity_key).unwrap().license_key().unwrap();
    assert_eq!(refused(take(&stage, &lost)).code, "activation_superseded");
    let done = installed(take(&stage, &answer));
    stage.cluster.wait_for_serial(done.serial).unwrap();
    assert_eq!(stage.portal.installations().unwrap(), std::slice::from_ref(&done.support_id));
    assert!(installed(take(&stage, &answer)).already_installed);

    // A further order, by hand: what it adds stands in the history.
    let further = begin(&stage, &stage.portal.order().unwrap().activation_key, false);
    let answer = stage.portal.link.bring(&further.integrity_key).unwrap().license_key().unwrap();
    let more = installed(take(&stage, &answer));
    assert_eq!(more.support_id, done.support_id);
    stage.cluster.wait_for_serial(more.serial).unwrap();
    let history: Vec<Value> = stage.cluster.nodes[0].cli(["license", "history"]).json().unwrap();
    let changes = history.last().unwrap()["changes"].to_string();
    assert!(changes.contains("devices: 50, now 100") && changes.contains(" added"), "{changes}");
}

#[test]
fn telemetry_is_off_until_it_is_enabled_and_sends_exactly_what_is_shown() {
    let mut stage = stage();
    stage.cluster.start().unwrap();
    let show = |stage: &FakeStage, node: usize| -> Value {
        stage.cluster.nodes[node].cli(["telemetry", "show"]).json().unwrap()
    };
    assert_eq!(show(&stage, 3)["enabled"], false);
    let decide = |stage: &FakeStage, what: &str| -> Value {
        stage.cluster.nodes[1].cli(["telemetry", what]).json().unwrap()
    };
    assert_eq!(decide(&stage, "enable")["enabled"], true);
    wait::until("the first report", PATIENCE, || {
        let count = stage.portal.asked().len();
        Ok(Seen::when(count > 0, || "none yet".to_owned()))
    })
    .unwrap();
    let received = stage.portal.asked();
    assert!(received[0].head.starts_with("POST /v1/telemetry "), "{}", received[0].head);
    let sent: Value = serde_json::from_slice(&received[0].body).unwrap();
    let shown = show(&stage, 2);
    assert_eq!((&shown["enabled"], &shown["report"]), (&Value::Bool(true), &sent));
    assert_eq!(decide(&stage, "disable")["enabled"], false);
    assert_eq!(show(&stage, 0)["enabled"], false);
    assert_eq!(stage.portal.asked().len(), 1, "one report a day, and none when it is off");
}
