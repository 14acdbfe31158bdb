//! `quorate-portal admin`: results, refusals by code, exit codes.

use std::{os::unix::fs::PermissionsExt, path::Path};

use serde_json::{Value, json};

use crate::support::{Database, Portal, admin};

on_both_databases!(orders_are_added_listed_and_shown, refusals_have_codes_and_change_nothing);

async fn orders_are_added_listed_and_shown(database: Database) {
    let portal = Portal::prepare(database, "");
    let first = portal.json(&[
        "admin",
        "order",
        "add",
        "--customer",
        "Example Ltd",
        "--product",
        "Suite",
        "--kind",
        "subscription",
        "--days",
        "30",
        "--feature",
        "scan=unlimited",
        "--feature",
        "devices=50",
    ]);
    let key = first["activation_key"].as_str().unwrap();
    assert!(key.starts_with("QA-"), "{key}");
    assert_eq!(first["order_id"], "QO-000001");
    assert_eq!((&first["customer"], &first["product"]), (&json!("Example Ltd"), &json!("Suite")));
    assert_eq!(
        (&first["kind"], &first["term_days"], &first["status"]),
        (&json!("subscription"), &json!(30), &json!("open"))
    );
    let entitlements =
        json!([{ "feature": "devices", "quantity": 50 }, { "feature": "scan", "quantity": "unlimited" }]);
    assert_eq!(first["entitlements"], entitlements);
    assert_eq!(first["activation_key_last5"], key[key.len() - 5..]);

    let (second, other_key) = portal.order_with(&["--kind", "perpetual", "--support-days", "10"]);
    assert_eq!(second, "QO-000002");
    assert_ne!(other_key, key);
    let list = portal.json(&["admin", "order", "list"]);
    let ids: Vec<_> = list.as_array().unwrap().iter().map(|order| order["order_id"].clone()).collect();
    assert_eq!(ids, ["QO-000001", "QO-000002"]);
    let shown = portal.json(&["admin", "order", "show", "QO-000001"]);
    assert_eq!(shown.get("activation_key"), None);
    assert_eq!(shown, list[0]);
    assert_eq!(portal.json(&["admin", "order", "revoke", "QO-000002"])["status"], "revoked");

    for (arguments, words) in [
        (
            &["admin", "order", "list"][..],
            &["ORDER", "QO-000001", "devices=50, scan=unlimited", "revoked"][..],
        ),
        (&["admin", "order", "show", "QO-000001"], &["Example Ltd", "subscription"]),
        (&["admin", "product", "list"], &["PRODUCT", "Suite", "devices, scan"]),
        (&["admin", "customer", "list"], &["CUSTOMER", "Example Ltd"]),
        (&["admin", "installation", "list"], &["SUPPORT ID"]),
        (&["admin", "activation", "list"], &["OUTCOME"]),
        (&["admin", "key", "list"], &["root", "issuing", "k4.public."]),
    ] {
        let output = admin(portal.folder.path(), arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(words.iter().all(|word| text.contains(word)), "{arguments:?}:\n{text}");
        assert!(!text.contains(key), "{text}");
    }
    assert_eq!(portal.json(&["admin", "customer", "list"])[0]["name"], "Example Ltd");
    assert_eq!(portal.json(&["admin", "product", "list"])[0]["features"], json!(["devices", "scan"]));
}

async fn refusals_have_codes_and_change_nothing(database: Database) {
    let portal = Portal::prepare(database, "");
    let folder = portal.folder.path();
    let order = |customer: &'static str, product: &'static str, rest: &[&'static str]| {
        [&["admin", "order", "add", "--customer", customer, "--product", product][..], rest].concat()
    };
    let subscription = ["--kind", "subscription", "--days", "1", "--feature", "devices=1"];
    let cases = [
        (vec!["admin", "product", "add", "Suite", "--feature", "x"], 1, "already_exists"),
        (vec!["admin", "customer", "add", "Example Ltd"], 1, "already_exists"),
        (order("Nobody", "Suite", &subscription), 1, "customer_unknown"),
        (order("Example Ltd", "Nothing", &subscription), 1, "product_unknown"),
        (
            order("Example Ltd", "Suite", &["--kind", "perpetual", "--feature", "colour=1"]),
            1,
            "feature_unknown",
        ),
        (order("Example Ltd", "Suite", &["--kind", "subscription", "--feature", "devices=1"]), 2, "usage"),
        (
            order("Example Ltd", "Suite", &["--kind", "perpetual", "--days", "1", "--feature", "devices=1"]),
            2,
            "usage",
        ),
        (
            order(
                "Example Ltd",
                "Suite",
                &["--kind", "perpetual", "--feature", "devices=1", "--feature", "devices=2"],
            ),
            2,
            "usage",
        ),
        (order("Example Ltd", "Suite", &["--kind", "rental", "--feature", "devices=1"]), 2, "usage"),
        (vec!["admin", "order", "show", "QO-999999"], 1, "order_unknown"),
        (vec!["admin", "order", "revoke", "QO-999999"], 1, "order_unknown"),
        (vec!["admin", "installation", "show", "QS-0000-0000-0000"], 1, "installation_unknown"),
        (vec!["admin", "nothing"], 2, "usage"),
    ];
    for (arguments, exit, code) in cases {
        let (found_exit, failure) = failure(folder, &arguments);
        assert_eq!(
            (found_exit, failure["code"].as_str()),
            (Some(exit), Some(code)),
            "{arguments:?}: {failure}"
        );
        assert!(
            failure["message"].as_str().unwrap().len() > 5 && failure["hint"].as_str().unwrap().len() > 5
        );
    }
    assert_eq!(portal.json(&["admin", "order", "list"]), json!([]));
    let (first, _) = portal.order();
    assert_eq!(first, "QO-000001", "a refused order takes no number");
}

#[test]
fn init_can_be_repeated_and_keeps_the_keys() {
    let portal = Portal::prepare(Database::sqlite(), "");
    let again = portal.json(&["admin", "init"]);
    assert_eq!((&again["root_public_key"], &again["keys_made"]), (&json!(portal.root), &json!(false)));
    assert_eq!(portal.json(&["admin", "key", "show-root"])["root_public_key"], json!(portal.root));
    let plain = admin(portal.folder.path(), &["admin", "key", "show-root"]);
    assert_eq!(String::from_utf8(plain.stdout).unwrap().trim(), portal.root.to_string());
    for file in ["data/keys/root.key", "data/keys/issuing.key"] {
        assert_eq!(mode(&portal.folder.path().join(file)), 0o600, "{file}");
    }
    let Database::Sqlite { folder } = &portal.database else { unreachable!() };
    assert_eq!(mode(&folder.path().join("portal.db")), 0o600);
}

#[test]
fn a_lost_issuing_key_is_named_and_can_be_made_again() {
    let portal = Portal::prepare(Database::sqlite(), "");
    std::fs::remove_file(portal.folder.path().join("data/keys/issuing.key")).unwrap();
    let (_, lost) = failure(portal.folder.path(), &["admin", "init"]);
    assert_eq!(lost["code"], "key_file_missing");
    portal.json(&["admin", "key", "rotate-issuing"]);
    assert_eq!(portal.json(&["admin", "init"])["root_public_key"], json!(portal.root));
}

#[test]
fn a_database_that_is_not_prepared_is_named() {
    let portal = Portal::prepare(Database::sqlite(), "");
    let Database::Sqlite { folder } = &portal.database else { unreachable!() };
    for file in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let (_, missing) = failure(portal.folder.path(), &["admin", "order", "list"]);
    assert_eq!(missing["code"], "database_unavailable", "{missing}");
    std::fs::write(folder.path().join("portal.db"), "").unwrap();
    for command in [&["admin", "order", "list"][..], &["serve"]] {
        let (exit, unprepared) = failure(portal.folder.path(), command);
        assert_eq!(
            (exit, unprepared["code"].as_str()),
            (Some(1), Some("database_not_prepared")),
            "{unprepared}"
        );
    }
}

#[test]
fn a_wrong_configuration_is_named() {
    let portal = Portal::prepare(Database::sqlite(), "");
    let path = portal.folder.path().join("portal.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\ncolour = 1\n")).unwrap();
    let (exit, wrong) = failure(portal.folder.path(), &["admin", "order", "list"]);
    assert_eq!((exit, wrong["code"].as_str()), (Some(1), Some("config_invalid")));
    assert!(wrong["message"].as_str().unwrap().contains("colour"), "{wrong}");
    std::fs::remove_file(&path).unwrap();
    let (_, missing) = failure(portal.folder.path(), &["serve"]);
    assert_eq!(missing["code"], "config_invalid");
}

fn failure(folder: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = admin(folder, &[arguments, &["-o", "json"]].concat());
    assert!(!output.status.success(), "{arguments:?}");
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    let last = text.lines().last().unwrap_or_default();
    (output.status.code(), serde_json::from_str(last).unwrap_or_else(|_| panic!("{arguments:?}: {text}")))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
