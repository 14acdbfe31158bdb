//! One installation for the tests: three Management Servers and a Spooler Controller, activated yesterday.

use quorate_license::{
    Binding, BoundNode, Claims, ClusterId, ComputerId, ComputerIdSource, Entitlement, Epoch, EpochId, Fence,
    Graces, IntegrityScope, IssuingKey, IssuingSecret, License, LicenseKind, MachineId, NodeId, NodeKey,
    NodeRole, Nonce, Quantity, RootKey, Serial, Signed, TenantId, Timestamp, TrustRoots,
};
use quorate_raft_store::{
    Command, FEATURE_LEVEL, State, View, codec,
    command::{FirstNode, InitCluster},
    raft_types::log_id,
    seal::{ManagementKey, Purpose},
    state::{
        Addresses, Clock, Cluster, HostReport, InstalledBinding, InstalledLicense, Key, Node, Policy, Token,
        TokenId, TokenPurpose, TokenState,
    },
};
use serde::Serialize;

use crate::clock;

/// What the replicated state holds of licensing; change it, then make a view of it.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    pub(crate) epoch: Epoch,
    pub(crate) time: Timestamp,
    pub(crate) nodes: Vec<Node>,
    pub(crate) license: Option<License>,
    pub(crate) binding: Option<Binding>,
}

impl Installation {
    /// Licensed for a year: 25 devices, scanning without limit.
    pub(crate) fn licensed() -> Self {
        let issued_at = clock::now().plus_ms(-quorate_license::DAY_MS);
        let nodes: Vec<Node> = (1..=4).map(|index| node(index, issued_at)).collect();
        let bound = nodes.iter().map(|node| BoundNode {
            id: node.id,
            role: node.role,
            computer_id: node.computer_id,
            build: node.build.clone(),
            key: node.key,
        });
        Installation {
            epoch: epoch(1),
            time: issued_at,
            license: Some(license(issued_at)),
            binding: Some(binding(bound.collect(), issued_at)),
            nodes,
        }
    }

    /// Nothing was activated.
    pub(crate) fn unlicensed() -> Self {
        Installation { license: None, binding: None, ..Installation::licensed() }
    }

    /// The serials and the fence after `activations`.
    pub(crate) fn activated(mut self, activations: u64) -> Self {
        if let (Some(license), Some(binding)) = (&mut self.license, &mut self.binding) {
            let nonce = Nonce([activations as u8; 16]);
            (license.serial, license.nonce) = (Serial(activations), nonce);
            (binding.serial, binding.fence, binding.nonce) = (Serial(activations), Fence(activations), nonce);
        }
        self
    }

    /// The state as of the log entry `index`.
    pub(crate) fn view(&self, index: u64) -> View {
        let signed = self.license.as_ref().map(sign);
        self.view_with(index, signed)
    }

    /// As [`Installation::view`], with this license.
    pub(crate) fn view_with(&self, index: u64, license: Option<Signed<License>>) -> View {
        let mut state = State::default();
        put(&mut state, 1, &[], &cluster(self.epoch));
        put(&mut state, 2, &[], &Clock { time: self.time });
        for node in &self.nodes {
            put(&mut state, 3, &node.id.to_bytes(), node);
        }
        let installed_at = self.time;
        if let Some(binding) = &self.binding {
            put(&mut state, 6, &[], &InstalledBinding { binding: sign(binding), installed_at });
        }
        if let Some(license) = license {
            let tenant = license.claims.tenant.clone();
            let row = InstalledLicense { license, installed_at, reactivation_required_since: None };
            put(&mut state, 7, &tenant.to_bytes(), &row);
        }
        View { state, applied: Some(log_id(1, index)), ..View::default() }
    }
}

/// Loads a row as the store does when it opens.
fn put<T: Serialize>(state: &mut State, tag: u8, key: &[u8], row: &T) {
    state.load(&[&[tag], key].concat(), &codec::encode(row).unwrap()).unwrap();
}

fn root() -> RootKey {
    RootKey::from_seed([101; 32]).unwrap()
}

/// The vendor's root key.
pub(crate) fn roots() -> TrustRoots {
    TrustRoots(vec![root().public()])
}

/// Another vendor's.
pub(crate) fn other_roots() -> TrustRoots {
    TrustRoots(vec![RootKey::from_seed([66; 32]).unwrap().public()])
}

/// Signs as the portal does.
pub(crate) fn sign<T: Claims + Clone>(claims: &T) -> Signed<T> {
    let secret = IssuingSecret::from_seed([102; 32]).unwrap();
    let until = clock::now().plus_days(3650);
    let certificate = root().certify(secret.public(), Timestamp::ZERO, until).unwrap();
    IssuingKey::new(secret, certificate).unwrap().sign(claims).unwrap()
}

pub(crate) fn epoch(number: u32) -> Epoch {
    Epoch { number, id: EpochId([number as u8; 16]) }
}

/// The id of the node with this index.
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

/// Nodes up to 3 are Management Servers.
pub(crate) fn node(index: u8, joined_at: Timestamp) -> Node {
    Node {
        id: node_id(index),
        name: format!("node-{index}").parse().unwrap(),
        role: if index <= 3 { NodeRole::Management } else { NodeRole::Spooler },
        key: node_key(index).public(),
        computer_id: computer_id(index),
        build: Some("11.2.0".parse().unwrap()),
        agent_version: "0.1.0".to_owned(),
        feature_level: 1,
        addresses: Addresses { raft: "localhost:7400".to_owned(), http: "localhost:7443".to_owned() },
        host: HostReport::default(),
        start_counter: 1,
        joined_at,
        joined_by: None,
        reported_at: joined_at,
    }
}

/// The state of a new cluster with node 1, at the present feature level.
pub(crate) fn initialized() -> State {
    let (row, first) = (cluster(epoch(1)), node(1, Timestamp::ZERO));
    let init = InitCluster {
        cluster_id: row.id,
        epoch: row.epoch,
        ca_certificate: row.ca_certificate,
        sealed_ca_key: row.sealed_ca_key,
        feature_level: FEATURE_LEVEL,
        policy: row.policy,
        first_node: FirstNode {
            id: first.id,
            name: first.name,
            key: first.key,
            computer_id: first.computer_id,
            agent_version: first.agent_version,
            addresses: first.addresses,
            host: first.host,
        },
        admin_token: Token {
            id: TokenId(0xad),
            purpose: TokenPurpose::Admin { label: "init".to_owned() },
            secret_hash: [0xad; 32],
            created_at: Timestamp::ZERO,
            created_by: "init".to_owned(),
            expires_at: Timestamp::ZERO.plus_days(365),
            state: TokenState::Open,
        },
    };
    let mut state = State::default();
    Command::InitCluster(init).apply(&mut state, Timestamp::ZERO).unwrap();
    state
}

fn cluster(epoch: Epoch) -> Cluster {
    Cluster {
        id: ClusterId([0xc1; 16]),
        epoch,
        ca_certificate: String::new(),
        sealed_ca_key: ManagementKey::from_bytes([1; 32]).seal(Purpose::CaKey, b"").unwrap(),
        first_license_node: node_id(1),
        next_node_index: 5,
        feature_level: 1,
        policy: Policy { integrity_scope: IntegrityScope::All, expected_nodes: None },
        telemetry: false,
        created_at: Timestamp::ZERO,
    }
}

fn graces() -> Graces {
    Graces { expiry_days: 14, reactivation_days: 21, unbound_days: 7, receipt_max_age_days: 30 }
}

fn license(issued_at: Timestamp) -> License {
    License {
        support_id: "QS-7K2M-94XD".parse().unwrap(),
        cluster_id: ClusterId([0xc1; 16]),
        tenant: TenantId::default_tenant(),
        serial: Serial(1),
        nonce: Nonce([1; 16]),
        kind: LicenseKind::Subscription,
        orders: vec!["ORD-1001".parse().unwrap()],
        entitlements: vec![
            Entitlement { feature: "devices".parse().unwrap(), quantity: Quantity::Limited(25) },
            Entitlement { feature: "scan".parse().unwrap(), quantity: Quantity::Unlimited },
        ],
        issued_at,
        not_before: issued_at,
        expires_at: Some(issued_at.plus_days(365)),
        support_until: None,
        graces: graces(),
    }
}

fn binding(nodes: Vec<BoundNode>, issued_at: Timestamp) -> Binding {
    Binding {
        support_id: "QS-7K2M-94XD".parse().unwrap(),
        cluster_id: ClusterId([0xc1; 16]),
        epoch: epoch(1),
        fence: Fence(1),
        serial: Serial(1),
        nonce: Nonce([1; 16]),
        home_computer_id: nodes[0].computer_id,
        first_license_node: nodes[0].id,
        nodes,
        tolerance: 1,
        graces: graces(),
        issued_at,
    }
}
