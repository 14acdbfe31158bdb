//! The part of the page that is about `quorate-portal`'s own commands: `serve` and `admin`.

use std::{collections::BTreeSet, fmt::Write as _, io, path::PathBuf};

use quorate_portal::{
    admin::AdminError,
    keys::KeyError,
    server::{ServeError, TlsError},
    store::StoreError,
};

use super::{SOURCE, order, provoked, sources, support_id};

/// Which test provokes which code.
const PROVOKED: [(&str, &str, &[&str]); 7] = [
    (
        "admin.rs",
        "refusals_have_codes_and_change_nothing",
        &[
            "already_exists",
            "customer_unknown",
            "feature_unknown",
            "installation_unknown",
            "order_unknown",
            "product_unknown",
            "usage",
        ],
    ),
    (
        "admin.rs",
        "a_database_that_is_not_prepared_is_named",
        &["database_not_prepared", "database_unavailable"],
    ),
    ("admin.rs", "a_lost_issuing_key_is_named_and_can_be_made_again", &["key_file_missing"]),
    ("admin.rs", "a_wrong_configuration_is_named", &["config_invalid"]),
    (
        "commands.rs",
        "what_stands_in_the_way_of_a_command_is_named",
        &["database_failed", "key_missing", "output_failed", "restore_unknown"],
    ),
    (
        "commands.rs",
        "what_stands_in_the_way_of_serving_is_named",
        &["address_unusable", "certificate_unusable", "pid_file_unusable", "start_failed"],
    ),
    ("serving.rs", "a_portal_whose_secrets_are_exposed_does_not_start", &["key_unusable"]),
];

struct Said {
    code: &'static str,
    message: String,
    hint: &'static str,
}

fn said_by_commands() -> Vec<AdminError> {
    let name = || "Example Ltd".parse().unwrap();
    let other = || "Suite".parse().unwrap();
    vec![
        AdminError::Usage("a subscription needs --days"),
        AdminError::Exists { what: "customer", name: name() },
        AdminError::NoProduct(other()),
        AdminError::NoCustomer(name()),
        AdminError::NoFeature {
            product: other(),
            feature: "colour".parse().unwrap(),
            has: "devices, scan".to_owned(),
        },
        AdminError::NoOrder(order(1)),
        AdminError::NoInstallation(support_id()),
        AdminError::NothingFound("QO-000009".to_owned()),
        AdminError::NoRestore(support_id()),
        AdminError::KeyFileMissing { present: file("root.key"), missing: file("issuing.key") },
        AdminError::Output(io::Error::from(io::ErrorKind::StorageFull)),
    ]
}

fn said_by_serving() -> Vec<ServeError> {
    vec![
        KeyError::Missing { path: file("root.key") }.into(),
        KeyError::File { path: file("root.key"), reason: "others may read it".to_owned() }.into(),
        StoreError::Unavailable("connection refused".to_owned()).into(),
        StoreError::NotPrepared("its tables are of version 2, wanted is 3".to_owned()).into(),
        StoreError::Unreadable { what: "order number", value: "17".to_owned() }.into(),
        TlsError::HalfCa { present: file("ca.pem"), missing: file("ca.key") }.into(),
        ServeError::Listen {
            address: "127.0.0.1:7600".parse().unwrap(),
            cause: io::Error::from(io::ErrorKind::AddrInUse),
        },
        ServeError::PidFile {
            path: "/run/quorate-portal/pid".into(),
            cause: io::Error::from(io::ErrorKind::NotFound),
        },
        ServeError::Signal(io::Error::from(io::ErrorKind::PermissionDenied)),
    ]
}

fn file(name: &str) -> PathBuf {
    PathBuf::from("/var/lib/quorate-portal").join(name)
}

fn all() -> Vec<Said> {
    let mut all: Vec<Said> = said_by_commands()
        .iter()
        .map(|error| Said { code: error.code(), message: error.to_string(), hint: error.hint() })
        .collect();
    all.extend(said_by_serving().iter().map(|error| Said {
        code: error.code(),
        message: error.to_string(),
        hint: error.hint(),
    }));
    all.push(Said {
        code: "config_invalid",
        message: "/etc/quorate-portal/portal.toml: unknown key 'colour'".to_owned(),
        hint: "Correct the configuration; --config names another file.",
    });
    all.sort_by_key(|said| said.code);
    all
}

/// The section.
pub(super) fn section() -> String {
    let mut section = String::from(
        "\n# What `quorate-portal serve` and `admin` refuse\n\nWith `-o json` code, text and way out are JSON on \
         standard error. The exit code is 2 for `usage`, otherwise 1.\n\n\
         | code | text, for example | way out | provoked by |\n|---|---|---|---|\n",
    );
    for Said { code, message, hint } in all() {
        let row = PROVOKED.iter().find(|(_, _, codes)| codes.contains(&code));
        let test = row.map(|(file, test, _)| format!("`{file}`: `{test}`")).unwrap_or_default();
        writeln!(section, "| `{code}` | {message} | {hint} | {test} |").unwrap();
    }
    section
}

/// Codes are texts of the source: whatever gives one is in the section, and has a test that names it.
#[test]
fn the_commands_refusals_are_complete_and_provoked() {
    let codes: BTreeSet<&str> = all().iter().map(|said| said.code).collect();
    let mut found = BTreeSet::from(["config_invalid".to_owned()]);
    for source in
        sources(&["admin", "keys", "server", "store"].map(|folder| PathBuf::from(SOURCE).join(folder)))
    {
        let functions = source.split("pub fn code(&self) -> &'static str {").skip(1);
        let bodies = functions.filter_map(|function| function.split("\n    }\n").next());
        found.extend(bodies.flat_map(|body| body.split('"').skip(1).step_by(2)).map(str::to_owned));
    }
    assert_eq!(found, codes.iter().map(|code| (*code).to_owned()).collect());
    assert_eq!(provoked(&PROVOKED), codes);
}
