//! The activation key: what the customer receives with an order. A secret, shown by its last five
//! characters only.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::crockford::{self, CrockfordError};

/// What every activation key begins with.
const PREFIX: &str = "QA-";

/// Keeps the stored hash of an activation key apart from every other hash.
const HASH_DOMAIN: &[u8] = b"quorate/activation-key/v1\0";

/// An activation key: 120 random bits, written `QA-XXXXX-XXXXX-XXXXX-XXXXX-XXXXX`, the last symbol
/// of which is a check symbol.
///
/// Printed, it shows its last five characters. It doesn't serialize: whoever needs the whole key
/// calls [`ActivationKey::expose`], which can be found in the code.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ActivationKey([u8; 15]);

/// The text is no activation key. None of the messages holds more of it than one character.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseActivationKeyError {
    /// Nothing but white space.
    #[error("the activation key is empty; enter the key that came with the order")]
    Empty,
    /// It doesn't begin as activation keys do.
    #[error("an activation key begins with 'QA-'; check that this is the key that came with the order")]
    Prefix,
    /// Too few or too many symbols.
    #[error(
        "the activation key has {found} characters after 'QA-' instead of {expected}, hyphens not counted; check that it is complete"
    )]
    WrongLength {
        /// How many it should have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// A character that can't stand where it stands.
    #[error("'{character}' at position {position} of the activation key can't stand there; check it")]
    WrongCharacter {
        /// Counted from 1, hyphens and prefix included.
        position: usize,
        /// What stands there.
        character: char,
    },
    /// The check symbol doesn't match.
    #[error("the activation key is mistyped: its check symbol doesn't match; compare it with the original")]
    CheckSymbol,
}

impl ActivationKey {
    /// The key made of these random bytes.
    pub const fn from_entropy(entropy: [u8; 15]) -> Self {
        ActivationKey(entropy)
    }

    /// The whole key as text, wiped when dropped. For the portal's answer to the vendor, for sealing,
    /// and for the integrity key; never for a log, an error or a table.
    pub fn expose(&self) -> Zeroizing<String> {
        let symbols = Zeroizing::new(crockford::encode(&self.0));
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + symbols.len()));
        text.push_str(PREFIX);
        text.push_str(&symbols);
        text
    }

    /// The last five characters: enough to tell one's keys apart, too few to guess the rest.
    pub fn last5(&self) -> String {
        let text = self.expose();
        text[text.len() - 5..].to_owned()
    }

    /// SHA-256 with a domain tag: what the portal stores and looks keys up by. The key has 120 random
    /// bits, so a slow hash would add nothing.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::new().chain_update(HASH_DOMAIN).chain_update(self.0).finalize().into()
    }

    /// The random bytes, for the integrity key.
    pub(crate) const fn entropy(&self) -> &[u8; 15] {
        &self.0
    }
}

impl FromStr for ActivationKey {
    type Err = ParseActivationKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ParseActivationKeyError::Empty);
        }
        let symbols = match text.split_at_checked(PREFIX.len()) {
            Some((prefix, symbols)) if prefix.eq_ignore_ascii_case(PREFIX) => symbols,
            _ => return Err(ParseActivationKeyError::Prefix),
        };
        let mut key = ActivationKey([0; 15]);
        let expected = crockford::symbols(key.0.len());
        match crockford::decode(symbols, &mut key.0) {
            Ok(()) => Ok(key),
            Err(CrockfordError::Empty) => Err(ParseActivationKeyError::WrongLength { expected, found: 0 }),
            Err(CrockfordError::WrongLength { expected, found }) => {
                Err(ParseActivationKeyError::WrongLength { expected, found })
            }
            Err(CrockfordError::WrongCharacter { position, character }) => {
                let position = position + PREFIX.len();
                Err(ParseActivationKeyError::WrongCharacter { position, character })
            }
            Err(CrockfordError::CheckSymbol) => Err(ParseActivationKeyError::CheckSymbol),
        }
    }
}

impl fmt::Display for ActivationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", self.last5())
    }
}

impl fmt::Debug for ActivationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActivationKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ActivationKey {
        ActivationKey::from_entropy(*b"fifteen bytes!!")
    }

    #[test]
    fn the_text_is_read_back_in_any_case_and_grouping() {
        let text = key().expose();
        assert_eq!(text.len(), "QA-XXXXX-XXXXX-XXXXX-XXXXX-XXXXX".len());
        for form in [text.to_string(), text.to_lowercase(), format!(" {}\n", &*text)] {
            assert_eq!(form.parse::<ActivationKey>().unwrap(), key(), "{form}");
        }
        let bare = format!("QA-{}", text[3..].replace('-', ""));
        assert_eq!(bare.parse::<ActivationKey>().unwrap(), key());
    }

    #[test]
    fn only_the_last_five_characters_are_printed() {
        let text = key().expose();
        let last5 = &text[text.len() - 5..];
        assert_eq!(key().last5(), last5);
        assert_eq!(key().to_string(), format!("…{last5}"));
        assert_eq!(format!("{:?}", key()), format!("ActivationKey(…{last5})"));
    }

    #[test]
    fn each_mistake_has_a_refusal_of_its_own() {
        use ParseActivationKeyError::*;
        let text = key().expose();
        let swapped = {
            let mut bytes = text.as_bytes().to_vec();
            let at = (3..bytes.len() - 2)
                .find(|i| bytes[*i] != bytes[i + 1] && bytes[*i] != b'-' && bytes[i + 1] != b'-')
                .unwrap();
            bytes.swap(at, at + 1);
            String::from_utf8(bytes).unwrap()
        };
        for (wrong, expected) in [
            ("".to_owned(), Empty),
            (" \n".to_owned(), Empty),
            ("AB-12345".to_owned(), Prefix),
            (text[3..].to_owned(), Prefix),
            ("€€€".to_owned(), Prefix),
            ("QA-".to_owned(), WrongLength { expected: 25, found: 0 }),
            (text[..text.len() - 1].to_owned(), WrongLength { expected: 25, found: 24 }),
            (format!("{}0", &*text), WrongLength { expected: 25, found: 26 }),
            (format!("QA-!{}", &text[4..]), WrongCharacter { position: 4, character: '!' }),
            (swapped, CheckSymbol),
        ] {
            assert_eq!(wrong.parse::<ActivationKey>().unwrap_err(), expected, "{wrong}");
        }
    }

    #[test]
    fn the_stored_hash_is_domain_separated() {
        assert_ne!(key().hash(), <[u8; 32]>::from(Sha256::digest(key().0)));
        assert_ne!(key().hash(), ActivationKey::from_entropy([0; 15]).hash());
    }
}
