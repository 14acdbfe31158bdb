//! A cluster that asks: three Management Servers and a Spooler Controller, from one seed.

use std::collections::BTreeMap;

use quorate_license::{
    ActivationKind, ClusterId, ComputerId, ComputerIdSource, Epoch, EpochId, Fence, IntegrityKey, MachineId,
    NodeId, NodeKey, NodeRole, NodeRow, NodeStatement, Nonce, Serial, TenantId,
};

/// The cluster. Its fields may be changed before a request is made.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) kind: ActivationKind,
    pub(crate) cluster_id: ClusterId,
    pub(crate) epoch: Epoch,
    pub(crate) fence: Fence,
    pub(crate) nonce: Nonce,
    pub(crate) superseded: Vec<Nonce>,
    pub(crate) tenant: TenantId,
    pub(crate) first_license_node: NodeId,
    pub(crate) rows: Vec<NodeRow>,
    pub(crate) keys: Vec<[u8; 32]>,
}

impl Cluster {
    pub(crate) fn new(seed: u8) -> Self {
        let keys: Vec<[u8; 32]> = (1..=4).map(|index| key_seed(seed, index)).collect();
        let rows = (1..=4u8)
            .map(|index| NodeRow {
                id: NodeId::new(1, index.into()),
                role: if index == 4 { NodeRole::Spooler } else { NodeRole::Management },
                computer_id: computer_id(seed, index, ComputerIdSource::Host),
                build: Some("7.1.0".parse().unwrap()),
                agent_version: "0.1.0".to_owned(),
                key: NodeKey::from_seed(keys[usize::from(index) - 1]).public(),
                start_counter: 1,
            })
            .collect();
        Cluster {
            kind: ActivationKind::Activate,
            cluster_id: ClusterId([seed; 16]),
            epoch: Epoch { number: 1, id: EpochId([seed ^ 0xff; 16]) },
            fence: Fence(0),
            nonce: Nonce([seed; 16]),
            superseded: Vec::new(),
            tenant: TenantId::default_tenant(),
            first_license_node: NodeId::new(1, 1),
            rows,
            keys,
        }
    }

    /// The key of the node with this index.
    pub(crate) fn key(&self, index: usize) -> NodeKey {
        NodeKey::from_seed(self.keys[index])
    }

    /// Gives a node another one's key.
    pub(crate) fn copy_key(&mut self, from: usize, to: usize) {
        self.keys[to] = self.keys[from];
        self.rows[to].key = self.rows[from].key;
    }

    /// Gives a node a key of its own.
    pub(crate) fn set_key(&mut self, index: usize, seed: [u8; 32]) {
        self.keys[index] = seed;
        self.rows[index].key = NodeKey::from_seed(seed).public();
    }

    pub(crate) fn with_nonce(&self, nonce: u8) -> Self {
        Cluster { nonce: Nonce([nonce; 16]), ..self.clone() }
    }

    /// The integrity key, signed by everyone who has to.
    pub(crate) fn request(&self, activation_key: &str) -> IntegrityKey {
        self.request_with(Some(activation_key), |_| {})
    }

    /// The same, changed before the Management Servers sign.
    pub(crate) fn request_with(
        &self,
        activation_key: Option<&str>,
        change: impl FnOnce(&mut IntegrityKey),
    ) -> IntegrityKey {
        let mut key = IntegrityKey {
            kind: self.kind,
            cluster_id: self.cluster_id,
            epoch: self.epoch,
            fence: self.fence,
            tenant: self.tenant.clone(),
            first_license_node: self.first_license_node,
            nodes: Vec::new(),
            activation_key: activation_key.map(|text| text.parse().unwrap()),
            support_id: None,
            serials: BTreeMap::new(),
            binding_serial: Serial(0),
            nonce: self.nonce,
            superseded: self.superseded.clone(),
            telemetry: false,
            signatures: Vec::new(),
        };
        let context = key.context();
        for (index, row) in self.rows.iter().enumerate() {
            key.nodes.push(NodeStatement::sign(&context, row.clone(), &self.key(index)));
        }
        change(&mut key);
        for (index, row) in self.rows.iter().enumerate() {
            if row.role == NodeRole::Management {
                key.add_signature(key.signature_by(row.id, &self.key(index)));
            }
        }
        key
    }
}

/// The cluster later in its life.
pub(crate) fn later(cluster: &Cluster, kind: ActivationKind, fence: u64, nonce: u8) -> Cluster {
    Cluster { kind, fence: Fence(fence), ..cluster.with_nonce(nonce) }
}

/// What it asks when it brings no activation key.
pub(crate) fn without_key(cluster: &Cluster) -> IntegrityKey {
    cluster.request_with(None, |_| {})
}

pub(crate) fn computer_id(seed: u8, index: u8, source: ComputerIdSource) -> ComputerId {
    let machine_id = MachineId::parse(&format!("{seed:02x}{index:02x}").repeat(8)).unwrap();
    ComputerId::derive(&machine_id, source)
}

fn key_seed(seed: u8, index: u8) -> [u8; 32] {
    let mut bytes = [seed; 32];
    bytes[0] = index;
    bytes
}
