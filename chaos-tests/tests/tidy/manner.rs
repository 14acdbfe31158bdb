//! How a file looks: one subject, not too long, opening with what it is for, with nothing left unfinished.

use crate::assert_none;
use crate::tree::{File, file, files, has_word};

/// A file over this many lines has more than one subject.
const MAX_LINES: usize = 500;

/// Longer files, each with its reason.
const LONG_FILES: [(&str, &str); 0] = [];

#[test]
fn source_files_stay_small_or_are_listed_with_a_reason() {
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| file.is_source()) {
        let lines = file.lines().count();
        if lines > MAX_LINES && !LONG_FILES.iter().any(|(path, _)| *path == file.path) {
            findings.push(format!("{}: {lines} lines: split it by subject", file.path));
        }
    }
    for (path, _) in LONG_FILES {
        if file(path).is_none_or(|file| file.lines().count() <= MAX_LINES) {
            findings.push(format!("{path}: not over {MAX_LINES} lines any more: take it off the list"));
        }
    }
    assert_none("A file has one subject and is read in one sitting.", findings);
}

#[test]
fn every_source_file_opens_with_what_it_is_for() {
    let opens = |file: &&File| {
        file.text.starts_with("//! ") && file.text.lines().next().is_some_and(|l| l.len() > 10)
    };
    let findings = files()
        .iter()
        .filter(|file| file.is_source() && !file.is_unit_tests() && !opens(file))
        .map(|file| format!("{}:1: begin with `//!` and what this file is for", file.path))
        .collect();
    assert_none("Module docs open with what a file is for.", findings);
}

#[test]
fn nothing_is_left_to_do_in_the_tree() {
    // Written in two parts, so that this file doesn't hold them either.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| file.path != "Cargo.lock" && file.path != "LICENSE") {
        for (number, line) in file.lines() {
            if let Some(mark) = marks.iter().find(|mark| has_word(line, mark)) {
                findings.push(format!("{}:{number}: `{mark}`: do it, or open an issue", file.path));
            }
        }
    }
    assert_none("Nothing unfinished is committed.", findings);
}
