//! The chain of hashes: each record's hash covers the one before, so none can be changed, left out or put in.

use sha2::{Digest as _, Sha256};

use super::{Actor, AuditAnchor};
use crate::state::AuditRecord;

/// What stands in front of what is hashed.
const DOMAIN: &[u8] = b"quorate/audit/v1";

/// The hash of a record that follows on one with the hash `previous`.
///
/// SHA-256 over `quorate/audit/v1`, the 32 bytes of the previous hash, and the fields in this order, each as its length
/// in bytes (decimal), a colon, its text in UTF-8, and a comma: number, time (milliseconds since 1970), epoch, index,
/// kind of actor, its detail (user id or token id; empty if there is none), who in words, node id, node name, face, address (empty if there
/// is none), command, number of particulars, then each one's name and value, and the refusal's code (empty if it was done).
pub fn hash(previous: &[u8; 32], record: &AuditRecord) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    hash.update(previous);
    let mut field = |text: &str| {
        hash.update(text.len().to_string());
        hash.update(b":");
        hash.update(text);
        hash.update(b",");
    };
    let detail = match &record.actor {
        Actor::Local { uid: Some(uid) } => uid.to_string(),
        Actor::Token(id) | Actor::Joiner(id) => id.to_string(),
        Actor::Unstated | Actor::Node | Actor::Local { uid: None } => String::new(),
    };
    field(&record.number.to_string());
    field(&record.at.as_unix_ms().to_string());
    field(&record.revision.epoch.to_string());
    field(&record.revision.index.to_string());
    field(record.actor.as_str());
    field(&detail);
    field(&record.who);
    field(&record.node.0.to_string());
    field(&record.node_name);
    field(record.face.as_str());
    field(record.address.as_deref().unwrap_or_default());
    field(&record.command);
    field(&record.particulars.len().to_string());
    for (name, value) in &record.particulars {
        field(name);
        field(value);
    }
    field(record.refusal.as_deref().unwrap_or_default());
    hash.finalize().into()
}

/// The first record that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// A record is missing, or was put in.
    #[error("record {expected} is missing: after record {} comes record {found}", expected - 1)]
    Gap {
        /// The number that had to come.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// A record is not what it was.
    #[error("record {number} was changed, or is not of this chain: its hash does not fit")]
    Changed {
        /// Its number.
        number: u64,
    },
}

/// Follows a chain from its anchor, record by record.
#[derive(Debug, Clone, Copy)]
pub struct Verifier {
    head: AuditAnchor,
}

impl Verifier {
    /// Begins behind the anchor.
    pub fn from_anchor(anchor: AuditAnchor) -> Self {
        Verifier { head: anchor }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// [`BrokenChain`], if it does not follow on the last one.
    pub fn take(&mut self, record: &AuditRecord) -> Result<(), BrokenChain> {
        let expected = self.head.number.saturating_add(1);
        if record.number != expected {
            return Err(BrokenChain::Gap { expected, found: record.number });
        }
        if hash(&self.head.hash, record) != record.hash {
            return Err(BrokenChain::Changed { number: record.number });
        }
        self.head = AuditAnchor { number: record.number, hash: record.hash };
        Ok(())
    }

    /// Number and hash of the last record that was taken; the anchor's before the first.
    pub fn head(&self) -> AuditAnchor {
        self.head
    }
}
