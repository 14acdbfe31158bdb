//! Why a node lags, as a table, and what is said of it.

use quorate_license::{ComputerId, MachineId, NodeKey};
use quorate_raft_store::state::{Addresses, HostReport, Node};

use super::*;

fn at(seconds: i64) -> Timestamp {
    "2026-11-21T12:00:00Z".parse::<Timestamp>().unwrap().plus_ms(seconds * 1000)
}

fn status(applied_index: Option<u64>, free_disk_bytes: Option<u64>) -> NodeStatus {
    let id = NodeId::new(1, 2);
    let machine_id = MachineId::parse("0123456789abcdef0123456789abcdef").unwrap();
    NodeStatus {
        node: Node {
            id,
            name: "ms-2".parse().unwrap(),
            role: NodeRole::Management,
            key: NodeKey::from_seed([2; 32]).public(),
            computer_id: ComputerId::derive(&machine_id, quorate_license::ComputerIdSource::Host),
            build: None,
            agent_version: "0.1.0".to_owned(),
            feature_level: 2,
            addresses: Addresses { raft: "ms-2:7400".to_owned(), http: "ms-2:7443".to_owned() },
            host: HostReport::default(),
            start_counter: 1,
            joined_at: at(0),
            joined_by: None,
            reported_at: at(0),
        },
        voter: true,
        online: Some(true),
        applied_index,
        license_serial: Some(0),
        free_disk_bytes,
    }
}

#[test]
fn a_node_that_lags_is_told_with_the_reason() {
    let there = MemberView {
        online: Some(true),
        matched: Some(50_000),
        heard_at: Some(at(9)),
        behind_since: Some(at(5)),
        needs_snapshot: false,
    };
    let plenty = Some(LOW_DISK_BYTES);
    let rows = [
        (MemberView { online: None, ..there }, status(None, None), "unknown", None),
        (
            MemberView { online: Some(false), ..there },
            status(None, None),
            "offline",
            Some("ms-2 is offline since 2026-11-21T12:00:09Z, 50000 entries behind"),
        ),
        (
            there,
            status(None, None),
            "not_answering",
            Some("ms-2 takes part, but does not answer, 50000 entries behind"),
        ),
        (
            there,
            status(Some(1), Some(LOW_DISK_BYTES - 1)),
            "disk_full",
            Some("the disk of ms-2 is almost full, 50000 entries behind"),
        ),
        (
            MemberView { needs_snapshot: true, ..there },
            status(Some(1), plenty),
            "catching_up",
            Some("ms-2 is catching up by a snapshot since 2026-11-21T12:00:05Z, 50000 entries behind"),
        ),
        (
            there,
            status(Some(1), plenty),
            "slow",
            Some("ms-2 is slow since 2026-11-21T12:00:05Z, 50000 entries behind"),
        ),
        (MemberView { matched: Some(95_000), ..there }, status(Some(1), plenty), "healthy", None),
        (
            MemberView { matched: Some(99_900), behind_since: Some(at(2)), ..there },
            status(Some(1), plenty),
            "slow",
            Some("ms-2 is slow since 2026-11-21T12:00:02Z, 100 entries behind"),
        ),
    ];
    for (member, node, condition, problem) in rows {
        let mut seen = LeaderView { last_index: 100_000, ..LeaderView::default() };
        seen.members.insert(node.node.id, member);
        let health = node_health(&node, Some(&seen), at(12));
        assert_eq!(health.condition.as_str(), condition);
        assert_eq!(health.problem().as_deref(), problem);
    }
}

#[test]
fn a_node_that_the_group_does_not_know_yet_is_joining_and_without_a_leader_nobody_knows() {
    let node = status(Some(1), None);
    assert_eq!(node_health(&node, Some(&LeaderView::default()), at(12)).condition, Condition::Joining);
    assert_eq!(node_health(&node, None, at(12)).condition, Condition::Unknown);
}

#[test]
fn an_even_number_of_voters_is_named_with_what_it_is_worth() {
    for odd in [0, 1, 3, 5] {
        assert_eq!(even_voters(odd), None);
    }
    let two = even_voters(2).unwrap();
    assert!(two.contains("can lose 0 of them, no more than with 1"), "{two}");
    assert!(even_voters(4).unwrap().contains("can lose 1 of them, no more than with 3"));
}

#[test]
fn a_removed_node_that_is_still_in_the_group_is_named() {
    let node = status(Some(1), None).node;
    let gone = Tombstone {
        id: node.id,
        name: node.name,
        role: node.role,
        key: node.key,
        computer_id: node.computer_id,
        addresses: node.addresses,
        removed_at: at(0),
        reason: quorate_raft_store::state::RemovalReason::Removed { requested_by: "anna".to_owned() },
    };
    let cluster = ClusterStatus {
        cluster_id: quorate_license::ClusterId([1; 16]),
        epoch: quorate_license::Epoch { number: 1, id: quorate_license::EpochId([1; 16]) },
        leader: None,
        first_license_node: NodeId::new(1, 1),
        nodes: Vec::new(),
        alarms: Vec::new(),
        removed: vec![gone.clone()],
    };
    let mut seen = LeaderView::default();
    assert_eq!(leaving(&cluster, Some(&seen)).count(), 0);
    assert_eq!(leaving(&cluster, None).count(), 0);
    seen.members.insert(gone.id, MemberView::default());
    let words: Vec<String> = leaving(&cluster, Some(&seen)).collect();
    assert!(
        words.len() == 1 && words[0].starts_with("ms-2 (") && words[0].contains("has not left"),
        "{words:?}"
    );
}
