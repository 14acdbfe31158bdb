//! Snapshots at rest: sealed with a key that the administrator gives all nodes.
//!
//! A snapshot holds the whole state in one file that is easily copied away. With a key each of its frames is sealed
//! by XChaCha20-Poly1305: the nonce is a salt of the file and the frame's number, so frames can't change places,
//! and the first one says how many rows must follow. What is sent to a follower is the sealed file.

use std::fmt;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop};

const KEY_BYTES: usize = 32;
const TAG: &[u8] = b"quorate/snapshot/v1";

/// Bytes that tell one key from another, in a sealed file's head.
pub(super) type KeyId = [u8; 8];
/// Random bytes of each sealed file.
pub(super) type Salt = [u8; 16];

/// The key of snapshots at rest.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct SnapshotKey([u8; KEY_BYTES]);

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a snapshot key is 64 hexadecimal digits, as `openssl rand -hex 32` makes them")]
pub struct SnapshotKeyError;

impl fmt::Debug for SnapshotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotKey(redacted)")
    }
}

impl SnapshotKey {
    /// Reads a key: 64 hexadecimal digits, with or without white space around them.
    ///
    /// # Errors
    /// [`SnapshotKeyError`].
    pub fn parse(text: &str) -> Result<Self, SnapshotKeyError> {
        let digits = text.trim().as_bytes();
        let mut key = SnapshotKey([0; KEY_BYTES]);
        if digits.len() != 2 * KEY_BYTES {
            return Err(SnapshotKeyError);
        }
        for (byte, pair) in key.0.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| SnapshotKeyError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| SnapshotKeyError)?;
        }
        Ok(key)
    }

    /// Tells this key from others, and nothing else of it.
    pub(super) fn id(&self) -> KeyId {
        let hash = Sha256::new().chain_update(b"quorate/snapshot-key/v1").chain_update(self.0).finalize();
        let mut id = KeyId::default();
        id.copy_from_slice(&hash[..size_of::<KeyId>()]);
        id
    }

    /// For the frames of one file, in order.
    pub(super) fn frames(&self, salt: Salt) -> FrameSeal {
        FrameSeal { cipher: XChaCha20Poly1305::new(&self.0.into()), salt, number: 0 }
    }
}

/// Seals or opens the frames of one file, one after the other.
pub(super) struct FrameSeal {
    cipher: XChaCha20Poly1305,
    salt: Salt,
    number: u64,
}

impl FrameSeal {
    /// The next frame, sealed; none if it is larger than any frame may be.
    pub(super) fn seal(&mut self, record: &[u8]) -> Option<Vec<u8>> {
        let nonce = self.next_nonce();
        self.cipher.encrypt(&nonce, Payload { msg: record, aad: TAG }).ok()
    }

    /// The next frame's content; none if it is not the one that was sealed.
    pub(super) fn open(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let nonce = self.next_nonce();
        self.cipher.decrypt(&nonce, Payload { msg: frame, aad: TAG }).ok()
    }

    fn next_nonce(&mut self) -> XNonce {
        let mut nonce = [0; 24];
        nonce[..16].copy_from_slice(&self.salt);
        nonce[16..].copy_from_slice(&self.number.to_be_bytes());
        self.number += 1;
        nonce.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_hexadecimal_digits() {
        let text = "00ff".repeat(16);
        let key = SnapshotKey::parse(&format!(" {text}\n")).unwrap();
        assert_eq!(key, SnapshotKey::parse(&text.to_uppercase()).unwrap());
        assert_eq!(format!("{key:?}"), "SnapshotKey(redacted)");
        for wrong in ["", &text[1..], &"0g".repeat(32), &"é".repeat(32), &format!("{text}00")] {
            assert_eq!(SnapshotKey::parse(wrong), Err(SnapshotKeyError), "{wrong}");
        }
    }

    #[test]
    fn frames_open_in_their_order_in_their_file_with_their_key() {
        let key = SnapshotKey::parse(&"17".repeat(32)).unwrap();
        let other = SnapshotKey::parse(&"18".repeat(32)).unwrap();
        let mut seal = key.frames([1; 16]);
        let (first, second) = (seal.seal(b"first").unwrap(), seal.seal(b"second").unwrap());
        let mut open = key.frames([1; 16]);
        assert_eq!(open.open(&first).as_deref(), Some(&b"first"[..]));
        assert_eq!(open.open(&second).as_deref(), Some(&b"second"[..]));
        assert_eq!(key.frames([1; 16]).open(&second), None, "out of order");
        assert_eq!(key.frames([2; 16]).open(&first), None, "of another file");
        assert_eq!(other.frames([1; 16]).open(&first), None, "of another key");
        assert_ne!(key.id(), other.id());
    }
}
