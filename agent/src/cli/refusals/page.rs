//! The page, and that it says what the source says.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    lexer::{Word, words},
    provoked::{BEYOND_REACH, PROVOKED},
    rows::{Row, Sources},
    source::{closing, root},
};

const HEAD: &str = "# What Quorate refuses, and what to do

<!-- Made from the source by agent/src/cli/refusals. QUORATE_BLESS=1 cargo test --workspace --lib refusals writes it again. -->

Every refusal has a stable code, for scripts. With `-o json` a command prints `{code, message, hint}` on standard error;
over gRPC the code and the hint are in the metadata `quorate-code` and `quorate-hint`; the management port answers with
the same JSON. What stands in braces is filled in. A code with several texts is there several times. Where the table says
\"(what is wrong, in words)\" the text is that of the cause, such as the operating system's. What the License Portal
refuses is in [portal-refusals.md](portal-refusals.md); the agent passes it on, code and hint as they are.
";

#[test]
fn the_page_says_what_the_source_says() {
    let path = root().join("docs/refusals.md");
    let page = page(&Sources::read());
    if std::env::var_os("QUORATE_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page, "docs/refusals.md is out of date: QUORATE_BLESS=1 writes it again");
}

#[test]
fn no_code_is_given_elsewhere() {
    Sources::read().check_completeness();
}

#[test]
fn every_answer_of_a_node_has_a_way_out() {
    let without: Vec<Row> =
        Sources::read().answers().into_iter().filter(|row| row.way_out == "(in the text)").collect();
    assert!(without.is_empty(), "{without:#?}");
}

#[test]
fn every_code_is_provoked_by_a_test_on_real_processes() {
    let codes = all_codes(&Sources::read());
    let mut said = BTreeSet::new();
    for (file, test, provokes) in PROVOKED {
        let path = root().join("chaos-tests/tests").join(file);
        let source = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("there is no {file}"));
        let body = body(&words(&source), test).unwrap_or_else(|| panic!("{file} has no fn {test}"));
        for code in provokes {
            assert!(said.insert(*code), "{code} is there twice");
            let names_it = body.iter().any(|word| word.text() == Some(code));
            assert!(names_it, "{code}: {test} in {file} does not name it");
        }
    }
    for (code, reason) in BEYOND_REACH {
        assert!(said.insert(code) && !reason.is_empty(), "{code} is there twice, or without a reason");
    }
    let said: BTreeSet<String> = said.into_iter().map(str::to_owned).collect();
    let missing: Vec<_> = codes.difference(&said).collect();
    let gone: Vec<_> = said.difference(&codes).collect();
    assert!(missing.is_empty(), "codes that no test provokes; see provoked.rs: {missing:?}");
    assert!(gone.is_empty(), "codes that nothing gives any more: {gone:?}");
}

/// The body of the function of this name.
fn body(words: &[Word], name: &str) -> Option<Vec<Word>> {
    let at = (1..words.len()).find(|at| words[at - 1].is_name("fn") && words[*at].is_name(name))?;
    let open = (at..words.len()).find(|at| words[*at].is('{'))?;
    Some(words[open..closing(words, open)].to_vec())
}

fn all_codes(sources: &Sources) -> BTreeSet<String> {
    let rows = sources.answers().into_iter().chain(sources.commands()).map(|row| row.code);
    rows.chain(sources.reasons().into_iter().map(|(code, _)| code)).collect()
}

fn page(sources: &Sources) -> String {
    let mut page = HEAD.to_owned();
    page.push_str(
        "\n## Answers of a node\n\nThe second column is gRPC's code and HTTP's status, the third the exit code of the command \
         that asked.\n\n| code | over the wire | exit | text | way out |\n|---|---|---|---|---|\n",
    );
    for row in sorted(sources.answers()) {
        let over = row.over.as_deref().unwrap_or_default();
        page.push_str(&line(&[
            &format!("`{}`", row.code),
            over,
            &row.exit.to_string(),
            &row.text,
            &row.way_out,
        ]));
    }
    page.push_str(
        "\n## Errors of the command itself\n\n`serve` ends with these, too. A license file that does not hold is refused by \
         `quorate license inspect` and by the crate `quorate-license`.\n\n| code | exit | text | way out |\n|---|---|---|---|\n",
    );
    for row in sorted(sources.commands()) {
        page.push_str(&line(&[&format!("`{}`", row.code), &row.exit.to_string(), &row.text, &row.way_out]));
    }
    page.push_str(
        "\n## Reasons of `Check`\n\nThe way out is the `next_step` of `GetLicense`, which \
         [license-status.md](license-status.md) explains.\n\n| reason | text |\n|---|---|\n",
    );
    for (code, text) in sources.reasons() {
        page.push_str(&line(&[&format!("`{code}`"), &text]));
    }
    page.push_str(
        "\n## Where each is provoked\n\nTests on real processes, in `chaos-tests/tests`, or why nobody outside can bring it \
         about.\n\n| code | test |\n|---|---|\n",
    );
    let tests = PROVOKED.iter().flat_map(|(file, test, codes)| {
        codes.iter().map(move |code| (*code, format!("`{test}` in `{file}`")))
    });
    let reasons = BEYOND_REACH.iter().map(|(code, reason)| (*code, format!("none: {reason}")));
    for (code, place) in tests.chain(reasons).collect::<BTreeMap<_, _>>() {
        page.push_str(&line(&[&format!("`{code}`"), &place]));
    }
    page
}

fn sorted(rows: Vec<Row>) -> BTreeSet<Row> {
    rows.into_iter().collect()
}

fn line(cells: &[&str]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
    format!("| {} |\n", cells.join(" | "))
}
