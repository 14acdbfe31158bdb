//! The protobuf messages behind the integrity key and the receipt, and their conversions.
//!
//! Written by hand, with the tags of `proto/quorate/v1/integrity_key.proto`; they stay in this crate.
//! prost writes fields in the order of their tags and leaves out defaults, and nothing here is a map,
//! so equal values have equal bytes.

use crate::{
    ActivationKind, ComputerId, Epoch, EpochId, NodeId, NodePublicKey, NodeRole, NodeRow, NodeSignature,
    NodeStatement,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Kind {
    Unspecified = 0,
    Activate = 1,
    Trial = 2,
    Upgrade = 3,
    Reactivate = 4,
    Transfer = 5,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Role {
    Unspecified = 0,
    Management = 1,
    Spooler = 2,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EpochMessage {
    #[prost(uint32, tag = "1")]
    pub(crate) number: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) id: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Node {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(enumeration = "Role", tag = "2")]
    pub(crate) role: i32,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) computer_id: Vec<u8>,
    #[prost(string, optional, tag = "4")]
    pub(crate) build: Option<String>,
    #[prost(string, tag = "5")]
    pub(crate) agent_version: String,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) key: Vec<u8>,
    #[prost(uint64, tag = "7")]
    pub(crate) start_counter: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StatementBody {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) cluster_id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub(crate) epoch: Option<EpochMessage>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) nonce: Vec<u8>,
    #[prost(enumeration = "Kind", tag = "4")]
    pub(crate) kind: i32,
    #[prost(string, tag = "5")]
    pub(crate) tenant: String,
    #[prost(message, optional, tag = "6")]
    pub(crate) row: Option<Node>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Statement {
    #[prost(message, optional, tag = "1")]
    pub(crate) row: Option<Node>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) signature: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TenantSerial {
    #[prost(string, tag = "1")]
    pub(crate) tenant: String,
    #[prost(uint64, tag = "2")]
    pub(crate) serial: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Signature {
    #[prost(uint64, tag = "1")]
    pub(crate) node: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) signature: Vec<u8>,
}

/// The field that is read before all others.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct VersionProbe {
    #[prost(uint32, tag = "1")]
    pub(crate) format_version: u32,
}

/// Holds the activation key, so it prints as redacted.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct IntegrityKeyMessage {
    #[prost(uint32, tag = "1")]
    pub(crate) format_version: u32,
    #[prost(enumeration = "Kind", tag = "2")]
    pub(crate) kind: i32,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) cluster_id: Vec<u8>,
    #[prost(message, optional, tag = "4")]
    pub(crate) epoch: Option<EpochMessage>,
    #[prost(uint64, tag = "5")]
    pub(crate) fence: u64,
    #[prost(string, tag = "6")]
    pub(crate) tenant: String,
    #[prost(uint64, tag = "7")]
    pub(crate) first_license_node: u64,
    #[prost(message, repeated, tag = "8")]
    pub(crate) nodes: Vec<Statement>,
    #[prost(bytes = "vec", optional, tag = "9")]
    pub(crate) activation_key: Option<Vec<u8>>,
    #[prost(string, optional, tag = "10")]
    pub(crate) support_id: Option<String>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) serials: Vec<TenantSerial>,
    #[prost(uint64, tag = "12")]
    pub(crate) binding_serial: u64,
    #[prost(bytes = "vec", tag = "13")]
    pub(crate) nonce: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "14")]
    pub(crate) superseded: Vec<Vec<u8>>,
    #[prost(bool, tag = "15")]
    pub(crate) telemetry: bool,
    #[prost(message, repeated, tag = "16")]
    pub(crate) signatures: Vec<Signature>,
}

impl std::fmt::Debug for IntegrityKeyMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IntegrityKeyMessage(redacted)")
    }
}

/// What a node signs as its receipt.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReceiptBody {
    #[prost(string, tag = "1")]
    pub(crate) support_id: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) cluster_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(crate) tenant: String,
    #[prost(uint64, tag = "4")]
    pub(crate) serial: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) fence: u64,
    #[prost(int64, tag = "6")]
    pub(crate) cluster_time_unix_ms: i64,
    #[prost(bytes = "vec", tag = "7")]
    pub(crate) computer_id: Vec<u8>,
    #[prost(uint64, tag = "8")]
    pub(crate) node: u64,
    #[prost(int64, optional, tag = "9")]
    pub(crate) reactivation_until_unix_ms: Option<i64>,
}

/// A field is missing or holds nothing that it may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrongField {
    pub(crate) field: &'static str,
    pub(crate) reason: String,
}

impl WrongField {
    pub(crate) fn missing(field: &'static str) -> Self {
        WrongField { field, reason: "it is missing".to_owned() }
    }

    /// Gives an error of a conversion the name of its field.
    pub(crate) fn named<E: std::fmt::Display>(field: &'static str) -> impl Fn(E) -> Self {
        move |error| WrongField { field, reason: error.to_string() }
    }
}

impl From<ActivationKind> for Kind {
    fn from(kind: ActivationKind) -> Self {
        match kind {
            ActivationKind::Activate => Kind::Activate,
            ActivationKind::Trial => Kind::Trial,
            ActivationKind::Upgrade => Kind::Upgrade,
            ActivationKind::Reactivate => Kind::Reactivate,
            ActivationKind::Transfer => Kind::Transfer,
        }
    }
}

/// Reads an activation kind's number.
pub(crate) fn activation_kind(number: i32) -> Result<ActivationKind, WrongField> {
    match Kind::try_from(number) {
        Ok(Kind::Activate) => Ok(ActivationKind::Activate),
        Ok(Kind::Trial) => Ok(ActivationKind::Trial),
        Ok(Kind::Upgrade) => Ok(ActivationKind::Upgrade),
        Ok(Kind::Reactivate) => Ok(ActivationKind::Reactivate),
        Ok(Kind::Transfer) => Ok(ActivationKind::Transfer),
        Ok(Kind::Unspecified) | Err(_) => {
            Err(WrongField { field: "kind", reason: format!("{number} is no activation kind") })
        }
    }
}

impl From<NodeRole> for Role {
    fn from(role: NodeRole) -> Self {
        match role {
            NodeRole::Management => Role::Management,
            NodeRole::Spooler => Role::Spooler,
        }
    }
}

fn node_role(number: i32) -> Result<NodeRole, WrongField> {
    match Role::try_from(number) {
        Ok(Role::Management) => Ok(NodeRole::Management),
        Ok(Role::Spooler) => Ok(NodeRole::Spooler),
        Ok(Role::Unspecified) | Err(_) => {
            Err(WrongField { field: "role", reason: format!("{number} is no node role") })
        }
    }
}

impl From<Epoch> for EpochMessage {
    fn from(epoch: Epoch) -> Self {
        EpochMessage { number: epoch.number, id: epoch.id.0.to_vec() }
    }
}

impl TryFrom<EpochMessage> for Epoch {
    type Error = WrongField;

    fn try_from(message: EpochMessage) -> Result<Self, WrongField> {
        let id = EpochId::try_from(&message.id[..]).map_err(WrongField::named("epoch"))?;
        Ok(Epoch { number: message.number, id })
    }
}

impl From<&NodeRow> for Node {
    fn from(row: &NodeRow) -> Self {
        Node {
            id: row.id.0,
            role: Role::from(row.role).into(),
            computer_id: row.computer_id.as_bytes().to_vec(),
            build: row.build.as_ref().map(ToString::to_string),
            agent_version: row.agent_version.clone(),
            key: row.key.0.to_vec(),
            start_counter: row.start_counter,
        }
    }
}

impl TryFrom<Node> for NodeRow {
    type Error = WrongField;

    fn try_from(message: Node) -> Result<Self, WrongField> {
        let build =
            message.build.map(|build| build.parse()).transpose().map_err(WrongField::named("build"))?;
        Ok(NodeRow {
            id: NodeId(message.id),
            role: node_role(message.role)?,
            computer_id: ComputerId::try_from(&message.computer_id[..])
                .map_err(WrongField::named("computer_id"))?,
            build,
            agent_version: message.agent_version,
            key: NodePublicKey::try_from(&message.key[..]).map_err(WrongField::named("key"))?,
            start_counter: message.start_counter,
        })
    }
}

impl From<&NodeStatement> for Statement {
    fn from(statement: &NodeStatement) -> Self {
        Statement { row: Some((&statement.row).into()), signature: statement.signature.0.to_vec() }
    }
}

impl TryFrom<Statement> for NodeStatement {
    type Error = WrongField;

    fn try_from(message: Statement) -> Result<Self, WrongField> {
        let row = message.row.ok_or_else(|| WrongField::missing("row"))?.try_into()?;
        let signature =
            NodeSignature::try_from(&message.signature[..]).map_err(WrongField::named("signature"))?;
        Ok(NodeStatement { row, signature })
    }
}
