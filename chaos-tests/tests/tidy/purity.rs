//! Code that must give the same answer everywhere asks nothing of the machine that it runs on.

use crate::assert_none;
use crate::tree::{empty_places, file, files};

/// The vocabulary crate: linked into products, and the rules that agent and portal must agree on.
const LICENSE: [&str; 1] = ["license/src"];

/// What decides and changes replicated state. The same log gives the same bytes on every node.
const APPLY: [&str; 3] = ["raft-store/src/state", "raft-store/src/command", "raft-store/src/applier*"];

/// Where `unsafe` is allowed, each with its reason.
const UNSAFE_ALLOWED: [(&str, &str); 1] = [(
    "raft-store/tests/crash/syscalls.rs",
    "takes the place of the C library's sync and write, to see what is synced",
)];

fn words_in(places: &[&str], words: &[&str], advice: &str) -> Vec<String> {
    let chosen = files().iter().filter(|file| file.is_source() && file.is_in(places));
    chosen.flat_map(|file| file.code_with_words(words, advice)).chain(empty_places(places)).collect()
}

#[test]
fn the_license_crate_does_no_io_and_asks_no_clock() {
    let words = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "SystemTime",
        "Instant",
        "tokio",
        "getrandom",
        "async",
    ];
    let advice = "take it as an argument: bytes, time and entropy come from the caller";
    assert_none(
        "The license crate does no I/O, asks no clock and draws no randomness.",
        words_in(&LICENSE, &words, advice),
    );
}

#[test]
fn apply_reads_no_clock_no_randomness_and_no_environment() {
    let words = [
        "SystemTime",
        "Instant",
        "Timestamp::now",
        "getrandom",
        "rand",
        "std::env",
        "env",
        "std::fs",
        "tokio",
    ];
    let advice = "put it into the command: apply is a function of the log alone";
    assert_none(
        "Apply reads no clock, no randomness and no configuration.",
        words_in(&APPLY, &words, advice),
    );
}

#[test]
fn replicated_state_lies_in_ordered_maps() {
    let words = ["HashMap", "HashSet", "f32", "f64"];
    let advice = "its order or rounding differs between nodes: use BTreeMap, BTreeSet or integers";
    assert_none("The same log gives the same state bytes on every node.", words_in(&APPLY, &words, advice));
}

#[test]
fn unsafe_code_is_listed_with_its_reason() {
    let listed = |path: &str| UNSAFE_ALLOWED.iter().any(|(allowed, _)| *allowed == path);
    let mut findings: Vec<String> = files()
        .iter()
        .filter(|file| file.is_rust() && !listed(&file.path))
        .flat_map(|file| {
            file.code_with_words(&["unsafe"], "find a safe way, or list the file with its reason")
        })
        .collect();
    for (path, _) in UNSAFE_ALLOWED {
        let still = file(path).is_some_and(|file| !file.code_with_words(&["unsafe"], "").is_empty());
        if !still {
            findings.push(format!("{path}: holds no unsafe code any more: take it off the list"));
        }
    }
    assert_none("Unsafe code is rare, and each place is known.", findings);
}
