//! The parsers that see foreign bytes, each with the most memory that one input may take.

use std::{cell::RefCell, path::Path, sync::OnceLock};

use prost::Message;
use quorate::{
    api::read_join_request,
    cluster::LeaderView,
    config::Effective,
    pki::{
        AdminToken, BroughtName, CertificateFacts, JoinToken, PeerIdentity, ca_certificates, ca_fingerprint,
    },
};
use quorate_license::{
    ActivationKey, ActivationKind, BuildNumber, ClusterId, ComputerId, ComputerIdSource, FeatureName,
    IntegrityKey, LicenseFile, LicenseKey, MachineId, NodeName, NodeRole, NodeSignature, NodeStatement,
    Nonce, RootKey, SignedReceipt, SupportId, TenantId, Timestamp, TrustRoots, VerifyInput, verify_file,
};
use quorate_proto::{node::v1 as node, v1};
use quorate_raft_store::{
    Answer, Applier, Command, Digest, Proposal, State,
    audit::AskedBy,
    codec,
    disk::{SnapshotFile, SnapshotKey},
    raft_types::EncodedProposal,
    state::{StartId, TokenId},
    wire,
};

use crate::connections;

/// One parser.
pub(crate) struct Target {
    /// Its name, and that of its corpus.
    pub(crate) name: &'static str,
    /// The most memory that one input may take, in bytes.
    pub(crate) bytes: usize,
    /// Parses; whatever it refuses is fine.
    pub(crate) run: fn(&[u8]),
}

const MIB: usize = 1 << 20;

/// All of them.
pub(crate) fn all() -> Vec<Target> {
    let target = |name, bytes, run| Target { name, bytes, run };
    vec![
        target("integrity_key", 4 * MIB, integrity_key),
        target("license_key", 4 * MIB, license_key),
        target("license_file", 4 * MIB, license_file),
        target("texts", MIB, texts),
        target("tokens", MIB, tokens),
        target("records", 8 * MIB, records),
        // A frame of rows may have 16 MiB.
        target("snapshot", 40 * MIB, snapshot),
        target("messages", 8 * MIB, messages),
        target("certificates", MIB, certificates),
        target("configuration", 8 * MIB, configuration),
        target("http", 16 * MIB, connections::http),
    ]
}

fn roots() -> TrustRoots {
    TrustRoots(vec![RootKey::from_seed([101; 32]).unwrap().public()])
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The request to the portal, which reads it from anybody.
fn integrity_key(bytes: &[u8]) {
    for key in [IntegrityKey::from_bytes(bytes), IntegrityKey::from_text(&text(bytes))].into_iter().flatten()
    {
        let _ = key.check();
        let _ = key.verify_signatures();
        let _ = key.not_signed_by();
        let again = IntegrityKey::from_bytes(&key.to_bytes()).unwrap();
        assert_eq!(again.digest(), key.digest(), "what was read is written in one way");
    }
}

/// The portal's answer, which the agent reads from whoever answers at the portal's address.
fn license_key(bytes: &[u8]) {
    for key in [LicenseKey::from_text(&text(bytes)), LicenseKey::from_json(bytes)].into_iter().flatten() {
        let _ = key.verify(&roots());
    }
}

/// Files on a disk that anybody may have written, read by the product.
fn license_file(bytes: &[u8]) {
    let text = text(bytes);
    let computer_id =
        ComputerId::derive(&MachineId::parse(&"07".repeat(16)).unwrap(), ComputerIdSource::Host);
    let (file, receipt) = text.split_at(text.floor_char_boundary(text.len() / 2));
    for (file, receipt) in [(&*text, Some(&*text)), (file, Some(receipt)), (&*text, None)] {
        let _ = verify_file(&VerifyInput {
            file,
            receipt,
            roots: &roots(),
            computer_id: &computer_id,
            build: None,
            now: Timestamp::ZERO.plus_days(20_000),
            min_serial: None,
        });
    }
    let _ = LicenseFile::from_text(&text).map(|file| file.open(&roots()).is_ok());
    let _ = SignedReceipt::from_text(&text).map(|receipt| receipt.to_text());
}

/// Short texts: names, ids, keys, times.
fn texts(bytes: &[u8]) {
    let text = text(bytes);
    macro_rules! shown_again {
        ($($type:ty),*) => {$(
            if let Ok(read) = text.parse::<$type>() {
                let again: $type = read.to_string().parse().unwrap();
                assert_eq!(again.to_string(), read.to_string());
            }
        )*};
    }
    shown_again!(NodeName, TenantId, SupportId, BuildNumber, FeatureName, ClusterId, ComputerId, NodeRole);
    shown_again!(Timestamp, StartId, TokenId);
    let _ = text.parse::<NodeSignature>();
    let _ = text.parse::<ActivationKind>();
    let _ = Nonce::try_from(bytes);
    let _ = MachineId::parse(&text);
    if let Ok(key) = text.parse::<ActivationKey>() {
        assert!(key.expose().to_string().parse::<ActivationKey>().is_ok());
    }
}

/// Tokens, from any caller.
fn tokens(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(token) = text.parse::<JoinToken>() {
        assert_eq!(token.expose().parse::<JoinToken>().unwrap().id, token.id);
    }
    if let Ok(token) = text.parse::<AdminToken>() {
        assert_eq!(token.expose().parse::<AdminToken>().unwrap().id, token.id);
    }
}

/// A cluster in which things have happened: what the golden proposals lead to, one after the other.
fn installation() -> State {
    static STATE: OnceLock<State> = OnceLock::new();
    let lived = || {
        let mut applier = Applier::default();
        for (index, name) in [
            "InitCluster",
            "CreateToken",
            "CreateToken.approval",
            "AdmitNode.spooler",
            "RequestJoin",
            "BeginActivation",
        ]
        .into_iter()
        .enumerate()
        {
            let file =
                format!("{}/../raft-store/tests/golden/proposal/{name}.bin", env!("CARGO_MANIFEST_DIR"));
            let proposal = EncodedProposal(std::fs::read(file).unwrap().into());
            // Whether it was refused there does not matter here.
            let _ = applier.apply(index as u64 + 1, &proposal).unwrap();
        }
        assert!(applier.state().cluster().is_some());
        applier.state().clone()
    };
    STATE.get_or_init(lived).clone()
}

/// What Raft's messages, the log and the disk hold; a command of another node is applied.
fn records(bytes: &[u8]) {
    let _ = wire::decode_append(bytes);
    let _ = wire::decode_append_result(bytes);
    let _ = wire::decode_vote(bytes);
    let _ = wire::decode_vote_given(bytes);
    let _ = wire::decode_hand_over(bytes);
    let _ = wire::decode_snapshot_offer(bytes);
    let _ = wire::decode_snapshot_taken(bytes);
    let _ = codec::decode::<Command>(bytes);
    let _ = codec::decode::<Answer>(bytes);
    let _ = codec::decode::<AskedBy>(bytes);
    if Proposal::decode(bytes).is_ok() {
        // Before there is a cluster, and in one.
        for state in [State::default(), installation()] {
            let mut applier = Applier::resume(state, Digest::default());
            if applier.apply(100, &EncodedProposal(bytes.to_vec().into())).is_ok() {
                applier.take_changes().unwrap();
            }
        }
    }
    if let Some((key, row)) = bytes.split_at_checked(9) {
        let _ = State::default().load(key, row);
    }
}

/// A snapshot as it arrives from a leader, or lies on the disk.
fn snapshot(bytes: &[u8]) {
    thread_local! {
        static FOLDER: RefCell<tempfile::TempDir> = RefCell::new(tempfile::tempdir().unwrap());
    }
    FOLDER.with_borrow(|folder| {
        let path = folder.path().join("arrived");
        std::fs::write(&path, bytes).unwrap();
        // One that is encrypted is read with its key.
        let key = SnapshotKey::parse(&"17".repeat(32)).unwrap();
        for key in [None, Some(&key)] {
            if let Ok(snapshot) = SnapshotFile::open(&path, key) {
                let mut state = State::default();
                let _ = snapshot.rows(|key, row| state.load(key, row).map_err(std::io::Error::other));
            }
        }
    });
}

/// gRPC messages, and what faces make of them.
fn messages(bytes: &[u8]) {
    if let Ok(request) = node::JoinRequest::decode(bytes) {
        let _ = read_join_request(request);
    }
    if let Ok(response) = node::PresenceResponse::decode(bytes) {
        let _ = LeaderView::from(response);
    }
    macro_rules! decoded {
        ($($type:ty),*) => {$( let _ = <$type>::decode(bytes); )*};
    }
    decoded!(node::ProposeBatch, node::AnswerBatch, node::NodeStateRequest, node::NodeStateResponse);
    decoded!(
        node::SignStatementRequest,
        node::SignIntegrityKeyRequest,
        node::AnnounceRequest,
        node::JoinResponse
    );
    decoded!(node::SnapshotChunk, node::Frame, node::AnnounceResponse, node::ReadIndexResponse);
    decoded!(v1::ActivateRequest, v1::CreateTokenRequest, v1::RevokeTokenRequest, v1::RemoveNodeRequest);
    decoded!(v1::CheckRequest, v1::GetLicenseRequest, v1::WatchRequest, v1::StatusResponse);
    let _ = serde_json::from_slice::<NodeStatement>(bytes);
}

/// Certificates that somebody shows in a handshake or in a message, and the names in them.
fn certificates(bytes: &[u8]) {
    if let Ok(name) = text(bytes).trim_end().parse::<BroughtName>() {
        assert_eq!(name.to_string(), text(bytes).trim_end());
    }
    let read = |der: &[u8]| {
        for name in BroughtName::all(der) {
            assert_eq!(name.to_string().parse::<BroughtName>().unwrap(), name);
        }
        let _ = PeerIdentity::from_certificate(der);
        let _ = CertificateFacts::from_der(der, "certificate").map(|facts| facts.renew_at());
    };
    read(bytes);
    if let Ok(facts) = CertificateFacts::from_pem(&text(bytes), "certificate") {
        let _ = facts.is_for_request(&text(bytes));
    }
    let _ = ca_certificates(&text(bytes));
    let _ = ca_fingerprint(&text(bytes));
}

/// The node's configuration file.
fn configuration(bytes: &[u8]) {
    if let Ok(effective) = Effective::parse(Path::new("/etc/quorate/quorate.toml"), &text(bytes), []) {
        assert!(serde_json::to_string(&effective.values).is_ok());
    }
}
