//! Every format byte for byte: what a release has written, newer code still reads and still writes.
//!
//! `QUORATE_BLESS=1 cargo test -p quorate-raft-store --no-default-features --test pure golden` writes the
//! files again. Do that for a new format only, never to make a changed one pass.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use quorate_license::{
    ActivationKind, AnswerRefusal, ComputerIdSource, IntegrityScope, LicenseKind, NodeRole, Quantity, Serial,
};
use quorate_raft_store::{
    Command, Outcome, Refusal, State,
    audit::{Actor, Face},
    codec,
    state::{
        ActivationState, CaPhase, JoinDecision, Method, PreviousCa, RemovalReason, TokenPurpose, TokenState,
    },
};
use serde::Serialize;

use crate::{
    replica::{self, Replica},
    sample, specimens,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn path(name: &str) -> PathBuf {
    folder().join(format!("{name}.bin"))
}

fn blessing() -> bool {
    std::env::var_os("QUORATE_BLESS").is_some_and(|value| value == "1")
}

#[test]
fn what_a_release_has_written_is_read_and_written_the_same() {
    for specimen in specimens::all() {
        let path = path(&specimen.name);
        if blessing() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &specimen.bytes).unwrap();
        }
        let kept = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(kept == specimen.bytes, "{} is written differently now", specimen.name);
        let again = (specimen.reread)(&kept).unwrap_or_else(|error| panic!("{}: {error}", specimen.name));
        assert!(again == kept, "{} is not what was read", specimen.name);
    }
}

#[test]
fn every_golden_file_is_read_by_some_test() {
    let specimens = specimens::all();
    let mut read: BTreeSet<PathBuf> = specimens.iter().map(|specimen| path(&specimen.name)).collect();
    assert_eq!(read.len(), specimens.len(), "two specimens have one name");
    read.insert(folder().join("digest.txt"));
    let mut kept = BTreeSet::new();
    collect(&folder(), &mut kept);
    let unread: Vec<_> = kept.difference(&read).collect();
    assert!(unread.is_empty(), "a format was dropped that a release has written: {unread:?}");
}

fn collect(folder: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.insert(path);
        }
    }
}

/// Checks that the values are written with the numbers 0, 1, 2 and so on, and that none is missing.
/// `number` has to list every variant, so that a new one can't be forgotten here.
fn numbered<T: Serialize + std::fmt::Debug>(count: usize, values: &[T], number: fn(&T) -> u8) {
    let numbers: Vec<u8> = values.iter().map(number).collect();
    let expected: Vec<u8> = (0..u8::try_from(count).unwrap()).collect();
    assert_eq!(numbers, expected, "one value of each variant, in order");
    for value in values {
        assert_eq!(codec::encode(value).unwrap()[1], number(value), "{value:?}");
    }
}

#[test]
fn commands_keep_their_numbers() {
    numbered(23, &specimens::one_of_each_command(), |command| match command {
        Command::InitCluster(_) => 0,
        Command::AdmitNode(_) => 1,
        Command::ReportNode(_) => 2,
        Command::CreateToken(_) => 3,
        Command::RevokeToken(_) => 4,
        Command::BeginActivation(_) => 5,
        Command::RecordRequest(_) => 6,
        Command::InstallLicense(_) => 7,
        Command::CloseActivation(_) => 8,
        Command::Tick(_) => 9,
        Command::RaiseFeatureLevel(_) => 10,
        Command::RemoveNode(_) => 11,
        Command::ReplaceNode(_) => 12,
        Command::ReportStart(_) => 13,
        Command::RenameNode(_) => 14,
        Command::ReportCertificate(_) => 15,
        Command::RotateCa(_) => 16,
        Command::AdvanceCa(_) => 17,
        Command::RequestJoin(_) => 18,
        Command::DecideJoin(_) => 19,
        Command::SetTelemetry(_) => 20,
        Command::AgreeTime(_) => 21,
        Command::ConfirmTime(_) => 22,
    });
}

#[test]
fn outcomes_keep_their_numbers() {
    numbered(21, &specimens::one_of_each_outcome(), |outcome| match outcome {
        Outcome::Nothing => 0,
        Outcome::ClusterInitialized { .. } => 1,
        Outcome::NodeAdmitted { .. } => 2,
        Outcome::NodeReported => 3,
        Outcome::TokenCreated { .. } => 4,
        Outcome::TokenRevoked => 5,
        Outcome::ActivationOpened { .. } => 6,
        Outcome::RequestRecorded => 7,
        Outcome::LicenseInstalled { .. } => 8,
        Outcome::ActivationClosed => 9,
        Outcome::Ticked { .. } => 10,
        Outcome::FeatureLevelRaised { .. } => 11,
        Outcome::NodeRemoved { .. } => 12,
        Outcome::NodeReplaced { .. } => 13,
        Outcome::NodeRenamed { .. } => 14,
        Outcome::CertificateReported => 15,
        Outcome::CaRotated { .. } => 16,
        Outcome::JoinPending { .. } => 17,
        Outcome::JoinRefused => 18,
        Outcome::TelemetrySet { .. } => 19,
        Outcome::TimeAgreed { .. } => 20,
    });
}

/// Number and code of a refusal: both are promises.
fn number_and_code(refusal: &Refusal) -> (u8, &'static str) {
    match refusal {
        Refusal::NotInitialized => (0, "not_initialized"),
        Refusal::AlreadyInitialized => (1, "already_initialized"),
        Refusal::FeatureLevelTooLow { .. } => (2, "feature_level_too_low"),
        Refusal::FeatureLevelUnsupported { .. } => (3, "feature_level_unsupported"),
        Refusal::NodeUnknown(_) => (4, "node_unknown"),
        Refusal::NodeNameTaken { .. } => (5, "node_name_taken"),
        Refusal::ComputerIdInUse { .. } => (6, "computer_id_in_use"),
        Refusal::NodeKeyInUse { .. } => (7, "node_key_in_use"),
        Refusal::NodeStartOutdated { .. } => (8, "node_start_outdated"),
        Refusal::TokenUnknown => (9, "token_unknown"),
        Refusal::TokenIdTaken(_) => (10, "token_id_taken"),
        Refusal::TokenExpired(_) => (11, "token_expired"),
        Refusal::TokenRevoked(_) => (12, "token_revoked"),
        Refusal::TokenUsed { .. } => (13, "token_used"),
        Refusal::TokenRoleMismatch { .. } => (14, "token_role_mismatch"),
        Refusal::TokenNameMismatch { .. } => (15, "token_name_mismatch"),
        Refusal::TokenNotForJoin(_) => (16, "token_not_for_join"),
        Refusal::TooManyTokens(_) => (17, "too_many_tokens"),
        Refusal::TooManyNodes(_) => (18, "too_many_nodes"),
        Refusal::ActivationInProgress { .. } => (19, "activation_in_progress"),
        Refusal::AlreadyActivated { .. } => (20, "already_activated"),
        Refusal::NotActivated { .. } => (21, "not_activated"),
        Refusal::NotFirstLicenseNode { .. } => (22, "not_first_license_node"),
        Refusal::FewerNodesThanExpected { .. } => (23, "fewer_nodes_than_expected"),
        Refusal::NodesChanged => (24, "nodes_changed"),
        Refusal::NoOpenActivation(_) => (25, "no_open_activation"),
        Refusal::AnswerRefused(refusal) => (26, refusal.code()),
        Refusal::NodeRemoved { .. } => (27, "node_removed"),
        Refusal::FirstLicenseNode { .. } => (28, "first_license_node"),
        Refusal::LastManagementServer { .. } => (29, "last_management_server"),
        Refusal::ReplacedNameDiffers { .. } => (30, "node_name_differs"),
        Refusal::ReplacedRoleDiffers { .. } => (31, "node_role_differs"),
        Refusal::ReplacedComputerDiffers { .. } => (32, "computer_id_differs"),
        Refusal::NodeStartRepeated { .. } => (33, "node_start_repeated"),
        Refusal::CaRotationInProgress { .. } => (34, "ca_rotation_in_progress"),
        Refusal::CaRotationOutdated { .. } => (35, "ca_rotation_outdated"),
        Refusal::CaRotationWaits { .. } => (36, "ca_rotation_waits"),
        Refusal::ApprovalNeeded(_) => (37, "approval_needed"),
        Refusal::TokenShownByOther { .. } => (38, "token_shown_by_other"),
        Refusal::TooManyPendingJoins(_) => (39, "too_many_pending_joins"),
        Refusal::JoinRefused { .. } => (40, "join_refused"),
        Refusal::NoPendingJoin(_) => (41, "no_pending_join"),
        Refusal::JoinDecided { .. } => (42, "join_decided"),
        Refusal::AskerTokenInvalid(_) => (43, "token_invalid"),
        Refusal::AskerMayNotChange(_) => (44, "token_reads_only"),
        Refusal::ActivationSuperseded { .. } => (45, "activation_superseded"),
        Refusal::NoTimeJumpHeld => (46, "no_time_jump_held"),
        Refusal::TimeJumpChanged { .. } => (47, "time_jump_changed"),
    }
}

#[test]
fn refusals_keep_their_numbers_and_codes() {
    let refusals = specimens::one_of_each_refusal();
    // One of the answers' refusals stands for all of them: they have one number here.
    let mut one_each = refusals.clone();
    one_each.dedup_by_key(|refusal| number_and_code(refusal).0);
    numbered(48, &one_each, |refusal| number_and_code(refusal).0);
    let codes: BTreeSet<&str> = refusals.iter().map(Refusal::code).collect();
    assert_eq!(codes.len(), refusals.len(), "every refusal has a code of its own");
    for refusal in &refusals {
        assert_eq!(refusal.code(), number_and_code(refusal).1);
        assert!(!refusal.to_string().is_empty());
    }
    numbered(7, &specimens::one_of_each_answer_refusal(), |refusal| match refusal {
        AnswerRefusal::NonceMismatch { .. } => 0,
        AnswerRefusal::ClusterMismatch { .. } => 1,
        AnswerRefusal::EpochMismatch { .. } => 2,
        AnswerRefusal::SupportIdMismatch { .. } => 3,
        AnswerRefusal::FenceNotHigher { .. } => 4,
        AnswerRefusal::BindingSerialNotHigher { .. } => 5,
        AnswerRefusal::SerialNotHigher { .. } => 6,
    });
}

#[test]
fn states_of_rows_keep_their_numbers() {
    let (at, message) = (sample::start(), String::new());
    let activation = [
        ActivationState::Opened,
        ActivationState::Requested { sealed_request: sample::sealed(&[1]), at },
        ActivationState::Installed { serial: Serial(1), at },
        ActivationState::Refused { code: String::new(), message, at },
        ActivationState::Superseded { by: sample::nonce(2), at },
    ];
    numbered(5, &activation, |state| match state {
        ActivationState::Opened => 0,
        ActivationState::Requested { .. } => 1,
        ActivationState::Installed { .. } => 2,
        ActivationState::Refused { .. } => 3,
        ActivationState::Superseded { .. } => 4,
    });
    let used = TokenState::Used { node: sample::node_id(1), key: sample::node_key(1).public() };
    numbered(3, &[TokenState::Open, used, TokenState::Revoked], |state| match state {
        TokenState::Open => 0,
        TokenState::Used { .. } => 1,
        TokenState::Revoked => 2,
    });
    let join = TokenPurpose::Join { role: NodeRole::Management, name: None };
    let approval = TokenPurpose::JoinWithApproval { role: NodeRole::Management, name: None };
    let admin = TokenPurpose::Admin { label: String::new() };
    let viewer = TokenPurpose::Viewer { label: String::new() };
    numbered(4, &[join, admin, approval, viewer], |purpose| match purpose {
        TokenPurpose::Join { .. } => 0,
        TokenPurpose::Admin { .. } => 1,
        TokenPurpose::JoinWithApproval { .. } => 2,
        TokenPurpose::Viewer { .. } => 3,
    });
    let replaced = RemovalReason::Replaced { by: sample::node_id(5) };
    let removed = RemovalReason::Removed { requested_by: String::new() };
    numbered(2, &[removed, replaced], |reason| match reason {
        RemovalReason::Removed { .. } => 0,
        RemovalReason::Replaced { .. } => 1,
    });
    let by = String::new();
    let accepted = JoinDecision::Accepted { node: sample::node_id(1), by: by.clone(), at };
    numbered(3, &[JoinDecision::Waiting, accepted, JoinDecision::Refused { by, at }], |decision| {
        match decision {
            JoinDecision::Waiting => 0,
            JoinDecision::Accepted { .. } => 1,
            JoinDecision::Refused { .. } => 2,
        }
    });
    let next = sample::rotate_ca(0, 1).next;
    let previous = PreviousCa { certificate: String::new(), fingerprint: sample::ca(0), bridges: Vec::new() };
    let phases =
        [CaPhase::Settled { previous: sample::ca(0) }, CaPhase::Trusting(next), CaPhase::Issuing(previous)];
    numbered(3, &phases, |phase| match phase {
        CaPhase::Settled { .. } => 0,
        CaPhase::Trusting(_) => 1,
        CaPhase::Issuing(_) => 2,
    });
    numbered(2, &[Method::Online, Method::Offline], |method| match method {
        Method::Online => 0,
        Method::Offline => 1,
    });
}

#[test]
fn who_asks_keeps_its_numbers() {
    numbered(5, &specimens::one_of_each_actor(), |actor| match actor {
        Actor::Unstated => 0,
        Actor::Node => 1,
        Actor::Local { .. } => 2,
        Actor::Token(_) => 3,
        Actor::Joiner(_) => 4,
    });
    numbered(4, &Face::ALL, |face| match face {
        Face::Itself => 0,
        Face::AdminSocket => 1,
        Face::NodePort => 2,
        Face::ManagementPort => 3,
    });
}

#[test]
fn the_vocabulary_keeps_its_numbers() {
    numbered(5, &ActivationKind::ALL, |kind| match kind {
        ActivationKind::Activate => 0,
        ActivationKind::Trial => 1,
        ActivationKind::Upgrade => 2,
        ActivationKind::Reactivate => 3,
        ActivationKind::Transfer => 4,
    });
    let kinds = [LicenseKind::Trial, LicenseKind::Subscription, LicenseKind::Perpetual];
    numbered(3, &kinds, |kind| match kind {
        LicenseKind::Trial => 0,
        LicenseKind::Subscription => 1,
        LicenseKind::Perpetual => 2,
    });
    numbered(2, &[Quantity::Limited(1), Quantity::Unlimited], |quantity| match quantity {
        Quantity::Limited(_) => 0,
        Quantity::Unlimited => 1,
    });
    numbered(2, &[NodeRole::Management, NodeRole::Spooler], |role| match role {
        NodeRole::Management => 0,
        NodeRole::Spooler => 1,
    });
    numbered(2, &[IntegrityScope::All, IntegrityScope::Management], |scope| match scope {
        IntegrityScope::All => 0,
        IntegrityScope::Management => 1,
    });
    numbered(2, &[ComputerIdSource::Host, ComputerIdSource::Volume], |source| match source {
        ComputerIdSource::Host => 0,
        ComputerIdSource::Volume => 1,
    });
}

#[test]
fn tables_keep_their_tags_and_keys_their_order() {
    let tags: Vec<u8> = State::default().tables().iter().map(|table| table.tag()).collect();
    assert_eq!(tags, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20, 21, 22, 23, 24, 25, 26, 27]);
    let rows = Replica::activated(2).rows();
    let keys: Vec<Vec<u8>> = rows.keys().filter(|key| !matches!(key[0], 8 | 9)).cloned().collect();
    let key = |tag: u8, key: &[u8]| [&[tag], key].concat();
    let id = |index| sample::node_id(index).0.to_be_bytes();
    let expected = [
        key(1, &[]),
        key(2, &[]),
        key(3, &id(1)),
        key(3, &id(2)),
        key(4, &sample::ADMIN_TOKEN.0.to_be_bytes()),
        key(4, &sample::token_of(2).0.to_be_bytes()),
        key(5, &[1; 16]),
        key(6, &[]),
        key(7, b"default"),
    ];
    assert_eq!(keys, expected);
}

#[test]
fn the_digest_of_a_state_is_the_same_in_every_release() {
    let text = replica::digest(&Replica::activated(4).rows()).to_string();
    let path = folder().join("digest.txt");
    if blessing() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}
