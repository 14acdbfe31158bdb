//! A node tells what is new about it.

use quorate_license::{NodeId, NodeRole};
use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{AdmitNode, ReportNode, ReportStart},
    state::StartId,
};

use super::{Defect, refusals_keep_their_order};
use crate::{replica::Replica, sample};

/// Node 2 of three reports its fifth start; its fourth is known.
fn good() -> ReportNode {
    ReportNode { start_counter: 5, ..sample::report(2) }
}

fn run(report: &ReportNode) -> Result<Outcome, Refusal> {
    let mut replica = Replica::with_nodes(3);
    replica.accept(Command::ReportNode(ReportNode { start_counter: 4, ..sample::report(2) }));
    replica.decide(Command::ReportNode(report.clone()))
}

#[test]
fn every_refusal_has_its_place() {
    let defects = [
        Defect {
            name: "an unknown node",
            excludes: &[],
            make: |report: &mut ReportNode| report.node = NodeId::new(1, 9),
            refusal: |_| Refusal::NodeUnknown(NodeId::new(1, 9)),
        },
        Defect {
            name: "an earlier start",
            excludes: &[],
            make: |report| report.start_counter = 3,
            refusal: |_| Refusal::NodeStartOutdated { node: sample::name(2), current: 4, reported: 3 },
        },
        Defect {
            name: "a computer ID that is in use",
            excludes: &[],
            make: |report| report.computer_id = sample::computer_id(3),
            refusal: |_| Refusal::ComputerIdInUse {
                computer_id: sample::computer_id(3).to_string(),
                holder: sample::name(3),
            },
        },
        Defect {
            name: "an agent that is too old",
            excludes: &[],
            make: |report| report.feature_level = 0,
            refusal: |_| Refusal::FeatureLevelUnsupported { node: sample::name(2), supported: 0 },
        },
    ];
    refusals_keep_their_order(good, run, &defects);
}

#[test]
fn the_start_counter_stays_or_goes_up() {
    let mut replica = Replica::with_nodes(2);
    let mut report = |start_counter| {
        replica.decide(Command::ReportNode(ReportNode { start_counter, ..sample::report(2) }))
    };
    assert_eq!(report(7), Ok(Outcome::NodeReported));
    assert_eq!(report(7), Ok(Outcome::NodeReported), "several reports in one start");
    assert_eq!(report(8), Ok(Outcome::NodeReported));
    let outdated = Refusal::NodeStartOutdated { node: sample::name(2), current: 8, reported: 7 };
    assert_eq!(report(7), Err(outdated), "the copy that started first is named");
}

#[test]
fn a_report_changes_what_a_node_may_change() {
    let mut replica = Replica::with_nodes(2);
    let before = replica.state().nodes().get(&sample::node_id(2)).unwrap().clone();
    replica.now = sample::start().plus_ms(90_000);
    let report = ReportNode {
        computer_id: sample::computer_id(7),
        build: Some("11.3.0".parse().unwrap()),
        agent_version: "0.2.0".to_owned(),
        feature_level: 2,
        addresses: sample::addresses(7),
        host: sample::host(7),
        ..sample::report(2)
    };
    replica.accept(Command::ReportNode(report.clone()));

    let node = replica.state().nodes().get(&sample::node_id(2)).unwrap();
    assert_eq!((node.computer_id, &node.build), (report.computer_id, &report.build));
    assert_eq!((&node.agent_version, node.feature_level), (&report.agent_version, 2));
    assert_eq!((&node.addresses, &node.host), (&report.addresses, &report.host));
    assert_eq!((node.start_counter, node.reported_at), (1, replica.now));
    assert_eq!((node.id, &node.name, node.role), (before.id, &before.name, NodeRole::Management));
    assert_eq!((node.key, node.joined_at, node.joined_by), (before.key, before.joined_at, before.joined_by));
}

#[test]
fn a_computer_id_that_a_node_gave_up_is_free() {
    let mut replica = Replica::with_nodes(2);
    let moved = ReportNode { computer_id: sample::computer_id(7), ..sample::report(2) };
    replica.accept(Command::ReportNode(moved));
    replica.accept(Command::CreateToken(sample::join_token(sample::token_of(3), NodeRole::Management)));
    let admit = AdmitNode { computer_id: sample::computer_id(2), ..sample::admit(3) };
    assert!(replica.decide(Command::AdmitNode(admit)).is_ok());
}

fn start(counter: u64, id: u128) -> Command {
    let report = ReportNode { start_counter: counter, feature_level: 2, ..sample::report(2) };
    Command::ReportStart(ReportStart { report, start: StartId(id) })
}

/// A table of what is reported in turn, and what is said to it.
#[test]
fn no_start_counter_belongs_to_two_starts() {
    let repeated = |counter| Err(Refusal::NodeStartRepeated { node: sample::name(2), counter });
    let outdated =
        |current, reported| Err(Refusal::NodeStartOutdated { node: sample::name(2), current, reported });
    let fine = Ok(Outcome::NodeReported);
    let mut replica = Replica::with_nodes(3);
    replica.raise_level(2);
    for (counter, id, expected, why) in [
        (1, 0xa, fine.clone(), "reported at the older level before, without an id"),
        (1, 0xa, fine.clone(), "several reports in one start"),
        (1, 0xb, repeated(1), "a copy that counted up to the same number"),
        (2, 0xc, fine.clone(), "the next start"),
        (2, 0xa, repeated(2), "an id counts for one start only"),
        (1, 0xa, outdated(2, 1), "the earlier start, which still runs"),
        (2, 0xc, fine.clone(), "the present one goes on"),
        (9, 0xd, fine, "starts that reported nothing lie between"),
    ] {
        assert_eq!(replica.decide(start(counter, id)), expected, "{why}");
    }
    let known = replica.state().starts().get(&sample::node_id(2)).unwrap();
    assert_eq!((known.counter, known.id), (9, StartId(0xd)));
    let unknown = ReportNode { node: sample::node_id(9), ..sample::report(2) };
    let report = Command::ReportStart(ReportStart { report: unknown, start: StartId(1) });
    assert_eq!(replica.decide(report), Err(Refusal::NodeUnknown(sample::node_id(9))));
}
