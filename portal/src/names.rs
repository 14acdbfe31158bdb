//! Names that the vendor gives to products and customers, and entitlements as the staff writes them.

use std::{fmt, str::FromStr};

use quorate_license::{Entitlement, FeatureName, Quantity};
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

/// An entitlement as people write it: `devices=50`, `scan=unlimited`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn entitlement(text: &str) -> Result<Entitlement, String> {
    let (feature, quantity) =
        text.split_once('=').ok_or("write it as NAME=QUANTITY, for example devices=50 or scan=unlimited")?;
    let feature = feature.parse::<FeatureName>().map_err(|error| error.to_string())?;
    let quantity = match quantity.parse::<u64>() {
        _ if quantity == "unlimited" => Quantity::Unlimited,
        Ok(count) if i64::try_from(count).is_ok() => Quantity::Limited(count),
        _ => return Err(format!("'{quantity}' is not a quantity: it is a whole number or 'unlimited'")),
    };
    Ok(Entitlement { feature, quantity })
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

    #[test]
    fn quantities_are_numbers_or_unlimited() {
        assert_eq!(entitlement("devices=50").unwrap().quantity, Quantity::Limited(50));
        assert_eq!(entitlement("scan=unlimited").unwrap().quantity, Quantity::Unlimited);
        for wrong in
            ["devices", "devices=", "devices=-1", "Devices=1", "devices=1.5", "devices=99999999999999999999"]
        {
            assert!(entitlement(wrong).is_err(), "{wrong}");
        }
    }
}
