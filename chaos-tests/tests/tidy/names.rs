//! Who may name what: replaceable libraries stay behind one file, and other people's names stay out.

use crate::assert_none;
use crate::tree::{File, empty_places, files, has_word};

/// The one file that knows the persistent encoding, so that it can be replaced there.
const BINCODE_MAY_BE_NAMED_IN: [&str; 1] = ["raft-store/src/codec.rs"];

/// The files that know the consensus library: the aliases, the records and messages made of
/// its types, its storage and network traits, and the group.
/// A trailing `*` stands for any ending.
const OPENRAFT_MAY_BE_NAMED_IN: [&str; 8] = [
    "raft-store/src/raft_types.rs",
    "raft-store/src/records.rs",
    "raft-store/src/wire.rs",
    "raft-store/src/disk/log_store*",
    "raft-store/src/disk/snapshot*",
    "raft-store/src/disk/state_machine*",
    "raft-store/tests",
    "agent/src/cluster",
];

/// Names that say nothing about what a file is for.
const EMPTY_NAMES: [&str; 7] = ["manager", "helper", "helpers", "util", "utils", "common", "data"];

/// File names that are allowed to be general, each with its reason.
const GENERAL_NAMES_ALLOWED: [(&str, &str); 0] = [];

fn named_outside(word: &str, places: &[&str], advice: &str) -> Vec<String> {
    let elsewhere = |file: &&File| file.is_rust() && !file.is_in(places);
    let mut findings: Vec<String> =
        files().iter().filter(elsewhere).flat_map(|file| file.code_with_words(&[word], advice)).collect();
    findings.extend(empty_places(places));
    findings
}

#[test]
fn only_the_codec_names_the_persistent_encoding() {
    let advice = "go through raft-store/src/codec.rs";
    assert_none(
        "The persistent encoding is known to one file.",
        named_outside("bincode", &BINCODE_MAY_BE_NAMED_IN, advice),
    );
}

#[test]
fn only_listed_files_name_the_consensus_library() {
    let advice = "use the aliases of raft-store/src/raft_types.rs, or move this behind the cluster module";
    assert_none(
        "openraft's types are named in a few files only.",
        named_outside("openraft", &OPENRAFT_MAY_BE_NAMED_IN, advice),
    );
}

#[test]
fn files_are_named_after_their_subject() {
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| file.is_source()) {
        let empty =
            file.path.trim_end_matches(".rs").split('/').skip(2).any(|part| EMPTY_NAMES.contains(&part));
        if empty && !GENERAL_NAMES_ALLOWED.iter().any(|(path, _)| *path == file.path) {
            findings.push(format!("{}: name it after what it is about", file.path));
        }
    }
    assert_none("You find your way from the names alone.", findings);
}

#[test]
fn no_vendor_is_named() {
    // Written in two parts, so that this file doesn't name them either.
    let whole_words = [concat!("Dis", "patcher"), concat!("Para", "gon"), concat!("para", "gon")];
    let parts = [concat!("yso", "ft"), concat!("y so", "ft"), concat!("safe", "q")];
    let mut findings = Vec::new();
    // Cargo.lock holds the names of other people's crates.
    for file in files().iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in file.lines() {
            let lower = line.to_lowercase();
            if whole_words.iter().any(|word| has_word(line, word))
                || parts.iter().any(|part| lower.contains(part))
            {
                findings.push(format!(
                    "{}:{number}: write \"the product\" or \"the activation manual\"",
                    file.path
                ));
            }
        }
    }
    assert_none("No vendor name appears in code, messages or pages.", findings);
}
