//! The vendor's keys: secrets that are never printed, and public keys as PASERK text.

use std::{fmt, str::FromStr};

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{SigningKey, VerifyingKey};
use pasetors::{
    keys::AsymmetricPublicKey,
    paserk::{FormatAsPaserk, Id},
    version4::V4,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The text or the bytes are no usable key of this kind. Never quotes a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseKeyError {
    /// It doesn't begin as keys of this kind do.
    #[error("it doesn't begin with '{0}'")]
    Prefix(&'static str),
    /// What follows is not base64url of the right length.
    #[error("what follows '{0}' is not a key of the right length in base64url without padding")]
    Encoding(&'static str),
    /// Right in form, but no key that anything can be signed or checked with.
    #[error("its bytes are no usable Ed25519 key")]
    Unusable,
}

/// Strictly decodes what follows `prefix` to `N` bytes.
fn decode<const N: usize>(text: &str, prefix: &'static str) -> Result<[u8; N], ParseKeyError> {
    let encoded = text.strip_prefix(prefix).ok_or(ParseKeyError::Prefix(prefix))?;
    let mut bytes = Zeroizing::new(
        BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| ParseKeyError::Encoding(prefix))?,
    );
    let array = bytes.as_slice().try_into().map_err(|_| ParseKeyError::Encoding(prefix));
    bytes.zeroize();
    array
}

/// Declares a public key with the text form `k4.public.…`.
macro_rules! public_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            const PREFIX: &'static str = "k4.public.";

            /// Takes the raw bytes.
            ///
            /// # Errors
            ///
            /// [`ParseKeyError::Unusable`] if they are no point of the curve, or a weak one.
            pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, ParseKeyError> {
                match VerifyingKey::from_bytes(&bytes) {
                    Ok(key) if !key.is_weak() => Ok($name(bytes)),
                    _ => Err(ParseKeyError::Unusable),
                }
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The key's id as PASERK defines it (`k4.pid.…`): a hash, the same everywhere.
            pub fn key_id(&self) -> String {
                key_id(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", Self::PREFIX, BASE64URL_NOPAD.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseKeyError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::from_bytes(decode(text, Self::PREFIX)?)
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
                    Self::from_bytes(Deserialize::deserialize(deserializer)?).map_err(D::Error::custom)
                }
            }
        }
    };
}

public_key! {
    /// A vendor's root key, public half: what agents and products pin.
    RootPublicKey
}

public_key! {
    /// An issuing key, public half.
    IssuingPublicKey
}

fn key_id(public: &[u8; 32]) -> String {
    let mut text = String::new();
    // 32 bytes are always accepted, and a string takes everything that is written to it.
    if let Ok(key) = AsymmetricPublicKey::<V4>::from(public) {
        let _ = Id::from(&key).fmt(&mut text);
    }
    text
}

/// Declares a secret key with the text form `k4.secret.…`.
macro_rules! secret_key {
    ($(#[$doc:meta])* $name:ident, $public:ident) => {
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            const PREFIX: &'static str = "k4.secret.";

            /// The key that grows from these 32 random bytes.
            ///
            /// # Errors
            ///
            /// [`ParseKeyError::Unusable`] if all of them are zero.
            pub fn from_seed(seed: [u8; 32]) -> Result<Self, ParseKeyError> {
                if seed == [0; 32] { Err(ParseKeyError::Unusable) } else { Ok($name(seed)) }
            }

            /// The public half.
            pub fn public(&self) -> $public {
                $public(SigningKey::from_bytes(&self.0).verifying_key().to_bytes())
            }

            /// The whole key as text, wiped when dropped: for the key file only.
            pub fn expose(&self) -> Zeroizing<String> {
                let mut bytes = Zeroizing::new([0; 64]);
                bytes[..32].copy_from_slice(&self.0);
                bytes[32..].copy_from_slice(self.public().as_bytes());
                let encoded = Zeroizing::new(BASE64URL_NOPAD.encode(bytes.as_slice()));
                let mut text = Zeroizing::new(String::with_capacity(Self::PREFIX.len() + encoded.len()));
                text.push_str(Self::PREFIX);
                text.push_str(&encoded);
                text
            }

            /// The bytes that the key grows from.
            pub(super) const fn seed(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(redacted, public {})", stringify!($name), self.public())
            }
        }

        impl FromStr for $name {
            type Err = ParseKeyError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let bytes = Zeroizing::new(decode::<64>(text.trim(), Self::PREFIX)?);
                let mut seed = Zeroizing::new([0; 32]);
                seed.copy_from_slice(&bytes[..32]);
                let key = Self::from_seed(*seed)?;
                // The second half repeats the public key: a check that nothing was mixed up.
                if key.public().as_bytes()[..] == bytes[32..] { Ok(key) } else { Err(ParseKeyError::Unusable) }
            }
        }
    };
}

secret_key! {
    /// The vendor's root key. Certifies issuing keys; is best kept away from the portal.
    RootKey, RootPublicKey
}

secret_key! {
    /// An issuing key that is not certified yet.
    IssuingSecret, IssuingPublicKey
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_from_their_text() {
        let key = RootKey::from_seed([9; 32]).unwrap();
        let public = key.public();
        assert_eq!(public.to_string().parse::<RootPublicKey>().unwrap(), public);
        assert_eq!(key.expose().parse::<RootKey>().unwrap().public(), public);
        assert_eq!(serde_json::to_string(&public).unwrap(), format!("\"{public}\""));
    }

    #[test]
    fn the_published_paserk_vectors_hold() {
        // k4.secret-2 and k4.pid-1 of the PASERK test vectors.
        let text = "k4.secret.cHFyc3R1dnd4eXp7fH1-f4CBgoOEhYaHiImKi4yNjo8c5WpIyC_5kWKhS8VEYSZ05dYfuTF-ZdQFV4D9vLTcNQ";
        assert_eq!(&*text.parse::<RootKey>().unwrap().expose(), text);
        assert_eq!(key_id(&[0; 32]), "k4.pid.S_XQmeEwHbbvRmiyfXfHYpLGjXGzjTRSDoT1YtTakWFE");
    }

    #[test]
    fn mistakes_are_refused_without_quoting_the_secret() {
        let key = RootKey::from_seed([9; 32]).unwrap();
        let (secret, public) = (key.expose(), key.public().to_string());
        assert_eq!(public.parse::<RootKey>().unwrap_err(), ParseKeyError::Prefix("k4.secret."));
        assert_eq!(secret.parse::<RootPublicKey>().unwrap_err(), ParseKeyError::Prefix("k4.public."));
        assert_eq!(
            secret[..secret.len() - 4].parse::<RootKey>().unwrap_err(),
            ParseKeyError::Encoding("k4.secret.")
        );
        assert_eq!(
            format!("{public}=").parse::<RootPublicKey>().unwrap_err(),
            ParseKeyError::Encoding("k4.public.")
        );
        let mut mixed = BASE64URL_NOPAD.decode(&secret.as_bytes()[10..]).unwrap();
        mixed[40] ^= 1;
        let mixed = format!("k4.secret.{}", BASE64URL_NOPAD.encode(&mixed));
        assert_eq!(mixed.parse::<RootKey>().unwrap_err(), ParseKeyError::Unusable);
        assert_eq!(RootKey::from_seed([0; 32]).unwrap_err(), ParseKeyError::Unusable);
        assert_eq!(RootPublicKey::from_bytes([0; 32]).unwrap_err(), ParseKeyError::Unusable);
        assert!(!format!("{key:?}").contains(&secret[10..30]));
    }
}
