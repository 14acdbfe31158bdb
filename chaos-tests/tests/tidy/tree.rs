//! The files of the repository, as the rules read them: path, lines, and lines without their comments.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Folders that hold no source: build output, version control, private folders of tools.
const SKIPPED: [&str; 2] = ["target", "node_modules"];
/// Hidden folders and files that belong to the project all the same.
const HIDDEN_BUT_OURS: [&str; 2] = [".ci", ".gitignore"];

/// One text file of the repository.
pub(crate) struct File {
    /// Path from the top of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// Whether the path lies in one of these folders or is one of these files.
    pub(crate) fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| match place.strip_suffix('*') {
            Some(prefix) => self.path.starts_with(prefix),
            None => self.path == *place || self.path.starts_with(&format!("{place}/")),
        })
    }

    /// Whether it is Rust.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is Rust below the `src` folder of a crate.
    pub(crate) fn is_source(&self) -> bool {
        self.is_rust() && self.path.split('/').nth(1) == Some("src")
    }

    /// Whether it holds the unit tests of the source file beside it: `tests.rs`, `license_key_tests.rs`.
    pub(crate) fn is_unit_tests(&self) -> bool {
        self.is_source() && (self.path.ends_with("/tests.rs") || self.path.ends_with("_tests.rs"))
    }

    /// Lines with their numbers, beginning at 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Lines of Rust without comments and string literals, up to the unit tests at the end of the file; none
    /// of a file of unit tests.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, String)> {
        let text = if self.is_unit_tests() { "" } else { self.text.as_str() };
        let lines: Vec<&str> = text.lines().collect();
        let tests = lines.windows(2).position(|pair| {
            pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
        });
        let end = tests.unwrap_or(lines.len());
        self.lines().take(end).map(|(number, line)| (number, without_comment(line)))
    }

    /// Findings, one a line of code that holds one of these words.
    pub(crate) fn code_with_words(&self, words: &[&str], advice: &str) -> Vec<String> {
        self.code()
            .flat_map(|(number, line)| {
                let named = words.iter().filter(move |word| has_word(&line, word));
                named
                    .map(move |word| format!("{}:{number}: `{word}`: {advice}", self.path))
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

/// The top of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

/// All text files, in the order of their paths. Read once for all tests.
pub(crate) fn files() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut files = Vec::new();
        walk(root(), &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        assert!(files.iter().any(File::is_source), "no source file below {}", root().display());
        files
    })
}

/// The file at this path, if it is there.
pub(crate) fn file(path: &str) -> Option<&'static File> {
    files().iter().find(|file| file.path == path)
}

/// Findings, one for each place of a list that no file lies in: a rule on a renamed folder would hold nothing.
pub(crate) fn empty_places(places: &[&str]) -> Vec<String> {
    let empty = places.iter().filter(|place| !files().iter().any(|file| file.is_in(&[**place])));
    empty.map(|place| format!("{place}: no file is there: bring the list of this rule up to date")).collect()
}

/// Names of the folders at the top, in order.
pub(crate) fn top_folders() -> Vec<String> {
    let mut names: Vec<String> =
        entries(root()).into_iter().filter(|path| path.is_dir()).filter_map(|path| name_of(&path)).collect();
    names.sort();
    names
}

/// Whether the line holds the word, not as a part of a longer one.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    })
}

fn walk(folder: &Path, files: &mut Vec<File>) {
    for path in entries(folder) {
        if path.is_dir() {
            walk(&path, files);
        } else if let Ok(text) = fs::read_to_string(&path) {
            // What is not UTF-8 is not text: golden files in binary form, for example.
            let path =
                path.strip_prefix(root()).expect("walked from the root").to_string_lossy().replace('\\', "/");
            files.push(File { path, text });
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let ours = |path: &PathBuf| {
        name_of(path).is_some_and(|name| {
            let name = name.as_str();
            let hidden = name.starts_with('.') && !HIDDEN_BUT_OURS.contains(&name);
            let skipped = path.is_dir() && SKIPPED.contains(&name);
            !hidden && !skipped
        })
    };
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.expect("a folder that is being read").path()).filter(ours).collect()
}

fn name_of(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// The line up to its comment, string literals emptied. Good enough for rules on words: a literal over several
/// lines is read as code, which at worst reports a word that is none.
fn without_comment(line: &str) -> String {
    let mut code = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    let mut in_string = false;
    while let Some(c) = characters.next() {
        match c {
            '\\' if in_string => {
                characters.next();
            }
            // A quote as a character literal ('"') opens no string.
            '"' if in_string || !code.ends_with('\'') => {
                in_string = !in_string;
                code.push('"');
            }
            _ if in_string => {}
            '/' if characters.peek() == Some(&'/') => break,
            _ => code.push(c),
        }
    }
    code
}

#[test]
fn comments_and_literals_are_no_code() {
    assert_eq!(without_comment("let a = 1; // inline"), "let a = 1; ");
    assert_eq!(without_comment(r#"open("https://example.org") // why"#), r#"open("") "#);
    assert_eq!(without_comment(r#"say("a \" quote", name)"#), r#"say("", name)"#);
    assert_eq!(without_comment("if c == '\"' { name }"), "if c == '\"' { name }");
    assert_eq!(without_comment("//! A document."), "");
}

#[test]
fn a_word_is_not_found_inside_a_longer_one() {
    assert!(has_word("use std::env;", "env"));
    assert!(has_word("std::fs::read", "std::fs"));
    assert!(!has_word("envelope.environment", "env"));
    assert!(!has_word("InstantLike", "Instant"));
    assert!(!has_word("key QA-ZZZZZ", "ZZZ"));
}
