//! A digest of the replicated state that is kept up to date row by row.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::state::Change;

/// Sum of the SHA-256 of every row, in four lanes of 64 bits.
///
/// Independent of the order of changes, and cheap: a change costs one hash for the old row and one
/// for the new. It finds damage and divergence; it is no defence against somebody who crafts rows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Digest([u64; 4]);

impl Digest {
    /// Adds a row.
    pub fn add(&mut self, key: &[u8], row: &[u8]) {
        for (lane, part) in self.0.iter_mut().zip(row_hash(key, row)) {
            *lane = lane.wrapping_add(part);
        }
    }

    /// Takes a row away.
    pub fn remove(&mut self, key: &[u8], row: &[u8]) {
        for (lane, part) in self.0.iter_mut().zip(row_hash(key, row)) {
            *lane = lane.wrapping_sub(part);
        }
    }

    /// Follows a change.
    pub fn change(&mut self, change: &Change) {
        if let Some(before) = &change.before {
            self.remove(&change.key, before);
        }
        if let Some(after) = &change.after {
            self.add(&change.key, after);
        }
    }
}

fn row_hash(key: &[u8], row: &[u8]) -> [u64; 4] {
    let mut hash = Sha256::new();
    hash.update((key.len() as u64).to_le_bytes());
    hash.update(key);
    hash.update(row);
    let hash: [u8; 32] = hash.finalize().into();
    let mut lanes = [0; 4];
    for (lane, part) in lanes.iter_mut().zip(hash.chunks_exact(8)) {
        *lane = part.iter().rev().fold(0, |value, &byte| (value << 8) | u64::from(byte));
    }
    lanes
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|lane| write!(f, "{lane:016x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_matter_and_every_byte_does() {
        let (mut one, mut two) = (Digest::default(), Digest::default());
        one.add(b"a", b"1");
        one.add(b"b", b"2");
        two.add(b"b", b"2");
        two.add(b"x", b"9");
        two.add(b"a", b"1");
        assert_ne!(one, two);
        two.remove(b"x", b"9");
        assert_eq!(one, two);

        let mut moved = Digest::default();
        moved.add(b"a1", b"");
        let mut split = Digest::default();
        split.add(b"a", b"1");
        assert_ne!(moved, split, "key and row are kept apart");
    }
}
