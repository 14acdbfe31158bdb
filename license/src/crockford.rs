//! Crockford's base 32 with hyphenated groups and one check symbol over the whole value: text that
//! people read aloud, type, and mistype.
//!
//! ```text
//! bytes -> one number, big-endian -> symbols of 5 bits, most significant first -> number mod 37
//! ```
//!
//! 32 and 37 share no factor, so every single changed symbol and every swap of two neighbours
//! (the check symbol included) changes the remainder and is refused. The parser ignores hyphens and
//! case, reads `I` and `L` as `1` and `O` as `0` (as Crockford proposes), and is strict otherwise.
//!
//! Source: <https://www.crockford.com/base32.html>.

/// The 32 symbols of values; the check symbol has five more.
const SYMBOLS: &[u8; 37] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ*~$=U";

/// How many symbols stand between two hyphens.
const GROUP: usize = 5;

/// The text is not a value of this encoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrockfordError {
    /// There is nothing but white space.
    #[error("it is empty")]
    Empty,
    /// Too few or too many symbols, hyphens not counted.
    #[error("it has {found} symbols instead of {expected}; check that nothing is missing or doubled")]
    WrongLength {
        /// How many it should have, the check symbol included.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// A symbol that can't stand where it stands.
    #[error("'{character}' at position {position} can't stand there; check it against the original")]
    WrongCharacter {
        /// Counted from 1 in the text as given (white space around it left out, hyphens counted).
        position: usize,
        /// What stands there.
        character: char,
    },
    /// All symbols are possible, but they don't belong together.
    #[error("its check symbol doesn't match, so a symbol is mistyped or two are swapped; type it again")]
    CheckSymbol,
}

/// How many symbols `bytes` bytes need, the check symbol included.
pub(crate) const fn symbols(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5) + 1
}

/// The text of a value: groups of five symbols, the check symbol last.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let count = symbols(bytes.len()) - 1;
    let mut text = String::with_capacity(count + 1 + count / GROUP);
    for index in 0..=count {
        if index > 0 && index % GROUP == 0 {
            text.push('-');
        }
        let value = if index < count { symbol_at(bytes, count, index) } else { remainder(bytes) };
        text.push(char::from(SYMBOLS[usize::from(value)]));
    }
    text
}

/// The bytes of a text, filling all of `bytes`.
///
/// # Errors
///
/// [`CrockfordError`], which says what is wrong and where; `bytes` then holds no meaning.
pub(crate) fn decode(text: &str, bytes: &mut [u8]) -> Result<(), CrockfordError> {
    let text = text.trim();
    let expected = symbols(bytes.len());
    let found = text.chars().filter(|c| *c != '-').count();
    if found == 0 {
        return Err(CrockfordError::Empty);
    }
    bytes.fill(0);
    let (mut index, mut check) = (0, 0);
    let mut first = None;
    for (at, character) in text.chars().enumerate().filter(|(_, c)| *c != '-') {
        let last = index + 1 >= expected;
        let wrong = CrockfordError::WrongCharacter { position: at + 1, character };
        let first = first.get_or_insert_with(|| wrong.clone());
        let value = match value_of(character) {
            // More symbols than there should be: the length is the better thing to name.
            Some(value) if value < 32 || last => value,
            _ => return Err(wrong),
        };
        if index + 1 < expected {
            if !shift_in(bytes, value) {
                // The number is too large, and it's the first symbol that makes it so.
                return Err(first.clone());
            }
        } else if index + 1 == expected {
            check = value;
        }
        index += 1;
    }
    if found != expected {
        return Err(CrockfordError::WrongLength { expected, found });
    }
    if remainder(bytes) == check { Ok(()) } else { Err(CrockfordError::CheckSymbol) }
}

/// The value of the symbol at `index` of `count`, counted from the most significant.
fn symbol_at(bytes: &[u8], count: usize, index: usize) -> u8 {
    let lowest_bit = (count - 1 - index) * 5;
    let bit = |position: usize| -> u8 {
        match bytes.len().checked_sub(position / 8 + 1) {
            Some(byte) => (bytes[byte] >> (position % 8)) & 1,
            None => 0,
        }
    };
    (0..5).fold(0, |value, offset| value | (bit(lowest_bit + offset) << offset))
}

/// Moves `bytes` up by five bits and puts `value` below; `false` if set bits fell out at the top.
fn shift_in(bytes: &mut [u8], value: u8) -> bool {
    let mut carry = value;
    for byte in bytes.iter_mut().rev() {
        let wide = (u16::from(*byte) << 5) | u16::from(carry);
        *byte = wide as u8;
        carry = (wide >> 8) as u8;
    }
    carry == 0
}

/// The big-endian number modulo 37.
fn remainder(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u16, |rest, byte| (rest * 256 + u16::from(*byte)) % 37) as u8
}

/// What a symbol stands for; 32 and above only as check symbol.
fn value_of(character: char) -> Option<u8> {
    let symbol = match character.to_ascii_uppercase() {
        'I' | 'L' => b'1',
        'O' => b'0',
        other => u8::try_from(other).ok()?,
    };
    SYMBOLS.iter().position(|s| *s == symbol).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_published_description_is_encoded() {
        // 1234 = 1 * 1024 + 6 * 32 + 18, and 1234 mod 37 = 13.
        assert_eq!(encode(&1234u16.to_be_bytes()), "016JD");
        let mut bytes = [0; 2];
        decode("016jd", &mut bytes).unwrap();
        assert_eq!(u16::from_be_bytes(bytes), 1234);
    }

    #[test]
    fn hyphens_case_and_look_alikes_are_forgiven() {
        let mut bytes = [0; 2];
        for text in ["016JD", " o-16-jd\n", "OI6JD", "ol6jd"] {
            decode(text, &mut bytes).unwrap();
            assert_eq!(u16::from_be_bytes(bytes), 1234, "{text}");
        }
    }

    #[test]
    fn refusals_say_what_and_where() {
        let mut bytes = [0; 2];
        let mut refuse = |text: &str| decode(text, &mut bytes).unwrap_err();
        assert_eq!(refuse(" \n"), CrockfordError::Empty);
        assert_eq!(refuse("---"), CrockfordError::Empty);
        assert_eq!(refuse("016J"), CrockfordError::WrongLength { expected: 5, found: 4 });
        assert_eq!(refuse("016JD0"), CrockfordError::WrongLength { expected: 5, found: 6 });
        assert_eq!(refuse("0-1!JD"), CrockfordError::WrongCharacter { position: 4, character: '!' });
        assert_eq!(refuse("01*JD"), CrockfordError::WrongCharacter { position: 3, character: '*' });
        assert_eq!(refuse("01 6JD"), CrockfordError::WrongCharacter { position: 3, character: ' ' });
        // 20 bits hold more than two bytes.
        assert_eq!(refuse("Z16JD"), CrockfordError::WrongCharacter { position: 1, character: 'Z' });
        assert_eq!(refuse("016JE"), CrockfordError::CheckSymbol);
        assert_eq!(refuse("061JD"), CrockfordError::CheckSymbol);
    }

    #[test]
    fn every_check_symbol_occurs_and_is_read_back() {
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..200u16 {
            let text = encode(&number.to_be_bytes());
            seen.extend(text.chars().last());
            let mut bytes = [0; 2];
            decode(&text.to_lowercase(), &mut bytes).unwrap();
            assert_eq!(u16::from_be_bytes(bytes), number);
        }
        assert_eq!(seen.len(), 37);
    }
}
