//! Licenses are PASETO tokens that anybody can verify: pyseto, which shares no code with ours, reads those of a real
//! portal on a real cluster, and refuses each one that was changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use quorate_chaos_tests::{
    Stage,
    cli::Cli,
    files,
    wait::{self, PATIENCE, Seen},
};
use quorate_license::{LicenseFile, LicenseKey};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const BINDING: &str = "quorate.binding.v1";
const LICENSE: &str = "quorate.license.v1";

/// What `verify.py` says of a token.
#[derive(Debug, Deserialize)]
struct Verified {
    claims: Map<String, Value>,
    certificate: Map<String, Value>,
    footer: Map<String, Value>,
    /// How many changed copies were tried, one for each byte of the token and its certificate.
    changed: usize,
    changed_and_accepted: usize,
}

/// Runs `verify.py` in the environment that `scripts/pyseto` makes.
fn pyseto(root_key: &str, tokens: &[(&str, &str)]) -> Vec<Verified> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/pyseto");
    let python = Cli::new(&scripts, [""; 0]).run().unwrap().success().unwrap().stdout;
    let tokens: Vec<Value> =
        tokens.iter().map(|(kind, token)| json!({ "type": kind, "token": token })).collect();
    let asked = json!({ "root": root_key, "tokens": tokens }).to_string();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/paseto/verify.py");
    let answer = Cli::new(Path::new(python.trim()), [script]).stdin(asked).run().unwrap();
    answer.success().unwrap().parse().unwrap()
}

/// Claims as they are signed, without the type that stands before them.
fn without_type(claims: &Map<String, Value>) -> Value {
    Value::Object(
        claims.iter().filter(|(name, _)| *name != "typ").map(|(n, v)| (n.clone(), v.clone())).collect(),
    )
}

#[test]
fn an_independent_implementation_verifies_the_license_and_refuses_every_changed_byte() {
    let mut stage = Stage::start(|_| {}).unwrap();
    let root_key = stage.portal.link.root_key.clone();
    let key = stage.portal.order().unwrap().activation_key;
    let words = ["license", "activate", "--offline", "--yes", "--key-file", "-"];
    let open: Value = stage.cluster.nodes[1].cli(words).stdin(key).json().unwrap();
    let answer =
        stage.portal.link.bring(open["integrity_key"].as_str().unwrap()).unwrap().license_key().unwrap();

    // The portal's answer, before any agent has seen it.
    let issued = LicenseKey::from_text(&answer).unwrap();
    let tokens = [(BINDING, issued.binding.as_str()), (LICENSE, issued.licenses[0].as_str())];
    let verified = pyseto(&root_key, &tokens);
    assert_eq!((verified.len(), issued.licenses.len()), (2, 1));
    for (token, (kind, text)) in verified.iter().zip(tokens) {
        assert_eq!(token.claims["typ"], kind);
        assert_eq!(token.footer["kid"], token.certificate["key_id"]);
        assert!(
            token.changed > text.len() / 2,
            "{} changed copies of {} characters",
            token.changed,
            text.len()
        );
        assert_eq!(token.changed_and_accepted, 0);
        assert_eq!(token.claims["nonce"], open["nonce"]);
    }

    // On every node the same tokens lie in the license file, and what a node shows is what pyseto reads.
    let installed: Value =
        stage.cluster.nodes[2].cli(["license", "install", "-"]).stdin(answer).json().unwrap();
    stage.cluster.wait_for_serial(installed["serial"].as_u64().unwrap()).unwrap();
    for node in &stage.cluster.nodes {
        let file = LicenseFile::from_text(&files::read(&node.license_file()).unwrap()).unwrap();
        assert_eq!((&file.binding, &file.license), (&issued.binding, &issued.licenses[0]), "{}", node.name);
        let shown: Value = node.cli(["license", "show"]).json().unwrap();
        assert_eq!(shown["binding"], without_type(&verified[0].claims), "{}", node.name);
        assert_eq!(shown["license"], without_type(&verified[1].claims), "{}", node.name);
    }

    // Keys rotate: the next license is by another issuing key, under the same root.
    let _: Value = stage.portal.admin(["key", "rotate-issuing"]).unwrap();
    stage.portal.stop().unwrap();
    stage.portal.serve().unwrap();
    let further = stage.portal.order().unwrap().activation_key;
    let serial = stage.cluster.activate(0, &further).unwrap().serial;
    stage.cluster.wait_for_serial(serial).unwrap();
    let file = wait::until("the new license in its file", PATIENCE, || {
        let file = LicenseFile::from_text(&files::read(&stage.cluster.nodes[3].license_file())?);
        Ok(match file.unwrap() {
            file if file.license == issued.licenses[0] => Seen::not_yet("the one before"),
            file => Seen::Done(file),
        })
    })
    .unwrap();
    let after = pyseto(&root_key, &[(BINDING, &file.binding), (LICENSE, &file.license)]);
    assert_eq!(after[1].claims["serial"], json!(serial));
    for (before, after) in verified.iter().zip(&after) {
        assert_eq!(after.changed_and_accepted, 0);
        assert_ne!(before.footer["kid"], after.footer["kid"], "another issuing key signed");
    }
}
