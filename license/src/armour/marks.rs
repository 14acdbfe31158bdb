//! The first and the last line of an armoured text, as they come out of mail: in other cases, with other
//! dashes, broken into two, with a wrong letter.

use super::Label;

/// A first or a last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) label: Label,
    /// Whether it is a first line.
    pub(super) begins: bool,
    /// Where its dashes may begin: the likeliest first.
    pub(super) starts: [usize; 2],
    /// Where what follows it may begin: the likeliest first.
    pub(super) ends: [usize; 2],
}

/// More are no help.
const MOST: usize = 32;
/// Letters between the dashes.
const LETTERS: std::ops::RangeInclusive<usize> = 16..=32;
const DASHES: usize = 5;

/// The first and last lines in the stream, in order.
pub(super) fn find(bytes: &[u8]) -> Vec<Mark> {
    let mut marks = Vec::new();
    let mut before: Option<(usize, usize)> = None;
    let mut at = 0;
    while at < bytes.len() && marks.len() < MOST {
        let length = bytes[at..].iter().take_while(|byte| **byte == b'-').count();
        if length < 2 {
            at += length.max(1);
            continue;
        }
        let run = (at, at + length);
        if let Some(before) = before
            && LETTERS.contains(&(run.0 - before.1))
            && let Some((label, begins)) = named(&bytes[before.1..run.0])
        {
            let dashes = |part: &[u8]| part.iter().filter(|byte| **byte == b'-').count();
            // One of five dashes may be wrong, if it is not among the letters.
            let whole = run.0 - before.1 <= label.letters(begins);
            let five_before = before.1.checked_sub(DASHES);
            let five_before =
                five_before.filter(|from| whole && dashes(&bytes[*from..before.1]) == DASHES - 1);
            let five_after = bytes.get(run.0..run.0 + DASHES);
            let five_after = five_after.filter(|part| whole && dashes(part) == DASHES - 1);
            marks.push(Mark {
                label,
                begins,
                starts: [five_before.unwrap_or(before.0), before.0],
                ends: [five_after.map_or(run.1, |_| run.0 + DASHES), run.1],
            });
        }
        before = Some(run);
        at = run.1;
    }
    marks
}

/// Which line has these letters, two wrong ones forgiven.
fn named(letters: &[u8]) -> Option<(Label, bool)> {
    let letters = letters.to_ascii_uppercase();
    for label in Label::ALL {
        for begins in [true, false] {
            let name = label.squeezed(begins);
            if distance(&letters, name.as_bytes()) <= 2 {
                return Some((label, begins));
            }
        }
    }
    None
}

impl Label {
    /// A first or last line without dashes and spaces.
    fn squeezed(self, begins: bool) -> String {
        let word = if begins { "BEGIN" } else { "END" };
        format!("{word}{}", self.name().replace(' ', ""))
    }

    fn letters(self, begins: bool) -> usize {
        self.squeezed(begins).len()
    }
}

/// How many letters have to be changed, added or left out.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let changed = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_differ_are_counted() {
        for (a, b, expected) in
            [("", "", 0), ("BEGIN", "BEGIN", 0), ("BEGIN", "BEGAN", 1), ("END", "EN", 1), ("END", "BEND", 1)]
        {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }

    #[test]
    fn the_four_lines_are_told_apart_and_forgiven_two_letters() {
        for (letters, expected) in [
            ("BEGINQUORATEINTEGRITYKEY", Some((Label::IntegrityKey, true))),
            ("endquoratelicensekey", Some((Label::LicenseKey, false))),
            ("BEGINQU0RATEL1CENSEKEY", Some((Label::LicenseKey, true))),
            ("BEGINCERTIFICATE", None),
        ] {
            assert_eq!(named(letters.as_bytes()), expected, "{letters}");
        }
    }
}
