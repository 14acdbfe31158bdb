//! A value of every format that disk and wire know: every variant of every enum, every row, every
//! message, from fixed seeds.

mod changes;
mod raft;
mod time;

use quorate_license::{
    ActivationKind, AnswerRefusal, ClusterId, Epoch, EpochId, Fence, License, LicenseKind, NodeRole, Serial,
    TenantId,
};
use quorate_raft_store::{
    Answer, Command, Outcome, Proposal, Refusal, RequestId, Revision, State,
    audit::{Actor, AskedBy, Face},
    codec::{self, CodecError},
    command::{
        AdmitNode, AdvanceCa, CreateToken, DecideJoin, InstallLicense, RaiseFeatureLevel, RemoveNode,
        RenameNode, ReplaceNode, ReportCertificate, ReportNode, ReportStart, RequestJoin, RevokeToken,
        SetTelemetry, Tick,
    },
    state::{Method, StartId, TokenId, TokenPurpose},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{replica::Replica, sample};

/// Reads bytes and writes what was read.
type Reread = fn(&[u8]) -> Result<Vec<u8>, CodecError>;

/// One value of one format.
#[derive(Debug, Clone)]
pub(crate) struct Specimen {
    /// Folder and file name, without its ending.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) reread: Reread,
}

fn reread<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    codec::encode(&codec::decode::<T>(bytes)?)
}

fn specimen<T: Serialize + DeserializeOwned>(name: String, value: &T) -> Specimen {
    Specimen { name, bytes: codec::encode(value).unwrap(), reread: reread::<T> }
}

/// Every specimen there is.
pub(crate) fn all() -> Vec<Specimen> {
    [proposals(), answers(), rows(), raft::records(), raft::messages()].concat()
}

/// One command of each kind, in the order of the variants.
pub(crate) fn one_of_each_command() -> Vec<Command> {
    vec![
        Command::InitCluster(sample::init()),
        Command::AdmitNode(sample::admit(2)),
        Command::ReportNode(sample::report(2)),
        Command::CreateToken(sample::join_token(sample::token_of(2), NodeRole::Management)),
        Command::RevokeToken(RevokeToken { id: sample::token_of(2) }),
        Command::BeginActivation(sample::begin(1, ActivationKind::Activate, Method::Online, 2)),
        Command::RecordRequest(sample::record(1)),
        Command::InstallLicense(sample::install(1, 2, 1)),
        Command::CloseActivation(sample::close(1)),
        Command::Tick(Tick {}),
        Command::RaiseFeatureLevel(RaiseFeatureLevel { level: 2 }),
        Command::RemoveNode(remove(3)),
        Command::ReplaceNode(replace(2)),
        Command::ReportStart(report_start(2)),
        Command::RenameNode(RenameNode { node: sample::node_id(2), name: sample::name(7) }),
        Command::ReportCertificate(sample::report_certificate(2, 0, &[0, 1])),
        Command::RotateCa(sample::rotate_ca(0, 1)),
        Command::AdvanceCa(AdvanceCa { version: 1 }),
        Command::RequestJoin(RequestJoin { joiner: sample::admit(5) }),
        Command::DecideJoin(decide(5, true)),
        Command::SetTelemetry(SetTelemetry { enabled: true, requested_by: "anna".to_owned() }),
        Command::AgreeTime(time::agree(0)),
        Command::ConfirmTime(time::confirm()),
    ]
}

fn remove(index: u8) -> RemoveNode {
    RemoveNode { node: sample::node_id(index), requested_by: "admin".to_owned() }
}

fn replace(index: u8) -> ReplaceNode {
    let key = sample::node_key(90 + index).public();
    let joiner = AdmitNode { key, feature_level: 2, ..sample::admit(index) };
    ReplaceNode { replaced: sample::node_id(index), joiner }
}

fn decide(index: u8, accept: bool) -> DecideJoin {
    DecideJoin { token: sample::token_of(index), accept, decided_by: "anna".to_owned() }
}

fn report_start(index: u8) -> ReportStart {
    let report = ReportNode { feature_level: 2, ..sample::report(index) };
    ReportStart { report, start: StartId(0x5747) }
}

/// Commands whose fields hold what those of [`one_of_each_command`] don't.
fn other_commands() -> Vec<(String, Command)> {
    let mut commands: Vec<(String, Command)> = ActivationKind::ALL
        .into_iter()
        .map(|kind| (format!("{kind}_offline"), sample::begin(1, kind, Method::Offline, 1)))
        .map(|(name, begin)| (name, Command::BeginActivation(begin)))
        .collect();
    let mut named = |name: &str, command| commands.push((name.to_owned(), command));
    named("spooler", Command::AdmitNode(AdmitNode { build: None, ..sample::admit(4) }));
    named("without_build", Command::ReportNode(ReportNode { build: None, ..sample::report(2) }));
    let join = TokenPurpose::Join { role: NodeRole::Spooler, name: Some(sample::name(4)) };
    for (name, purpose) in [
        ("named", join),
        ("admin", TokenPurpose::Admin { label: "anna".to_owned() }),
        ("viewer", TokenPurpose::Viewer { label: "otto".to_owned() }),
    ] {
        let token = sample::join_token(TokenId(7), NodeRole::Spooler);
        named(name, Command::CreateToken(CreateToken { purpose, ..token }));
    }
    let trial = License { kind: LicenseKind::Trial, orders: Vec::new(), ..sample::license(1, 1) };
    let perpetual = License {
        kind: LicenseKind::Perpetual,
        tenant: "acme".parse().unwrap(),
        expires_at: None,
        support_until: None,
        ..sample::license(1, 1)
    };
    let answer = sample::sign(&sample::binding(1, 4, 1), &[trial, perpetual]);
    let install = InstallLicense { nonce: sample::nonce(1), answer };
    named("trial_and_perpetual", Command::InstallLicense(install));
    let foreign = ReportCertificate { issuer: None, ..sample::report_certificate(2, 0, &[0]) };
    named("foreign", Command::ReportCertificate(foreign));
    let approval = sample::approval_token(TokenId(8), NodeRole::Spooler);
    named("approval", Command::CreateToken(approval));
    named("refused", Command::DecideJoin(decide(5, false)));
    commands
}

fn proposal_specimen(name: &str, proposal: &Proposal) -> Specimen {
    let reread: Reread = |bytes| Ok(Proposal::decode(bytes)?.encode()?.0.to_vec());
    Specimen { name: format!("proposal/{name}"), bytes: proposal.encode().unwrap().0.to_vec(), reread }
}

/// Somebody who asks over TCP.
pub(crate) fn asked_by() -> AskedBy {
    AskedBy {
        actor: Actor::Token(sample::ADMIN_TOKEN),
        node: sample::node_id(2),
        face: Face::NodePort,
        address: Some("192.0.2.7:50412".to_owned()),
    }
}

/// One actor of each kind, in the order of the variants.
pub(crate) fn one_of_each_actor() -> Vec<Actor> {
    vec![
        Actor::Unstated,
        Actor::Node,
        Actor::Local { uid: Some(1000) },
        Actor::Token(sample::ADMIN_TOKEN),
        Actor::Joiner(sample::token_of(2)),
    ]
}

/// Proposals that tell who asked: every actor, and every face.
fn asked() -> impl Iterator<Item = Specimen> {
    let actors = one_of_each_actor().into_iter().map(|actor| AskedBy { actor, ..asked_by() });
    let faces = Face::ALL.into_iter().filter(|face| *face != Face::NodePort).map(|face| AskedBy {
        actor: Actor::Local { uid: None },
        face,
        address: None,
        ..asked_by()
    });
    actors.chain(faces).map(|asked_by| {
        let proposal = Proposal {
            request: RequestId(0x1234 << 64),
            time: sample::start(),
            asked_by: Some(asked_by.clone()),
            command: Command::RevokeToken(RevokeToken { id: sample::token_of(2) }),
        };
        let name = format!("asked.{}.{}", asked_by.actor.as_str(), asked_by.face.as_str());
        proposal_specimen(&name, &proposal)
    })
}

/// What the log holds.
fn proposals() -> Vec<Specimen> {
    let plain = one_of_each_command().into_iter().map(|command| (command.name().to_owned(), command));
    let other = other_commands()
        .into_iter()
        .map(|(variant, command)| (format!("{}.{variant}", command.name()), command));
    plain
        .chain(other)
        .map(|(name, command)| {
            let proposal =
                Proposal { request: RequestId(0x1234 << 64), time: sample::start(), asked_by: None, command };
            proposal_specimen(&name, &proposal)
        })
        .chain(asked())
        .collect()
}

/// One outcome of each kind, in the order of the variants.
pub(crate) fn one_of_each_outcome() -> Vec<Outcome> {
    vec![
        Outcome::Nothing,
        Outcome::ClusterInitialized { first_node: sample::node_id(1) },
        Outcome::NodeAdmitted { node: sample::node_id(2) },
        Outcome::NodeReported,
        Outcome::TokenCreated { token: TokenId(7) },
        Outcome::TokenRevoked,
        Outcome::ActivationOpened { nonce: sample::nonce(1) },
        Outcome::RequestRecorded,
        Outcome::LicenseInstalled { support_id: sample::support_id(), serial: Serial(1) },
        Outcome::ActivationClosed,
        Outcome::Ticked { time: sample::start() },
        Outcome::FeatureLevelRaised { level: 2 },
        Outcome::NodeRemoved { node: sample::node_id(3) },
        Outcome::NodeReplaced { node: sample::node_id(5), replaced: sample::node_id(2) },
        Outcome::NodeRenamed { node: sample::node_id(2) },
        Outcome::CertificateReported,
        Outcome::CaRotated { version: 2 },
        Outcome::JoinPending { token: TokenId(7) },
        Outcome::JoinRefused,
        Outcome::TelemetrySet { enabled: true },
        Outcome::TimeAgreed { time: sample::start() },
    ]
}

/// One refusal of each kind, in the order of the variants; the answers' refusals, one number, are together.
pub(crate) fn one_of_each_refusal() -> Vec<Refusal> {
    let (holder, token) = (sample::name(1), TokenId(7));
    let domain = vec![
        Refusal::NotInitialized,
        Refusal::AlreadyInitialized,
        Refusal::FeatureLevelTooLow { needed: 2, current: 1 },
        Refusal::FeatureLevelUnsupported { node: sample::name(1), supported: 1 },
        Refusal::NodeUnknown(sample::node_id(9)),
        Refusal::NodeNameTaken { name: sample::name(1), holder: sample::node_id(1) },
        Refusal::ComputerIdInUse { computer_id: sample::computer_id(1).to_string(), holder: holder.clone() },
        Refusal::NodeKeyInUse { holder },
        Refusal::NodeStartOutdated { node: sample::name(1), current: 3, reported: 2 },
        Refusal::TokenUnknown,
        Refusal::TokenIdTaken(token),
        Refusal::TokenExpired(token),
        Refusal::TokenRevoked(token),
        Refusal::TokenUsed { token, node: sample::node_id(1) },
        Refusal::TokenRoleMismatch { allowed: NodeRole::Spooler, asked: NodeRole::Management },
        Refusal::TokenNameMismatch { allowed: sample::name(1), asked: sample::name(2) },
        Refusal::TokenNotForJoin(token),
        Refusal::TooManyTokens(65_536),
        Refusal::TooManyNodes(1024),
        Refusal::ActivationInProgress { kind: "activate".to_owned(), nonce: sample::nonce(1) },
        Refusal::AlreadyActivated { support_id: sample::support_id() },
        Refusal::NotActivated { kind: ActivationKind::Upgrade },
        Refusal::NotFirstLicenseNode { asked: sample::node_id(2), first: sample::node_id(1) },
        Refusal::FewerNodesThanExpected { present: 2, expected: 4 },
        Refusal::NodesChanged,
        Refusal::NoOpenActivation(sample::nonce(1)),
    ];
    let membership = vec![
        Refusal::NodeRemoved { node: sample::name(3), at: sample::start() },
        Refusal::FirstLicenseNode { node: sample::name(1) },
        Refusal::LastManagementServer { node: sample::name(1) },
        Refusal::ReplacedNameDiffers { node: sample::name(2), asked: sample::name(3) },
        Refusal::ReplacedRoleDiffers {
            node: sample::name(2),
            role: NodeRole::Management,
            asked: NodeRole::Spooler,
        },
        Refusal::ReplacedComputerDiffers {
            node: sample::name(2),
            registered: sample::computer_id(2).to_string(),
            found: sample::computer_id(3).to_string(),
        },
        Refusal::NodeStartRepeated { node: sample::name(2), counter: 3 },
        Refusal::CaRotationInProgress { started_at: sample::start(), requested_by: "anna".to_owned() },
        Refusal::CaRotationOutdated { asked: 1, current: 2 },
        Refusal::CaRotationWaits { nodes: vec![sample::name(2), sample::name(4)] },
        Refusal::ApprovalNeeded(token),
        Refusal::TokenShownByOther { token, holder: sample::name(5) },
        Refusal::TooManyPendingJoins(256),
        Refusal::JoinRefused { name: sample::name(5), by: "anna".to_owned(), at: sample::start() },
        Refusal::NoPendingJoin(token),
        Refusal::JoinDecided {
            name: sample::name(5),
            accepted: true,
            by: "anna".to_owned(),
            at: sample::start(),
        },
        Refusal::AskerTokenInvalid(sample::ADMIN_TOKEN),
        Refusal::AskerMayNotChange(sample::ADMIN_TOKEN),
        Refusal::ActivationSuperseded { nonce: sample::nonce(1), by: sample::nonce(2) },
        Refusal::NoTimeJumpHeld,
        Refusal::TimeJumpChanged { asked: sample::start(), current: sample::start().plus_days(1) },
    ];
    let answers = one_of_each_answer_refusal().into_iter().map(Refusal::AnswerRefused);
    domain.into_iter().chain(answers).chain(membership).collect()
}

/// One refusal of a portal's answer of each kind, in the order of the variants.
pub(crate) fn one_of_each_answer_refusal() -> Vec<AnswerRefusal> {
    let (current, offered) = (Serial(2), Serial(1));
    vec![
        AnswerRefusal::NonceMismatch { expected: sample::nonce(2), found: sample::nonce(1) },
        AnswerRefusal::ClusterMismatch { expected: sample::cluster_id(), found: ClusterId([0xc2; 16]) },
        AnswerRefusal::EpochMismatch {
            expected: sample::epoch(),
            found: Epoch { number: 2, id: EpochId([0xe2; 16]) },
        },
        AnswerRefusal::SupportIdMismatch {
            expected: sample::support_id(),
            found: "QS-OTHER-0001".parse().unwrap(),
        },
        AnswerRefusal::FenceNotHigher { current: Fence(2), offered: Fence(1) },
        AnswerRefusal::BindingSerialNotHigher { current, offered },
        AnswerRefusal::SerialNotHigher { tenant: TenantId::default_tenant(), current, offered },
    ]
}

/// The variant's name, as `Debug` writes it.
pub(crate) fn variant(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// What is answered and remembered.
fn answers() -> Vec<Specimen> {
    let revision = Revision { epoch: 1, index: 300 };
    let outcomes = one_of_each_outcome()
        .into_iter()
        .map(|outcome| (format!("outcome.{}", variant(&outcome)), Ok(outcome)));
    let refusals = one_of_each_refusal().into_iter().map(|refusal| match &refusal {
        Refusal::AnswerRefused(reason) => (format!("refusal.{}", variant(reason)), Err(refusal)),
        _ => (format!("refusal.{}", variant(&refusal)), Err(refusal)),
    });
    outcomes
        .chain(refusals)
        .map(|(name, result)| specimen(format!("answer/{name}"), &Answer { revision, result }))
        .collect()
}

/// A row with its key, as `length of the key | key | row`.
fn row_specimen(name: &str, key: &[u8], row: &[u8]) -> Specimen {
    let bytes = [&[u8::try_from(key.len()).unwrap()], key, row].concat();
    Specimen { name: format!("row/{name}"), bytes, reread: reread_row }
}

fn reread_row(bytes: &[u8]) -> Result<Vec<u8>, CodecError> {
    let (&length, rest) = bytes.split_first().ok_or(CodecError::Empty)?;
    let (key, row) = rest.split_at_checked(usize::from(length)).ok_or(CodecError::Empty)?;
    let mut state = State::default();
    state.load(key, row)?;
    let mut written = Vec::new();
    for table in state.tables() {
        table.rows(&mut |key, row| written.push(row_specimen("", &key, &row).bytes))?;
    }
    Ok(written.concat())
}

/// A cluster in whose state every table has rows, and activations and tokens are in every state.
fn history() -> Replica {
    let mut replica = Replica::with_nodes(4);
    replica.request(1, ActivationKind::Activate, Method::Offline);
    replica.now = sample::start().plus_ms(1000);
    replica.request(2, ActivationKind::Activate, Method::Online);
    replica.accept(Command::InstallLicense(sample::install(2, 4, 1)));
    replica.begin(3, ActivationKind::Upgrade, Method::Online);
    replica.accept(Command::CloseActivation(sample::close(3)));
    let join = sample::join_token(TokenId(0x205), NodeRole::Spooler);
    replica.accept(Command::CreateToken(join.clone()));
    replica.accept(Command::CreateToken(CreateToken { id: TokenId(0x206), ..join }));
    replica.accept(Command::RevokeToken(RevokeToken { id: TokenId(0x206) }));
    assert!(replica.run(Command::InitCluster(sample::init())).is_err(), "a remembered refusal");
    replica
}

/// Rows of the audit: of something that was done, of something that was refused, and of what was dropped.
fn audit_rows() -> Vec<Specimen> {
    let mut replica = Replica::with_nodes(2);
    replica.raise_level(3);
    let first = 1_u64.to_be_bytes();
    let key = |tag: u8, key: &[u8]| [&[tag], key].concat();
    let mut rows = Vec::new();
    let mut take = |replica: &Replica, name: &str, key: Vec<u8>| {
        rows.push(row_specimen(name, &key, &replica.rows()[&key]));
    };
    replica.asked_by = Some(asked_by());
    replica.accept(Command::CreateToken(sample::join_token(TokenId(0x301), NodeRole::Spooler)));
    take(&replica, "audit.done", key(23, &first));
    let viewer = TokenPurpose::Viewer { label: "otto".to_owned() };
    let viewer = CreateToken { purpose: viewer, ..sample::join_token(TokenId(0x302), NodeRole::Spooler) };
    replica.accept(Command::CreateToken(viewer));
    take(&replica, "token.viewer", key(4, &0x302_u64.to_be_bytes()));
    assert!(replica.run(Command::RevokeToken(RevokeToken { id: TokenId(0x999) })).is_err());
    take(&replica, "audit.refused", key(23, &3_u64.to_be_bytes()));
    while replica.state().audit_anchor().number == 0 {
        let _ = replica.run(Command::RevokeToken(RevokeToken { id: TokenId(0x999) }));
    }
    take(&replica, "audit_anchor", key(24, &[]));
    rows
}

/// What the state machine holds, each row as it comes out of real commands.
fn rows() -> Vec<Specimen> {
    let mut replica = history();
    let mut rows = Vec::new();
    let key = |tag: u8, key: &[u8]| [&[tag], key].concat();
    let id = |index| sample::node_id(index).0.to_be_bytes();
    let mut take = |replica: &Replica, name: &str, key: Vec<u8>| {
        let row = &replica.rows()[&key];
        rows.push(row_specimen(name, &key, row));
    };
    take(&replica, "cluster", key(1, &[]));
    take(&replica, "clock", key(2, &[]));
    take(&replica, "node.first", key(3, &id(1)));
    take(&replica, "node.management", key(3, &id(2)));
    take(&replica, "node.spooler", key(3, &id(4)));
    take(&replica, "token.admin", key(4, &sample::ADMIN_TOKEN.0.to_be_bytes()));
    take(&replica, "token.used", key(4, &sample::token_of(4).0.to_be_bytes()));
    take(&replica, "token.open", key(4, &0x205_u64.to_be_bytes()));
    take(&replica, "token.revoked", key(4, &0x206_u64.to_be_bytes()));
    take(&replica, "activation.superseded", key(5, &[1; 16]));
    take(&replica, "activation.installed", key(5, &[2; 16]));
    take(&replica, "activation.refused", key(5, &[3; 16]));
    take(&replica, "binding", key(6, &[]));
    take(&replica, "license", key(7, b"default"));
    take(&replica, "request.outcome", key(8, &1_u128.to_be_bytes()));
    let last = replica.last_index();
    take(&replica, "request.refusal", key(8, &u128::from(last).to_be_bytes()));
    take(&replica, "request_order", key(9, &last.to_be_bytes()));
    replica.begin(4, ActivationKind::Upgrade, Method::Offline);
    take(&replica, "activation.opened", key(5, &[4; 16]));
    replica.accept(Command::RecordRequest(sample::record(4)));
    take(&replica, "activation.requested", key(5, &[4; 16]));
    let build = Some("11.3.0".parse().unwrap());
    replica.accept(Command::ReportNode(ReportNode { build, ..sample::report(2) }));
    take(&replica, "license.reactivation_required", key(7, b"default"));

    let mut replica = Replica::with_nodes(4);
    replica.raise_level(2);
    let join = sample::join_token(TokenId(0x207), NodeRole::Management);
    replica.accept(Command::CreateToken(join));
    let mut replaced = replace(2);
    replaced.joiner.token = TokenId(0x207);
    replaced.joiner.secret_hash = sample::secret_hash(TokenId(0x207));
    replica.accept(Command::ReportStart(report_start(4)));
    take(&replica, "start", key(11, &id(4)));
    replica.accept(Command::ReplaceNode(replaced));
    take(&replica, "tombstone.replaced", key(10, &id(2)));
    replica.accept(Command::RemoveNode(remove(3)));
    take(&replica, "tombstone.removed", key(10, &id(3)));

    let mut replica = Replica::with_nodes(2);
    replica.raise_level(3);
    let tell = |replica: &mut Replica, issuer, trusts: &[u8]| {
        for index in 1..=2 {
            replica.accept(Command::ReportCertificate(sample::report_certificate(index, issuer, trusts)));
        }
    };
    replica.accept(Command::RotateCa(sample::rotate_ca(0, 1)));
    take(&replica, "ca_rotation.trusting", key(20, &[]));
    tell(&mut replica, 0, &[0, 1]);
    take(&replica, "certificate", key(21, &id(2)));
    replica.accept(Command::AdvanceCa(AdvanceCa { version: 1 }));
    take(&replica, "ca_rotation.issuing", key(20, &[]));
    tell(&mut replica, 1, &[1, 0]);
    replica.accept(Command::AdvanceCa(AdvanceCa { version: 2 }));
    take(&replica, "ca_rotation.settled", key(20, &[]));
    for index in 5..=7 {
        let token = sample::token_of(index);
        replica.accept(Command::CreateToken(sample::approval_token(token, NodeRole::Spooler)));
        let joiner = AdmitNode { feature_level: 3, ..sample::admit(index) };
        replica.accept(Command::RequestJoin(RequestJoin { joiner }));
    }
    replica.accept(Command::DecideJoin(decide(6, true)));
    replica.accept(Command::DecideJoin(decide(7, false)));
    let pending = |index| key(22, &sample::token_of(index).0.to_be_bytes());
    take(&replica, "token.approval", key(4, &sample::token_of(5).0.to_be_bytes()));
    take(&replica, "pending_join.waiting", pending(5));
    take(&replica, "pending_join.accepted", pending(6));
    take(&replica, "pending_join.refused", pending(7));
    replica.request(1, ActivationKind::Trial, Method::Offline);
    replica.accept(Command::InstallLicense(sample::install(1, 2, 1)));
    take(&replica, "license_history", key(25, &1_u64.to_be_bytes()));
    rows.extend(time::rows());
    rows.extend(audit_rows());
    rows.extend(changes::rows());
    rows
}
