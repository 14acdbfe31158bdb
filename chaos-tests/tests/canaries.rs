//! Secrets are where they belong and nowhere else: every secret of a working cluster is looked for in every log,
//! answer, error, metric page, debug bundle, snapshot, license file and data directory.
//!
//! A secret that is allowed somewhere must be found there, or nothing would have been looked for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "own_certificates/organisation.rs"]
#[allow(dead_code, reason = "the tests of brought certificates use more of it")]
mod organisation;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use aho_corasick::AhoCorasick;
use data_encoding::{BASE32_NOPAD, BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use quorate_chaos_tests::{
    Node, Role, Stage,
    cli::{Answer, Cli},
    cluster::NewToken,
    files, http,
    wait::{self, PATIENCE, Seen},
};
use quorate_license::ActivationKey;

use organisation::{Organisation, configure};

/// One secret: what it is, how it may be written, and the ends of the paths where it may be.
struct Canary {
    what: String,
    written: Vec<Vec<u8>>,
    belongs: Vec<String>,
}

#[derive(Default)]
struct Canaries(Vec<Canary>);

impl Canaries {
    /// A secret that is a text.
    fn text(&mut self, what: &str, text: &str, belongs: &[&str]) {
        let text = text.trim();
        assert!(text.len() >= 12, "{what} is too short to be told from chance");
        let mut written: Vec<Vec<u8>> =
            vec![text.into(), text.to_uppercase().into(), text.to_lowercase().into()];
        written.extend(encodings(text.as_bytes()));
        // Keys are written as digits; the bytes themselves would be as bad.
        let hex = HEXLOWER.decode(text.to_lowercase().as_bytes());
        for bytes in hex.into_iter().chain(BASE32_NOPAD.decode(text.to_uppercase().as_bytes())) {
            written.extend(encodings(&bytes));
            written.push(bytes);
        }
        let belongs = belongs.iter().map(|place| (*place).to_owned()).collect();
        self.0.push(Canary { what: what.to_owned(), written, belongs });
    }

    /// The lines of the private key in a PEM file, which may hold certificates beside it.
    fn pem(&mut self, what: &str, path: &Path, belongs: &[&str]) {
        let text = files::read(path).unwrap();
        let key = text.lines().skip_while(|line| !line.contains("PRIVATE KEY")).skip(1);
        let key: Vec<&str> = key.take_while(|line| !line.starts_with("-----")).collect();
        assert!(!key.is_empty(), "{} holds no private key", path.display());
        for line in key.iter().filter(|line| line.len() >= 32) {
            self.text(what, line, belongs);
        }
        let body = key.concat();
        let der = BASE64.decode(body.as_bytes()).unwrap();
        // As bytes it belongs nowhere.
        self.0.push(Canary { what: format!("{what}, its bytes"), written: vec![der], belongs: Vec::new() });
    }

    /// Looks through all files below a folder. Gives what is where it does not belong, and what was not found at all
    /// though it belongs somewhere.
    fn look_through(&self, folder: &Path) -> (Vec<String>, Vec<String>) {
        let needles: Vec<(usize, &[u8])> = self
            .0
            .iter()
            .enumerate()
            .flat_map(|(index, canary)| canary.written.iter().map(move |bytes| (index, bytes.as_slice())))
            .collect();
        let finder = AhoCorasick::new(needles.iter().map(|(_, bytes)| bytes)).unwrap();
        let mut found = vec![false; self.0.len()];
        let mut wrong = Vec::new();
        for file in all_files(folder) {
            let bytes = fs::read(&file).unwrap_or_default();
            for hit in finder.find_overlapping_iter(&bytes) {
                let index = needles[hit.pattern().as_usize()].0;
                let canary = &self.0[index];
                let path = file.display().to_string();
                if canary.belongs.iter().any(|place| path.ends_with(place)) {
                    found[index] = true;
                } else {
                    let from = hit.start().saturating_sub(60);
                    let around = String::from_utf8_lossy(&bytes[from..(hit.end() + 20).min(bytes.len())]);
                    wrong.push(format!("{} in {path}: ...{}...", canary.what, around.escape_debug()));
                }
            }
        }
        wrong.sort();
        wrong.dedup();
        let missing = self.0.iter().zip(found).filter(|(canary, found)| !found && !canary.belongs.is_empty());
        (wrong, missing.map(|(canary, _)| canary.what.clone()).collect())
    }
}

fn encodings(bytes: &[u8]) -> Vec<Vec<u8>> {
    vec![
        HEXLOWER.encode(bytes).into(),
        HEXUPPER.encode(bytes).into(),
        BASE64_NOPAD.encode(bytes).into(),
        BASE64URL_NOPAD.encode(bytes).into(),
        BASE32_NOPAD.encode(bytes).into(),
    ]
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in files::entries(folder).unwrap_or_default() {
        let kind = fs::symlink_metadata(&entry).unwrap().file_type();
        if kind.is_dir() {
            all.extend(all_files(&entry));
        } else if kind.is_file() {
            all.push(entry);
        }
    }
    all
}

/// Keeps what a command has printed, to be looked through.
struct Answers {
    folder: PathBuf,
    count: usize,
}

impl Answers {
    fn keep(&mut self, cli: Cli) -> Answer {
        let answer = cli.run().unwrap();
        self.text(&format!("{answer:?}"));
        answer
    }

    fn text(&mut self, text: &str) {
        self.count += 1;
        files::write(&self.folder.join(format!("{:03}", self.count)), text).unwrap();
    }
}

fn key() -> String {
    ActivationKey::from_entropy(rand::random()).expose().to_string()
}

/// The secret part of a token; what stands before it names the token and is shown to administrators.
fn secret_of(token: &str) -> &str {
    token.split('-').nth(2).unwrap()
}

/// Secrets that each node has by itself, once it is set up.
fn of_node(canaries: &mut Canaries, node: &Node) {
    let place = |file: &str| format!("{}/data/{file}", node.name);
    let name = &node.name;
    let machine_id = files::read(&node.machine_id_file).unwrap();
    canaries.text(&format!("the machine id of {name}"), &machine_id, &[&format!("{name}/machine-id")]);
    let node_key = files::read(&node.data_dir.join("keys/node")).unwrap();
    canaries.text(&format!("the node key of {name}"), &node_key, &[&place("keys/node")]);
    let tls = node.data_dir.join("tls/node.pem");
    canaries.pem(&format!("the TLS key of {name}"), &tls, &[&place("tls/node.pem")]);
}

/// A Spooler Controller brings a certificate of its own, and a management port has one.
fn brought_keys(canaries: &mut Canaries, stage: &mut Stage) {
    let organisation = Organisation::new();
    let spooler = stage.cluster.nodes.last_mut().unwrap();
    organisation.bring(spooler);
    configure(spooler, Some("any"));
    let place = format!("{}/brought/tls.key", spooler.name);
    canaries.pem("a brought TLS key", &organisation::file(spooler, "tls.key"), &[&place]);
    let node = &mut stage.cluster.nodes[0];
    organisation.bring(node);
    for (key, name) in [("http_certificate_file", "tls.crt"), ("http_key_file", "tls.key")] {
        node.set("tls", key, organisation::file(node, name).to_string_lossy().into_owned());
    }
    node.write_config().unwrap();
    let place = format!("{}/brought/tls.key", node.name);
    canaries.pem("the TLS key of a management port", &organisation::file(node, "tls.key"), &[&place]);
}

#[test]
fn every_secret_is_where_it_belongs_and_nowhere_else() {
    let mut stage = Stage::prepare(|plan| plan.management = 2).unwrap();
    let mut canaries = Canaries::default();
    let folder = stage.folder.path().to_owned();
    let mut answers = Answers { folder: folder.join("answers"), count: 0 };
    files::make_folder(&answers.folder).unwrap();
    for node in &mut stage.cluster.nodes {
        // As much is logged as can be.
        node.set("log", "filter", "debug");
        node.set("raft", "snapshot_after_entries", 40);
        if node.name != "management-1" {
            let password = format!("canaryword{:016x}", rand::random::<u64>());
            node.set("portal", "proxy", format!("http://canaryuser:{password}@127.0.0.1:9"));
            let belongs = format!("{}/quorate.toml", node.name);
            canaries.text(&format!("the proxy's password of {}", node.name), &password, &[&belongs]);
        }
        node.write_config().unwrap();
    }
    brought_keys(&mut canaries, &mut stage);

    // A cluster that works: joins, with tokens that are used, open and revoked; and wrong ones.
    stage.cluster.found().unwrap();
    for index in 1..3 {
        let node = &stage.cluster.nodes[index];
        let token = stage.cluster.token(node.role, Some(&node.name)).unwrap();
        canaries.text("a used join token", secret_of(&token.token), &[]);
        let wrong = token.token.replace('a', "b");
        answers.text(&format!("{:?}", node.join(&wrong, stage.cluster.nodes[0].raft).unwrap()));
        answers.text(&format!("{:?}", node.join(&token.token, stage.cluster.nodes[0].raft).unwrap()));
        stage.cluster.nodes[index].serve().unwrap();
    }
    stage.cluster.wait_for_members(3).unwrap();
    for (what, role) in [("an open join token", Role::Management), ("a revoked join token", Role::Spooler)] {
        let token: NewToken = stage.cluster.token(role, None).unwrap();
        canaries.text(what, secret_of(&token.token), &[]);
        if role == Role::Spooler {
            answers.keep(stage.cluster.nodes[0].cli(["token", "revoke", &token.id, "-o", "json"]));
            answers.text(&format!(
                "{:?}",
                stage.cluster.nodes[1].join(&token.token, stage.cluster.nodes[0].raft)
            ));
        }
    }
    let admin = stage.cluster.admin_token("canary").unwrap().token;
    canaries.text("an administrator's token", secret_of(&admin), &["canary.token"]);
    let token_file = folder.join("canary.token");
    files::write(&token_file, &admin).unwrap();
    let first = files::read(&stage.cluster.nodes[0].data_dir.join("admin.token")).unwrap();
    canaries.text("the first administrator's token", secret_of(first.trim()), &["data/admin.token"]);
    for words in [&["--admin", "canary", "--access", "viewer"][..], &["--role", "spooler", "--approval"]] {
        let create = stage.cluster.nodes[1].cli(["token", "create"]).args(words.iter().copied());
        let token: NewToken = create.json().unwrap();
        canaries.text(&format!("a token of {words:?}"), secret_of(&token.token), &[]);
    }
    for node in &stage.cluster.nodes {
        of_node(&mut canaries, node);
    }
    let management = files::read(&stage.cluster.nodes[0].data_dir.join("keys/management")).unwrap();
    let belongs = ["management-1/data/keys/management", "management-2/data/keys/management"];
    canaries.text("the management key", &management, &belongs);

    // Activations: one that the portal refuses, one that is mistyped, one that works, one that is cut off.
    let unknown = key();
    canaries.text("an activation key that nobody knows", &unknown, &[]);
    let refused = stage.cluster.try_activate(0, &unknown).unwrap();
    assert_ne!(refused.code, Some(0), "{refused:?}");
    answers.text(&format!("{refused:?}"));
    let mistyped =
        format!("{}{}", &unknown[..unknown.len() - 1], if unknown.ends_with('0') { '1' } else { '0' });
    answers.text(&format!("{:?}", stage.cluster.try_activate(1, &mistyped).unwrap()));
    let order = stage.portal.order().unwrap();
    canaries.text("the activation key of an order", &order.activation_key, &[]);
    stage.portal.stop().unwrap();
    let open = stage.cluster.try_activate(1, &order.activation_key).unwrap();
    assert_ne!(open.code, Some(0), "{open:?}");
    answers.text(&format!("{open:?}"));
    stage.portal.serve().unwrap();
    wait::until("the license", PATIENCE, || {
        // The node may have finished it by itself.
        let answer = stage.cluster.try_activate(0, &order.activation_key)?;
        answers.text(&format!("{answer:?}"));
        let done = answer.code == Some(0) || stage.cluster.nodes[0].license_file().exists();
        Ok(Seen::when(done, || format!("{answer:?}")))
    })
    .unwrap();
    stage.cluster.wait_for_serial(1).unwrap();
    let spooler = &stage.cluster.nodes[2];
    let token_path = token_file.to_str().unwrap();
    answers.keep(spooler.cli(["--token-file", token_path, "token", "list", "-o", "json"]));
    let wrong_token = folder.join("wrong.token");
    let (head, secret) = admin.split_at(admin.len() - secret_of(&admin).len());
    let changed: String = secret.chars().rev().collect();
    files::write(&wrong_token, format!("{head}{changed}")).unwrap();
    let wrong_path = wrong_token.to_str().unwrap();
    answers.keep(spooler.cli(["--token-file", wrong_path, "token", "list"]));

    // Enough changes for snapshots, and restarts.
    for round in 0..50 {
        let token = stage.cluster.admin_token(&format!("round-{round}")).unwrap().token;
        canaries.text("a further token", secret_of(&token), &[]);
    }
    wait::until("snapshots on every node", PATIENCE, || {
        let have = |node: &Node| {
            !files::entries(&node.data_dir.join("store/snapshots")).unwrap_or_default().is_empty()
        };
        let all = stage.cluster.nodes.iter().all(have);
        Ok(Seen::when(all, || "some have none".to_owned()))
    })
    .unwrap();
    for index in 0..3 {
        stage.cluster.nodes[index].stop().unwrap();
        stage.cluster.nodes[index].serve().unwrap();
        stage.cluster.wait_for_members(3).unwrap();
    }

    // Everything that shows something, of running nodes and of a stopped one.
    for node in &stage.cluster.nodes {
        for words in [
            &["status"][..],
            &["status", "-o", "json"],
            &["cluster", "health", "-o", "json"],
            &["license", "show", "-o", "json"],
            &["license", "intents", "-o", "json"],
            &["node", "list", "-o", "yaml"],
            &["node", "id"],
            &["token", "list", "-o", "json"],
            &["config", "show", "-o", "json"],
            &["config", "check"],
            &["audit", "list", "-o", "json"],
            &["audit", "export"],
            &["node", "pending", "-o", "json"],
            &["cert", "list", "-o", "json"],
            &["ca", "status", "-o", "json"],
            &["cluster", "time", "-o", "json"],
            &["telemetry", "show", "-o", "json"],
            &["license", "history", "-o", "json"],
        ] {
            answers.keep(node.cli(words.iter().copied()));
        }
        for path in ["/metrics", "/readyz", "/healthz"] {
            answers.text(&format!("{:?}", http::get(node.ops, path).unwrap()));
        }
        bundle(&mut answers, node, "running");
        no_core_is_left(node);
    }
    for index in 0..3 {
        stage.cluster.nodes[index].stop().unwrap();
        bundle(&mut answers, &stage.cluster.nodes[index], "stopped");
    }
    stage.portal.stop().unwrap();

    let (wrong, missing) = canaries.look_through(&folder);
    assert!(wrong.is_empty(), "{} secrets are where they don't belong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(missing.is_empty(), "not found where they belong, so nothing was looked for: {missing:?}");
}

/// Makes a debug bundle with the node's log, and unpacks it to be looked through.
fn bundle(answers: &mut Answers, node: &Node, when: &str) {
    let file = answers.folder.join(format!("{}-{when}.tar.gz", node.name));
    let log = node.log().to_str().unwrap().to_owned();
    let words = ["debug", "bundle", "--file", file.to_str().unwrap(), "--log", log.as_str(), "-o", "json"];
    let answer = answers.keep(node.cli(words));
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let folder = file.with_extension("unpacked");
    files::make_folder(&folder).unwrap();
    let unpacked = Command::new("tar").arg("-xzf").arg(&file).arg("-C").arg(&folder).status().unwrap();
    assert!(unpacked.success());
    let manifest: serde_json::Value =
        serde_json::from_str(&files::read(&folder.join("quorate-debug/manifest.json")).unwrap()).unwrap();
    let listed = manifest["files"].as_array().unwrap();
    let wanted: &[&str] = match when {
        "running" => {
            &["status.json", "health.json", "ops/metrics.txt", "configuration.json", "log.txt", "host.json"]
        }
        _ => &["store.json", "configuration.json", "log.txt", "files.json", "versions.json", "node.json"],
    };
    for name in wanted {
        assert!(listed.iter().any(|file| file["name"] == *name), "{name} is missing: {manifest:#}");
        assert!(folder.join("quorate-debug").join(name).exists(), "{name}");
    }
    assert!(!manifest["left_out"].as_array().unwrap().is_empty());
}

/// The agent's memory holds keys: the system keeps no core of it.
fn no_core_is_left(node: &Node) {
    let limits = files::read(Path::new(&format!("/proc/{}/limits", node.pid().unwrap()))).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("0"), "{cores}");
}

#[test]
fn a_planted_secret_is_found_in_every_writing() {
    let folder = tempfile::tempdir().unwrap();
    let mut canaries = Canaries::default();
    let secret = "00112233445566778899aabbccddeeff";
    canaries.text("a key", secret, &["allowed"]);
    let bytes = HEXLOWER.decode(secret.as_bytes()).unwrap();
    let writings: [Vec<u8>; 5] = [
        secret.into(),
        secret.to_uppercase().into(),
        bytes.clone(),
        BASE64.encode(&bytes).into(),
        BASE64URL_NOPAD.encode(secret.as_bytes()).into(),
    ];
    for (index, writing) in writings.iter().enumerate() {
        let inner = folder.path().join("inner");
        files::make_folder(&inner).unwrap();
        let file = inner.join(format!("leak-{index}"));
        files::write(&file, [b"before ".as_slice(), writing, b" after"].concat()).unwrap();
        let (wrong, missing) = canaries.look_through(folder.path());
        assert!(!wrong.is_empty(), "writing {index}");
        assert_eq!(missing, ["a key"]);
        fs::remove_file(&file).unwrap();
    }
    files::write(&folder.path().join("allowed"), secret).unwrap();
    assert_eq!(canaries.look_through(folder.path()), (Vec::new(), Vec::new()));
}
