//! Documents are true where that can be checked: the map shows the tree, links lead somewhere.

use std::collections::BTreeSet;

use crate::assert_none;
use crate::tree::{File, file, files, root, top_folders};

const MAP_DOCUMENT: &str = "ARCHITECTURE.md";
const MAP_HEADING: &str = "## The map";
const ATTACKS_DOCUMENT: &str = "docs/security.md";
const ATTACKS_HEADING: &str = "## Attacks and their tests";

fn documents() -> impl Iterator<Item = &'static File> {
    files().iter().filter(|file| file.path.ends_with(".md"))
}

/// Paths in backticks of the section with this heading: whatever holds a `/` or ends like a file.
fn paths_in_section(text: &str, heading: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("# ") || line.starts_with("## ") {
            inside = line.trim() == heading;
        } else if inside {
            let quoted = line.split('`').skip(1).step_by(2);
            let is_path = |text: &&str| {
                let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "./_-".contains(c));
                plain
                    && !text.starts_with('/')
                    && (text.contains('/') || text.ends_with(".rs") || text.ends_with(".md"))
            };
            paths.extend(
                quoted.filter(is_path).map(|path| (index + 1, path.trim_end_matches('/').to_owned())),
            );
        }
    }
    paths
}

/// Targets of `[text](target)` on a line.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

#[test]
fn the_map_shows_the_tree() {
    let document = file(MAP_DOCUMENT).unwrap_or_else(|| panic!("{MAP_DOCUMENT} is missing"));
    let paths = paths_in_section(&document.text, MAP_HEADING);
    assert!(!paths.is_empty(), "{MAP_DOCUMENT} has no section \"{MAP_HEADING}\" with paths in backticks");
    let mut findings: Vec<String> = paths
        .iter()
        .filter(|(_, path)| !root().join(path).exists())
        .map(|(number, path)| format!("{MAP_DOCUMENT}:{number}: `{path}` is not in the tree"))
        .collect();
    let mapped: BTreeSet<&str> = paths.iter().filter_map(|(_, path)| path.split('/').next()).collect();
    let missing = top_folders().into_iter().filter(|folder| !mapped.contains(folder.as_str()));
    findings.extend(missing.map(|folder| format!("{MAP_DOCUMENT}: `{folder}/` is not in the map")));
    assert_none("The map in ARCHITECTURE.md shows the tree as it is.", findings);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut findings = Vec::new();
    for document in documents() {
        let folder = root().join(&document.path);
        let folder = folder.parent().expect("a file lies in a folder");
        for (number, line) in document.lines() {
            for target in link_targets(line) {
                let path = target.split('#').next().unwrap_or_default();
                let outside = target.contains("://") || target.starts_with("mailto:");
                if !outside && !path.is_empty() && !folder.join(path).exists() {
                    findings.push(format!("{}:{number}: the link to {target} leads nowhere", document.path));
                }
            }
        }
    }
    assert_none("Links between documents lead somewhere.", findings);
}

/// Rows of the table below a heading that name no test, or one that is not there.
fn attacks_without_a_test(text: &str, is_test: impl Fn(&str) -> bool) -> Vec<String> {
    let section = text.split_once(ATTACKS_HEADING).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack |"));
    let lacks = |row: &&str| {
        let column = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap_or_default();
        let names: Vec<&str> = column.split('`').skip(1).step_by(2).collect();
        names.is_empty() || !names.iter().all(|name| is_test(name))
    };
    rows.filter(lacks).map(str::to_owned).collect()
}

#[test]
fn every_attack_in_the_table_names_a_test_that_is_there() {
    let document = file(ATTACKS_DOCUMENT).unwrap_or_else(|| panic!("{ATTACKS_DOCUMENT} is missing"));
    assert!(document.text.contains(ATTACKS_HEADING), "{ATTACKS_DOCUMENT} has no \"{ATTACKS_HEADING}\"");
    let makefile = file("Makefile").unwrap_or_else(|| panic!("the Makefile is missing"));
    let is_test = |name: &str| match name.strip_prefix("make ") {
        Some(target) => makefile.text.lines().any(|line| line.starts_with(&format!("{target}:"))),
        None => {
            let header = format!("fn {name}(");
            let in_tests =
                |file: &&File| file.is_unit_tests() || file.is_rust() && file.path.contains("/tests/");
            files().iter().filter(in_tests).any(|file| file.text.contains(&header))
        }
    };
    let findings = attacks_without_a_test(&document.text, is_test);
    assert_none("Every attack in docs/security.md names the test that runs it.", findings);
}

#[test]
fn an_attack_without_a_test_is_found() {
    let text = format!(
        "{ATTACKS_HEADING}\n\n| attack | what stops it | test |\n|---|---|---|\n| a | `b` | `here` |\n\
         | c | `here` | by hand |\n| d | e | `here`, `gone` |\n\n## Next\n| f | g | `gone` |\n"
    );
    let found = attacks_without_a_test(&text, |name| name == "here");
    assert_eq!(found, ["| c | `here` | by hand |", "| d | e | `here`, `gone` |"]);
}

#[test]
fn documents_have_no_trailing_blanks_and_no_tabs() {
    let mut findings = Vec::new();
    for document in documents() {
        for (number, line) in document.lines() {
            if line.ends_with([' ', '\t']) {
                findings.push(format!("{}:{number}: blanks at the end of the line", document.path));
            } else if line.contains('\t') {
                findings.push(format!("{}:{number}: a tab; use spaces", document.path));
            }
        }
        if !document.text.ends_with('\n') {
            findings.push(format!("{}: the last line has no end", document.path));
        }
    }
    assert_none("Documents read the same in every editor.", findings);
}

#[test]
fn only_paths_of_the_section_are_taken_for_the_map() {
    let text = "# Title\n`before/it`\n## The map\n- `agent/` and `agent/src/main.rs`, `README.md`; `quorate serve`\n\
                ### Below\n`proto/v1`\n## After\n`after/it`\n";
    let paths: Vec<String> = paths_in_section(text, "## The map").into_iter().map(|(_, path)| path).collect();
    assert_eq!(paths, ["agent", "agent/src/main.rs", "README.md", "proto/v1"]);
}

#[test]
fn link_targets_are_read_without_their_titles() {
    let line = "see [a](docs/a.md \"A\"), [b](b.md#part) and [c](https://example.org/x)";
    assert_eq!(link_targets(line).collect::<Vec<_>>(), ["docs/a.md", "b.md#part", "https://example.org/x"]);
}
