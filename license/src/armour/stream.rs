//! What of a pasted text counts: without white space, quoting and what mail and word processors do to dashes.

use zeroize::Zeroizing;

use super::Place;

/// The characters that count, and where each was.
pub(super) struct Stream<'a> {
    text: &'a str,
    /// One byte for each character; [`FOREIGN`] for one that has no business in a key.
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// Stands for a character outside ASCII.
pub(super) const FOREIGN: u8 = 1;

impl<'a> Stream<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Stream { text, bytes: Zeroizing::new(kept(text).map(|(byte, _)| byte).collect()) }
    }

    /// Where a character was.
    pub(super) fn place(&self, index: usize) -> Place {
        kept(self.text).nth(index).map_or(Place { line: 1, column: 1 }, |(_, place)| place)
    }

    /// The character as it was written.
    pub(super) fn written(&self, index: usize) -> char {
        let Place { line, column } = self.place(index);
        let found = self.text.lines().nth(line - 1).and_then(|text| text.chars().nth(column - 1));
        found.unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// The indices at which lines begin, up to `most`, that of the first line which looks like a key's before all.
    pub(super) fn line_starts(&self, most: usize) -> Vec<usize> {
        let mut starts = Vec::new();
        let mut likely = None;
        for (index, line) in self.lines() {
            if likely.is_none() && is_keys(line) {
                likely = Some(index);
            }
            if starts.len() < most {
                starts.push(index);
            } else if likely.is_some() {
                break;
            }
        }
        likely.into_iter().chain(starts).collect()
    }

    /// Where lines end that look like a checksum's, one wrong character forgiven.
    pub(super) fn checksum_ends(&self) -> Vec<usize> {
        let hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
        let is_checksum = |line: &[u8]| match line.len() {
            6 => hex(line),
            7 => line[0] == b'=' || hex(&line[1..]),
            _ => false,
        };
        self.lines().filter(|(_, line)| is_checksum(line)).map(|(index, line)| index + line.len()).collect()
    }

    /// Whether there is a line that looks like one of a key.
    pub(super) fn has_keys_line(&self) -> bool {
        self.lines().any(|(_, line)| is_keys(line))
    }

    /// Whether the line of a character looks like one of a key, or one before it does.
    pub(super) fn is_in_key(&self, index: usize) -> bool {
        self.lines().take_while(|(start, _)| *start <= index).any(|(_, line)| is_keys(line))
    }

    /// The last line that is not empty.
    pub(super) fn last_line(&self) -> usize {
        self.bytes.len().checked_sub(1).map_or(1, |last| self.place(last).line)
    }

    /// Lines that are not empty: where each begins, and its characters that count.
    fn lines(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut at = 0;
        self.text.lines().filter_map(move |line| {
            let length = kept(line).count();
            let start = at;
            at += length;
            (length > 0).then(|| (start, &self.bytes[start..at]))
        })
    }

    /// The line that has another length than the others: the one in which characters are missing or doubled.
    /// The last line of the range may be shorter.
    pub(super) fn odd_line(&self, from: usize, to: usize) -> usize {
        let mut lines: Vec<(usize, usize)> = Vec::new();
        for (_, place) in kept(self.text).skip(from).take(to.saturating_sub(from)) {
            match lines.last_mut() {
                Some((line, length)) if *line == place.line => *length += 1,
                _ => lines.push((place.line, 1)),
            }
        }
        let usual = usual_length(&lines);
        let (last, full) = lines.split_last().map_or((1, &lines[..]), |(last, full)| (last.0, full));
        full.iter().find(|(_, length)| *length != usual).map_or(last, |(line, _)| *line)
    }
}

fn usual_length(lines: &[(usize, usize)]) -> usize {
    let mut lengths: Vec<usize> = lines.iter().map(|(_, length)| *length).collect();
    lengths.sort_unstable();
    let most = lengths.chunk_by(|a, b| a == b).max_by_key(|same| same.len());
    most.and_then(|same| same.first()).copied().unwrap_or_default()
}

/// Whether a line looks like one of a key: long, of letters in both cases and digits, with one wrong character at
/// most.
fn is_keys(line: &[u8]) -> bool {
    let count = |is: fn(&u8) -> bool| line.iter().filter(|byte| is(byte)).count();
    let wrong = count(|byte| !super::is_base64(*byte));
    let mixed = count(u8::is_ascii_uppercase) > 1 && count(u8::is_ascii_lowercase) > 1;
    line.len() >= 20 && wrong <= 1 && mixed && count(u8::is_ascii_digit) > 0
}

/// The characters that count with their places.
fn kept(text: &str) -> impl Iterator<Item = (u8, Place)> + '_ {
    text.lines().enumerate().flat_map(|(line, text)| {
        let mut begun = false;
        text.chars().enumerate().filter_map(move |(column, c)| {
            if is_blank(c) || (!begun && is_quote(c)) {
                return None;
            }
            begun = true;
            let byte = match c {
                '\u{2010}'..='\u{2015}' | '\u{2212}' => b'-',
                c => u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(FOREIGN),
            };
            Some((byte, Place { line: line + 1, column: column + 1 }))
        })
    })
}

/// White space, and characters that can't be seen.
fn is_blank(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}')
}

/// What mail puts in front of a quoted line.
fn is_quote(c: char) -> bool {
    matches!(c, '>' | '|')
}
