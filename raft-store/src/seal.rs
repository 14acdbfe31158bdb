//! Secrets in the replicated state: sealed to the management key.
//!
//! Management Servers hand each other the management key when one joins; Spooler Controllers never
//! get it and hold bytes that they can't read. XChaCha20-Poly1305 with a random nonce; what the
//! secret is for is authenticated with it, so that one sealed thing can't be put in another's place.

use std::fmt;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const NONCE_BYTES: usize = 24;

/// What a sealed secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The private key of the cluster's CA.
    CaKey,
    /// An activation key in an intent.
    ActivationKey,
    /// An integrity key on its way to the portal: it holds the activation key.
    ActivationRequest,
}

impl Purpose {
    const fn tag(self) -> &'static [u8] {
        match self {
            Purpose::CaKey => b"quorate/seal/ca-key/v1",
            Purpose::ActivationKey => b"quorate/seal/activation-key/v1",
            Purpose::ActivationRequest => b"quorate/seal/activation-request/v1",
        }
    }
}

/// The key that the Management Servers share.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ManagementKey([u8; 32]);

impl fmt::Debug for ManagementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ManagementKey(redacted)")
    }
}

/// A secret that can't be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    NoRandomness(String),
    /// Another key, another purpose, or damaged bytes.
    #[error("a sealed secret can't be opened: it was sealed to another management key, or it is damaged")]
    Unreadable,
    /// The secret is too large to be sealed.
    #[error("the secret can't be sealed")]
    Unsealable,
}

impl ManagementKey {
    /// The key of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        ManagementKey(bytes)
    }

    /// A new random key.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`].
    pub fn random() -> Result<Self, SealError> {
        let mut bytes = [0; 32];
        fill_random(&mut bytes)?;
        Ok(ManagementKey(bytes))
    }

    /// The raw bytes, to hand them to another Management Server or the disk.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals `secret`.
    ///
    /// # Errors
    /// [`SealError::NoRandomness`], or [`SealError::Unsealable`] for a secret of many gigabytes.
    pub fn seal(&self, purpose: Purpose, secret: &[u8]) -> Result<Sealed, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce)?;
        let payload = Payload { msg: secret, aad: purpose.tag() };
        let ciphertext =
            self.cipher().encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Unsealable)?;
        let mut bytes = nonce.to_vec();
        bytes.extend(ciphertext);
        Ok(Sealed(bytes))
    }

    /// Opens what was sealed for `purpose`.
    ///
    /// # Errors
    /// [`SealError::Unreadable`].
    pub fn open(&self, purpose: Purpose, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, ciphertext) = sealed.0.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Unreadable)?;
        let payload = Payload { msg: ciphertext, aad: purpose.tag() };
        self.cipher()
            .decrypt(&XNonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| SealError::Unreadable)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.0.into())
    }
}

/// A sealed secret: random nonce and ciphertext.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(Vec<u8>);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

fn fill_random(bytes: &mut [u8]) -> Result<(), SealError> {
    getrandom::fill(bytes).map_err(|error| SealError::NoRandomness(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_purpose_open_a_secret() {
        let key = ManagementKey::random().unwrap();
        let sealed = key.seal(Purpose::CaKey, b"secret").unwrap();
        assert_eq!(key.open(Purpose::CaKey, &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(key.open(Purpose::ActivationKey, &sealed), Err(SealError::Unreadable));
        assert_eq!(
            ManagementKey::random().unwrap().open(Purpose::CaKey, &sealed),
            Err(SealError::Unreadable)
        );
        assert_eq!(key.open(Purpose::CaKey, &Sealed(vec![1; 10])), Err(SealError::Unreadable));
    }

    #[test]
    fn neither_key_nor_secret_is_printed() {
        let key = ManagementKey::from_bytes([7; 32]);
        assert_eq!(format!("{key:?}"), "ManagementKey(redacted)");
        let sealed = key.seal(Purpose::CaKey, b"secret").unwrap();
        assert_eq!(format!("{sealed:?}"), "Sealed(46 bytes)");
    }
}
