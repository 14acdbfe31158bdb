//! One installation for the tests, all from fixed seeds: three Management Servers, Spooler Controllers
//! after them, and a portal that signs.

use quorate_license::{
    ActivationKind, Binding, BoundNode, ClusterId, ComputerId, ComputerIdSource, Entitlement, Epoch, EpochId,
    Fence, Graces, IntegrityScope, IssuingKey, IssuingSecret, License, LicenseKind, MachineId, NodeId,
    NodeKey, NodeName, NodeRole, Nonce, Quantity, RootKey, Serial, SupportId, TenantId, Timestamp,
    VerifiedAnswer,
};
use quorate_raft_store::{
    codec,
    command::{
        AdmitNode, BeginActivation, CloseActivation, CreateToken, FirstNode, InitCluster, InstallLicense,
        RecordRequest, ReportCertificate, ReportNode, RotateCa,
    },
    seal::Sealed,
    state::{
        Addresses, CaFingerprint, HostReport, Method, NextCa, Policy, Token, TokenId, TokenPurpose,
        TokenState,
    },
};

/// The administrator's token that `init` leaves.
pub(crate) const ADMIN_TOKEN: TokenId = TokenId(0xad);

/// When the cluster is initialized.
pub(crate) fn start() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub(crate) fn epoch() -> Epoch {
    Epoch { number: 1, id: EpochId([0xe1; 16]) }
}

pub(crate) fn cluster_id() -> ClusterId {
    ClusterId([0xc1; 16])
}

pub(crate) fn support_id() -> SupportId {
    "QS-7K2M-94XD".parse().unwrap()
}

pub(crate) fn nonce(index: u8) -> Nonce {
    Nonce([index; 16])
}

pub(crate) fn node_id(index: u8) -> NodeId {
    NodeId::new(1, u64::from(index))
}

pub(crate) fn node_key(index: u8) -> NodeKey {
    NodeKey::from_seed([index; 32])
}

pub(crate) fn name(index: u8) -> NodeName {
    format!("node-{index}").parse().unwrap()
}

pub(crate) fn computer_id(index: u8) -> ComputerId {
    let machine_id = MachineId::parse(&format!("{index:02x}").repeat(16)).unwrap();
    ComputerId::derive(&machine_id, ComputerIdSource::Host)
}

/// Nodes 1 to 3 are Management Servers, 4 and more Spooler Controllers.
pub(crate) fn role(index: u8) -> NodeRole {
    if index <= 3 { NodeRole::Management } else { NodeRole::Spooler }
}

/// Bytes as if they had been sealed; real ones are random.
pub(crate) fn sealed(bytes: &[u8]) -> Sealed {
    codec::decode(&codec::encode(&bytes).unwrap()).unwrap()
}

pub(crate) fn addresses(index: u8) -> Addresses {
    Addresses { raft: format!("10.0.0.{index}:7400"), http: format!("10.0.0.{index}:7443") }
}

pub(crate) fn host(index: u8) -> HostReport {
    HostReport {
        os: "Debian GNU/Linux 13".to_owned(),
        kernel: "6.12.0".to_owned(),
        booted_at: start().plus_ms(-60_000 * i64::from(index)),
        hardware: (index != 2).then(|| format!("{index:02x}").repeat(32)),
    }
}

pub(crate) fn init() -> InitCluster {
    InitCluster {
        cluster_id: cluster_id(),
        epoch: epoch(),
        ca_certificate: "-----BEGIN CERTIFICATE-----\n".to_owned(),
        sealed_ca_key: sealed(&[0xca; 40]),
        feature_level: 1,
        policy: Policy { integrity_scope: IntegrityScope::All, expected_nodes: None },
        first_node: FirstNode {
            id: node_id(1),
            name: name(1),
            key: node_key(1).public(),
            computer_id: computer_id(1),
            agent_version: "0.1.0".to_owned(),
            addresses: addresses(1),
            host: host(1),
        },
        admin_token: Token {
            id: ADMIN_TOKEN,
            purpose: TokenPurpose::Admin { label: "init".to_owned() },
            secret_hash: secret_hash(ADMIN_TOKEN),
            created_at: start(),
            created_by: "init".to_owned(),
            expires_at: start().plus_days(365),
            state: TokenState::Open,
        },
    }
}

/// The hash of the token's secret.
pub(crate) fn secret_hash(token: TokenId) -> [u8; 32] {
    let mut hash = [0x5e; 32];
    hash[..8].copy_from_slice(&token.0.to_be_bytes());
    hash
}

/// A token that any node of this role may join with, for a day.
pub(crate) fn join_token(id: TokenId, role: NodeRole) -> CreateToken {
    CreateToken {
        id,
        purpose: TokenPurpose::Join { role, name: None },
        secret_hash: secret_hash(id),
        created_by: "admin".to_owned(),
        expires_at: start().plus_days(1),
    }
}

/// A token that needs an administrator's approval.
pub(crate) fn approval_token(id: TokenId, role: NodeRole) -> CreateToken {
    CreateToken { purpose: TokenPurpose::JoinWithApproval { role, name: None }, ..join_token(id, role) }
}

/// The token that the node `index` joins with.
pub(crate) fn token_of(index: u8) -> TokenId {
    TokenId(0x100 + u64::from(index))
}

pub(crate) fn admit(index: u8) -> AdmitNode {
    AdmitNode {
        token: token_of(index),
        secret_hash: secret_hash(token_of(index)),
        name: name(index),
        role: role(index),
        key: node_key(index).public(),
        computer_id: computer_id(index),
        build: Some("11.2.0".parse().unwrap()),
        agent_version: "0.1.0".to_owned(),
        feature_level: 1,
        addresses: addresses(index),
        host: host(index),
    }
}

pub(crate) fn report(index: u8) -> ReportNode {
    ReportNode {
        node: node_id(index),
        computer_id: computer_id(index),
        build: Some("11.2.0".parse().unwrap()),
        agent_version: "0.1.0".to_owned(),
        feature_level: 1,
        addresses: addresses(index),
        host: host(index),
        start_counter: 1,
    }
}

/// The hash of the cluster's CA, by its number; the first has 0.
pub(crate) fn ca(number: u8) -> CaFingerprint {
    CaFingerprint([0xc0 + number; 32])
}

/// Puts CA `next` in the place of the one before it, when the trust has this version.
pub(crate) fn rotate_ca(version: u64, next: u8) -> RotateCa {
    RotateCa {
        version,
        current: ca(next - 1),
        next: NextCa {
            certificate: format!("-----BEGIN CERTIFICATE----- {next}\n"),
            fingerprint: ca(next),
            sealed_key: sealed(&[next; 40]),
            bridges: vec!["new by old\n".to_owned(), "old by new\n".to_owned()],
        },
        requested_by: "anna".to_owned(),
    }
}

/// The node has a certificate of CA `issuer` and trusts these.
pub(crate) fn report_certificate(index: u8, issuer: u8, trusts: &[u8]) -> ReportCertificate {
    ReportCertificate {
        node: node_id(index),
        serial: format!("{index:02x}{issuer:02x}"),
        issuer: Some(ca(issuer)),
        not_before: start(),
        not_after: start().plus_days(90),
        trusts: trusts.iter().map(|number| ca(*number)).collect(),
    }
}

/// The intent of an activation that binds the nodes 1 to `nodes`.
pub(crate) fn begin(nonce_index: u8, kind: ActivationKind, method: Method, nodes: u8) -> BeginActivation {
    let with_key = kind.needs_activation_key();
    BeginActivation {
        nonce: nonce(nonce_index),
        kind,
        tenant: TenantId::default_tenant(),
        method,
        leader: node_id(1),
        nodes: (1..=nodes).map(node_id).collect(),
        requested_by: "admin".to_owned(),
        key_last5: with_key.then(|| "7K2M9".to_owned()),
        sealed_key: with_key.then(|| sealed(&[0xac; 56])),
    }
}

pub(crate) fn record(nonce_index: u8) -> RecordRequest {
    RecordRequest { nonce: nonce(nonce_index), sealed_request: sealed(&[nonce_index; 64]) }
}

pub(crate) fn close(nonce_index: u8) -> CloseActivation {
    CloseActivation {
        nonce: nonce(nonce_index),
        code: "activation_key_unknown".to_owned(),
        message: "The activation key is not known.".to_owned(),
    }
}

fn graces() -> Graces {
    Graces { expiry_days: 14, reactivation_days: 21, unbound_days: 7, receipt_max_age_days: 30 }
}

/// The binding of the nodes 1 to `nodes`, with this serial and fence.
pub(crate) fn binding(nonce_index: u8, nodes: u8, serial: u64) -> Binding {
    let bound = |index| BoundNode {
        id: node_id(index),
        role: role(index),
        computer_id: computer_id(index),
        build: Some("11.2.0".parse().unwrap()),
        key: node_key(index).public(),
    };
    Binding {
        support_id: support_id(),
        cluster_id: cluster_id(),
        epoch: epoch(),
        fence: Fence(serial),
        serial: Serial(serial),
        nonce: nonce(nonce_index),
        nodes: (1..=nodes).map(bound).collect(),
        first_license_node: node_id(1),
        home_computer_id: computer_id(1),
        tolerance: 1,
        graces: graces(),
        issued_at: start(),
    }
}

/// Runs for a year; 25 devices, unlimited scanning.
pub(crate) fn license(nonce_index: u8, serial: u64) -> License {
    License {
        support_id: support_id(),
        cluster_id: cluster_id(),
        tenant: TenantId::default_tenant(),
        serial: Serial(serial),
        nonce: nonce(nonce_index),
        kind: LicenseKind::Subscription,
        orders: vec!["ORD-1001".parse().unwrap()],
        entitlements: vec![
            Entitlement { feature: "devices".parse().unwrap(), quantity: Quantity::Limited(25) },
            Entitlement { feature: "scan".parse().unwrap(), quantity: Quantity::Unlimited },
        ],
        issued_at: start(),
        not_before: start(),
        expires_at: Some(start().plus_days(365)),
        support_until: Some(start().plus_days(365)),
        graces: graces(),
    }
}

fn issuing_key() -> IssuingKey {
    let root = RootKey::from_seed([101; 32]).unwrap();
    let secret = IssuingSecret::from_seed([102; 32]).unwrap();
    let (from, until) = ("2026-01-01T00:00:00Z".parse().unwrap(), "2028-01-01T00:00:00Z".parse().unwrap());
    let certificate = root.certify(secret.public(), from, until).unwrap();
    IssuingKey::new(secret, certificate).unwrap()
}

/// Signs an answer as the portal does.
pub(crate) fn sign(binding: &Binding, licenses: &[License]) -> VerifiedAnswer {
    let key = issuing_key();
    VerifiedAnswer {
        binding: key.sign(binding).unwrap(),
        licenses: licenses.iter().map(|license| key.sign(license).unwrap()).collect(),
    }
}

/// The portal's answer to the activation, which binds the nodes 1 to `nodes`.
pub(crate) fn install(nonce_index: u8, nodes: u8, serial: u64) -> InstallLicense {
    let answer = sign(&binding(nonce_index, nodes, serial), &[license(nonce_index, serial)]);
    InstallLicense { nonce: nonce(nonce_index), answer }
}
