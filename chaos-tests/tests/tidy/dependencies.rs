//! Dependencies between the crates point one way, and a crate stays free of what its layer must not know.

use toml::{Table, Value};

use crate::assert_none;
use crate::tree::{File, files};

/// What each crate of ours may depend on, of ours. `chaos-tests` uses public faces only, so it sees what a
/// product and a client see.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("license", &[]),
    ("limits", &[]),
    ("proto", &["quorate-license"]),
    ("raft-store", &["quorate-license"]),
    ("agent", &["quorate-raft-store", "quorate-license", "quorate-limits", "quorate-proto"]),
    ("portal", &["quorate-proto", "quorate-license", "quorate-limits"]),
    ("chaos-tests", &["quorate-proto", "quorate-license"]),
    ("patches/base2histogram", &[]),
];

/// What a layer must not know: (crate, foreign crates, why).
const FORBIDDEN: [(&str, &[&str], &str); 4] = [
    (
        "license",
        &[
            "tokio",
            "futures",
            "tonic",
            "axum",
            "hyper",
            "rocksdb",
            "openraft",
            "getrandom",
            "rand",
            "sysinfo",
            "tracing",
        ],
        "the license crate is linked into products: no I/O, no clock, no randomness, no async",
    ),
    ("raft-store", &["tonic", "axum", "hyper", "reqwest", "clap"], "the store has no faces"),
    ("portal", &["openraft", "rocksdb", "machine-uid", "sysinfo"], "the portal is no node"),
    ("chaos-tests", &["openraft", "rocksdb", "sqlx"], "the driver looks at a cluster from outside"),
];

const OURS: [&str; 7] = [
    "quorate",
    "quorate-license",
    "quorate-limits",
    "quorate-proto",
    "quorate-raft-store",
    "quorate-portal",
    "quorate-chaos-tests",
];

/// Dependencies of a manifest with the section that names them: normal, dev, build, and per target.
fn dependencies(manifest: &Table) -> Vec<(String, Value)> {
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let mut tables: Vec<&Table> = vec![manifest];
    if let Some(targets) = manifest.get("target").and_then(Value::as_table) {
        tables.extend(targets.values().filter_map(Value::as_table));
    }
    tables
        .into_iter()
        .flat_map(|table| sections.iter().filter_map(|section| table.get(*section)?.as_table()))
        .flat_map(|table| table.iter().map(|(name, value)| (name.clone(), value.clone())))
        .collect()
}

fn manifest(file: &File) -> Table {
    file.text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.path))
}

/// Manifests of the crates with the folder of each.
fn crates() -> impl Iterator<Item = (&'static str, &'static File)> {
    files().iter().filter_map(|file| Some((file.path.strip_suffix("/Cargo.toml")?, file)))
}

#[test]
fn crates_depend_one_way() {
    let mut findings = Vec::new();
    for (folder, file) in crates() {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == folder) else {
            findings.push(format!(
                "{}: a crate that ALLOWED doesn't list: decide what it may depend on",
                file.path
            ));
            continue;
        };
        for (name, _) in dependencies(&manifest(file)) {
            if OURS.contains(&name.as_str()) && !allowed.contains(&name.as_str()) {
                findings.push(format!("{}: must not depend on {name}", file.path));
            }
        }
    }
    assert_none("Dependencies between crates point one way (ARCHITECTURE.md).", findings);
}

#[test]
fn layers_stay_free_of_what_they_must_not_know() {
    let mut findings = Vec::new();
    for (folder, file) in crates() {
        for (_, forbidden, why) in FORBIDDEN.iter().filter(|(name, ..)| *name == folder) {
            for (name, _) in dependencies(&manifest(file)) {
                if forbidden.contains(&name.as_str()) {
                    findings.push(format!("{}: depends on {name}, but {why}", file.path));
                }
            }
        }
    }
    assert_none("A layer depends on something that it must not know.", findings);
}

#[test]
fn every_crate_takes_versions_and_lints_from_the_workspace() {
    let mut findings = Vec::new();
    for (_, file) in crates() {
        let manifest = manifest(file);
        for (name, value) in dependencies(&manifest) {
            if value.get("workspace").and_then(Value::as_bool) != Some(true) {
                findings.push(format!(
                    "{}: {name}: name the version in [workspace.dependencies] only",
                    file.path
                ));
            }
        }
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool());
        if lints != Some(true) {
            findings.push(format!("{}: add [lints] with `workspace = true`", file.path));
        }
    }
    assert_none("Versions and lints are set in one place, the top Cargo.toml.", findings);
}
