//! A node gets another name.

use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{RemoveNode, RenameNode},
};

use super::{Defect, refusals_keep_their_order};
use crate::{replica::Replica, sample};

/// Node `node` of a cluster of four gets a name.
struct Case {
    level: u32,
    removed_before: bool,
    node: u8,
    name: &'static str,
}

fn rename(index: u8, name: &str) -> Command {
    Command::RenameNode(RenameNode { node: sample::node_id(index), name: name.parse().unwrap() })
}

fn run(case: &Case) -> Result<Outcome, Refusal> {
    let mut replica = Replica::with_nodes(4);
    replica.raise_level(case.level);
    if case.removed_before {
        let node = sample::node_id(case.node);
        replica.accept(Command::RemoveNode(RemoveNode { node, requested_by: "anna".to_owned() }));
    }
    replica.decide(rename(case.node, case.name))
}

fn good() -> Case {
    Case { level: 3, removed_before: false, node: 3, name: "printing-west" }
}

#[test]
fn every_refusal_has_its_place() {
    let defects = [
        Defect {
            name: "a cluster of an older level",
            excludes: &[],
            make: |case: &mut Case| case.level = 2,
            refusal: |_| Refusal::FeatureLevelTooLow { needed: 3, current: 2 },
        },
        Defect {
            name: "a node that was removed before",
            excludes: &["an unknown node"],
            make: |case| case.removed_before = true,
            refusal: |case| Refusal::NodeRemoved { node: sample::name(case.node), at: sample::start() },
        },
        Defect {
            name: "an unknown node",
            excludes: &[],
            make: |case| case.node = 9,
            refusal: |_| Refusal::NodeUnknown(sample::node_id(9)),
        },
        Defect {
            name: "the name of another node",
            excludes: &[],
            make: |case| case.name = "node-2",
            refusal: |_| Refusal::NodeNameTaken { name: sample::name(2), holder: sample::node_id(2) },
        },
    ];
    refusals_keep_their_order(good, run, &defects);
}

#[test]
fn a_renamed_node_is_the_same_node_and_its_old_name_is_free() {
    let mut replica = Replica::with_nodes(3);
    replica.raise_level(3);
    let before = replica.state().nodes().get(&sample::node_id(2)).unwrap().clone();
    let renamed = Outcome::NodeRenamed { node: before.id };
    assert_eq!(replica.accept(rename(2, "printing-west")), renamed);
    let after = replica.state().nodes().get(&before.id).unwrap().clone();
    assert_eq!(after.name.as_str(), "printing-west");
    assert_eq!(quorate_raft_store::state::Node { name: before.name.clone(), ..after }, before);
    assert!(replica.state().node_named(&before.name).is_none());

    // Again, and its own old name for another one.
    assert_eq!(replica.accept(rename(2, "printing-west")), renamed);
    replica.accept(rename(3, before.name.as_str()));
    assert_eq!(replica.state().node_named(&before.name).unwrap().id, sample::node_id(3));
}
