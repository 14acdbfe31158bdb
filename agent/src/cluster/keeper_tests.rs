//! What the leader does next, as a table: one row for each step and for each precedence between two.

use super::*;

fn id(index: u64) -> NodeId {
    NodeId::new(1, index)
}

fn ids<const N: usize>(indexes: [u64; N]) -> BTreeSet<NodeId> {
    indexes.into_iter().map(id).collect()
}

/// Three Management Servers that vote, a Spooler Controller, all there; node 1 leads.
fn calm() -> Picture {
    let role = |index| if index == 4 { NodeRole::Spooler } else { NodeRole::Management };
    Picture {
        own: id(1),
        settled: true,
        joint: false,
        voters: ids([1, 2, 3]),
        members: ids([1, 2, 3, 4]),
        admitted: (1..=4).map(|index| (id(index), role(index))).collect(),
        heard: ids([1, 2, 3, 4]),
        steady: ids([4]),
        ..Picture::default()
    }
}

/// Node `index` has a tombstone.
fn without(index: u64, mut see: Picture) -> Picture {
    see.admitted.remove(&id(index));
    see.gone.insert(id(index));
    see
}

fn joins(index: u64, mut see: Picture) -> Picture {
    see.admitted.insert(id(index), NodeRole::Management);
    see
}

#[test]
fn changes_come_one_after_the_other_and_those_who_leave_come_first() {
    let learner = |mut see: Picture| {
        see.members.insert(id(5));
        joins(5, see)
    };
    let steady = |see: Picture| Picture { steady: ids([4, 5]), ..see };
    let rows: [(&str, Picture, Next); 19] = [
        ("nothing to do", calm(), Next::Nothing),
        ("a new node", joins(5, calm()), Next::AddLearner(id(5))),
        ("a learner that has not caught up", learner(calm()), Next::Nothing),
        ("a learner that has", steady(learner(calm())), Next::Promote(id(5))),
        ("a new node before a promotion", joins(6, steady(learner(calm()))), Next::AddLearner(id(6))),
        (
            "one promotion at a time",
            Picture { members: ids([1, 2, 3, 4, 5, 6]), steady: ids([5, 6]), ..joins(6, joins(5, calm())) },
            Next::Promote(id(5)),
        ),
        ("a removed voter", without(3, calm()), Next::Demote(id(3))),
        ("a removed voter before a new node", joins(5, without(3, calm())), Next::Demote(id(3))),
        (
            "a removed voter that is away",
            Picture { heard: ids([1, 2, 4]), ..without(3, calm()) },
            Next::Demote(id(3)),
        ),
        (
            "a removed voter, and one of the rest is away",
            Picture { heard: ids([1, 3, 4]), ..without(3, calm()) },
            Next::WaitForVoters,
        ),
        (
            "a removed learner that has not heard of it",
            Picture { voters: ids([1, 2]), ..without(3, calm()) },
            Next::Nothing,
        ),
        (
            "a removed learner that has",
            Picture { voters: ids([1, 2]), told: ids([3]), ..without(3, calm()) },
            Next::Drop(id(3)),
        ),
        ("a removed Spooler Controller", Picture { told: ids([4]), ..without(4, calm()) }, Next::Drop(id(4))),
        ("this node was removed", without(1, calm()), Next::HandOver),
        ("a change under way", Picture { settled: false, ..without(3, calm()) }, Next::Nothing),
        ("a change under way, half done", Picture { settled: false, joint: true, ..calm() }, Next::Nothing),
        ("a change that a crash left half done", Picture { joint: true, ..calm() }, Next::FinishJoint),
        (
            "it is finished before anything else",
            Picture { joint: true, ..joins(5, without(1, calm())) },
            Next::FinishJoint,
        ),
        ("nothing new without a quorum", Picture { heard: ids([1]), ..joins(5, calm()) }, Next::Nothing),
    ];
    for (what, see, next) in rows {
        assert_eq!(decide(&see), next, "{what}");
    }
}

#[test]
fn a_learner_is_steady_only_after_several_looks_in_a_row() {
    let mut watch = Watch::default();
    for _ in 0..STEADY_LOOKS * 2 {
        assert_eq!(watch.steady(&ids([5])), ids([]), "not at the first looks, however many");
    }
    let past = Instant::now() - STEADY_FOR;
    watch.steady.insert(id(5), (past, STEADY_LOOKS - 2));
    assert_eq!(watch.steady(&ids([5])), ids([]), "not by time alone");
    assert_eq!(watch.steady(&ids([5])), ids([5]));
    assert_eq!(watch.steady(&ids([])), ids([]));
    assert_eq!(watch.steady(&ids([5])), ids([]), "a lapse begins anew");
    watch.steady.insert(id(5), (past, STEADY_LOOKS));
    watch.enter(7);
    assert_eq!(watch.steady(&ids([5])), ids([]), "and so does another term");
}
