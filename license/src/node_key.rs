//! The node identity key: permanent per node, apart from the rotating TLS key; it signs statements.
//!
//! Every signature is Ed25519 over `domain tag || 0x00 || message`, so that a signature given for
//! one purpose is worth nothing for another.

use std::{fmt, str::FromStr};

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::Zeroizing;

use crate::id::{ParseIdError, hex_bytes};

/// What a node signs. The tags are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureDomain {
    /// A node's statement in an activation.
    NodeStatement,
    /// A Management Server's signature of a whole integrity key.
    IntegrityKey,
    /// A node's receipt beside its license file.
    Receipt,
    /// A node's request to join a cluster.
    Join,
    /// A node's request for a new certificate.
    Certificate,
}

impl SignatureDomain {
    /// The tag that goes before the signed message.
    pub const fn tag(self) -> &'static str {
        match self {
            SignatureDomain::NodeStatement => "quorate/node-statement/v1",
            SignatureDomain::IntegrityKey => "quorate/integrity-key/v1",
            SignatureDomain::Receipt => "quorate/receipt/v1",
            SignatureDomain::Join => "quorate/join/v1",
            SignatureDomain::Certificate => "quorate/certificate/v1",
        }
    }

    fn message(self, message: &[u8]) -> Vec<u8> {
        let tag = self.tag().as_bytes();
        let mut bytes = Vec::with_capacity(tag.len() + 1 + message.len());
        bytes.extend_from_slice(tag);
        bytes.push(0);
        bytes.extend_from_slice(message);
        bytes
    }
}

/// A node's secret identity key (Ed25519). Never printed, wiped when dropped.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// The key that grows from these 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        NodeKey(SigningKey::from_bytes(&seed))
    }

    /// The 32 bytes that the key grows from, wiped when dropped: for the node's key file only.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> NodePublicKey {
        NodePublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` for one purpose.
    pub fn sign(&self, domain: SignatureDomain, message: &[u8]) -> NodeSignature {
        NodeSignature(self.0.sign(&domain.message(message)).to_bytes())
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey(redacted, public {})", self.public())
    }
}

hex_bytes! {
    /// The public half of a [`NodeKey`].
    NodePublicKey, 32, "node public key", "it is 64 lower-case hexadecimal digits"
}

/// The signature was not made by this key, for this purpose, over this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature doesn't belong to this content and the node key {key}")]
pub struct BadSignature {
    /// The key that should have signed.
    pub key: NodePublicKey,
}

impl NodePublicKey {
    /// Checks a signature, strictly: weak keys and malleable signatures are refused.
    ///
    /// # Errors
    ///
    /// [`BadSignature`] if it doesn't match in key, purpose and message.
    pub fn verify(
        &self,
        domain: SignatureDomain,
        message: &[u8],
        signature: &NodeSignature,
    ) -> Result<(), BadSignature> {
        VerifyingKey::from_bytes(&self.0)
            .and_then(|key| key.verify_strict(&domain.message(message), &Signature::from_bytes(&signature.0)))
            .map_err(|_| BadSignature { key: *self })
    }
}

/// A signature by a [`NodeKey`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NodeSignature(pub [u8; 64]);

impl NodeSignature {
    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Display for NodeSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for NodeSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeSignature({self})")
    }
}

const SIGNATURE_RULE: (&str, &str) = ("node signature", "it is 128 lower-case hexadecimal digits");

impl FromStr for NodeSignature {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (what, rule) = SIGNATURE_RULE;
        HEXLOWER
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(NodeSignature)
            .ok_or_else(|| ParseIdError { what, rule, text: text.to_owned() })
    }
}

impl TryFrom<&[u8]> for NodeSignature {
    type Error = ParseIdError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        let (what, rule) = SIGNATURE_RULE;
        bytes.try_into().map(NodeSignature).map_err(|_| ParseIdError {
            what,
            rule,
            text: HEXLOWER.encode(bytes),
        })
    }
}

impl Serialize for NodeSignature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            // serde knows arrays up to 32 elements.
            let (first, second) = self.0.split_at(32);
            (
                <[u8; 32]>::try_from(first).unwrap_or_default(),
                <[u8; 32]>::try_from(second).unwrap_or_default(),
            )
                .serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for NodeSignature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            let (first, second) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
            let mut bytes = [0; 64];
            bytes[..32].copy_from_slice(&first);
            bytes[32..].copy_from_slice(&second);
            Ok(NodeSignature(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_purpose_and_message_only() {
        let (key, other) = (NodeKey::from_seed([1; 32]), NodeKey::from_seed([2; 32]));
        let signature = key.sign(SignatureDomain::Receipt, b"message");
        assert!(key.public().verify(SignatureDomain::Receipt, b"message", &signature).is_ok());
        let refused = Err(BadSignature { key: key.public() });
        assert_eq!(key.public().verify(SignatureDomain::Receipt, b"massage", &signature), refused);
        assert_eq!(key.public().verify(SignatureDomain::Join, b"message", &signature), refused);
        assert!(other.public().verify(SignatureDomain::Receipt, b"message", &signature).is_err());
    }

    #[test]
    fn weak_public_keys_are_refused() {
        // The neutral element: any signature with R = S * B would pass a lenient check.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let refused = NodePublicKey(neutral).verify(SignatureDomain::Join, b"x", &NodeSignature(signature));
        assert!(refused.is_err());
    }

    #[test]
    fn the_secret_is_never_printed() {
        let key = NodeKey::from_seed([7; 32]);
        assert!(!format!("{key:?}").contains(&"07".repeat(8)));
        assert_eq!(*key.seed(), [7; 32]);
    }

    #[test]
    fn keys_and_signatures_are_hex_in_json() {
        let key = NodeKey::from_seed([1; 32]);
        let signature = key.sign(SignatureDomain::Join, b"");
        let json = serde_json::to_string(&(key.public(), signature)).unwrap();
        assert_eq!(json, format!("[\"{}\",\"{signature}\"]", key.public()));
        assert_eq!(
            serde_json::from_str::<(NodePublicKey, NodeSignature)>(&json).unwrap(),
            (key.public(), signature)
        );
        assert!("00".parse::<NodeSignature>().is_err());
    }
}
