//! Armoured text: how integrity keys and license keys go through mail, forms and paper.
//!
//! ```text
//! -----BEGIN QUORATE INTEGRITY KEY-----
//! CAEQARoQwcHBwcHBwcHBwcHBwcHBwSIUCAESEOHh4eHh4eHh4eHh4eHh4eEyB2Rl
//! ...
//! =5F3A91
//! -----END QUORATE INTEGRITY KEY-----
//! ```
//!
//! Base64 in lines of 64, then a CRC-24 (RFC 4880, section 6.1) as six hexadecimal digits. The
//! checksum finds accidents of copying and says where they are; what makes the content trustworthy is
//! its signatures.
//!
//! Forgiven are: text around it, other line breaks and spaces anywhere, quoting as in mail (`> `), other dashes,
//! the case of the first and the last line and of the checksum, wrong letters in those lines, and their absence.
//! Too long for one QR code, it goes in [`parts`].

mod crc;
mod damage;
mod marks;
mod parts;
mod stream;

use std::fmt;

use data_encoding::{BASE64, HEXUPPER_PERMISSIVE};

use crc::crc24;
use stream::Stream;

/// What an armoured text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    IntegrityKey,
    LicenseKey,
}

impl Label {
    const ALL: [Label; 2] = [Label::IntegrityKey, Label::LicenseKey];

    /// What stands in the first and the last line.
    const fn name(self) -> &'static str {
        match self {
            Label::IntegrityKey => "QUORATE INTEGRITY KEY",
            Label::LicenseKey => "QUORATE LICENSE KEY",
        }
    }

    fn begin(self) -> String {
        format!("-----BEGIN {}-----", self.name())
    }

    fn end(self) -> String {
        format!("-----END {}-----", self.name())
    }
}

/// A character of a pasted text, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From the first line of the given text.
    pub line: usize,
    /// From the first character of the line.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

fn either(places: &[Place]) -> String {
    places.iter().map(Place::to_string).collect::<Vec<_>>().join(" or ")
}

fn list(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// The text is not what it should be, or damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArmourError {
    /// The first line is missing.
    #[error("there is no line '-----BEGIN {expected}-----'; copy the whole text, its first line included")]
    NoBegin {
        /// What was expected.
        expected: &'static str,
    },
    /// It is something else of ours.
    #[error(
        "this is a {found}, but a {expected} is needed here; the integrity key goes to the portal, the license key comes back from it"
    )]
    WrongKind {
        /// What was expected.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// The last line is missing.
    #[error(
        "the text is cut off after line {line}: there is no line '-----END {expected}-----'; copy it again, completely"
    )]
    Truncated {
        /// What was expected.
        expected: &'static str,
        /// The last line that is there, counted from 1.
        line: usize,
    },
    /// The line with the checksum is missing.
    #[error(
        "the checksum line (an equals sign and six digits before the last line) is missing; copy the text again, completely"
    )]
    NoChecksum,
    /// A character that can't stand where it does.
    #[error(
        "{at} holds '{found}', which doesn't belong there; compare it with the original, or copy the text again"
    )]
    Character {
        /// Where.
        at: Place,
        /// What stands there.
        found: char,
    },
    /// One character is wrong: which one, the checksum tells. More than one place: it is one of them.
    #[error(
        "the text is damaged: the character at {} is wrong; compare it with the original, or copy the text again",
        either(places)
    )]
    Damaged {
        /// Where.
        places: Vec<Place>,
    },
    /// All letters are capital ones, or none is.
    #[error("the text has lost its capital and small letters, from {at} on; copy it again as it was")]
    CaseLost {
        /// The first letter.
        at: Place,
    },
    /// The lines don't add up to whole bytes.
    #[error("the text is damaged: characters are missing or doubled, it seems in line {line}; copy it again")]
    Encoding {
        /// Counted from 1, from the first line of the given text.
        line: usize,
    },
    /// The checksum differs, and not by one character.
    #[error(
        "the text is damaged in more than one place between line {first} and line {last}: its checksum doesn't match; copy it again"
    )]
    Checksum {
        /// The first line of the key, counted from 1.
        first: usize,
        /// Its last line.
        last: usize,
    },
    /// Parts of one text that is in several QR codes are not there.
    #[error("of the {total} parts, these are missing: {}; add them", list(missing))]
    PartsMissing {
        /// Their numbers.
        missing: Vec<usize>,
        /// How many there are.
        total: usize,
    },
    /// Parts of several texts.
    #[error("the parts don't belong to one text; give those of one only")]
    PartsMixed,
    /// More than there may be.
    #[error("the text is longer than the {max_bytes} bytes that it may hold; check that it is the right one")]
    TooLarge {
        /// The bound.
        max_bytes: usize,
    },
}

impl ArmourError {
    /// The lines of the text in which something is wrong, as far as it can be said.
    pub fn lines(&self) -> Vec<usize> {
        match self {
            ArmourError::Character { at, .. } | ArmourError::CaseLost { at } => vec![at.line],
            ArmourError::Damaged { places } => places.iter().map(|place| place.line).collect(),
            ArmourError::Encoding { line } | ArmourError::Truncated { line, .. } => vec![*line],
            ArmourError::Checksum { first, last } => (*first..=*last).collect(),
            _ => Vec::new(),
        }
    }
}

/// Characters of base64 in one line.
const COLUMNS: usize = 64;

/// The armoured text of `bytes`.
pub(crate) fn encode(label: Label, bytes: &[u8]) -> String {
    let body = BASE64.encode(bytes);
    let mut text = String::with_capacity(body.len() + body.len() / COLUMNS + 128);
    text.push_str(&label.begin());
    text.push('\n');
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, next) = rest.split_at(rest.len().min(COLUMNS));
        text.push_str(line);
        text.push('\n');
        rest = next;
    }
    let checksum = crc24(bytes).to_be_bytes();
    text.push('=');
    text.push_str(&HEXUPPER_PERMISSIVE.encode(&checksum[1..]));
    text.push('\n');
    text.push_str(&label.end());
    text.push('\n');
    text
}

/// The bytes in parts of at most `characters` characters of base64, for QR codes.
pub(crate) fn split(label: Label, bytes: &[u8], characters: usize) -> Vec<String> {
    parts::split(label, bytes, characters)
}

/// The bytes of an armoured text, or of its parts.
pub(crate) fn decode(label: Label, max_bytes: usize, text: &str) -> Result<Vec<u8>, ArmourError> {
    // Twice the body's length leaves room for any wrapping and for some text around it.
    if text.len() / 4 > max_bytes {
        return Err(ArmourError::TooLarge { max_bytes });
    }
    let stream = Stream::new(text);
    let bytes = match parts::join(label, &stream) {
        Some(joined) => joined?,
        None => whole(label, &stream)?,
    };
    if bytes.len() > max_bytes { Err(ArmourError::TooLarge { max_bytes }) } else { Ok(bytes) }
}

/// Beginnings that are tried when the first line is missing.
const MOST_STARTS: usize = 64;
/// Ends that are tried when the last line is missing.
const MOST_ENDS: usize = 16;
/// Characters that are looked at in all of these attempts.
const MOST_LOOKED_AT: usize = 64 << 20;

/// An armoured text in one piece.
fn whole(label: Label, stream: &Stream<'_>) -> Result<Vec<u8>, ArmourError> {
    let expected = label.name();
    let marks = marks::find(&stream.bytes);
    let ours = |begins: bool| marks.iter().filter(move |mark| mark.label == label && mark.begins == begins);
    if ours(true).chain(ours(false)).next().is_none()
        && let Some(other) = marks.first()
    {
        return Err(ArmourError::WrongKind { expected, found: other.label.name() });
    }
    let mut starts: Vec<usize> = ours(true).flat_map(|mark| mark.ends).collect();
    let begun = !starts.is_empty();
    if !begun {
        starts = stream.line_starts(MOST_STARTS);
    }
    let mut ends: Vec<usize> = ours(false).flat_map(|mark| mark.starts).collect();
    let ended = !ends.is_empty();
    if !ended {
        ends = ends_by_checksum(stream);
    }
    let mut first = None;
    let mut looked_at = 0usize;
    for &start in &starts {
        for &end in ends.iter().filter(|end| **end > start) {
            first.get_or_insert((start, end));
            looked_at += end - start;
            if looked_at > MOST_LOOKED_AT {
                break;
            }
            let text = &stream.bytes[start..end];
            let (body, _, digits) = sections(text);
            // The sign itself may be wrong, or missing.
            for body in [body, &text[..text.len() - digits.len()]] {
                if let Some(bytes) = number(digits).and_then(|checksum| damage::open(body, checksum)) {
                    return Ok(bytes);
                }
            }
        }
    }
    match first {
        None if !begun => Err(ArmourError::NoBegin { expected }),
        None => Err(ArmourError::Truncated { expected, line: stream.last_line() }),
        Some((_, end)) if !begun => Err(without_begin(stream, &starts, end, ended, expected)),
        Some((start, end)) => Err(what_is_wrong(stream, start, end, ended, expected)),
    }
}

/// A text without its frame: base64, the equals sign, six digits.
fn sections(text: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (rest, digits) = text.split_at(text.len().saturating_sub(DIGITS));
    let (body, sign) = rest.split_at(rest.len().saturating_sub(1));
    (body, sign, digits)
}

const DIGITS: usize = 6;

fn number(digits: &[u8]) -> Option<u32> {
    let bytes = HEXUPPER_PERMISSIVE.decode(digits).ok()?;
    let [a, b, c] = bytes[..] else { return None };
    Some(u32::from_be_bytes([0, a, b, c]))
}

/// Where a text can end that has no last line: behind what looks like a checksum, and at the end of everything.
fn ends_by_checksum(stream: &Stream<'_>) -> Vec<usize> {
    let bytes = &stream.bytes;
    let signs = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'=').map(|(at, _)| at + 1);
    let ends = signs.filter(|at| bytes.get(*at..at + DIGITS).is_some_and(|digits| number(digits).is_some()));
    let mut ends: Vec<usize> = ends.map(|at| at + DIGITS).take(MOST_ENDS).collect();
    ends.extend(stream.checksum_ends().into_iter().take(MOST_ENDS));
    if bytes.len() > DIGITS {
        ends.push(bytes.len());
    }
    ends
}

/// Beginnings that are taken for the right one, one after the other, to find a wrong character.
const MOST_GUESSED: usize = 8;

/// Why a text that ends at `end` and has no first line can't be opened. Words before it mostly end with a character that
/// no key has.
fn without_begin(
    stream: &Stream<'_>,
    starts: &[usize],
    end: usize,
    ended: bool,
    expected: &'static str,
) -> ArmourError {
    let before_checksum = end.saturating_sub(DIGITS + 1);
    let foreign = stream.bytes[..before_checksum].iter().rposition(|byte| !is_base64(*byte));
    let behind = |index: Option<usize>| {
        let mut behind: Vec<usize> = starts
            .iter()
            .copied()
            .filter(|start| *start < end && index.is_none_or(|at| *start > at))
            .collect();
        behind.sort_unstable();
        behind.dedup();
        behind
    };
    if let Some(at) = foreign.filter(|at| stream.is_in_key(*at)) {
        return damage::character(stream, at);
    }
    let guessed = behind(foreign);
    for &start in guessed.iter().take(MOST_GUESSED) {
        let wrong = what_is_wrong(stream, start, end, ended, expected);
        if matches!(wrong, ArmourError::Damaged { .. } | ArmourError::CaseLost { .. }) {
            return wrong;
        }
    }
    match (foreign, guessed.first()) {
        (_, Some(start)) => what_is_wrong(stream, *start, end, ended, expected),
        (Some(at), None) => damage::character(stream, at),
        (None, None) => ArmourError::NoBegin { expected },
    }
}

/// Why the text between two places can't be opened.
fn what_is_wrong(
    stream: &Stream<'_>,
    start: usize,
    end: usize,
    ended: bool,
    expected: &'static str,
) -> ArmourError {
    let (body, sign, digits) = sections(&stream.bytes[start..end]);
    if sign != b"=" {
        return if ended {
            ArmourError::NoChecksum
        } else if !stream.has_keys_line() {
            ArmourError::NoBegin { expected }
        } else {
            ArmourError::Truncated { expected, line: stream.last_line() }
        };
    }
    let first_digit = end - DIGITS;
    if let Some(wrong) = digits.iter().position(|digit| !digit.is_ascii_hexdigit()) {
        return damage::character(stream, first_digit + wrong);
    }
    let checksum = number(digits).unwrap_or_default();
    if let Ok(bytes) = BASE64.decode(body) {
        let differs = crc24(&bytes) ^ checksum;
        let wrong: Vec<usize> = (0..DIGITS).filter(|at| (differs >> (20 - 4 * at)) & 15 != 0).collect();
        if let [wrong] = wrong[..] {
            return ArmourError::Damaged { places: vec![stream.place(first_digit + wrong)] };
        }
    }
    damage::of_body(stream, body, checksum, &|index| start + index)
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests;
