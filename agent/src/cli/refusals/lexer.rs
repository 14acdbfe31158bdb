//! Rust's words, as far as a page needs them: names, texts, and single characters for the rest.

use std::{iter::Peekable, str::Chars};

/// One word of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// A name, a keyword or a number.
    Name(String),
    /// A text, as the program has it.
    Text(String),
    /// Anything else.
    Sign(char),
}

impl Word {
    pub(super) fn is(&self, sign: char) -> bool {
        *self == Word::Sign(sign)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self, Word::Name(own) if own == name)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Word::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Word::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// The words of a source; comments are left out.
pub(super) fn words(source: &str) -> Vec<Word> {
    let mut chars = source.chars().peekable();
    let mut words = Vec::new();
    while let Some(first) = chars.next() {
        match first {
            '/' if chars.peek() == Some(&'/') => while chars.next().is_some_and(|next| next != '\n') {},
            '/' if chars.peek() == Some(&'*') => skip_comment(&mut chars),
            '"' => words.push(Word::Text(text(&mut chars))),
            '\'' => skip_quote(&mut chars),
            _ if first.is_whitespace() => {}
            _ if first.is_alphanumeric() || first == '_' => {
                let mut name = String::from(first);
                while let Some(next) = chars.next_if(|next| next.is_alphanumeric() || *next == '_') {
                    name.push(next);
                }
                if matches!(name.as_str(), "r" | "br") && matches!(chars.peek(), Some('"' | '#')) {
                    words.push(Word::Text(raw_text(&mut chars)));
                } else {
                    words.push(Word::Name(name));
                }
            }
            other => words.push(Word::Sign(other)),
        }
    }
    words
}

fn skip_comment(chars: &mut Peekable<Chars<'_>>) {
    chars.next();
    let mut last = ' ';
    for next in chars.by_ref() {
        if last == '*' && next == '/' {
            return;
        }
        last = next;
    }
}

/// A text behind its quote. A break that is escaped swallows the white space behind it.
fn text(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(next) = chars.next() {
        match next {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => text.push('\n'),
                Some('\n') => while chars.next_if(|next| next.is_whitespace()).is_some() {},
                Some(other) => text.push(other),
                None => break,
            },
            other => text.push(other),
        }
    }
    text
}

fn raw_text(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut hashes = 0;
    while chars.next_if_eq(&'#').is_some() {
        hashes += 1;
    }
    chars.next();
    let end = format!("\"{}", "#".repeat(hashes));
    let mut text = String::new();
    for next in chars.by_ref() {
        text.push(next);
        if text.ends_with(&end) {
            text.truncate(text.len() - end.len());
            break;
        }
    }
    text
}

/// A character, or a lifetime: the first ends in a quote.
fn skip_quote(chars: &mut Peekable<Chars<'_>>) {
    match chars.next() {
        Some('\\') => while chars.next().is_some_and(|next| next != '\'') {},
        Some(_) => {
            chars.next_if_eq(&'\'');
        }
        None => {}
    }
}

#[test]
fn texts_names_and_signs_are_told_apart() {
    let source =
        "let x = 'a'; // \"no\"\n/* \"no\" */ f::<'b>(r#\"a\"b\"#, \"c \\\n   d\\\"\", b\"e\", '\\'')";
    let texts: Vec<String> = words(source).iter().filter_map(Word::text).map(str::to_owned).collect();
    assert_eq!(texts, ["a\"b", "c d\"", "e"]);
    assert!(words(source).contains(&Word::Name("f".to_owned())));
}
