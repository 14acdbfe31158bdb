//! One installation for the tests: three Management Servers and a Spooler Controller, all from fixed seeds.

use std::collections::BTreeMap;

use crate::{
    ActivationKey, ActivationKind, Binding, BoundNode, ClusterId, ComputerId, ComputerIdSource, Entitlement,
    Epoch, EpochId, Fence, Graces, IntegrityKey, IssuingKey, IssuingSecret, License, LicenseKind, MachineId,
    NodeId, NodeKey, NodeRole, NodeRow, NodeStatement, Nonce, Quantity, RootKey, Serial, SupportId, TenantId,
    Timestamp, TrustRoots,
};

/// Noon of the day of issue.
pub(crate) fn issued_at() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub(crate) fn root_key() -> RootKey {
    RootKey::from_seed([101; 32]).unwrap()
}

pub(crate) fn roots() -> TrustRoots {
    TrustRoots(vec![root_key().public()])
}

pub(crate) fn issuing_key() -> IssuingKey {
    let secret = IssuingSecret::from_seed([102; 32]).unwrap();
    let (from, until) = ("2026-01-01T00:00:00Z".parse().unwrap(), "2028-01-01T00:00:00Z".parse().unwrap());
    let certificate = root_key().certify(secret.public(), from, until).unwrap();
    IssuingKey::new(secret, certificate).unwrap()
}

pub(crate) fn epoch() -> Epoch {
    Epoch { number: 1, id: EpochId([0xe1; 16]) }
}

pub(crate) fn cluster_id() -> ClusterId {
    ClusterId([0xc1; 16])
}

pub(crate) fn nonce() -> Nonce {
    Nonce([0xa1; 16])
}

pub(crate) fn support_id() -> SupportId {
    "QS-7K2M-94XD".parse().unwrap()
}

pub(crate) fn node_id(index: u8) -> NodeId {
    NodeId::new(1, u64::from(index))
}

pub(crate) fn node_key(index: u8) -> NodeKey {
    NodeKey::from_seed([index; 32])
}

pub(crate) fn computer_id(index: u8) -> ComputerId {
    let machine_id = MachineId::parse(&format!("{index:02x}").repeat(16)).unwrap();
    ComputerId::derive(&machine_id, ComputerIdSource::Host)
}

/// Nodes 1 to 3 are Management Servers, 4 and more Spooler Controllers.
pub(crate) fn row(index: u8) -> NodeRow {
    NodeRow {
        id: node_id(index),
        role: if index <= 3 { NodeRole::Management } else { NodeRole::Spooler },
        computer_id: computer_id(index),
        build: Some("11.2.0".parse().unwrap()),
        agent_version: "0.1.0".to_owned(),
        key: node_key(index).public(),
        start_counter: u64::from(index),
    }
}

pub(crate) fn binding() -> Binding {
    let nodes = (1..=4).map(row).map(|row| BoundNode {
        id: row.id,
        role: row.role,
        computer_id: row.computer_id,
        build: row.build,
        key: row.key,
    });
    Binding {
        support_id: support_id(),
        cluster_id: cluster_id(),
        epoch: epoch(),
        fence: Fence(1),
        serial: Serial(1),
        nonce: nonce(),
        nodes: nodes.collect(),
        first_license_node: node_id(1),
        home_computer_id: computer_id(1),
        tolerance: 1,
        graces: graces(),
        issued_at: issued_at(),
    }
}

pub(crate) fn graces() -> Graces {
    Graces { expiry_days: 14, reactivation_days: 21, unbound_days: 7, receipt_max_age_days: 30 }
}

/// Runs for a year; 25 devices, unlimited scanning.
pub(crate) fn license() -> License {
    License {
        support_id: support_id(),
        cluster_id: cluster_id(),
        tenant: TenantId::default_tenant(),
        serial: Serial(1),
        nonce: nonce(),
        kind: LicenseKind::Subscription,
        orders: vec!["ORD-1001".parse().unwrap()],
        entitlements: vec![
            Entitlement { feature: "devices".parse().unwrap(), quantity: Quantity::Limited(25) },
            Entitlement { feature: "scan".parse().unwrap(), quantity: Quantity::Unlimited },
        ],
        issued_at: issued_at(),
        not_before: issued_at(),
        expires_at: Some(issued_at().plus_days(365)),
        support_until: Some(issued_at().plus_days(365)),
        graces: graces(),
    }
}

/// The request for the first activation, signed by everyone.
pub(crate) fn integrity_key() -> IntegrityKey {
    let mut key = IntegrityKey {
        kind: ActivationKind::Activate,
        cluster_id: cluster_id(),
        epoch: epoch(),
        fence: Fence(0),
        tenant: TenantId::default_tenant(),
        first_license_node: node_id(1),
        nodes: Vec::new(),
        activation_key: Some(ActivationKey::from_entropy([0x5a; 15])),
        support_id: Some(support_id()),
        serials: BTreeMap::from([(TenantId::default_tenant(), Serial(3))]),
        binding_serial: Serial(2),
        nonce: nonce(),
        superseded: vec![Nonce([0xa0; 16])],
        telemetry: true,
        signatures: Vec::new(),
    };
    let context = key.context();
    key.nodes = (1..=4).map(|index| NodeStatement::sign(&context, row(index), &node_key(index))).collect();
    for index in 1..=3 {
        key.add_signature(key.signature_by(node_id(index), &node_key(index)));
    }
    key
}
