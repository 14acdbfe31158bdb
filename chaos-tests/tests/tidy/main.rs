//! Holds the invariants that `ARCHITECTURE.md` names and that the text of the repository can show.
//!
//! Every test walks the tree and fails with the list of all findings, each as `file:line: what to do`.
//! Where a rule has exceptions, they are constants at the top of its module, each with its reason; an
//! exception that is no longer needed fails too. Run it with `make tidy`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod dependencies;
mod documents;
mod manner;
mod names;
mod purity;
mod tree;

/// Fails with every finding on a line of its own, below the sentence that says which rule they break.
#[track_caller]
fn assert_none(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}\n  {}\n", findings.join("\n  "));
}
