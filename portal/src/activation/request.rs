//! A request as it came: its integrity key, its name, and its digests.

use quorate_license::{ClusterId, EpochId, IntegrityKey, Nonce};
use sha2::{Digest, Sha256};

use super::Refusal;

/// What came over the wire.
#[derive(Debug)]
pub enum RequestBody {
    /// The armoured text of an integrity key.
    Text(Vec<u8>),
    /// Its bytes.
    Bytes(Vec<u8>),
}

/// A request that can be read. Its signatures are not verified.
#[derive(Debug)]
pub(super) struct Request {
    /// The integrity key.
    pub key: IntegrityKey,
    /// `<cluster id>/<epoch id>/<nonce>`: what names this request, however often it is sent.
    pub idempotency_key: String,
    /// SHA-256 of the integrity key's bytes.
    pub request_digest: [u8; 32],
    /// SHA-256 of what is asked for. A cluster that was restarted before it could read the answer
    /// asks again under the same name, with new start counters and so with new signatures: that is
    /// the same request. Other nodes, builds or another activation key make it another one.
    pub content_digest: [u8; 32],
    /// The integrity key's bytes without the activation key, for the records.
    pub record: Vec<u8>,
}

impl Request {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Refusal::Unreadable`].
    pub(super) fn read(body: &RequestBody) -> Result<Self, Refusal> {
        let key = match body {
            RequestBody::Text(text) => IntegrityKey::from_text(&String::from_utf8_lossy(text)),
            RequestBody::Bytes(bytes) => IntegrityKey::from_bytes(bytes),
        }
        .map_err(Refusal::Unreadable)?;
        Ok(Request {
            idempotency_key: idempotency_key(key.cluster_id, key.epoch.id, key.nonce),
            request_digest: Sha256::digest(key.to_bytes()).into(),
            content_digest: Sha256::digest(content(&key).to_bytes()).into(),
            record: IntegrityKey { activation_key: None, ..key.clone() }.to_bytes().to_vec(),
            key,
        })
    }

    /// Checks the header `Idempotency-Key`: `None` where the way of the request has none, `Some(None)`
    /// where it was left out.
    ///
    /// # Errors
    /// It is missing, or names another request.
    pub(super) fn check_name(&self, header: Option<Option<&str>>) -> Result<(), Refusal> {
        match header {
            None => Ok(()),
            Some(None) => Err(Refusal::IdempotencyKeyMissing),
            Some(Some(name)) if name == self.idempotency_key => Ok(()),
            Some(Some(_)) => Err(Refusal::IdempotencyKeyMismatch { expected: self.idempotency_key.clone() }),
        }
    }
}

fn idempotency_key(cluster: ClusterId, epoch: EpochId, nonce: Nonce) -> String {
    format!("{cluster}/{epoch}/{nonce}")
}

/// The integrity key without what a restart of a node changes.
fn content(key: &IntegrityKey) -> IntegrityKey {
    let mut content = key.clone();
    content.signatures.clear();
    for statement in &mut content.nodes {
        statement.row.start_counter = 0;
        statement.row.agent_version.clear();
        statement.signature.0 = [0; 64];
    }
    content
}
