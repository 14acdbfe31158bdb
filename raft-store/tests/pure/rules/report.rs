//! A node tells what is new about it.

use quorate_license::{NodeId, NodeRole};
use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{AdmitNode, ReportNode},
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
