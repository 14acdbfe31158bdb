//! What is wrong with a text that can't be opened: which character, in which line.

use data_encoding::BASE64;

use super::{ArmourError, Place, crc, crc24, is_base64, stream::Stream};

/// Letters from which on a text in one case is no chance.
const LETTERS: usize = 40;

/// The bytes of a base64 text, if they have this checksum.
pub(super) fn open(base64: &[u8], checksum: u32) -> Option<Vec<u8>> {
    BASE64.decode(base64).ok().filter(|bytes| crc24(bytes) == checksum)
}

/// What is wrong with a base64 text that does not have its checksum. `index` says where in the stream a character of
/// it stands.
pub(super) fn of_body(
    stream: &Stream<'_>,
    base64: &[u8],
    checksum: u32,
    index: &dyn Fn(usize) -> usize,
) -> ArmourError {
    let content = base64.len().saturating_sub(2);
    let foreign =
        base64.iter().enumerate().position(|(at, byte)| !is_base64(*byte) || (*byte == b'=' && at < content));
    if let Some(at) = foreign {
        return character(stream, index(at));
    }
    if let Some(at) = in_one_case(base64) {
        return ArmourError::CaseLost { at: stream.place(index(at)) };
    }
    let suspects: Vec<Place> = {
        let mut places: Vec<Place> = crc::suspects(base64, checksum)
            .iter()
            .map(|suspect| stream.place(index(suspect.index)))
            .collect();
        places.dedup();
        places
    };
    if !suspects.is_empty() {
        return ArmourError::Damaged { places: suspects };
    }
    let last = base64.len().saturating_sub(1);
    if BASE64.decode(base64).is_err() {
        return ArmourError::Encoding { line: stream.odd_line(index(0), index(last) + 1) };
    }
    ArmourError::Checksum { first: stream.place(index(0)).line, last: stream.place(index(last)).line }
}

/// A character that doesn't belong where it stands.
pub(super) fn character(stream: &Stream<'_>, index: usize) -> ArmourError {
    ArmourError::Character { at: stream.place(index), found: stream.written(index) }
}

/// Where the first letter of a text is all of whose letters are in one case.
fn in_one_case(base64: &[u8]) -> Option<usize> {
    let upper = base64.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    let lower = base64.iter().filter(|byte| byte.is_ascii_lowercase()).count();
    if upper.min(lower) > 0 || upper + lower < LETTERS {
        return None;
    }
    base64.iter().position(u8::is_ascii_alphabetic)
}
