//! Who passes the gate between nodes, as a table.

use quorate_license::{ClusterId, Timestamp};
use quorate_raft_store::{
    Command, FEATURE_LEVEL, View,
    command::{AdmitNode, CreateToken, RemoveNode, ReportNode, ReportStart},
    state::{HostReport, StartId, TokenId, TokenPurpose},
};

use super::*;
use crate::{clock::ClusterClock, pki::PeerIdentity, service::licensing::samples};

#[test]
fn a_start_is_read_as_it_is_written() {
    let start = OwnStart { counter: 7, id: StartId(0xab) };
    assert_eq!(OwnStart::parse(&format!("{}.{}", start.counter, start.id)), Some(start));
    for wrong in ["", "7", "7.", "x.000000000000000000000000000000ab", "7.ab"] {
        assert_eq!(OwnStart::parse(wrong), None, "{wrong}");
    }
}

fn id(index: u8) -> NodeId {
    samples::node_id(index)
}

/// Nodes 1 to 3, of which 3 was removed; node 2 has reported its fifth start.
fn state() -> State {
    let mut state = samples::initialized();
    let apply = |state: &mut State, command: Command| {
        command.apply(state, Timestamp::ZERO).unwrap();
    };
    for index in [2, 3] {
        let token = TokenId(u64::from(index));
        let purpose = TokenPurpose::Join { role: NodeRole::Management, name: None };
        let create = CreateToken {
            id: token,
            purpose,
            secret_hash: [index; 32],
            created_by: "anna".to_owned(),
            expires_at: Timestamp::ZERO.plus_days(1),
        };
        apply(&mut state, Command::CreateToken(create));
        let node = samples::node(index, Timestamp::ZERO);
        let admit = AdmitNode {
            token,
            secret_hash: [index; 32],
            name: node.name,
            role: node.role,
            key: node.key,
            computer_id: node.computer_id,
            build: None,
            agent_version: "0.1.0".to_owned(),
            feature_level: FEATURE_LEVEL,
            addresses: node.addresses,
            host: HostReport::default(),
        };
        apply(&mut state, Command::AdmitNode(admit));
    }
    let row = state.nodes().get(&id(2)).unwrap().clone();
    let report = ReportNode {
        node: row.id,
        computer_id: row.computer_id,
        build: None,
        agent_version: row.agent_version,
        feature_level: FEATURE_LEVEL,
        addresses: row.addresses,
        host: row.host,
        start_counter: 5,
    };
    apply(&mut state, Command::ReportStart(ReportStart { report, start: StartId(0xb) }));
    let remove = RemoveNode { node: id(3), requested_by: "anna".to_owned() };
    apply(&mut state, Command::RemoveNode(remove));
    state
}

#[test]
fn members_pass_the_gate_and_removed_nodes_and_copies_do_not() {
    let state = state();
    let start = |counter, id| Some(OwnStart { counter, id: StartId(id) });
    for (node, start, refusal) in [
        (1, None, None),
        (1, start(1, 1), None),
        (2, None, None),
        (2, start(5, 0xb), None),
        (2, start(6, 0xc), None),
        (2, start(5, 0xc), Some("node_start_repeated")),
        (2, start(4, 0xa), Some("node_start_outdated")),
        (3, None, Some("node_removed")),
        (3, start(9, 9), Some("node_removed")),
        // Admitted a moment ago, perhaps: this node may be behind.
        (4, start(1, 1), None),
    ] {
        let answer = check_member(&state, id(node), start);
        let code = answer.as_ref().err().map(|error| error.code.as_str());
        assert_eq!(code, refusal, "node {node}, {start:?}");
        assert!(answer.err().is_none_or(|error| error.kind == ErrorKind::Denied && !error.hint.is_empty()));
    }
    let removed = check_member(&state, id(3), None).unwrap_err().message;
    assert!(removed.contains("node-3") && removed.contains("removed by anna"), "{removed}");
}

#[test]
fn a_certificate_of_another_cluster_or_of_another_epoch_is_refused_by_name() {
    let state = state();
    let row = state.cluster().unwrap().clone();
    let name = state.nodes().get(&id(1)).unwrap().name.clone();
    let own = Arc::new(NodeFile::new(row.id, row.epoch, id(1), name, NodeRole::Management));
    let views = Arc::new(Views::new(View { state, ..View::default() }));
    let gate = NodeGate::new(own, views.clone(), ClusterClock::new(views));
    let identify = |cluster_id, epoch_number| {
        let identity = PeerIdentity { cluster_id, epoch_number, role: NodeRole::Management, node: id(2) };
        let mut extensions = Extensions::new();
        let address = ([192, 0, 2, 2], 50412).into();
        extensions.insert(PeerInfo::Tcp { address, identity: Some(identity), flaw: None });
        gate.identify(&extensions, &HeaderMap::new())
    };
    let member = NodeCaller { node: id(2), role: NodeRole::Management };
    assert_eq!(identify(row.id, row.epoch.number).unwrap(), member);
    let other = ClusterId([0x77; 16]);
    for (cluster_id, epoch) in
        [(row.id, row.epoch.number - 1), (row.id, row.epoch.number + 1), (other, row.epoch.number)]
    {
        let refused = identify(cluster_id, epoch).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
        let named =
            format!("the certificate is of cluster {cluster_id}, epoch {epoch}; this node is of cluster");
        assert!(refused.message().starts_with(&named), "{refused}");
    }
}
