//! A text in parts, as QR codes carry it.
//!
//! ```text
//! (QUORATE INTEGRITY KEY 2 of 5, 5F3A91)
//! hYsq...9dQ.
//! ```
//!
//! The same base64 text, cut. Each part says which it is, of how many, and the checksum of the whole, so parts are
//! put together in any order, and those of another key are noticed.

use super::{ArmourError, Label, crc24, damage, stream::Stream};

/// More are not made, nor read.
const MOST: usize = 999;

/// The parts of what has these bytes, with `characters` of base64 in each.
pub(super) fn split(label: Label, bytes: &[u8], characters: usize) -> Vec<String> {
    let text = data_encoding::BASE64.encode(bytes);
    let characters = characters.max(text.len().div_ceil(MOST)).max(1);
    let total = text.len().div_ceil(characters).max(1);
    let checksum = crc24(bytes);
    let mut rest = text.as_str();
    (1..=total)
        .map(|number| {
            let (part, next) = rest.split_at(rest.len().min(characters));
            rest = next;
            format!("({} {number} of {total}, {checksum:06X})\n{part}.\n", label.name())
        })
        .collect()
}

/// A part in a stream.
struct Part {
    number: usize,
    total: usize,
    checksum: u32,
    /// Where its base64 text is.
    from: usize,
    to: usize,
}

/// The bytes of the parts in a stream; None if it has no parts.
pub(super) fn join(label: Label, stream: &Stream<'_>) -> Option<Result<Vec<u8>, ArmourError>> {
    let parts = find(label, &stream.bytes);
    let first = parts.first()?;
    let (total, checksum) = (first.total, first.checksum);
    let mut sorted: Vec<Option<&Part>> = vec![None; total];
    for part in &parts {
        if part.total != total || part.checksum != checksum || part.number > total {
            return Some(Err(ArmourError::PartsMixed));
        }
        sorted[part.number - 1].get_or_insert(part);
    }
    let missing: Vec<usize> = (1..=total).filter(|number| sorted[number - 1].is_none()).collect();
    if !missing.is_empty() {
        return Some(Err(ArmourError::PartsMissing { missing, total }));
    }
    let places: Vec<usize> = sorted.into_iter().flatten().flat_map(|part| part.from..part.to).collect();
    let text: Vec<u8> = places.iter().map(|place| stream.bytes[*place]).collect();
    Some(damage::open(&text, checksum).ok_or_else(|| {
        damage::of_body(stream, &text, checksum, &|index| places.get(index).copied().unwrap_or_default())
    }))
}

fn find(label: Label, bytes: &[u8]) -> Vec<Part> {
    let name = label.name().replace(' ', "").into_bytes();
    let mut parts: Vec<Part> = Vec::new();
    let mut at = 0;
    while let Some(open) = bytes[at..].iter().position(|byte| *byte == b'(').map(|found| at + found) {
        at = open + 1;
        if parts.len() >= 2 * MOST {
            break;
        }
        let head: Vec<u8> = bytes[at..].iter().copied().take(64).take_while(|byte| *byte != b')').collect();
        let Some((number, total, checksum)) = header(&name, &head.to_ascii_uppercase()) else { continue };
        let from = (at + head.len() + 1).min(bytes.len());
        let length = bytes[from..].iter().take_while(|byte| !matches!(byte, b'.' | b'(')).count();
        parts.push(Part { number, total, checksum, from, to: from + length });
        at = from;
    }
    parts
}

/// `NAME2OF5,5F3A91`
fn header(name: &[u8], head: &[u8]) -> Option<(usize, usize, u32)> {
    let rest = std::str::from_utf8(head.strip_prefix(name)?).ok()?;
    let (numbers, checksum) = rest.split_once(',')?;
    let (number, total) = numbers.split_once("OF")?;
    let read = |text: &str| text.parse::<usize>().ok().filter(|number| (1..=MOST).contains(number));
    let checksum = (checksum.len() == 6).then(|| u32::from_str_radix(checksum, 16).ok()).flatten()?;
    Some((read(number)?, read(total)?, checksum))
}
