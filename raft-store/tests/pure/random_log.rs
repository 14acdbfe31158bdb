//! The same log gives the same bytes, whatever it holds and however it is cut into batches.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use quorate_license::{ActivationKind, DAY_MS, NodeRole, Timestamp};
use quorate_raft_store::{
    Applier, Command, Digest, FEATURE_LEVEL, Proposal, RequestId,
    audit::{Actor, AskedBy, Face},
    command::{
        AdmitNode, AdvanceCa, AgreeTime, ClockReading, ConfirmTime, CreateToken, DecideJoin,
        RaiseFeatureLevel, RemoveNode, RenameNode, ReplaceNode, ReportNode, ReportStart, RequestJoin,
        RevokeToken, SetTelemetry, Tick,
    },
    raft_types::EncodedProposal,
    state::{Change, Method, StartId},
};

use crate::{
    replica::{self, Rows},
    sample,
    specimens::{self, variant},
};

/// Commands from small sets of ids, so that they meet each other.
fn command() -> impl Strategy<Value = Command> {
    let node = 1..=6_u8;
    let nonce = 1..=8_u8;
    let token = (1..=6_u8).prop_map(sample::token_of);
    let role = prop_oneof![Just(NodeRole::Management), Just(NodeRole::Spooler)];
    let method = prop_oneof![Just(Method::Online), Just(Method::Offline)];
    let kind = proptest::sample::select(ActivationKind::ALL.to_vec());
    prop_oneof![
        2 => Just(Command::InitCluster(sample::init())),
        8 => (node.clone(), token.clone(), role.clone()).prop_map(|(index, token, role)| {
            let secret_hash = sample::secret_hash(token);
            Command::AdmitNode(AdmitNode { token, secret_hash, role, ..sample::admit(index) })
        }),
        6 => (node.clone(), 0..4_u64, 1..=FEATURE_LEVEL, node.clone()).prop_map(|(index, start_counter, level, build)| {
            let build = Some(format!("11.{}.0", build / 3 + 2).parse().unwrap());
            Command::ReportNode(ReportNode { start_counter, feature_level: level, build, ..sample::report(index) })
        }),
        6 => (token.clone(), role, 0..20_u32).prop_map(|(id, role, days)| {
            let expires_at = sample::start().plus_days(days);
            Command::CreateToken(CreateToken { expires_at, ..sample::join_token(id, role) })
        }),
        2 => token.prop_map(|id| Command::RevokeToken(RevokeToken { id })),
        8 => (nonce.clone(), kind, method, node.clone()).prop_map(|(nonce, kind, method, nodes)| {
            Command::BeginActivation(sample::begin(nonce, kind, method, nodes))
        }),
        6 => nonce.clone().prop_map(|nonce| Command::RecordRequest(sample::record(nonce))),
        6 => (nonce.clone(), node, 1..5_u64).prop_map(|(nonce, nodes, serial)| {
            Command::InstallLicense(sample::install(nonce, nodes, serial))
        }),
        2 => nonce.prop_map(|nonce| Command::CloseActivation(sample::close(nonce))),
        3 => Just(Command::Tick(Tick {})),
        1 => (1..=FEATURE_LEVEL + 1).prop_map(|level| Command::RaiseFeatureLevel(RaiseFeatureLevel { level })),
        3 => (2..=6_u8).prop_map(|index| {
            let requested_by = "admin".to_owned();
            Command::RemoveNode(RemoveNode { node: sample::node_id(index), requested_by })
        }),
        3 => (1..=6_u8, 1..=8_u8).prop_map(|(index, name)| {
            Command::RenameNode(RenameNode { node: sample::node_id(index), name: sample::name(name) })
        }),
        12 => (1..=6_u8, 1..=6_u8, 1..=6_u8).prop_map(|(index, token, key)| {
            let token = sample::token_of(token);
            let joiner = AdmitNode {
                token,
                secret_hash: sample::secret_hash(token),
                key: sample::node_key(90 + key).public(),
                feature_level: FEATURE_LEVEL,
                ..sample::admit(index)
            };
            Command::ReplaceNode(ReplaceNode { replaced: sample::node_id(index), joiner })
        }),
        4 => (1..=6_u8, 0..4_u64, 0..3_u128).prop_map(|(index, start_counter, start)| {
            let report = ReportNode { start_counter, feature_level: FEATURE_LEVEL, ..sample::report(index) };
            Command::ReportStart(ReportStart { report, start: StartId(start) })
        }),
        8 => (1..=6_u8, 0..=1_u8).prop_map(|(index, issuer)| {
            Command::ReportCertificate(sample::report_certificate(index, issuer, &[0, 1]))
        }),
        3 => (0..3_u64).prop_map(|version| Command::RotateCa(sample::rotate_ca(version, 1))),
        4 => (0..4_u64).prop_map(|version| Command::AdvanceCa(AdvanceCa { version })),
        6 => (1..=8_u8, 5..=8_u8).prop_map(|(index, token)| {
            let token = sample::token_of(token);
            let (secret_hash, role) = (sample::secret_hash(token), NodeRole::Spooler);
            let joiner = AdmitNode { token, secret_hash, role, feature_level: 3, ..sample::admit(index) };
            Command::RequestJoin(RequestJoin { joiner })
        }),
        3 => (5..=8_u8).prop_map(|index| {
            Command::CreateToken(sample::approval_token(sample::token_of(index), NodeRole::Spooler))
        }),
        3 => any::<bool>().prop_map(|enabled| {
            Command::SetTelemetry(SetTelemetry { enabled, requested_by: "anna".to_owned() })
        }),
        4 => (1..=3_u32, collection::vec((1..=6_u8, prop_oneof![0..600_000_i64, 0..40 * DAY_MS]), 0..4)).prop_map(|(voters, clocks)| {
            let clocks: Vec<ClockReading> = clocks
                .into_iter()
                .map(|(index, ms)| ClockReading { node: sample::node_id(index), time: sample::start().plus_ms(ms) })
                .collect();
            Command::AgreeTime(AgreeTime { voters, others: clocks.clone(), clocks })
        }),
        2 => (0..600_000_i64).prop_map(|ms| {
            let since = sample::start().plus_ms(ms);
            Command::ConfirmTime(ConfirmTime { since, requested_by: "anna".to_owned() })
        }),
        6 => (5..=8_u8, any::<bool>()).prop_map(|(index, accept)| {
            let token = sample::token_of(index);
            Command::DecideJoin(DecideJoin { token, accept, decided_by: "anna".to_owned() })
        }),
    ]
}

/// One command, or an activation that goes through.
fn step() -> impl Strategy<Value = Vec<Command>> {
    let kind = proptest::sample::select(ActivationKind::ALL.to_vec());
    let activation = (1..=8_u8, kind, 2..=4_u8, 1..8_u64).prop_map(|(nonce, kind, nodes, serial)| {
        vec![
            Command::BeginActivation(sample::begin(nonce, kind, Method::Offline, nodes)),
            Command::RecordRequest(sample::record(nonce)),
            Command::InstallLicense(sample::install(nonce, nodes, serial)),
        ]
    });
    let approval = (5..=8_u8, any::<bool>()).prop_map(|(index, accept)| {
        let token = sample::token_of(index);
        let joiner = AdmitNode { feature_level: 3, ..sample::admit(index) };
        vec![
            Command::CreateToken(sample::approval_token(token, NodeRole::Spooler)),
            Command::RequestJoin(RequestJoin { joiner }),
            Command::DecideJoin(DecideJoin { token, accept, decided_by: "anna".to_owned() }),
        ]
    });
    prop_oneof![8 => command().prop_map(|command| vec![command]), 1 => activation, 1 => approval]
}

/// Proposals of which some repeat an earlier request, and whose leaders' clocks jump.
fn proposals() -> impl Strategy<Value = Vec<Proposal>> {
    let ms = prop_oneof![20 => 0..600_000_i64, 1 => 0..20 * DAY_MS];
    (collection::vec((0..200_u128, ms), 3), step()).prop_map(|(requests, commands)| {
        let proposals = requests.into_iter().zip(commands);
        let proposal = |((request, ms), command)| Proposal {
            request: RequestId(request),
            time: sample::start().plus_ms(ms),
            asked_by: asker(request),
            command,
        };
        proposals.map(proposal).collect()
    })
}

/// Every way to ask, by the request.
fn asker(request: u128) -> Option<AskedBy> {
    let actor = match request % 6 {
        0 => return None,
        1 => Actor::Node,
        2 => Actor::Local { uid: Some(0) },
        3 => Actor::Token(sample::ADMIN_TOKEN),
        4 => Actor::Token(sample::token_of(2)),
        _ => Actor::Joiner(sample::token_of(3)),
    };
    Some(AskedBy {
        actor,
        node: sample::node_id(1),
        face: Face::NodePort,
        address: Some("192.0.2.7:50".to_owned()),
    })
}

/// A log that begins with a cluster of a few nodes, so that most commands find something.
fn log() -> impl Strategy<Value = Vec<Proposal>> {
    (2..=4_u8, 1..=4_u32, collection::vec(proposals(), 1..60)).prop_map(|(nodes, level, random)| {
        let mut commands = vec![Command::InitCluster(sample::init())];
        for index in 2..=nodes {
            let token = sample::join_token(sample::token_of(index), sample::role(index));
            commands.extend([Command::CreateToken(token), Command::AdmitNode(sample::admit(index))]);
        }
        if level > 1 {
            commands.extend((1..=nodes).map(|index| {
                Command::ReportNode(ReportNode {
                    feature_level: level,
                    start_counter: 0,
                    ..sample::report(index)
                })
            }));
            commands.push(Command::RaiseFeatureLevel(RaiseFeatureLevel { level }));
            let token = sample::join_token(sample::token_of(6), NodeRole::Management);
            commands.push(Command::CreateToken(token));
        }
        let first = commands.into_iter().zip(1000..).map(|(command, request)| Proposal {
            request: RequestId(request),
            time: sample::start(),
            asked_by: None,
            command,
        });
        first.chain(random.into_iter().flatten()).collect()
    })
}

fn encode(log: &[Proposal]) -> Vec<EncodedProposal> {
    log.iter().map(|proposal| proposal.encode().unwrap()).collect()
}

/// Writes changes as the state machine does.
fn write(rows: &mut Rows, changes: Vec<Change>) {
    for change in changes {
        let before = match change.after {
            Some(after) => rows.insert(change.key, after),
            None => rows.remove(&change.key),
        };
        assert_eq!(before, change.before, "a change tells the row that it replaces");
    }
}

/// Applies the log in batches of `batch` entries and returns the rows that were written.
fn written(log: &[EncodedProposal], batch: usize) -> (Rows, Digest) {
    let (mut applier, mut rows) = (Applier::default(), Rows::new());
    for (number, entries) in log.chunks(batch).enumerate() {
        for (offset, entry) in entries.iter().enumerate() {
            applier.apply((number * batch + offset + 1) as u64, entry).unwrap();
        }
        write(&mut rows, applier.take_changes().unwrap());
        assert_eq!(applier.digest(), replica::digest(&rows), "kept row by row, and computed anew");
    }
    assert_eq!(applier.take_changes().unwrap(), [], "changes are taken once");
    assert_eq!(rows, replica::rows(applier.state()));
    (rows, applier.digest())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_same_log_gives_the_same_bytes_in_batches_of_any_size(log in log(), batch in 2..20_usize) {
        let log = encode(&log);
        let one_by_one = written(&log, 1);
        prop_assert_eq!(&written(&log, batch), &one_by_one);
        prop_assert_eq!(&written(&log, log.len()), &one_by_one);
    }

    #[test]
    fn a_replica_that_was_stopped_in_between_goes_on_the_same(log in log(), stop in any::<proptest::sample::Index>()) {
        let log = encode(&log);
        let stop = stop.index(log.len());
        let (rows, digest) = written(&log[..stop], 1);
        let mut resumed = Applier::resume(replica::load(&rows), digest);
        prop_assert_eq!(resumed.take_changes().unwrap(), []);
        let mut whole = Applier::default();
        for (entry, index) in log.iter().zip(1..) {
            let answer = whole.apply(index, entry).unwrap();
            if index > stop as u64 {
                prop_assert_eq!(resumed.apply(index, entry).unwrap(), answer);
            }
        }
        whole.take_changes().unwrap();
        resumed.take_changes().unwrap();
        prop_assert_eq!(resumed.digest(), whole.digest());
        prop_assert_eq!(replica::rows(resumed.state()), replica::rows(whole.state()));
    }

    #[test]
    fn every_log_keeps_the_invariants(log in log()) {
        let mut applier = Applier::default();
        let mut before = Seen::default();
        for (proposal, index) in log.iter().zip(1..) {
            let domain = domain(&applier);
            let answer = applier.apply(index, &proposal.encode().unwrap()).unwrap();
            if answer.result.is_err() {
                prop_assert_eq!(self::domain(&applier), domain, "refused: {:?}", answer.result);
            }
            before = before.follow(&applier);
        }
    }
}

#[test]
fn random_logs_reach_every_outcome_and_most_refusals() {
    let mut runner = TestRunner::deterministic();
    let (mut outcomes, mut refusals) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..200 {
        let log = log().new_tree(&mut runner).unwrap().current();
        let mut applier = Applier::default();
        for (entry, index) in encode(&log).iter().zip(1..) {
            match applier.apply(index, entry).unwrap().result {
                Ok(outcome) => outcomes.insert(variant(&outcome)),
                Err(refusal) => refusals.insert(refusal.code()),
            };
        }
    }
    let every: BTreeSet<String> = specimens::one_of_each_outcome().iter().skip(1).map(variant).collect();
    assert_eq!(outcomes, every);
    assert!(refusals.len() >= 15, "only {refusals:?}");
}

/// The rows without clock and remembered requests.
fn domain(applier: &Applier) -> Rows {
    replica::rows(applier.state())
        .into_iter()
        .filter(|(key, _)| !replica::BOOKKEEPING.contains(&key[0]))
        .collect()
}

/// What may only go up.
#[derive(Default)]
struct Seen {
    time: Timestamp,
    next_node: u64,
    level: u32,
    serial: u64,
    fence: u64,
    trust: u64,
    starts: BTreeMap<u64, u64>,
}

impl Seen {
    fn follow(self, applier: &Applier) -> Seen {
        let state = applier.state();
        assert!(state.time() >= self.time, "the clock never goes back");
        let open = state.activations().values().filter(|activation| activation.is_open()).count();
        assert!(open <= 1, "one activation is open at most");
        for activation in state.activations().values() {
            assert!(!activation.superseded.contains(&activation.nonce), "none supersedes itself");
        }
        let nodes = || state.nodes().values();
        for one in nodes() {
            for other in nodes().filter(|other| other.id != one.id) {
                assert!(
                    one.name != other.name && one.computer_id != other.computer_id && one.key != other.key
                );
            }
        }
        let starts: BTreeMap<u64, u64> =
            state.nodes().values().map(|node| (node.id.0, node.start_counter)).collect();
        for (id, counter) in &self.starts {
            let gone = state.is_gone(quorate_license::NodeId(*id));
            assert!(gone || starts[id] >= *counter, "a start counter never goes down");
        }
        for gone in state.tombstones().values() {
            assert!(state.is_gone(gone.id), "no id comes back");
        }
        for (id, start) in state.starts().iter() {
            let node = state.nodes().get(id).unwrap();
            assert!(start.counter <= node.start_counter, "a start is a member's");
        }
        let binding = state.binding().map(|installed| &installed.binding.claims);
        let cluster = state.cluster();
        let now = Seen {
            time: state.time(),
            next_node: cluster.map_or(0, |cluster| cluster.next_node_index),
            level: cluster.map_or(0, |cluster| cluster.feature_level),
            serial: binding.map_or(0, |binding| binding.serial.0),
            fence: binding.map_or(0, |binding| binding.fence.0),
            trust: state.trust_version(),
            starts,
        };
        assert!(
            now.next_node >= self.next_node && now.level >= self.level,
            "ids and levels are never taken back"
        );
        assert!(
            now.serial >= self.serial && now.fence >= self.fence,
            "no older license replaces a newer one"
        );
        assert!(now.trust >= self.trust, "nobody is led back to an older CA");
        for (id, _) in state.certificates().iter() {
            assert!(state.nodes().get(id).is_some(), "a certificate is a member's");
        }
        for node in state.nodes().values() {
            assert!(node.id.index() < now.next_node && node.feature_level >= now.level);
        }
        now
    }
}
