//! What takes days: an activation by hand on its way, an issuing key that is revoked, a trial that was had, and a
//! report of telemetry for each day.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "life/pace.rs"]
#[allow(dead_code, reason = "not every pace is needed here")]
mod pace;

use std::fs;

use data_encoding::BASE64URL_NOPAD;
use quorate_chaos_tests::{
    FakeTime, Stage,
    cli::Answer,
    files,
    wait::{self, PATIENCE, Seen},
};
use quorate_license::LicenseFile;
use serde::Deserialize;
use serde_json::Value;

/// What an offline activation prints.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Open {
    nonce: String,
    integrity_key: String,
}

/// What an installation prints.
#[derive(Debug, Clone, Deserialize)]
struct Installed {
    support_id: String,
    serial: u64,
}

/// Three Management Servers, a Spooler Controller and a portal, in one time that can be moved.
fn stage() -> (Stage, FakeTime) {
    let (mut stage, time) =
        Stage::prepare_in_time(|plan| plan.raft_times_ms = Some([100, 400, 800])).unwrap();
    stage.cluster.start().unwrap();
    (stage, time)
}

fn begin(stage: &Stage, node: usize, kind: &str, key: &str) -> Open {
    let words = ["license", kind, "--offline", "--yes"];
    let command = stage.cluster.nodes[node].cli(words);
    if key.is_empty() { command.json() } else { command.args(["--key-file", "-"]).stdin(key).json() }.unwrap()
}

fn install(stage: &mut Stage, node: usize, license_key: &str) -> Installed {
    let command = stage.cluster.nodes[node].cli(["license", "install", "-"]).stdin(license_key);
    let done: Installed = command.json().unwrap();
    stage.cluster.wait_for_serial(done.serial).unwrap();
    done
}

/// The activation, as the command line lists it.
fn state_of(stage: &Stage, open: &Open) -> String {
    let intents: Vec<Value> = stage.cluster.nodes[1].cli(["license", "intents"]).json().unwrap();
    let found = intents.iter().find(|intent| intent["nonce"] == open.nonce.as_str());
    found.and_then(|intent| intent["state"].as_str()).unwrap_or_else(|| panic!("{intents:?}")).to_owned()
}

fn online(stage: &Stage, words: &[&str]) -> Answer {
    let words = ["license"].into_iter().chain(words.iter().copied()).chain(["--yes", "-o", "json"]);
    stage.cluster.nodes[1].cli(words).run().unwrap()
}

fn refusal(answer: &Answer) -> String {
    answer.refusal().unwrap().code
}

/// The portal makes itself another key to sign with, and is restarted with it.
fn rotate_issuing_key(stage: &mut Stage) {
    let _: Value = stage.portal.admin(["key", "rotate-issuing"]).unwrap();
    stage.portal.stop().unwrap();
    stage.portal.serve().unwrap();
}

/// Everything is killed at once and comes back, and then another node leads.
fn crash_and_change_leader(stage: &mut Stage) {
    stage.cluster.kill_all().unwrap();
    stage.cluster.nodes.iter_mut().for_each(|node| node.serve().unwrap());
    stage.cluster.wait_for_members(4).unwrap();
    let led = stage.cluster.leader().unwrap();
    wait::until("another leader", PATIENCE, || {
        let status = stage.cluster.status()?;
        let other = status.nodes.iter().find(|node| node.voter && Some(node.id) != status.leader);
        let other = other.map(|node| node.name.clone()).unwrap_or_default();
        let answer = stage.cluster.nodes[0].cli(["cluster", "transfer-leader", "--to", &other]).run()?;
        Ok(Seen::when(stage.cluster.leader()? != led, || format!("{answer:?}")))
    })
    .unwrap();
}

#[test]
fn an_activation_by_hand_goes_on_over_days_crashes_leaders_and_rotations() {
    let (mut stage, time) = stage();
    let key = stage.portal.order().unwrap().activation_key;
    let open = begin(&stage, 1, "activate", &key);
    for days in [1, 4] {
        pace::days(&mut stage.cluster, &time, days);
        crash_and_change_leader(&mut stage);
        assert_eq!(state_of(&stage, &open), "requested");
        assert_eq!(begin(&stage, 2, "activate", &key), open, "the same text is shown again");
    }
    // The portal has another issuing key when it is asked, and yet another one when its answer is installed.
    rotate_issuing_key(&mut stage);
    let answer = stage.portal.link.bring_in(&time, &open.integrity_key).unwrap().license_key().unwrap();
    rotate_issuing_key(&mut stage);
    pace::days(&mut stage.cluster, &time, 3);
    crash_and_change_leader(&mut stage);
    let done = install(&mut stage, 2, &answer);
    assert_eq!((done.serial, state_of(&stage, &open).as_str()), (1, "installed"));
    assert_eq!(stage.portal.activations().unwrap().len(), 1);
    assert_eq!(stage.portal.installations().unwrap(), [done.support_id]);
}

/// The id of the key that has signed a token, as its footer says.
fn signer_of(token: &str) -> String {
    let footer = BASE64URL_NOPAD.decode(token.split('.').nth(3).unwrap().as_bytes()).unwrap();
    let footer: Value = serde_json::from_slice(&footer).unwrap();
    footer["kid"].as_str().unwrap().to_owned()
}

#[test]
fn a_license_of_a_revoked_issuing_key_is_signed_anew_at_the_next_contact() {
    let (mut stage, serial) = Stage::activated(|plan| plan.spoolers = 0).unwrap();
    let in_use = |stage: &Stage| -> String {
        let keys: Vec<Value> = stage.portal.admin(["key", "list"]).unwrap();
        keys[1]["key_id"].as_str().unwrap().to_owned()
    };
    // The certificate of the key that has signed what every node has.
    let signed_by = |stage: &Stage| -> String {
        let roots = stage.portal.link.trust_roots().unwrap();
        let mut certificates = stage.cluster.nodes.iter().map(|node| {
            let file = LicenseFile::from_text(&files::read(&node.license_file()).unwrap()).unwrap();
            let (license, binding) = file.open(&roots).unwrap();
            let (license, binding) = (signer_of(&license.token), signer_of(&binding.token));
            assert_eq!(license, binding, "{}", node.name);
            license
        });
        let first = certificates.next().unwrap();
        assert!(certificates.all(|other| other == first));
        first
    };
    let (revoked, before) = (in_use(&stage), signed_by(&stage));
    assert_eq!(before, revoked);
    let _: Value = stage.portal.admin(["key", "revoke-issuing", &revoked]).unwrap();

    // Until the vendor has another key, what is installed goes on.
    let answer = online(&stage, &["reactivate"]).refusal().unwrap();
    assert!(
        answer.code == "portal_unreachable" && answer.message.contains("issuing_key_revoked"),
        "{answer:?}"
    );
    assert!(stage.cluster.nodes[2].product().check("scan", 1).unwrap().allowed);
    rotate_issuing_key(&mut stage);
    let done: Installed = online(&stage, &["reactivate"]).success().unwrap().parse().unwrap();
    assert!(done.serial > serial);
    stage.cluster.wait_for_serial(done.serial).unwrap();
    let after = signed_by(&stage);
    assert_eq!(after, in_use(&stage));
    assert_ne!(after, before);
    assert_eq!(stage.portal.installations().unwrap(), [done.support_id]);
}

#[test]
fn a_trial_is_had_once_by_the_same_computers_whatever_they_set_up_anew() {
    let (mut stage, time) = stage();
    let trial: Installed = online(&stage, &["trial"]).success().unwrap().parse().unwrap();
    stage.cluster.wait_for_serial(trial.serial).unwrap();
    assert_eq!(refusal(&online(&stage, &["trial"])), "already_activated");
    pace::days(&mut stage.cluster, &time, 1);

    // All data is lost, or thrown away: the portal knows the computers.
    stage.cluster.stop().unwrap();
    for node in &stage.cluster.nodes {
        fs::remove_dir_all(&node.data_dir).unwrap();
    }
    stage.cluster.start().unwrap();
    let answer = online(&stage, &["trial"]);
    assert_eq!(refusal(&answer), "trial_used", "{answer:?}");
    let open = begin(&stage, 2, "trial", "");
    let answer = stage.portal.link.bring_in(&time, &open.integrity_key).unwrap();
    assert!(answer.license_key().is_err(), "by hand neither");

    // The rest of it comes back, and an order makes it a purchased license of the same Support ID.
    let back: Installed = online(&stage, &["reactivate"]).success().unwrap().parse().unwrap();
    assert_eq!(back.support_id, trial.support_id);
    stage.cluster.wait_for_serial(back.serial).unwrap();
    let shown: Value =
        stage.cluster.nodes[0].cli(["license", "show", "-o", "json"]).run().unwrap().parse().unwrap();
    assert_eq!((&shown["license"]["kind"], &shown["reasons"]), (&"trial".into(), &serde_json::json!([])));
    let key = stage.portal.order().unwrap().activation_key;
    let bought = stage.cluster.activate(2, &key).unwrap();
    stage.cluster.wait_for_serial(bought.serial).unwrap();
    assert_eq!(stage.portal.installations().unwrap(), [trial.support_id]);
}

#[test]
fn telemetry_is_sent_once_a_day_while_it_is_on_and_the_portal_shows_it() {
    let (mut stage, time) = stage();
    let key = stage.portal.order().unwrap().activation_key;
    let activated = stage.cluster.activate(0, &key).unwrap();
    stage.cluster.wait_for_serial(activated.serial).unwrap();
    let known = |stage: &Stage| -> Value {
        stage.portal.admin(["installation", "show", &activated.support_id]).unwrap()
    };
    let received = |stage: &Stage| known(stage)["telemetry_reports"].as_u64().unwrap();
    let wait_for = |stage: &Stage, count: u64| {
        wait::until(&format!("{count} reports"), PATIENCE, || {
            let seen = received(stage);
            assert!(seen <= count, "{seen} reports instead of {count}");
            Ok(Seen::when(seen == count, || format!("{seen} reports")))
        })
        .unwrap();
    };
    let decide = |stage: &Stage, what: &str| {
        let decided: Value =
            stage.cluster.nodes[3].cli(["--token-file", &token(stage), "telemetry", what]).json().unwrap();
        assert_eq!(decided["enabled"], what == "enable");
    };
    assert_eq!(received(&stage), 0, "off until somebody turns it on");

    decide(&stage, "enable");
    wait_for(&stage, 1);
    let shown: Value = stage.cluster.nodes[2].cli(["telemetry", "show"]).json().unwrap();
    assert_eq!(known(&stage)["telemetry"]["report"], shown["report"]);
    for reports in 2..=3 {
        pace::days(&mut stage.cluster, &time, 1);
        wait_for(&stage, reports);
    }

    // Off: neither at once nor on the days that follow; and it alone, the license goes on. On again: one more.
    decide(&stage, "disable");
    for _ in 0..2 {
        pace::days(&mut stage.cluster, &time, 1);
    }
    assert!(stage.cluster.nodes[1].product().check("scan", 1).unwrap().allowed);
    let again: Installed = online(&stage, &["reactivate"]).success().unwrap().parse().unwrap();
    stage.cluster.wait_for_serial(again.serial).unwrap();
    assert_eq!(received(&stage), 3, "none while it is off");
    decide(&stage, "enable");
    wait_for(&stage, 4);
}

/// A file with an administrator's token, for a node whose own administrator may only read.
fn token(stage: &Stage) -> String {
    let file = stage.folder.path().join("admin.token");
    if !file.exists() {
        let token = stage.cluster.admin_token("telemetry").unwrap().token;
        files::write_atomically(&file, &token).unwrap();
    }
    file.to_str().unwrap().to_owned()
}
