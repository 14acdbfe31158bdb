//! What the agent's source says: calls with their arguments, the arms of a match, the variants of an error.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::lexer::{Word, words};

/// A source file without its tests.
pub(super) struct File {
    /// From the root of the repository.
    pub(super) path: String,
    pub(super) words: Vec<Word>,
}

/// A call, its arguments apart.
pub(super) struct Call<'f> {
    pub(super) file: &'f File,
    /// Where it stands in the file.
    pub(super) at: usize,
    pub(super) arguments: Vec<&'f [Word]>,
}

/// One arm of a match.
pub(super) struct Arm<'f> {
    pub(super) pattern: &'f [Word],
    pub(super) body: &'f [Word],
}

/// The root of the repository.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every source file of a crate, tests left out.
pub(super) fn files(folder: &str) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if name != "refusals" {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let short = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                let source = std::fs::read_to_string(&path).unwrap();
                found.push(File { path: short, words: without_tests(words(&source)) });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Leaves out whatever stands behind `#[cfg(test)]`.
fn without_tests(words: Vec<Word>) -> Vec<Word> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if words[at].is('#') && names(&words[at..(at + 7).min(words.len())]) == ["cfg", "test"] {
            at += 7;
            while !words[at].is('{') && !words[at].is(';') {
                at += 1;
            }
            at = if words[at].is('{') { closing(&words, at) + 1 } else { at + 1 };
        } else {
            kept.push(words[at].clone());
            at += 1;
        }
    }
    kept
}

/// The names among the words, in their order.
pub(super) fn names(words: &[Word]) -> Vec<&str> {
    words.iter().filter_map(Word::name).collect()
}

/// The texts among the words, in their order.
pub(super) fn texts(words: &[Word]) -> Vec<&str> {
    words.iter().filter_map(Word::text).collect()
}

/// Where the bracket that opens at `at` closes.
pub(super) fn closing(words: &[Word], at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, word) in words[at..].iter().enumerate() {
        match word {
            Word::Sign('(' | '[' | '{') => depth += 1,
            Word::Sign(')' | ']' | '}') => {
                depth -= 1;
                if depth == 0 {
                    return at + offset;
                }
            }
            _ => {}
        }
    }
    panic!("a bracket does not close");
}

/// The parts between commas that stand in no bracket.
pub(super) fn apart(words: &[Word]) -> Vec<&[Word]> {
    let (mut parts, mut begun, mut at) = (Vec::new(), 0, 0);
    while at < words.len() {
        match words[at] {
            Word::Sign('(' | '[' | '{') => at = closing(words, at),
            Word::Sign(',') => {
                parts.push(&words[begun..at]);
                begun = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(&words[begun..]);
    parts.retain(|part| !part.is_empty());
    parts
}

impl File {
    /// The calls of `name`, which may be a path as `ApiError::new`.
    pub(super) fn calls(&self, name: &str) -> Vec<Call<'_>> {
        let wanted: Vec<Word> = words(&format!("{name}("));
        let words = &self.words;
        let starts = (0..words.len().saturating_sub(wanted.len()))
            .filter(|at| words[*at..].starts_with(&wanted))
            .filter(|at| *at == 0 || !words[*at - 1].is_name("fn"));
        starts
            .map(|at| {
                let open = at + wanted.len() - 1;
                Call { file: self, at, arguments: apart(&words[open + 1..closing(words, open)]) }
            })
            .collect()
    }

    /// The body of a function; of the first in `of`, if the file has several of this name.
    pub(super) fn function(&self, of: Option<&str>, name: &str) -> &[Word] {
        let words = &self.words;
        let begin = of.map_or(0, |of| {
            let found = (0..words.len()).find(|at| {
                words[*at].is_name("impl")
                    && words[*at..].iter().take_while(|word| !word.is('{')).any(|word| word.is_name(of))
                    && !words[*at..].iter().take_while(|word| !word.is('{')).any(|word| word.is_name("fmt"))
            });
            found.unwrap_or_else(|| panic!("{} has no impl {of}", self.path))
        });
        let found = (begin..words.len()).find(|at| words[*at].is_name("fn") && words[*at + 1].is_name(name));
        let found = found.unwrap_or_else(|| panic!("{} has no fn {name}", self.path));
        let open = (found..words.len()).find(|at| words[*at].is('{')).unwrap();
        &words[open + 1..closing(words, open)]
    }

    /// How a type is written out for people.
    pub(super) fn words_of_display(&self, of: &str) -> &[Word] {
        let words = &self.words;
        let found = (0..words.len()).find(|at| {
            words[*at].is_name("impl")
                && names(&words[*at..(*at + 8).min(words.len())]).ends_with(&["Display", "for", of])
        });
        let found = found.unwrap_or_else(|| panic!("{} shows no {of}", self.path));
        let open = (found..words.len()).find(|at| words[*at].is('{')).unwrap();
        &words[open + 1..closing(words, open)]
    }

    /// The texts of an error's variants, as `thiserror` has them; none for one that shows another error's.
    pub(super) fn variants(&self, name: &str) -> BTreeMap<String, Option<String>> {
        let words = &self.words;
        let found = (0..words.len()).find(|at| words[*at].is_name("enum") && words[*at + 1].is_name(name));
        let found = found.unwrap_or_else(|| panic!("{} has no enum {name}", self.path));
        let open = found + 2;
        let mut variants = BTreeMap::new();
        for mut part in apart(&words[open + 1..closing(words, open)]) {
            let mut text = None;
            while part[0].is('#') {
                let end = closing(part, 1);
                if part[2].is_name("error") {
                    text = texts(&part[..end]).first().map(|text| (*text).to_owned());
                }
                part = &part[end + 1..];
            }
            variants.insert(part[0].name().unwrap().to_owned(), text);
        }
        variants
    }
}

/// The arms of a match in these words: of the first, if `nth` is 0.
pub(super) fn arms(mut words: &[Word], nth: usize) -> Vec<Arm<'_>> {
    let next = |words: &[Word]| {
        let found = words.iter().position(|word| word.is_name("match")).expect("there is a match");
        found + words[found..].iter().position(|word| word.is('{')).unwrap()
    };
    for _ in 0..nth {
        words = &words[closing(words, next(words))..];
    }
    let open = next(words);
    let inner = &words[open + 1..closing(words, open)];
    let (mut arms, mut at) = (Vec::new(), 0);
    while at < inner.len() {
        let begun = at;
        while !(inner[at].is('=') && inner[at + 1].is('>')) {
            at = if matches!(inner[at], Word::Sign('(' | '[' | '{')) { closing(inner, at) } else { at } + 1;
        }
        let pattern = &inner[begun..at];
        at += 2;
        let body = at;
        if inner[at].is('{') {
            at = closing(inner, at) + 1;
        } else {
            while at < inner.len() && !inner[at].is(',') {
                at = if matches!(inner[at], Word::Sign('(' | '[' | '{')) { closing(inner, at) } else { at }
                    + 1;
            }
        }
        arms.push(Arm { pattern, body: &inner[body..at] });
        at += usize::from(inner.get(at).is_some_and(|word| word.is(',')));
    }
    arms
}

impl Arm<'_> {
    /// The innermost variants of the pattern, as `Enum`, `Variant`.
    pub(super) fn variants(&self) -> Vec<(String, String)> {
        let is_path = |at: usize| {
            self.pattern[at + 1].is(':')
                && self.pattern[at + 2].is(':')
                && self.pattern[at + 3].name().is_some()
        };
        let found: Vec<usize> = (0..self.pattern.len().saturating_sub(3))
            .filter(|at| self.pattern[*at].name().is_some() && is_path(*at))
            .collect();
        found
            .iter()
            .filter(|at| {
                // Not innermost: the brackets behind it hold another one.
                let open = **at + 4;
                let end = match self.pattern.get(open) {
                    Some(Word::Sign('(' | '{')) => closing(self.pattern, open),
                    _ => open,
                };
                !found.iter().any(|other| *other > **at && *other < end)
            })
            .map(|at| {
                let name = |at: usize| self.pattern[at].name().unwrap_or_default().to_owned();
                (name(*at), name(at + 3))
            })
            .collect()
    }
}

/// The text that an expression is: written out, as a format, or one of a few by a condition. None if it is made
/// elsewhere.
pub(super) fn shown(words: &[Word]) -> Option<String> {
    let made = |words: &[Word]| match words {
        [Word::Text(text), ..] => Some(text.clone()),
        [Word::Name(format), Word::Sign('!'), Word::Sign('('), Word::Text(text), ..]
            if format == "format" =>
        {
            Some(text.clone())
        }
        [Word::Sign('{'), ..] => None,
        _ => None,
    };
    let mut words = words;
    while words.first().is_some_and(|word| word.is('{') || word.is('&')) {
        words = if words[0].is('{') { &words[1..closing(words, 0)] } else { &words[1..] };
    }
    if words.first().is_some_and(|word| word.is_name("if")) {
        let blocks: Vec<String> = (0..words.len())
            .filter(|at| words[*at].is('{'))
            .filter_map(|at| shown(&words[at..=closing(words, at)]))
            .collect();
        return (!blocks.is_empty()).then(|| blocks.join(" / "));
    }
    made(words)
}

impl Call<'_> {
    /// The text of an argument: of itself, or of the variable that it names.
    pub(super) fn text(&self, argument: usize) -> Option<String> {
        let argument = self.arguments.get(argument)?;
        if let Some(text) = shown(argument) {
            return Some(text);
        }
        let name = names(argument).first().copied()?.to_owned();
        let before = &self.file.words[..self.at];
        let found = (0..before.len().saturating_sub(3)).rev().find(|at| {
            before[*at].is_name("let") && before[*at + 1].is_name(&name) && before[*at + 2].is('=')
        })?;
        // Not over the border of a function.
        let between = &before[found..];
        if between.iter().any(|word| word.is_name("fn")) {
            return None;
        }
        shown(&before[found + 3..])
    }
}
