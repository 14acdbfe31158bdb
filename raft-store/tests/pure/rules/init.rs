//! The first command of a cluster, and every command before it.

use quorate_license::{ClusterId, NodeRole, Timestamp};
use quorate_raft_store::{Command, Outcome, Refusal, State, command::InitCluster};

use crate::{replica::Replica, sample, specimens};

#[test]
fn the_first_node_is_the_first_license_node_and_a_management_server() {
    let mut replica = Replica::empty();
    let outcome = replica.accept(Command::InitCluster(sample::init()));
    assert_eq!(outcome, Outcome::ClusterInitialized { first_node: sample::node_id(1) });

    let state = replica.state();
    let cluster = state.cluster().unwrap();
    assert_eq!((cluster.id, cluster.epoch), (sample::cluster_id(), sample::epoch()));
    assert_eq!(cluster.first_license_node, sample::node_id(1));
    assert_eq!((cluster.next_node_index, cluster.feature_level), (2, 1));
    assert_eq!((cluster.created_at, cluster.telemetry), (sample::start(), false));
    let node = state.node_named(&sample::name(1)).unwrap();
    assert_eq!((node.id, node.role, node.joined_by), (sample::node_id(1), NodeRole::Management, None));
    assert!(state.tokens().get(&sample::ADMIN_TOKEN).unwrap().is_valid(sample::start()));
    assert!(state.binding().is_none() && state.licenses().is_empty() && state.activations().is_empty());
}

#[test]
fn a_second_init_is_refused() {
    let mut replica = Replica::with_nodes(2);
    let other = InitCluster { cluster_id: ClusterId([0xc2; 16]), ..sample::init() };
    for init in [sample::init(), other] {
        assert_eq!(replica.decide(Command::InitCluster(init)), Err(Refusal::AlreadyInitialized));
    }
}

#[test]
fn before_the_init_every_other_command_is_refused() {
    for command in specimens::one_of_each_command() {
        let name = command.name();
        let mut replica = Replica::empty();
        match (name, replica.decide(command)) {
            ("InitCluster", result) => assert!(result.is_ok()),
            (_, result) => assert_eq!(result, Err(Refusal::NotInitialized), "{name}"),
        }
    }
}

#[test]
fn a_command_above_the_clusters_feature_level_is_refused_before_anything_else() {
    for command in specimens::one_of_each_command() {
        let name = command.name();
        let mut replica = Replica::initialized_by(InitCluster { feature_level: 0, ..sample::init() });
        let needed = command.feature_level();
        let refused = Err(Refusal::FeatureLevelTooLow { needed, current: 0 });
        assert_eq!(replica.decide(command), refused, "{name}");
    }
}

#[test]
fn a_command_applied_without_a_log_entry_is_refused_the_same_way() {
    let mut state = State::default();
    let command = Command::CloseActivation(sample::close(1));
    assert_eq!(command.apply(&mut state, Timestamp::ZERO), Err(Refusal::NotInitialized));
    assert_eq!(state.take_changes().unwrap(), []);
}
