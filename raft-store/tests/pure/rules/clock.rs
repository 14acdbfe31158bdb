//! Time passes, and the feature level rises.

use quorate_license::Timestamp;
use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{InitCluster, RaiseFeatureLevel, ReportNode, Tick},
    state::TokenId,
};

use crate::{replica::Replica, sample};

#[test]
fn a_tick_answers_the_clusters_time() {
    let mut replica = Replica::with_nodes(1);
    replica.now = sample::start().plus_days(1);
    let ticked = Outcome::Ticked { time: replica.now };
    assert_eq!(replica.accept(Command::Tick(Tick {})), ticked);
    replica.now = sample::start();
    assert_eq!(replica.accept(Command::Tick(Tick {})), ticked, "a leader whose clock is behind");
    assert_eq!(replica.state().time(), sample::start().plus_days(1));
}

#[test]
fn the_clock_never_goes_back_and_rules_follow_the_clusters_time() {
    let mut replica = Replica::with_nodes(1);
    replica.accept(Command::CreateToken(sample::join_token(sample::token_of(2), sample::role(2))));
    let end = sample::start().plus_days(1);
    replica.tick(end);
    // The next leader's clock is a day behind.
    replica.now = sample::start();
    let refused = Refusal::TokenExpired(sample::token_of(2));
    assert_eq!(replica.decide(Command::AdmitNode(sample::admit(2))), Err(refused));
    let token = sample::join_token(TokenId(5), sample::role(2));
    replica.accept(Command::CreateToken(token));
    assert_eq!(replica.state().tokens().get(&TokenId(5)).unwrap().created_at, end);
    replica.accept(Command::ReportNode(sample::report(1)));
    assert_eq!(replica.state().nodes().get(&sample::node_id(1)).unwrap().reported_at, end);
    replica.now = Timestamp::ZERO;
    replica.accept(Command::Tick(Tick {}));
    assert_eq!(replica.state().time(), end);
}

#[test]
fn a_refused_command_still_carries_the_time() {
    let mut replica = Replica::with_nodes(1);
    replica.now = sample::start().plus_ms(3000);
    assert!(replica.decide(Command::InitCluster(sample::init())).is_err());
    assert_eq!(replica.state().time(), replica.now);
}

fn level(replica: &Replica) -> u32 {
    replica.state().cluster().unwrap().feature_level
}

#[test]
fn the_feature_level_rises_when_every_member_reads_it() {
    let mut replica = Replica::initialized_by(InitCluster { feature_level: 1, ..sample::init() });
    replica.join_up_to(3);
    let raise = |level| Command::RaiseFeatureLevel(RaiseFeatureLevel { level });
    let update =
        |index, feature_level| Command::ReportNode(ReportNode { feature_level, ..sample::report(index) });
    let unsupported =
        |index, supported| Err(Refusal::FeatureLevelUnsupported { node: sample::name(index), supported });

    assert_eq!(replica.decide(raise(2)), unsupported(1, 1));
    replica.accept(update(1, 2));
    replica.accept(update(3, 3));
    assert_eq!(replica.decide(raise(2)), unsupported(2, 1), "the first member that is behind is named");
    replica.accept(update(2, 2));
    assert_eq!(replica.decide(raise(3)), unsupported(1, 2));
    assert_eq!(replica.decide(raise(2)), Ok(Outcome::FeatureLevelRaised { level: 2 }));
    assert_eq!(level(&replica), 2);

    for lower in [0, 1, 2] {
        assert_eq!(replica.decide(raise(lower)), Ok(Outcome::FeatureLevelRaised { level: 2 }));
        assert_eq!(level(&replica), 2, "it never goes back");
    }
    let back = replica.decide(update(3, 1));
    assert_eq!(back, unsupported(3, 1), "a member that was downgraded is refused");
}
