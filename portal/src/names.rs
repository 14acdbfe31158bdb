//! Names that the vendor gives to products and customers.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A product's or customer's name: 1 to 100 printable characters, no blanks at its ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Name(String);

/// The text can't be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 100 printable characters and no blanks at its ends")]
pub struct NameError;

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=100).contains(&text.chars().count());
        if fits && text.trim() == text && !text.chars().any(char::is_control) {
            Ok(Name(text.to_owned()))
        } else {
            Err(NameError)
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printable_and_trimmed() {
        for wrong in ["", " a", "a ", "a\nb", "\u{1b}[31m", &"x".repeat(101)] {
            assert_eq!(wrong.parse::<Name>(), Err(NameError), "{wrong:?}");
        }
        assert_eq!("Müller & Söhne".parse::<Name>().unwrap().as_str(), "Müller & Söhne");
    }
}
