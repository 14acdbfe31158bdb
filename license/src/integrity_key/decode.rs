//! From bytes and text to an integrity key, strictly: what is accepted has one encoding only.

use std::collections::BTreeMap;

use prost::Message;
use zeroize::{Zeroize, Zeroizing};

use super::{IntegrityKey, ManagementSignature};
use crate::{
    ActivationKey, ActivationKind, ArmourError, ClusterId, Fence, NodeId, NodeRole, NodeSignature,
    NodeStatement, Nonce, Serial, TenantId, armour, wire,
    wire::{WrongField, activation_kind},
};

/// The bytes or the text are no integrity key, or break its rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntegrityKeyError {
    /// The armoured text is damaged.
    #[error(transparent)]
    Text(#[from] ArmourError),
    /// More bytes than an integrity key may have.
    #[error(
        "the integrity key has {bytes} bytes, more than the {} that are allowed",
        IntegrityKey::MAX_BYTES
    )]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Written by another release.
    #[error(
        "the integrity key has format {found}, this release reads format {}; update the older side",
        IntegrityKey::FORMAT_VERSION
    )]
    Version {
        /// The format that it names.
        found: u32,
    },
    /// Not the encoding of an integrity key.
    #[error("this is not an integrity key, or it is damaged; copy it again, completely")]
    Malformed,
    /// A field is missing or wrong.
    #[error("the field '{field}' of the integrity key is not usable: {reason}")]
    Field {
        /// The field's name in the schema.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Something is written in another way than the one that counts, or stands there twice.
    #[error("the integrity key is not in its canonical form; make it again with an unchanged release")]
    NotCanonical,
    /// Two statements or two signatures of one node.
    #[error("node {node} stands twice in the integrity key")]
    NodeTwice {
        /// Which node.
        node: NodeId,
    },
    /// There is no Management Server of this id among the nodes.
    #[error("the first license node {node} is not among the Management Servers of the integrity key")]
    FirstLicenseNode {
        /// The node that it names as first license node.
        node: NodeId,
    },
    /// This kind of activation needs an activation key.
    #[error(
        "an integrity key of the kind '{kind}' needs an activation key; enter the one that came with the order"
    )]
    ActivationKeyMissing {
        /// The kind.
        kind: ActivationKind,
    },
    /// This kind of activation takes no activation key.
    #[error(
        "an integrity key of the kind '{kind}' takes no activation key; leave it out, or use 'upgrade' to add an order"
    )]
    ActivationKeyUnexpected {
        /// The kind.
        kind: ActivationKind,
    },
}

impl From<WrongField> for IntegrityKeyError {
    fn from(wrong: WrongField) -> Self {
        IntegrityKeyError::Field { field: wrong.field, reason: wrong.reason }
    }
}

impl IntegrityKey {
    /// Checks the rules that hold without any signature: no node and no nonce twice, the first license
    /// node a Management Server among the nodes, an activation key exactly where the kind wants one,
    /// agent versions as they are written, and the size. Whatever keeps them is read back from its bytes.
    ///
    /// # Errors
    ///
    /// [`IntegrityKeyError`]: the first rule that is broken.
    pub fn check(&self) -> Result<(), IntegrityKeyError> {
        for nodes in [
            self.nodes.iter().map(|statement| statement.row.id).collect::<Vec<_>>(),
            self.signatures.iter().map(|signature| signature.node).collect(),
        ] {
            if let Some(node) = twice(nodes) {
                return Err(IntegrityKeyError::NodeTwice { node });
            }
        }
        if twice(self.superseded.clone()).is_some() || self.superseded.contains(&self.nonce) {
            return Err(IntegrityKeyError::NotCanonical);
        }
        for statement in &self.nodes {
            check_agent_version(&statement.row.agent_version)?;
        }
        let leads = |statement: &NodeStatement| {
            statement.row.id == self.first_license_node && statement.row.role == NodeRole::Management
        };
        if !self.nodes.iter().any(leads) {
            return Err(IntegrityKeyError::FirstLicenseNode { node: self.first_license_node });
        }
        let kind = self.kind;
        match (kind, &self.activation_key) {
            (ActivationKind::Activate | ActivationKind::Upgrade, None) => {
                return Err(IntegrityKeyError::ActivationKeyMissing { kind });
            }
            (ActivationKind::Trial | ActivationKind::Reactivate, Some(_)) => {
                return Err(IntegrityKeyError::ActivationKeyUnexpected { kind });
            }
            // A transfer has one only where no majority of the pinned nodes is left.
            _ => {}
        }
        let bytes = self.to_bytes().len();
        if bytes > Self::MAX_BYTES { Err(IntegrityKeyError::TooLarge { bytes }) } else { Ok(()) }
    }

    /// Reads the bytes of [`IntegrityKey::to_bytes`]. Signatures are not checked here.
    ///
    /// # Errors
    ///
    /// [`IntegrityKeyError`]: too large, of another format, damaged, not canonical, or against a rule.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IntegrityKeyError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(IntegrityKeyError::TooLarge { bytes: bytes.len() });
        }
        let malformed = |_| IntegrityKeyError::Malformed;
        match wire::VersionProbe::decode(bytes).map_err(malformed)?.format_version {
            Self::FORMAT_VERSION => {}
            0 => return Err(IntegrityKeyError::Malformed),
            found => return Err(IntegrityKeyError::Version { found }),
        }
        let key = from_message(wire::IntegrityKeyMessage::decode(bytes).map_err(malformed)?)?;
        if key.to_bytes().as_slice() != bytes {
            return Err(IntegrityKeyError::NotCanonical);
        }
        key.check()?;
        Ok(key)
    }

    /// Reads the text of [`IntegrityKey::to_text`], as it comes out of a mail or a form.
    ///
    /// # Errors
    ///
    /// [`IntegrityKeyError::Text`] if the armour is damaged, otherwise as [`IntegrityKey::from_bytes`].
    pub fn from_text(text: &str) -> Result<Self, IntegrityKeyError> {
        let bytes = Zeroizing::new(armour::decode(armour::Label::IntegrityKey, Self::MAX_BYTES, text)?);
        Self::from_bytes(&bytes)
    }
}

/// The first value that occurs twice.
fn twice<T: Ord + Copy>(mut values: Vec<T>) -> Option<T> {
    values.sort_unstable();
    values.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

fn check_agent_version(version: &str) -> Result<(), IntegrityKeyError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-');
    if (1..=64).contains(&version.len()) && version.bytes().all(allowed) {
        Ok(())
    } else {
        let reason = "it is 1 to 64 letters, digits and . _ + -".to_owned();
        Err(IntegrityKeyError::Field { field: "agent_version", reason })
    }
}

fn from_message(mut message: wire::IntegrityKeyMessage) -> Result<IntegrityKey, IntegrityKeyError> {
    let activation_key = match message.activation_key.take().map(Zeroizing::new) {
        Some(bytes) => Some(read_activation_key(&bytes)?),
        None => None,
    };
    let epoch = message.epoch.take().ok_or_else(|| WrongField::missing("epoch"))?.try_into()?;
    let nodes: Result<_, WrongField> = message.nodes.into_iter().map(NodeStatement::try_from).collect();
    let support_id = message.support_id.map(|id| id.parse()).transpose();
    let mut serials = BTreeMap::new();
    for entry in message.serials {
        let tenant = entry.tenant.parse::<TenantId>().map_err(WrongField::named("serials"))?;
        serials.insert(tenant, Serial(entry.serial));
    }
    let mut superseded = Vec::with_capacity(message.superseded.len());
    for nonce in &message.superseded {
        superseded.push(Nonce::try_from(&nonce[..]).map_err(WrongField::named("superseded"))?);
    }
    let mut signatures = Vec::with_capacity(message.signatures.len());
    for entry in &message.signatures {
        let signature =
            NodeSignature::try_from(&entry.signature[..]).map_err(WrongField::named("signatures"))?;
        signatures.push(ManagementSignature { node: NodeId(entry.node), signature });
    }
    Ok(IntegrityKey {
        kind: activation_kind(message.kind)?,
        cluster_id: ClusterId::try_from(&message.cluster_id[..]).map_err(WrongField::named("cluster_id"))?,
        epoch,
        fence: Fence(message.fence),
        tenant: message.tenant.parse().map_err(WrongField::named("tenant"))?,
        first_license_node: NodeId(message.first_license_node),
        nodes: nodes?,
        activation_key,
        support_id: support_id.map_err(WrongField::named("support_id"))?,
        serials,
        binding_serial: Serial(message.binding_serial),
        nonce: Nonce::try_from(&message.nonce[..]).map_err(WrongField::named("nonce"))?,
        superseded,
        telemetry: message.telemetry,
        signatures,
    })
}

/// The message of an error here never quotes the bytes.
fn read_activation_key(bytes: &[u8]) -> Result<ActivationKey, WrongField> {
    let mut entropy: [u8; 15] = bytes.try_into().map_err(|_| WrongField {
        field: "activation_key",
        reason: format!("it has {} bytes instead of 15", bytes.len()),
    })?;
    let key = ActivationKey::from_entropy(entropy);
    entropy.zeroize();
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    /// What a row of a table changes.
    type Change<T> = fn(&mut T);

    #[test]
    fn bytes_and_text_are_read_back() {
        let key = samples::integrity_key();
        assert_eq!(IntegrityKey::from_bytes(&key.to_bytes()).unwrap(), key);
        assert_eq!(IntegrityKey::from_text(&key.to_text()).unwrap(), key);
    }

    #[test]
    fn the_order_of_the_lists_makes_no_difference() {
        let key = samples::integrity_key();
        let mut shuffled = key.clone();
        shuffled.nodes.reverse();
        shuffled.signatures.rotate_left(1);
        assert_eq!(shuffled.to_bytes(), key.to_bytes());
        assert_eq!(shuffled.digest(), key.digest());
    }

    #[test]
    fn other_encodings_of_the_same_content_are_refused() {
        let key = samples::integrity_key();
        let mut message = wire::IntegrityKeyMessage::decode(key.to_bytes().as_slice()).unwrap();
        message.nodes.reverse();
        assert_eq!(
            IntegrityKey::from_bytes(&message.encode_to_vec()).unwrap_err(),
            IntegrityKeyError::NotCanonical
        );
        // An unknown field, and a field that stands there twice.
        for appended in [&[0xf8, 0x07, 0x01][..], &[0x08, 0x01]] {
            let mut bytes = key.to_bytes().to_vec();
            bytes.extend_from_slice(appended);
            assert_eq!(IntegrityKey::from_bytes(&bytes).unwrap_err(), IntegrityKeyError::NotCanonical);
        }
    }

    #[test]
    fn the_version_is_read_before_everything_else() {
        assert_eq!(
            IntegrityKey::from_bytes(&[0x08, 0x02]).unwrap_err(),
            IntegrityKeyError::Version { found: 2 }
        );
        assert_eq!(IntegrityKey::from_bytes(&[]).unwrap_err(), IntegrityKeyError::Malformed);
        assert_eq!(IntegrityKey::from_bytes(&[0xff; 9]).unwrap_err(), IntegrityKeyError::Malformed);
        let large = vec![0; IntegrityKey::MAX_BYTES + 1];
        assert_eq!(
            IntegrityKey::from_bytes(&large).unwrap_err(),
            IntegrityKeyError::TooLarge { bytes: large.len() }
        );
    }

    #[test]
    fn each_rule_has_a_refusal_of_its_own() {
        use IntegrityKeyError::*;
        let cases: [(&str, Change<IntegrityKey>, IntegrityKeyError); 9] = [
            ("node twice", |k| k.nodes.push(k.nodes[1].clone()), NodeTwice { node: samples::node_id(2) }),
            (
                "signature twice",
                |k| k.signatures.push(k.signatures[0].clone()),
                NodeTwice { node: samples::node_id(1) },
            ),
            ("superseded twice", |k| k.superseded.push(k.superseded[0]), NotCanonical),
            ("supersedes itself", |k| k.superseded.push(k.nonce), NotCanonical),
            ("no leader", |k| k.first_license_node = NodeId(9), FirstLicenseNode { node: NodeId(9) }),
            (
                "spooler leads",
                |k| k.first_license_node = samples::node_id(4),
                FirstLicenseNode { node: samples::node_id(4) },
            ),
            ("no key", |k| k.activation_key = None, ActivationKeyMissing { kind: ActivationKind::Activate }),
            (
                "key too many",
                |k| k.kind = ActivationKind::Reactivate,
                ActivationKeyUnexpected { kind: ActivationKind::Reactivate },
            ),
            (
                "agent version",
                |k| k.nodes[0].row.agent_version = "1.0 on host".to_owned(),
                Field {
                    field: "agent_version",
                    reason: "it is 1 to 64 letters, digits and . _ + -".to_owned(),
                },
            ),
        ];
        for (name, change, expected) in cases {
            let mut key = samples::integrity_key();
            change(&mut key);
            assert_eq!(key.check().unwrap_err(), expected, "{name}");
            assert_eq!(IntegrityKey::from_bytes(&key.to_bytes()).unwrap_err(), expected, "{name}");
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        let cases: [(&str, Change<wire::IntegrityKeyMessage>); 9] = [
            ("kind", |m| m.kind = 77),
            ("cluster_id", |m| m.cluster_id.clear()),
            ("epoch", |m| m.epoch = None),
            ("tenant", |m| m.tenant = "Not a tenant".to_owned()),
            ("row", |m| m.nodes[0].row = None),
            ("signature", |m| m.nodes[0].signature.clear()),
            ("activation_key", |m| m.activation_key = Some(vec![1; 14])),
            ("nonce", |m| m.nonce.push(1)),
            ("signatures", |m| m.signatures[0].signature.clear()),
        ];
        for (expected, change) in cases {
            let bytes = samples::integrity_key().to_bytes();
            let mut message = wire::IntegrityKeyMessage::decode(bytes.as_slice()).unwrap();
            change(&mut message);
            match IntegrityKey::from_bytes(&message.encode_to_vec()) {
                Err(IntegrityKeyError::Field { field, .. }) => assert_eq!(field, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }

    #[test]
    fn three_hundred_nodes_fit() {
        let mut key = samples::integrity_key();
        let context = key.context();
        for index in 5..=300 {
            let row = crate::NodeRow { id: NodeId::new(1, index), ..samples::row(4) };
            key.nodes.push(NodeStatement::sign(&context, row, &samples::node_key(4)));
        }
        assert_eq!(key.check(), Ok(()));
    }

    #[test]
    fn the_activation_key_is_not_printed() {
        let key = samples::integrity_key();
        let secret = key.activation_key.as_ref().unwrap().expose();
        assert!(!format!("{key:?}").contains(&secret[..9]));
    }
}
