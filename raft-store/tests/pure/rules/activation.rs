//! An activation, from intent to outcome.

use quorate_license::{ActivationKind, IntegrityScope, NodeId, Serial, TenantId};
use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{BeginActivation, InitCluster},
    state::{Activation, ActivationState, Method, Policy},
};

use super::{Defect, refusals_keep_their_order};
use crate::{replica::Replica, sample};

/// Closed activations that are kept.
const KEPT: usize = 100;

/// A cluster of three nodes begins an activation with nonce 2.
struct Case {
    policy: Policy,
    /// It has been activated, with nonce 1.
    activated: bool,
    /// An activation with nonce 9 has been sent to the portal, this way.
    sent: Option<Method>,
    begin: BeginActivation,
}

fn good() -> Case {
    Case {
        policy: Policy { integrity_scope: IntegrityScope::All, expected_nodes: Some(3) },
        activated: false,
        sent: Some(Method::Offline),
        begin: sample::begin(2, ActivationKind::Activate, Method::Online, 3),
    }
}

fn good_upgrade() -> Case {
    Case { activated: true, begin: sample::begin(2, ActivationKind::Upgrade, Method::Online, 3), ..good() }
}

fn run(case: &Case) -> Result<Outcome, Refusal> {
    let mut replica = if case.activated { Replica::activated(3) } else { Replica::with_nodes(3) };
    if let Some(method) = case.sent {
        replica.request(9, ActivationKind::Reactivate, method);
    }
    // The policy comes last, so that it doesn't stand in the way of the state that the case needs.
    replica.set_policy(case.policy.clone());
    replica.decide(Command::BeginActivation(case.begin.clone()))
}

fn common_defects() -> [Defect<Case>; 3] {
    [
        Defect {
            name: "another activation was sent to the portal",
            excludes: &[],
            make: |case| case.sent = Some(Method::Online),
            refusal: |_| Refusal::ActivationInProgress {
                kind: "reactivate".to_owned(),
                nonce: sample::nonce(9),
            },
        },
        Defect {
            name: "fewer nodes than expected",
            excludes: &[],
            make: |case| case.policy.expected_nodes = Some(4),
            refusal: |_| Refusal::FewerNodesThanExpected { present: 3, expected: 4 },
        },
        Defect {
            name: "other nodes than confirmed",
            excludes: &[],
            make: |case| case.begin.nodes.truncate(2),
            refusal: |_| Refusal::NodesChanged,
        },
    ]
}

fn led_by_another_node() -> Defect<Case> {
    Defect {
        name: "led by another node",
        excludes: &[],
        make: |case| case.begin.leader = sample::node_id(2),
        refusal: |_| Refusal::NotFirstLicenseNode { asked: sample::node_id(2), first: sample::node_id(1) },
    }
}

#[test]
fn every_refusal_of_a_first_activation_has_its_place() {
    let activated = Defect {
        name: "activated already",
        excludes: &[],
        make: |case: &mut Case| case.activated = true,
        refusal: |_| Refusal::AlreadyActivated { support_id: sample::support_id() },
    };
    let [sent, fewer, changed] = common_defects();
    let defects = [led_by_another_node(), activated, sent, fewer, changed];
    refusals_keep_their_order(good, run, &defects);
}

#[test]
fn every_refusal_of_an_upgrade_has_its_place() {
    let not_activated = Defect {
        name: "not activated yet",
        excludes: &[],
        make: |case: &mut Case| case.activated = false,
        refusal: |case| Refusal::NotActivated { kind: case.begin.kind },
    };
    let [sent, fewer, changed] = common_defects();
    let defects = [led_by_another_node(), not_activated, sent, fewer, changed];
    refusals_keep_their_order(good_upgrade, run, &defects);
}

#[test]
fn each_kind_has_its_time() {
    use ActivationKind::*;
    let already = || Err(Refusal::AlreadyActivated { support_id: sample::support_id() });
    let not_yet = |kind| Err(Refusal::NotActivated { kind });
    let opened = || Ok(Outcome::ActivationOpened { nonce: sample::nonce(2) });
    for (kind, before, after) in [
        (Activate, opened(), already()),
        (Trial, opened(), already()),
        (Upgrade, not_yet(Upgrade), opened()),
        (Reactivate, opened(), opened()),
        (Transfer, not_yet(Transfer), opened()),
    ] {
        let begin = Command::BeginActivation(sample::begin(2, kind, Method::Online, 2));
        assert_eq!(
            Replica::with_nodes(2).decide(begin.clone()),
            before,
            "{kind} before the first activation"
        );
        assert_eq!(Replica::activated(2).decide(begin), after, "{kind} after it");
    }
}

#[test]
fn the_nodes_are_confirmed_one_by_one_and_in_order() {
    let mut replica = Replica::with_nodes(3);
    let id = sample::node_id;
    for nodes in [
        vec![],
        vec![id(1), id(2)],
        vec![id(1), id(2), id(3), id(4)],
        vec![id(1), id(3), id(2)],
        vec![id(1), id(2), id(2)],
        vec![id(1), id(2), NodeId::new(2, 3)],
    ] {
        let begin = BeginActivation { nodes, ..sample::begin(2, ActivationKind::Trial, Method::Online, 3) };
        assert_eq!(replica.decide(Command::BeginActivation(begin)), Err(Refusal::NodesChanged));
    }
}

#[test]
fn only_nodes_in_scope_are_bound_and_all_that_joined_are_counted() {
    let policy = Policy { integrity_scope: IntegrityScope::Management, expected_nodes: Some(4) };
    let mut replica = Replica::initialized_by(InitCluster { policy, ..sample::init() });
    replica.join_up_to(2);
    let spooler = sample::join_token(sample::token_of(4), sample::role(4));
    replica.accept(Command::CreateToken(spooler));
    replica.accept(Command::AdmitNode(sample::admit(4)));

    let begin =
        |nodes| Command::BeginActivation(sample::begin(2, ActivationKind::Activate, Method::Online, nodes));
    let fewer = Refusal::FewerNodesThanExpected { present: 3, expected: 4 };
    assert_eq!(replica.decide(begin(2)), Err(fewer), "one Management Server is still to come");
    replica.accept(Command::CreateToken(sample::join_token(sample::token_of(3), sample::role(3))));
    replica.accept(Command::AdmitNode(sample::admit(3)));
    let members: Vec<_> = replica.state().nodes().values().map(|node| node.id).collect();
    let management = vec![members[0], members[1], members[3]];
    let confirmed = BeginActivation {
        nodes: management,
        ..sample::begin(2, ActivationKind::Activate, Method::Online, 3)
    };
    assert_eq!(replica.decide(begin(4)), Err(Refusal::NodesChanged), "the Spooler Controller isn't bound");
    assert!(replica.decide(Command::BeginActivation(confirmed)).is_ok());
}

fn row(replica: &Replica, nonce: u8) -> &Activation {
    replica.state().activations().get(&sample::nonce(nonce)).unwrap()
}

#[test]
fn a_new_activation_holds_what_was_asked_for() {
    let mut replica = Replica::with_nodes(2);
    let begin = sample::begin(1, ActivationKind::Activate, Method::Online, 2);
    replica.accept(Command::BeginActivation(begin.clone()));
    let expected = Activation {
        nonce: begin.nonce,
        kind: begin.kind,
        tenant: begin.tenant,
        method: begin.method,
        nodes: begin.nodes,
        requested_by: begin.requested_by,
        key_last5: begin.key_last5,
        sealed_key: begin.sealed_key,
        superseded: Vec::new(),
        opened_at: sample::start(),
        state: ActivationState::Opened,
    };
    assert_eq!(replica.state().open_activation(), Some(&expected));
    assert!(expected.is_open() && expected.closed_at().is_none());
}

#[test]
fn a_newer_activation_supersedes_one_that_may_give_way_and_lists_all_before_it() {
    let mut replica = Replica::with_nodes(2);
    replica.request(1, ActivationKind::Activate, Method::Offline);
    replica.now = sample::start().plus_ms(1000);
    replica.begin(2, ActivationKind::Activate, Method::Online);
    let gone = ActivationState::Superseded { by: sample::nonce(2), at: replica.now };
    assert_eq!(row(&replica, 1).state, gone);
    assert_eq!(row(&replica, 2).superseded, [sample::nonce(1)]);

    // Number 2 was to be online, but nothing was sent yet.
    replica.begin(3, ActivationKind::Activate, Method::Offline);
    assert_eq!(row(&replica, 1).state, gone, "a closed one stays as it is");
    assert_eq!(row(&replica, 2).closed_at(), Some(replica.now));
    assert_eq!(row(&replica, 2).sealed_key, None, "the activation key is kept no longer than needed");
    assert_eq!(row(&replica, 3).superseded, [sample::nonce(1), sample::nonce(2)]);
    assert_eq!(replica.state().open_activation().unwrap().nonce, sample::nonce(3));
    assert_eq!(replica.state().activations().values().filter(|activation| activation.is_open()).count(), 1);
}

#[test]
fn an_activation_that_ended_is_not_superseded() {
    let mut replica = Replica::with_nodes(2);
    replica.request(1, ActivationKind::Activate, Method::Online);
    replica.accept(Command::CloseActivation(sample::close(1)));
    replica.begin(2, ActivationKind::Activate, Method::Online);
    assert_eq!(row(&replica, 2).superseded, []);
    assert!(matches!(row(&replica, 1).state, ActivationState::Refused { .. }));
}

#[test]
fn a_repeated_intent_changes_nothing_and_a_nonce_is_used_once() {
    let mut replica = Replica::with_nodes(2);
    let begin = sample::begin(1, ActivationKind::Activate, Method::Offline, 2);
    let opened = Ok(Outcome::ActivationOpened { nonce: sample::nonce(1) });
    assert_eq!(replica.decide(Command::BeginActivation(begin.clone())), opened);
    let before = replica.domain_rows();
    assert_eq!(replica.decide(Command::BeginActivation(begin.clone())), opened);
    assert_eq!(replica.domain_rows(), before, "it doesn't supersede itself");
    replica.accept(Command::RecordRequest(sample::record(1)));
    let before = replica.domain_rows();
    assert_eq!(replica.decide(Command::BeginActivation(begin.clone())), opened);
    assert_eq!(replica.domain_rows(), before, "what was recorded stays");

    let taken = Err(Refusal::NoOpenActivation(sample::nonce(1)));
    for other in [
        BeginActivation { kind: ActivationKind::Trial, ..begin.clone() },
        BeginActivation { tenant: "acme".parse().unwrap(), ..begin.clone() },
        BeginActivation { method: Method::Online, ..begin.clone() },
        BeginActivation { nodes: vec![], ..begin.clone() },
    ] {
        assert_eq!(replica.decide(Command::BeginActivation(other)), taken);
    }
    replica.accept(Command::CloseActivation(sample::close(1)));
    assert_eq!(replica.decide(Command::BeginActivation(begin)), taken, "an outcome is never overwritten");
}

/// How far the activation with nonce 1 is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    Unknown,
    Opened,
    Requested,
    Installed,
    Refused,
    Superseded,
}

fn at(stage: Stage) -> Replica {
    let mut replica = Replica::with_nodes(2);
    if stage != Stage::Unknown {
        replica.begin(1, ActivationKind::Activate, Method::Offline);
    }
    if !matches!(stage, Stage::Unknown | Stage::Opened) {
        replica.accept(Command::RecordRequest(sample::record(1)));
    }
    match stage {
        Stage::Unknown | Stage::Opened | Stage::Requested => {}
        Stage::Installed => drop(replica.accept(Command::InstallLicense(sample::install(1, 2, 1)))),
        Stage::Refused => drop(replica.accept(Command::CloseActivation(sample::close(1)))),
        Stage::Superseded => replica.begin(2, ActivationKind::Activate, Method::Offline),
    }
    replica
}

#[test]
fn every_stage_of_an_activation_allows_what_the_table_says() {
    let not_open = || Err(Refusal::NoOpenActivation(sample::nonce(1)));
    let recorded = || Ok(Outcome::RequestRecorded);
    let installed = || Ok(Outcome::LicenseInstalled { support_id: sample::support_id(), serial: Serial(1) });
    let closed = || Ok(Outcome::ActivationClosed);
    for (stage, record, install, close) in [
        (Stage::Unknown, not_open(), not_open(), not_open()),
        (Stage::Opened, recorded(), not_open(), closed()),
        (Stage::Requested, not_open(), installed(), closed()),
        (Stage::Installed, not_open(), installed(), closed()),
        (Stage::Refused, not_open(), not_open(), closed()),
        (Stage::Superseded, not_open(), not_open(), closed()),
    ] {
        let decide = |command| at(stage).decide(command);
        assert_eq!(decide(Command::RecordRequest(sample::record(1))), record, "record when {stage:?}");
        assert_eq!(
            decide(Command::InstallLicense(sample::install(1, 2, 1))),
            install,
            "install when {stage:?}"
        );
        assert_eq!(decide(Command::CloseActivation(sample::close(1))), close, "close when {stage:?}");
    }
}

#[test]
fn closing_what_is_closed_changes_nothing() {
    for stage in [Stage::Installed, Stage::Refused, Stage::Superseded] {
        let mut replica = at(stage);
        let before = replica.domain_rows();
        let mut close = sample::close(1);
        close.code = "another".to_owned();
        replica.accept(Command::CloseActivation(close));
        assert_eq!(replica.domain_rows(), before, "{stage:?}");
    }
}

#[test]
fn the_activation_key_is_kept_until_the_request_holds_it() {
    for (stage, key, request) in [
        (Stage::Opened, true, false),
        (Stage::Requested, false, true),
        (Stage::Refused, false, false),
        (Stage::Installed, false, false),
        (Stage::Superseded, false, false),
    ] {
        let replica = at(stage);
        let activation = row(&replica, 1);
        assert_eq!(activation.sealed_key.is_some(), key, "{stage:?}");
        assert_eq!(matches!(activation.state, ActivationState::Requested { .. }), request, "{stage:?}");
        assert_eq!(activation.key_last5.as_deref(), Some("7K2M9"), "{stage:?}");
    }
    let mut replica = Replica::with_nodes(2);
    replica.begin(1, ActivationKind::Activate, Method::Online);
    replica.accept(Command::CloseActivation(sample::close(1)));
    assert_eq!(row(&replica, 1).sealed_key, None, "refused before a request was made");
}

#[test]
fn the_last_100_outcomes_are_kept_and_the_open_activation() {
    let mut replica = Replica::activated(1);
    for nonce in 2..=KEPT as u8 + 20 {
        replica.now = replica.now.plus_ms(1);
        replica.begin(nonce, ActivationKind::Reactivate, Method::Online);
        replica.accept(Command::CloseActivation(sample::close(nonce)));
    }
    replica.begin(0xee, ActivationKind::Reactivate, Method::Online);
    let kept: Vec<u8> =
        replica.state().activations().values().map(|activation| activation.nonce.0[0]).collect();
    let expected: Vec<u8> = (21..=120).chain([0xee]).collect();
    assert_eq!(kept, expected);
    assert_eq!(replica.state().open_activation().unwrap().tenant, TenantId::default_tenant());
}
