//! A living node leaves, and what is remembered of it.

use quorate_license::{ActivationKind, NodeRole};
use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{AdmitNode, RemoveNode},
    state::{Method, RemovalReason},
};

use super::{Defect, refusals_keep_their_order};
use crate::{replica::Replica, sample};

/// Node `node` is removed from a cluster of `nodes`.
struct Case {
    nodes: u8,
    level: u32,
    removed_before: bool,
    activating: bool,
    node: u8,
}

fn remove(index: u8) -> Command {
    Command::RemoveNode(RemoveNode { node: sample::node_id(index), requested_by: "anna".to_owned() })
}

fn run(case: &Case) -> Result<Outcome, Refusal> {
    let mut replica = Replica::with_nodes(case.nodes);
    if case.level > 1 {
        replica.raise_level(case.level);
    }
    if case.removed_before {
        replica.accept(remove(case.node));
    }
    if case.activating {
        let begin = sample::begin(1, ActivationKind::Activate, Method::Online, replica.highest());
        replica.accept(Command::BeginActivation(quorate_raft_store::command::BeginActivation {
            nodes: replica.state().nodes().values().map(|node| node.id).collect(),
            ..begin
        }));
        replica.accept(Command::RecordRequest(sample::record(1)));
    }
    replica.decide(remove(case.node))
}

fn good() -> Case {
    Case { nodes: 4, level: 2, removed_before: false, activating: false, node: 3 }
}

#[test]
fn every_refusal_has_its_place() {
    let defects = [
        Defect {
            name: "a cluster of an older level",
            excludes: &["a node that was removed before"],
            make: |case: &mut Case| case.level = 1,
            refusal: |_| Refusal::FeatureLevelTooLow { needed: 2, current: 1 },
        },
        Defect {
            name: "a node that was removed before",
            excludes: &["an unknown node", "the first license node"],
            make: |case| case.removed_before = true,
            refusal: |case| Refusal::NodeRemoved { node: sample::name(case.node), at: sample::start() },
        },
        Defect {
            name: "an unknown node",
            excludes: &["the first license node", "an activation that binds it"],
            make: |case| case.node = 9,
            refusal: |_| Refusal::NodeUnknown(sample::node_id(9)),
        },
        Defect {
            name: "the first license node",
            excludes: &[],
            make: |case| case.node = 1,
            refusal: |_| Refusal::FirstLicenseNode { node: sample::name(1) },
        },
        Defect {
            name: "an activation that binds it",
            excludes: &[],
            make: |case| case.activating = true,
            refusal: |_| Refusal::ActivationInProgress {
                kind: "activate".to_owned(),
                nonce: sample::nonce(1),
            },
        },
    ];
    refusals_keep_their_order(good, run, &defects);
}

#[test]
fn a_removed_node_leaves_a_tombstone_and_frees_name_and_computer() {
    let mut replica = Replica::with_nodes(4);
    replica.raise_level(2);
    replica.now = sample::start().plus_ms(5000);
    let before = replica.state().nodes().get(&sample::node_id(3)).unwrap().clone();
    assert_eq!(replica.accept(remove(3)), Outcome::NodeRemoved { node: sample::node_id(3) });

    let state = replica.state();
    assert!(state.nodes().get(&sample::node_id(3)).is_none());
    let gone = state.tombstones().get(&sample::node_id(3)).unwrap();
    assert_eq!((gone.id, &gone.name, gone.role), (before.id, &before.name, NodeRole::Management));
    assert_eq!(
        (gone.key, gone.computer_id, &gone.addresses),
        (before.key, before.computer_id, &before.addresses)
    );
    assert_eq!(gone.removed_at, replica.now);
    assert_eq!(gone.reason, RemovalReason::Removed { requested_by: "anna".to_owned() });
    assert!(state.is_gone(sample::node_id(3)) && !state.is_gone(sample::node_id(2)));
    assert!(!state.is_gone(sample::node_id(5)), "an id that was not given yet is not gone");

    // The same machine joins again: a new member with a new id.
    let token = sample::token_of(9);
    replica.accept(Command::CreateToken(sample::join_token(token, NodeRole::Management)));
    let again = AdmitNode {
        token,
        secret_hash: sample::secret_hash(token),
        key: sample::node_key(9).public(),
        feature_level: 2,
        ..sample::admit(3)
    };
    let outcome = replica.accept(Command::AdmitNode(again));
    assert_eq!(outcome, Outcome::NodeAdmitted { node: sample::node_id(5) }, "ids are counted on");
}

#[test]
fn the_joiner_of_a_removed_node_can_not_repeat_its_request() {
    let mut replica = Replica::with_nodes(3);
    replica.raise_level(2);
    replica.accept(remove(3));
    let used = Refusal::TokenUsed { token: sample::token_of(3), node: sample::node_id(3) };
    assert_eq!(replica.decide(Command::AdmitNode(sample::admit(3))), Err(used));
}

#[test]
fn the_last_management_server_stays() {
    // The first license node is a Spooler Controller here, which no command makes.
    let mut replica = Replica::with_nodes(4);
    replica.raise_level(2);
    replica.accept(remove(2));
    replica.accept(remove(3));
    replica.set_first_license_node(4);
    let refused = Refusal::LastManagementServer { node: sample::name(1) };
    assert_eq!(replica.decide(remove(1)), Err(refused));
}

#[test]
fn a_removed_node_is_missed_by_the_license_when_more_are_gone_than_tolerated() {
    let mut replica = Replica::activated(4);
    replica.raise_level(2);
    let since =
        |replica: &Replica| replica.state().licenses().values().next().unwrap().reactivation_required_since;
    replica.accept(remove(4));
    assert_eq!(since(&replica), None, "the binding tolerates one");
    replica.now = sample::start().plus_ms(9000);
    replica.accept(remove(3));
    assert_eq!(since(&replica), Some(replica.now));
}

#[test]
fn tombstones_are_bounded_and_ids_are_never_reused() {
    let mut replica = Replica::with_nodes(1);
    replica.raise_level(2);
    for index in 2..=1100_u64 {
        replica.now = sample::start().plus_ms(i64::try_from(index).unwrap());
        let admit = super::admit::spooler(index);
        replica.accept(Command::CreateToken(sample::join_token(admit.token, NodeRole::Spooler)));
        let admit = AdmitNode { feature_level: 2, ..admit };
        let node = quorate_license::NodeId::new(1, index);
        assert_eq!(replica.accept(Command::AdmitNode(admit)), Outcome::NodeAdmitted { node });
        replica.accept(Command::RemoveNode(RemoveNode { node, requested_by: "anna".to_owned() }));
    }
    let state = replica.state();
    assert_eq!((state.tombstones().len(), state.nodes().len()), (1024, 1));
    let first = state.tombstones().values().next().unwrap().id;
    assert_eq!(first.index(), 1100 - 1024 + 1, "the oldest are forgotten");
    let forgotten = quorate_license::NodeId::new(1, 2);
    assert!(state.is_gone(forgotten), "and are gone all the same");
}
