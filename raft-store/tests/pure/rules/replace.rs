//! A node is set up anew on the same computer.

use quorate_license::{NodeRole, Timestamp};
use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{AdmitNode, RemoveNode, ReplaceNode},
    state::{RemovalReason, TokenId},
};

use super::{Defect, refusals_keep_their_order};
use crate::{replica::Replica, sample};

const TOKEN: TokenId = TokenId(0x80);

/// Node 3 of three is replaced.
struct Case {
    removed_before: bool,
    at: Timestamp,
    replace: ReplaceNode,
}

/// A joiner for the place of node `index`.
fn replacement(index: u8) -> ReplaceNode {
    ReplaceNode {
        replaced: sample::node_id(index),
        joiner: AdmitNode {
            token: TOKEN,
            secret_hash: sample::secret_hash(TOKEN),
            key: sample::node_key(90 + index).public(),
            feature_level: 2,
            ..sample::admit(index)
        },
    }
}

fn good() -> Case {
    Case { removed_before: false, at: sample::start(), replace: replacement(3) }
}

fn cluster() -> Replica {
    let mut replica = Replica::activated(4);
    replica.raise_level(2);
    replica.accept(Command::CreateToken(sample::join_token(TOKEN, NodeRole::Management)));
    replica
}

fn run(case: &Case) -> Result<Outcome, Refusal> {
    let mut replica = cluster();
    if case.removed_before {
        let remove = RemoveNode { node: sample::node_id(3), requested_by: "anna".to_owned() };
        replica.accept(Command::RemoveNode(remove));
    }
    replica.now = case.at;
    replica.decide(Command::ReplaceNode(case.replace.clone()))
}

#[test]
fn every_refusal_has_its_place() {
    let defects = [
        Defect {
            name: "a wrong secret",
            excludes: &[],
            make: |case: &mut Case| case.replace.joiner.secret_hash[31] ^= 1,
            refusal: |_| Refusal::TokenUnknown,
        },
        Defect {
            name: "an expired token",
            excludes: &[],
            make: |case| case.at = sample::start().plus_days(1),
            refusal: |_| Refusal::TokenExpired(TOKEN),
        },
        Defect {
            name: "a node that was removed",
            excludes: &["an unknown node"],
            make: |case| case.removed_before = true,
            refusal: |_| Refusal::NodeRemoved { node: sample::name(3), at: sample::start() },
        },
        Defect {
            name: "an unknown node",
            excludes: &[],
            make: |case| case.replace.replaced = sample::node_id(9),
            refusal: |_| Refusal::NodeUnknown(sample::node_id(9)),
        },
        Defect {
            name: "another name",
            excludes: &[],
            make: |case| case.replace.joiner.name = sample::name(8),
            refusal: |_| Refusal::ReplacedNameDiffers { node: sample::name(3), asked: sample::name(8) },
        },
        Defect {
            name: "another computer",
            excludes: &[],
            make: |case| case.replace.joiner.computer_id = sample::computer_id(8),
            refusal: |_| Refusal::ReplacedComputerDiffers {
                node: sample::name(3),
                registered: sample::computer_id(3).to_string(),
                found: sample::computer_id(8).to_string(),
            },
        },
        Defect {
            name: "an agent that is too old",
            excludes: &[],
            make: |case| case.replace.joiner.feature_level = 1,
            refusal: |_| Refusal::FeatureLevelUnsupported { node: sample::name(3), supported: 1 },
        },
        Defect {
            name: "another member's key",
            excludes: &["the replaced node's own key"],
            make: |case| case.replace.joiner.key = sample::node_key(2).public(),
            refusal: |_| Refusal::NodeKeyInUse { holder: sample::name(2) },
        },
        Defect {
            name: "the replaced node's own key",
            excludes: &[],
            make: |case| case.replace.joiner.key = sample::node_key(3).public(),
            refusal: |_| Refusal::NodeKeyInUse { holder: sample::name(3) },
        },
    ];
    refusals_keep_their_order(good, run, &defects);
}

#[test]
fn a_replacement_in_another_role_is_refused() {
    let mut replica = Replica::with_nodes(4);
    replica.raise_level(2);
    replica.accept(Command::CreateToken(sample::join_token(TOKEN, NodeRole::Spooler)));
    let mut replace = replacement(3);
    replace.joiner.role = NodeRole::Spooler;
    let refused = Refusal::ReplacedRoleDiffers {
        node: sample::name(3),
        role: NodeRole::Management,
        asked: NodeRole::Spooler,
    };
    assert_eq!(replica.decide(Command::ReplaceNode(replace)), Err(refused));
}

#[test]
fn a_replacement_takes_name_and_computer_under_a_new_id_and_keeps_the_license() {
    let mut replica = cluster();
    replica.now = sample::start().plus_ms(5000);
    let outcome = replica.accept(Command::ReplaceNode(replacement(3)));
    let (new, old) = (sample::node_id(5), sample::node_id(3));
    assert_eq!(outcome, Outcome::NodeReplaced { node: new, replaced: old });

    let state = replica.state();
    assert!(state.is_gone(old));
    let node = state.nodes().get(&new).unwrap();
    assert_eq!((&node.name, node.computer_id), (&sample::name(3), sample::computer_id(3)));
    assert_eq!((node.key, node.start_counter), (sample::node_key(93).public(), 0));
    let gone = state.tombstones().get(&old).unwrap();
    assert_eq!((gone.removed_at, &gone.reason), (replica.now, &RemovalReason::Replaced { by: new }));
    assert_eq!(state.cluster().unwrap().first_license_node, sample::node_id(1));
    let license = state.licenses().values().next().unwrap();
    assert_eq!(license.reactivation_required_since, None, "the binding knows a node by its computer");

    let rows = replica.domain_rows();
    assert_eq!(replica.decide(Command::ReplaceNode(replacement(3))), Ok(outcome), "a repeat after a crash");
    assert_eq!(replica.domain_rows(), rows);
}

#[test]
fn the_first_license_node_stays_the_first_under_its_new_id() {
    let mut replica = cluster();
    let outcome = replica.accept(Command::ReplaceNode(replacement(1)));
    let (new, old) = (sample::node_id(5), sample::node_id(1));
    assert_eq!(outcome, Outcome::NodeReplaced { node: new, replaced: old });
    assert_eq!(replica.state().cluster().unwrap().first_license_node, new);
}
