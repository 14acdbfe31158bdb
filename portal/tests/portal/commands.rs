//! What stands in the way of `quorate-portal`'s commands, and how they say it.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{Cluster, Database, Portal, admin};

fn code(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    let said: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(
        said["message"].as_str().unwrap().len() > 5 && said["hint"].as_str().unwrap().len() > 5,
        "{said}"
    );
    said["code"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_way_of_a_command_is_named() {
    let portal = Portal::start(Database::postgres()).await;
    let folder = portal.folder.path();
    let (_, key) = portal.order();
    let support_id = portal.post(&Cluster::new(1).request(&key)).await.support_id().to_owned();
    let nobody_asked = ["admin", "installation", "approve-restore", &support_id, "-o", "json"];
    assert_eq!(code(&admin(folder, &nobody_asked)), "restore_unknown");

    let list = ["admin", "order", "list", "-o", "json"];
    portal.database.run("ALTER TABLE orders RENAME TO lost_orders");
    assert_eq!(code(&admin(folder, &list)), "database_failed");
    portal.database.run("ALTER TABLE lost_orders RENAME TO orders");

    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate-portal"));
    command.arg("--config").arg(folder.join("portal.toml")).args(list);
    assert_eq!(code(&command.stdout(full).stderr(Stdio::piped()).output().unwrap()), "output_failed");

    let keys = folder.join("data/keys");
    fs::rename(&keys, folder.join("elsewhere")).unwrap();
    assert_eq!(code(&admin(folder, &["admin", "key", "show-root", "-o", "json"])), "key_missing");
    fs::rename(folder.join("elsewhere"), &keys).unwrap();
    assert!(admin(folder, &list).status.success());
}

#[test]
fn what_stands_in_the_way_of_serving_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let portal = Portal::prepare(Database::sqlite(), "");
    let folder = portal.folder.path();
    let path = folder.join("portal.toml");
    let text = fs::read_to_string(&path).unwrap();
    let with = |change: &dyn Fn(&str) -> String| fs::write(&path, change(&text)).unwrap();
    let (before, after) = text.split_once("pid_file = \"").unwrap();
    let after = after.split_once('"').unwrap().1;
    with(&|_| format!("{before}pid_file = \"portal.toml/pid\"{after}"));
    assert_eq!(code(&serve(folder, "")), "pid_file_unusable");
    with(&|text| text.replace("listen = \"127.0.0.1:0\"", &format!("listen = \"{taken}\"")));
    assert_eq!(code(&serve(folder, "")), "address_unusable");
    let files = "tls.cert_file = \"none.pem\"\ntls.key_file = \"none.key\"";
    with(&|text| text.replace("tls.self_signed = true", files));
    assert_eq!(code(&serve(folder, "")), "certificate_unusable");
    with(&str::to_owned);
    assert_eq!(code(&serve(folder, "ulimit -n 4;")), "start_failed");
}

/// `serve`, which is to end by itself, after what the shell does first.
fn serve(folder: &Path, first: &str) -> Output {
    let script = format!("{first} exec timeout 60 \"$@\"");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_quorate-portal"), "--config"]);
    shell.arg(folder.join("portal.toml")).args(["serve", "-o", "json"]).output().unwrap()
}
