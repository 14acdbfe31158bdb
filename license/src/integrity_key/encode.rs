//! From an integrity key to bytes and text.

use prost::Message;
use zeroize::{Zeroize, Zeroizing};

use super::IntegrityKey;
use crate::{armour, wire};

impl IntegrityKey {
    /// The canonical bytes: lists sorted, every value in one way only.
    ///
    /// They hold the activation key, if there is one, and are wiped when dropped.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut message = self.to_message();
        message.signatures = self.signature_messages();
        encode(message)
    }

    /// The text for paste and e-mail; it holds the same bytes.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(armour::encode(armour::Label::IntegrityKey, &self.to_bytes()))
    }

    /// The text in parts with at most `characters` characters of base64 each, for QR codes. Together, in any
    /// order, they are read as the text is. Each says which it is, of how many.
    pub fn to_parts(&self, characters: usize) -> Vec<Zeroizing<String>> {
        let parts = armour::split(armour::Label::IntegrityKey, &self.to_bytes(), characters);
        parts.into_iter().map(Zeroizing::new).collect()
    }

    /// What the Management Servers sign the digest of.
    pub(super) fn unsigned_bytes(&self) -> Zeroizing<Vec<u8>> {
        encode(self.to_message())
    }

    /// Everything but the signatures.
    fn to_message(&self) -> wire::IntegrityKeyMessage {
        let mut nodes: Vec<_> = self.nodes.iter().collect();
        nodes.sort_by_key(|statement| statement.row.id);
        let mut superseded = self.superseded.clone();
        superseded.sort_unstable();
        let serials = self
            .serials
            .iter()
            .map(|(tenant, serial)| wire::TenantSerial { tenant: tenant.to_string(), serial: serial.0 });
        wire::IntegrityKeyMessage {
            format_version: IntegrityKey::FORMAT_VERSION,
            kind: wire::Kind::from(self.kind).into(),
            cluster_id: self.cluster_id.0.to_vec(),
            epoch: Some(self.epoch.into()),
            fence: self.fence.0,
            tenant: self.tenant.to_string(),
            first_license_node: self.first_license_node.0,
            nodes: nodes.into_iter().map(wire::Statement::from).collect(),
            activation_key: self.activation_key.as_ref().map(|key| key.entropy().to_vec()),
            support_id: self.support_id.as_ref().map(ToString::to_string),
            serials: serials.collect(),
            binding_serial: self.binding_serial.0,
            nonce: self.nonce.0.to_vec(),
            superseded: superseded.iter().map(|nonce| nonce.0.to_vec()).collect(),
            telemetry: self.telemetry,
            signatures: Vec::new(),
        }
    }

    fn signature_messages(&self) -> Vec<wire::Signature> {
        let mut signatures: Vec<_> = self.signatures.iter().collect();
        signatures.sort_by_key(|signature| signature.node);
        let to_message = |signature: &super::ManagementSignature| wire::Signature {
            node: signature.node.0,
            signature: signature.signature.0.to_vec(),
        };
        signatures.into_iter().map(to_message).collect()
    }
}

/// Encodes and wipes the message's copy of the secret.
fn encode(mut message: wire::IntegrityKeyMessage) -> Zeroizing<Vec<u8>> {
    let bytes = Zeroizing::new(message.encode_to_vec());
    message.activation_key.zeroize();
    bytes
}
