//! CRC-24 as in RFC 4880, section 6.1, and which single wrong character explains a wrong one.

/// The generator polynomial without its highest bit.
const POLYNOMIAL: u32 = 0x0086_4CFB;
const START: u32 = 0x00B7_04CE;
/// Base64's alphabet.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// Suspects beyond these are no help.
const MAX_SUSPECTS: usize = 4;

/// The checksum of the bytes.
pub(super) fn crc24(bytes: &[u8]) -> u32 {
    go_on(START, bytes)
}

fn go_on(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| (0..8).fold(crc ^ (u32::from(*byte) << 16), |crc, _| shifted(crc)))
}

/// The remainder times x.
const fn shifted(crc: u32) -> u32 {
    let shifted = crc << 1;
    if shifted & 0x0100_0000 == 0 { shifted } else { (shifted ^ (1 << 24) ^ POLYNOMIAL) & 0x00FF_FFFF }
}

/// A character that may be the wrong one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suspect {
    /// Which character of the base64 text.
    pub(super) index: usize,
    /// What would make the checksum right.
    pub(super) wanted: u8,
}

/// The characters of a base64 text, each of which would, changed as said, make the checksum right.
///
/// A CRC is linear: what one wrong character adds to it depends on its place and on which of its six bits are
/// wrong. For a text of some thousand characters that is nearly always one place.
pub(super) fn suspects(base64: &[u8], given: u32) -> Vec<Suspect> {
    let mut found = in_the_last_group(base64, given);
    if let Ok(bytes) = data_encoding::BASE64.decode(base64) {
        found.extend(before_the_last_group(base64, bytes.len() * 8, crc24(&bytes) ^ given));
    }
    found.truncate(MAX_SUSPECTS);
    found
}

/// The last four characters, where padding may be wrong too: every change is tried.
fn in_the_last_group(base64: &[u8], given: u32) -> Vec<Suspect> {
    let mut found = Vec::new();
    let start = base64.len().saturating_sub(4);
    if !base64.len().is_multiple_of(4) || base64.is_empty() {
        return found;
    }
    let Ok(before) = data_encoding::BASE64.decode(&base64[..start]) else { return found };
    let before = crc24(&before);
    for index in start..base64.len() {
        for wanted in ALPHABET.iter().copied().chain([b'=']).filter(|wanted| *wanted != base64[index]) {
            let mut group = base64[start..].to_vec();
            group[index - start] = wanted;
            if data_encoding::BASE64.decode(&group).is_ok_and(|bytes| go_on(before, &bytes) == given) {
                found.push(Suspect { index, wanted });
            }
        }
    }
    found
}

/// `difference` is what the wrong bits, as a polynomial times x^24, leave. So it is divided by x^24, then by x^6 for
/// each character from the last to the first: where less than 64 is left, that are the wrong bits of one character.
fn before_the_last_group(base64: &[u8], bits: usize, difference: u32) -> Vec<Suspect> {
    let mut found = Vec::new();
    let mut left = divided(difference, 24 + bits % 6);
    for index in (0..bits / 6).rev() {
        let wrong = usize::try_from(left).ok().filter(|wrong| (1..64).contains(wrong));
        let value = ALPHABET.iter().position(|symbol| *symbol == base64[index]);
        if index + 4 < base64.len()
            && let (Some(wrong), Some(value)) = (wrong, value)
        {
            found.push(Suspect { index, wanted: ALPHABET[value ^ wrong] });
        }
        left = divided(left, 6);
    }
    found
}

/// The remainder divided by x, several times.
fn divided(crc: u32, times: usize) -> u32 {
    (0..times).fold(crc, |crc, _| if crc & 1 == 0 { crc >> 1 } else { (crc ^ (1 << 24) ^ POLYNOMIAL) >> 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_published_crc_24() {
        // The check value of CRC-24/OPENPGP.
        assert_eq!(crc24(b"123456789"), 0x21_CF_02);
    }

    #[test]
    fn any_single_wrong_character_is_among_the_suspects() {
        for length in [1, 2, 3, 50, 51, 52] {
            let bytes: Vec<u8> = (0..length).map(|index: u8| index.wrapping_mul(37)).collect();
            let good = data_encoding::BASE64.encode(&bytes).into_bytes();
            for index in 0..good.len() {
                for wrong in [b'A', b'z', b'7', b'/'] {
                    let mut text = good.clone();
                    text[index] = wrong;
                    let expected = Suspect { index, wanted: good[index] };
                    let found = suspects(&text, crc24(&bytes));
                    assert!(text == good || found.contains(&expected), "{length} {index} {found:?}");
                }
            }
        }
    }
}
