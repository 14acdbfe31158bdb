//! Names of things: nodes, clusters, epochs, tenants, installations.
//!
//! Each is parsed strictly at the edge and can't be wrong afterwards.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The text is not a valid identifier of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a valid {what}: {rule}")]
pub struct ParseIdError {
    /// The kind of identifier, in words.
    pub what: &'static str,
    /// The rule that the text breaks, in words.
    pub rule: &'static str,
    /// The text as it was given.
    pub text: String,
}

/// One member of a cluster: `epoch number << 40 | index`.
///
/// Given by the cluster, never reused and never made from hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl NodeId {
    const INDEX_BITS: u32 = 40;

    /// The `index`th id that the epoch with this number gives. The index has 40 bits, the epoch
    /// number 24; what is beyond is cut off.
    pub const fn new(epoch_number: u32, index: u64) -> Self {
        NodeId(((epoch_number as u64) << Self::INDEX_BITS) | (index & ((1 << Self::INDEX_BITS) - 1)))
    }

    /// The number of the epoch that gave this id.
    pub const fn epoch_number(self) -> u32 {
        (self.0 >> Self::INDEX_BITS) as u32
    }

    /// The index within its epoch.
    pub const fn index(self) -> u64 {
        self.0 & ((1 << Self::INDEX_BITS) - 1)
    }
}

impl From<u64> for NodeId {
    fn from(id: u64) -> Self {
        NodeId(id)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a node is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// A Management Server: votes, may lead activation, reads secrets.
    Management,
    /// A Spooler Controller: a learner, holds the license but no secrets.
    Spooler,
}

impl NodeRole {
    /// The role's name in JSON, certificates and flags.
    pub const fn as_str(self) -> &'static str {
        match self {
            NodeRole::Management => "management",
            NodeRole::Spooler => "spooler",
        }
    }
}

impl fmt::Display for NodeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for NodeRole {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "management" => Ok(NodeRole::Management),
            "spooler" => Ok(NodeRole::Spooler),
            _ => Err(ParseIdError {
                what: "node role",
                rule: "it is either management or spooler",
                text: text.to_owned(),
            }),
        }
    }
}

/// Declares a value of fixed bytes, at most 32, written as lower-case hexadecimal.
macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                HEXLOWER
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .map($name)
                    .ok_or_else(|| ParseIdError { what: $what, rule: $rule, text: text.to_owned() })
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = ParseIdError;

            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                bytes.try_into().map($name).map_err(|_| ParseIdError {
                    what: $what,
                    rule: $rule,
                    text: HEXLOWER.encode(bytes),
                })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
                } else {
                    Deserialize::deserialize(deserializer).map($name)
                }
            }
        }
    };
}

pub(crate) use hex_bytes;

hex_bytes! {
    /// A cluster, from its `init` on. Random.
    ClusterId, 16, "cluster id", "it is 32 lower-case hexadecimal digits"
}

hex_bytes! {
    /// The random half of an [`Epoch`].
    EpochId, 16, "epoch id", "it is 32 lower-case hexadecimal digits"
}

hex_bytes! {
    /// The random number that names one activation, from intent to license.
    Nonce, 16, "nonce", "it is 32 lower-case hexadecimal digits"
}

/// One life of a cluster's history. Recovery and restore begin a new one, with the next number
/// and a new random id, so two copies of one cluster differ even if their numbers agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// 1 for a new cluster, one more after every recovery or restore. At most 24 bits.
    pub number: u32,
    /// Random.
    pub id: EpochId,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.id)
    }
}

/// Declares a counter that only grows.
macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// The portal's counter per installation, moved by compare-and-set at every activation. A copy
    /// of a cluster that was left behind shows an old one and is refused.
    Fence
}

counter! {
    /// The portal's number of an issued binding or license within one installation. A higher one
    /// replaces a lower one, never the other way round.
    Serial
}

/// Declares an identifier that is text under a rule.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok($name(text.to_owned()))
                } else {
                    Err(ParseIdError { what: $what, rule: $rule, text: text.to_owned() })
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

text_id! {
    /// A licensee within the installation. A single-tenant installation has the tenant `default`.
    TenantId, "tenant id",
    "1 to 63 lower-case letters, digits and inner hyphens",
    is_label
}

impl TenantId {
    /// The tenant of a single-tenant installation.
    pub fn default_tenant() -> Self {
        TenantId("default".to_owned())
    }
}

text_id! {
    /// A node's name, given by the administrator and unique within the cluster.
    NodeName, "node name",
    "1 to 63 lower-case letters, digits and inner hyphens",
    is_label
}

text_id! {
    /// Unique name of an installation, made by the portal at the first activation.
    SupportId, "Support ID",
    "4 to 40 upper-case letters, digits and inner hyphens",
    |text| (4..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

text_id! {
    /// Version of the licensed product on a node, as the product writes it.
    BuildNumber, "build number",
    "1 to 64 letters, digits and . _ + -",
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-'))
}

text_id! {
    /// A licensed feature's name, as the vendor's product asks for it.
    FeatureName, "feature name",
    "1 to 64 lower-case letters, digits and inner . _ -",
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text.as_bytes()[text.len() - 1].is_ascii_alphanumeric()
}

text_id! {
    /// One purchase, as the portal numbers it.
    OrderId, "order id",
    "1 to 64 letters, digits and inner hyphens",
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A DNS label in lower case (RFC 1123).
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_hold_epoch_and_index() {
        let id = NodeId::new(1, 3);
        assert_eq!((id.0, id.epoch_number(), id.index()), ((1 << 40) + 3, 1, 3));
    }

    #[test]
    fn random_ids_are_hex_in_json_and_bytes_elsewhere() {
        let id = ClusterId([0xab; 16]);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{}\"", "ab".repeat(16)));
        assert_eq!(serde_json::from_str::<ClusterId>(&json).unwrap(), id);
        for wrong in ["", "ab", &"AB".repeat(16), &"zz".repeat(16), &"ab".repeat(17)] {
            assert!(wrong.parse::<ClusterId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn text_ids_refuse_what_breaks_their_rule() {
        for wrong in ["", "-a", "a-", "Tenant", "a b", &"a".repeat(64)] {
            assert!(wrong.parse::<TenantId>().is_err(), "{wrong}");
        }
        assert_eq!("acme-1".parse::<TenantId>().unwrap().as_str(), "acme-1");
        let refusal = "My Build".parse::<BuildNumber>().unwrap_err().to_string();
        assert!(refusal.starts_with("'My Build' is not a valid build number"), "{refusal}");
        assert!(serde_json::from_str::<FeatureName>("\"Color\"").is_err());
        assert!("scan.to-mail_2".parse::<FeatureName>().is_ok());
    }
}
