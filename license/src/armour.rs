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
//! checksum finds accidents of copying, with a clear message; what makes the content trustworthy is
//! its signatures. Text around it, other line lengths and line ends, and white space at the ends of
//! lines are accepted.

use data_encoding::{BASE64, HEXUPPER_PERMISSIVE};

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
    #[error("the text is cut off: there is no line '-----END {expected}-----'; copy it again, completely")]
    Truncated {
        /// What was expected.
        expected: &'static str,
    },
    /// The line with the checksum is missing.
    #[error(
        "the checksum line (an equals sign and six digits before the last line) is missing; copy the text again, completely"
    )]
    NoChecksum,
    /// A line holds what can't stand there.
    #[error("line {line} of the text holds something that doesn't belong there; copy the text again")]
    Line {
        /// Counted from 1, from the first line of the given text.
        line: usize,
    },
    /// The lines don't add up to whole bytes.
    #[error("the text is damaged: characters are missing or doubled; copy it again")]
    Encoding,
    /// The checksum differs.
    #[error("the text is damaged: its checksum doesn't match; copy it again")]
    Checksum,
    /// More than there may be.
    #[error("the text is longer than the {max_bytes} bytes that it may hold; check that it is the right one")]
    TooLarge {
        /// The bound.
        max_bytes: usize,
    },
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

/// The bytes of an armoured text.
pub(crate) fn decode(label: Label, max_bytes: usize, text: &str) -> Result<Vec<u8>, ArmourError> {
    let expected = label.name();
    // Twice the body's length leaves room for any wrapping and for some text around it.
    if text.len() / 4 > max_bytes {
        return Err(ArmourError::TooLarge { max_bytes });
    }
    let mut lines = text.lines().map(str::trim).enumerate();
    let (begin, end) = (label.begin(), label.end());
    if !lines.any(|(_, line)| line == begin) {
        let other =
            Label::ALL.into_iter().find(|other| text.lines().any(|line| line.trim() == other.begin()));
        return Err(match other {
            Some(other) => ArmourError::WrongKind { expected, found: other.name() },
            None => ArmourError::NoBegin { expected },
        });
    }
    let mut body = String::new();
    let mut checksum = None;
    let mut ended = false;
    for (index, line) in lines {
        if line == end {
            ended = true;
            break;
        }
        let wrong = ArmourError::Line { line: index + 1 };
        if line.is_empty() {
            continue;
        }
        if checksum.is_some() {
            return Err(wrong);
        }
        match line.strip_prefix('=').filter(|rest| rest.len() == 6) {
            Some(digits) => match HEXUPPER_PERMISSIVE.decode(digits.as_bytes()).as_deref() {
                Ok([a, b, c]) => checksum = Some(u32::from_be_bytes([0, *a, *b, *c])),
                _ => return Err(wrong),
            },
            None if line.bytes().all(is_base64) => body.push_str(line),
            None => return Err(wrong),
        }
    }
    if !ended {
        return Err(ArmourError::Truncated { expected });
    }
    let checksum = checksum.ok_or(ArmourError::NoChecksum)?;
    let bytes = BASE64.decode(body.as_bytes()).map_err(|_| ArmourError::Encoding)?;
    if crc24(&bytes) != checksum {
        return Err(ArmourError::Checksum);
    }
    if bytes.len() > max_bytes { Err(ArmourError::TooLarge { max_bytes }) } else { Ok(bytes) }
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// CRC-24 as in RFC 4880, section 6.1.
fn crc24(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x00B7_04CE, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 16), |crc, _| {
            let shifted = crc << 1;
            if shifted & 0x0100_0000 == 0 { shifted } else { (shifted ^ 0x0186_4CFB) & 0x00FF_FFFF }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    fn text() -> String {
        encode(Label::IntegrityKey, &(0..=99).collect::<Vec<u8>>())
    }

    fn read(text: &str) -> Result<Vec<u8>, ArmourError> {
        decode(Label::IntegrityKey, MAX, text)
    }

    #[test]
    fn the_checksum_is_the_published_crc_24() {
        // The check value of CRC-24/OPENPGP.
        assert_eq!(crc24(b"123456789"), 0x21_CF_02);
    }

    #[test]
    fn the_text_survives_mail() {
        let bytes: Vec<u8> = (0..=99).collect();
        let text = text();
        assert!(text.lines().all(|line| line.len() <= COLUMNS));
        assert_eq!(read(&text).unwrap(), bytes);
        assert_eq!(read(&text.replace('\n', "\r\n")).unwrap(), bytes);
        assert_eq!(
            read(&format!("Dear portal,\n\n  \n{}\n-- \nan administrator", text.replace('\n', "  \n")))
                .unwrap(),
            bytes
        );
        assert_eq!(read(&text.replace('\n', "\n\n")).unwrap(), bytes);
        assert_eq!(read(&text.to_string().replace("=C", "=c")).unwrap(), bytes);
    }

    #[test]
    fn damage_is_named() {
        let text = text();
        let lines: Vec<&str> = text.lines().collect();
        let without = |index: usize| {
            let mut left = lines.clone();
            left.remove(index);
            left.join("\n")
        };
        let expected = "QUORATE INTEGRITY KEY";
        let last = lines.len() - 1;
        assert_eq!(read("").unwrap_err(), ArmourError::NoBegin { expected });
        assert_eq!(read(&without(0)).unwrap_err(), ArmourError::NoBegin { expected });
        assert_eq!(read(&without(last)).unwrap_err(), ArmourError::Truncated { expected });
        assert_eq!(read(&without(last - 1)).unwrap_err(), ArmourError::NoChecksum);
        assert_eq!(read(&without(1)).unwrap_err(), ArmourError::Checksum);
        assert_eq!(read(&text.replacen("AAEC", "AAE", 1)).unwrap_err(), ArmourError::Encoding);
        assert_eq!(read(&text.replacen("AAEC", "AA>C", 1)).unwrap_err(), ArmourError::Line { line: 2 });
        assert_eq!(read(&text.replacen("AAEC", "AAED", 1)).unwrap_err(), ArmourError::Checksum);
        assert_eq!(
            decode(Label::IntegrityKey, 99, &text).unwrap_err(),
            ArmourError::TooLarge { max_bytes: 99 }
        );
        assert_eq!(read(&"x".repeat(MAX * 5)).unwrap_err(), ArmourError::TooLarge { max_bytes: MAX });
    }

    #[test]
    fn a_license_key_in_place_of_an_integrity_key_is_named() {
        let license_key = encode(Label::LicenseKey, b"{}");
        assert_eq!(
            read(&license_key).unwrap_err(),
            ArmourError::WrongKind { expected: "QUORATE INTEGRITY KEY", found: "QUORATE LICENSE KEY" }
        );
    }
}
