//! Entitlements: features, each with a count or without limit.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::FeatureName;

/// How much of a feature is licensed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quantity {
    /// So many, of devices for example.
    Limited(u64),
    /// As many as one likes.
    Unlimited,
}

impl Quantity {
    /// Whether `requested` is within it.
    pub const fn covers(self, requested: u64) -> bool {
        match self {
            Quantity::Limited(limit) => requested <= limit,
            Quantity::Unlimited => true,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quantity::Limited(limit) => limit.fmt(f),
            Quantity::Unlimited => f.pad("unlimited"),
        }
    }
}

/// The form of binary formats, which don't describe themselves.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Quantity")]
enum BinaryQuantity {
    Limited(u64),
    Unlimited,
}

impl Serialize for Quantity {
    /// A number or `"unlimited"` in JSON, an enum in binary formats.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (serializer.is_human_readable(), *self) {
            (true, Quantity::Limited(limit)) => serializer.serialize_u64(limit),
            (true, Quantity::Unlimited) => serializer.serialize_str("unlimited"),
            (false, Quantity::Limited(limit)) => BinaryQuantity::Limited(limit).serialize(serializer),
            (false, Quantity::Unlimited) => BinaryQuantity::Unlimited.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_any(QuantityVisitor);
        }
        Ok(match BinaryQuantity::deserialize(deserializer)? {
            BinaryQuantity::Limited(limit) => Quantity::Limited(limit),
            BinaryQuantity::Unlimited => Quantity::Unlimited,
        })
    }
}

struct QuantityVisitor;

impl de::Visitor<'_> for QuantityVisitor {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number or \"unlimited\"")
    }

    fn visit_u64<E: de::Error>(self, limit: u64) -> Result<Quantity, E> {
        Ok(Quantity::Limited(limit))
    }

    fn visit_i64<E: de::Error>(self, limit: i64) -> Result<Quantity, E> {
        let wrong = || E::invalid_value(de::Unexpected::Signed(limit), &self);
        u64::try_from(limit).map(Quantity::Limited).map_err(|_| wrong())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        if text == "unlimited" {
            Ok(Quantity::Unlimited)
        } else {
            Err(E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
}

/// A licensed feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlement {
    /// The feature, as the product asks for it.
    pub feature: FeatureName,
    /// How much of it.
    pub quantity: Quantity,
}

impl Entitlement {
    /// Whether `requested` of the feature is licensed.
    pub const fn covers(&self, requested: u64) -> bool {
        self.quantity.covers(requested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_covers_up_to_itself() {
        assert!(Quantity::Limited(5).covers(5));
        assert!(!Quantity::Limited(5).covers(6));
        assert!(Quantity::Limited(0).covers(0));
        assert!(Quantity::Unlimited.covers(u64::MAX));
    }

    #[test]
    fn json_holds_a_number_or_the_word() {
        let read = |json: &str| serde_json::from_str::<Quantity>(json);
        assert_eq!(read("25").unwrap(), Quantity::Limited(25));
        assert_eq!(read("\"unlimited\"").unwrap(), Quantity::Unlimited);
        for wrong in ["-1", "1.5", "\"many\"", "null", "{}", "[1]"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(serde_json::to_string(&Quantity::Limited(25)).unwrap(), "25");
        assert_eq!(serde_json::to_string(&Quantity::Unlimited).unwrap(), "\"unlimited\"");
    }
}
