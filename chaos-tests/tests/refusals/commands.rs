//! What the command refuses by itself: command lines, configurations, files, and nodes that are not to be found.

use std::{
    ffi::OsString,
    fs,
    io::Read as _,
    os::unix::{
        ffi::OsStringExt as _,
        fs::PermissionsExt as _,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    thread,
};

use quorate_chaos_tests::{
    Node, Stage,
    cli::{Answer, Cli},
    files,
};

use super::{refused, single};

/// Exit codes of the command.
const FAILED: Option<i32> = Some(1);
const USAGE: Option<i32> = Some(2);
const NO_CONNECTION: Option<i32> = Some(3);
const DENIED: Option<i32> = Some(4);

fn run(node: &Node, words: &[&str]) -> Answer {
    node.cli(words.iter().copied()).args(["-o", "json"]).run().unwrap()
}

/// The code, that it is told with words, and the exit code.
fn told(answer: Answer) -> (String, Option<i32>) {
    let exit = answer.code;
    let refusal = refused(answer);
    assert!(!refusal.message.is_empty(), "{refusal:?}");
    (refusal.code, exit)
}

fn is(answer: Answer, code: &str, exit: Option<i32>) {
    let shown = format!("{answer:?}");
    assert_eq!(told(answer), (code.to_owned(), exit), "{shown}");
}

#[test]
fn a_command_line_that_lacks_something_is_refused_before_anybody_is_asked() {
    let stage = Stage::prepare(single).unwrap();
    let node = &stage.cluster.nodes[0];
    let own = |name: &str, text: &str| {
        let file = stage.folder.path().join(name);
        files::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (broken, two_lines) = (own("broken", "hello\n"), own("two-lines", "two\nlines"));
    let portal_ca = stage.portal.link.ca_file.to_str().unwrap();
    for (words, code, exit) in [
        (&["stats"][..], "usage", USAGE),
        (&["license", "activate", "--yes"], "activation_key_missing", USAGE),
        (&["join"], "token_missing", USAGE),
        (&["join", "--token-file", &broken], "server_missing", USAGE),
        (&["status", "--server", "127.0.0.1:1"], "ca_file_missing", USAGE),
        (&["status", "--token-file", &two_lines], "token_malformed", USAGE),
        (&["join", "--token-file", &broken, "--server", "127.0.0.1:1"], "token_malformed", FAILED),
        (&["status", "--token-file", "/nonexistent/token"], "file_unreadable", FAILED),
        (&["status", "--server", "127.0.0.1:1", "--ca-file", &broken], "certificate_unusable", FAILED),
        (&["status", "--server", "127.0.0.1:1", "--ca-file", portal_ca], "unreachable", NO_CONNECTION),
        (&["audit", "verify", &broken], "audit_malformed", FAILED),
        (&["status"], "node_not_running", NO_CONNECTION),
        (&["serve"], "not_prepared", FAILED),
    ] {
        is(run(node, words), code, exit);
    }
}

#[test]
fn a_configuration_is_refused_by_key_and_place() {
    let stage = Stage::prepare(single).unwrap();
    let node = &stage.cluster.nodes[0];
    let good = files::read(&node.config).unwrap();
    let check = || run(node, &["config", "check"]);
    for (before, after, code) in [
        ("[listen]", "listen", "config_not_toml"),
        ("[listen]", "[printers]\n[listen]", "config_unknown_section"),
        ("[listen]", "[listen]\ngrcp = \"127.0.0.1:1\"", "config_unknown_key"),
        ("name = \"management-1\"", "name = 5", "config_wrong_type"),
        ("name = \"management-1\"", "name = \"Not a name\"", "config_invalid_value"),
        ("name = \"management-1\"", "", "config_missing_key"),
    ] {
        assert!(good.contains(before), "{good}");
        files::write(&node.config, good.replacen(before, after, 1)).unwrap();
        is(check(), code, FAILED);
    }
    files::write(&node.config, &good).unwrap();
    let with = |name: &str, value: OsString| {
        node.cli(["config", "check", "-o", "json"]).env(name, value).run().unwrap()
    };
    is(with("QUORATE_LISTEN_GRCP", "127.0.0.1:1".into()), "config_unknown_variable", FAILED);
    is(with("QUORATE_NODE_NAME", OsString::from_vec(vec![0xff])), "config_variable_not_text", FAILED);

    fs::remove_file(&node.config).unwrap();
    is(check(), "config_not_found", FAILED);
    fs::create_dir(&node.config).unwrap();
    is(check(), "config_unreadable", FAILED);
    fs::remove_dir(&node.config).unwrap();
    files::write(&node.config, &good).unwrap();

    files::write(&node.machine_id_file, "uninitialized\n").unwrap();
    is(run(node, &["node", "id"]), "computer_id_unavailable", FAILED);
}

/// Somebody else at the socket of a node's administrator: `answer` gets the connection.
fn impostor(socket: &Path, answer: impl Fn(UnixStream) + Send + 'static) -> thread::JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        if let Ok((stream, _)) = listener.accept() {
            answer(stream);
        }
    })
}

#[test]
fn a_socket_that_is_no_node_is_told_from_one_that_may_not_be_opened() {
    let mut stage = Stage::prepare(single).unwrap();
    let node = &mut stage.cluster.nodes[0];
    fs::create_dir_all(node.admin_socket.parent().unwrap()).unwrap();

    // A connection that breaks, and one on which nothing comes.
    let breaks = impostor(&node.admin_socket, |mut stream| {
        let _ = stream.read(&mut [0; 24]);
    });
    is(run(node, &["status"]), "connection_lost", NO_CONNECTION);
    breaks.join().unwrap();
    fs::remove_file(&node.admin_socket).unwrap();
    let silent = impostor(&node.admin_socket, |mut stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
    });
    is(run(node, &["status"]), "no_answer", NO_CONNECTION);
    silent.join().unwrap();
    fs::remove_file(&node.admin_socket).unwrap();

    // Nobody may open it: a user namespace takes from root what lets it open everything.
    let listener = UnixListener::bind(&node.admin_socket).unwrap();
    fs::set_permissions(&node.admin_socket, fs::Permissions::from_mode(0o000)).unwrap();
    node.wrapper = ["unshare", "--user"].map(OsString::from).into();
    is(run(node, &["status"]), "socket_denied", DENIED);
    node.wrapper.clear();
    drop(listener);

    // No place for a socket.
    node.set("listen", "admin_socket", format!("{}/admin.sock", node.config.display()));
    node.write_config().unwrap();
    is(run(node, &["status"]), "socket_unusable", NO_CONNECTION);
}

#[test]
fn a_running_node_refuses_what_is_not_there_and_who_may_not() {
    let mut stage = Stage::prepare(single).unwrap();
    // Where another user may go, too: the folder of a test is for its owner alone.
    let open = tempfile::Builder::new().prefix("quorate-open-").tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = open.path().join("admin.sock");
    let node = &mut stage.cluster.nodes[0];
    node.set("listen", "admin_socket", socket.to_string_lossy().into_owned());
    node.admin_socket = socket.clone();
    node.write_config().unwrap();
    stage.cluster.found().unwrap();
    let node = &stage.cluster.nodes[0];

    is(run(node, &["support-id"]), "not_activated", Some(6));
    is(run(node, &["node", "show", "nobody"]), "node_unknown", FAILED);
    is(run(node, &["serve"]), "data_dir_in_use", FAILED);
    is(run(node, &["debug", "digest"]), "data_dir_in_use", FAILED);
    let nowhere = ["license", "trial", "--offline", "--yes", "--file", "/nonexistent/key.txt"];
    is(run(node, &nowhere), "file_unwritable", FAILED);

    // Somebody at a terminal who says no.
    let program = node.cli(["node", "remove", "management-1", "-o", "json"]).run().unwrap().command;
    let asked = Cli::new(Path::new("script"), ["-qec", &program, "/dev/null"]).stdin("n\n").run().unwrap();
    assert!(asked.stdout.contains("not_confirmed") && asked.code == FAILED, "{asked:?}");

    // Another user, who may open the socket, is known by the system's word.
    if nix::unistd::geteuid().is_root() {
        let program = open.path().join("quorate");
        fs::copy(&stage.plan.binaries.quorate, &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        let config = open.path().join("quorate.toml");
        fs::copy(&node.config, &config).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
        let words = ["--config", config.to_str().unwrap(), "status", "-o", "json"];
        let other = ["setpriv", "--reuid=65534", "--clear-groups"].map(OsString::from);
        is(Cli::new(&program, words).wrapper(&other).run().unwrap(), "other_user", DENIED);
    }
}

#[test]
fn a_data_directory_that_can_not_serve_is_named() {
    let mut stage = Stage::start(|plan| (plan.management, plan.spoolers) = (2, 0)).unwrap();
    let serve = |node: &Node| run(node, &["serve"]);

    // An address that the other one has.
    let nodes = &mut stage.cluster.nodes;
    nodes[1].stop().unwrap();
    let (own, taken) = (nodes[1].ops.to_string(), nodes[0].ops.to_string());
    nodes[1].set("listen", "ops", taken);
    nodes[1].write_config().unwrap();
    is(serve(&nodes[1]), "address_unusable", FAILED);
    nodes[1].set("listen", "ops", own);
    nodes[1].write_config().unwrap();
    is(run(&nodes[1], &["init"]), "already_prepared", FAILED);

    // A name that is not the directory's, and files that are not as they were.
    nodes[1].set("node", "name", "management-9");
    nodes[1].write_config().unwrap();
    is(serve(&nodes[1]), "other_node", FAILED);
    nodes[1].set("node", "name", "management-2");
    let key = nodes[1].config.with_file_name("snapshot.key");
    files::write(&key, "short\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    nodes[1].set("raft", "snapshot_key_file", key.to_string_lossy().into_owned());
    nodes[1].write_config().unwrap();
    is(serve(&nodes[1]), "snapshot_key", FAILED);
    nodes[1].unset("raft", "snapshot_key_file");
    nodes[1].write_config().unwrap();
    let data = nodes[1].data_dir.clone();
    let replaced = |file: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>, code: &str| {
        let file = data.join(file);
        let kept = fs::read(&file).unwrap();
        let mode = fs::metadata(&file).unwrap().permissions();
        fs::write(&file, change(kept.clone())).unwrap();
        is(serve(&nodes[1]), code, FAILED);
        fs::write(&file, kept).unwrap();
        fs::set_permissions(&file, mode).unwrap();
    };
    replaced("node.json", &|_| b"{".to_vec(), "data_dir_damaged");
    let newer = |kept: Vec<u8>| {
        let mut node: serde_json::Value = serde_json::from_slice(&kept).unwrap();
        node["format"] = 99.into();
        node.to_string().into_bytes()
    };
    replaced("node.json", &newer, "newer_format");
    replaced("tls/node.pem", &|_| b"hello\n".to_vec(), "certificate_unusable");

    // A folder that is none, an empty one, and a store with bytes that were turned round.
    let config = nodes[1].config.to_string_lossy().into_owned();
    nodes[1].set("node", "data_dir", format!("{config}/data"));
    nodes[1].write_config().unwrap();
    is(run(&nodes[1], &["init"]), "data_dir", FAILED);
    nodes[1].set("node", "data_dir", data.to_string_lossy().into_owned());
    nodes[1].write_config().unwrap();
    let empty = stage.folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("db"), "no folder").unwrap();
    is(run(&nodes[1], &["debug", "digest", "--folder", empty.to_str().unwrap()]), "store_unusable", FAILED);
    for entry in fs::read_dir(data.join("store/db")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut bytes = if name.ends_with(".sst") || name.starts_with("MANIFEST") {
            fs::read(&path).unwrap()
        } else {
            continue;
        };
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(&path, bytes).unwrap();
    }
    is(serve(&nodes[1]), "store_damaged", FAILED);
}
