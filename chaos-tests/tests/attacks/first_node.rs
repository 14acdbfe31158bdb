//! A first license node whose host belongs to somebody else: it leads an activation and rewrites what the others said.

use quorate_chaos_tests::{Node, Stage, files};
use quorate_license::{Fence, IntegrityKey, NodeKey, NodeRole, NodeRow, NodeStatement};
use quorate_proto::node::v1::{SignIntegrityKeyRequest, cluster_service_client::ClusterServiceClient};
use tonic::{Status, transport::Channel};

use crate::caller::{Papers, answer, channel, saying};

/// The identity key in a node's data directory.
fn node_key(node: &Node) -> NodeKey {
    let seed = files::read(&node.data_dir.join("keys/node")).unwrap();
    let seed = data_encoding::HEXLOWER.decode(seed.trim().as_bytes()).unwrap();
    NodeKey::from_seed(seed.try_into().unwrap())
}

/// Asks a Management Server for its signature of this key.
fn signed(server: &Channel, key: &IntegrityKey) -> Result<(), Status> {
    let integrity_key = key.to_bytes().to_vec().into();
    let request = saying(SignIntegrityKeyRequest { integrity_key }, &[]);
    answer(ClusterServiceClient::new(server.clone()).sign_integrity_key(request)).map(drop)
}

/// The key with the statement of its last node, the Spooler Controller's, made anew by whoever has `by`.
fn rewritten(key: &IntegrityKey, by: &NodeKey, change: impl FnOnce(&mut NodeRow)) -> IntegrityKey {
    let mut key = key.clone();
    let context = key.context();
    let statement = key.nodes.last_mut().unwrap();
    let mut row = statement.row.clone();
    row.key = by.public();
    change(&mut row);
    *statement = NodeStatement::sign(&context, row, by);
    key
}

#[test]
fn a_rooted_first_license_node_gets_no_signature_for_what_it_rewrites() {
    let stage = Stage::start(|_| {}).unwrap();
    let (rooted, honest) = (&stage.cluster.nodes[0], &stage.cluster.nodes[1]);
    let order = stage.portal.order().unwrap().activation_key;
    let words = ["license", "activate", "--offline", "--yes", "--key-file", "-"];
    let begun: serde_json::Value = rooted.cli(words).stdin(order).json().unwrap();
    let mut key = IntegrityKey::from_text(begun["integrity_key"].as_str().unwrap()).unwrap();
    key.signatures.clear();
    let server = channel(honest, Some(Papers::of(rooted)));
    // What all nodes said is signed again, as often as it is asked.
    signed(&server, &key).unwrap();

    let (own, spooler) = (NodeKey::from_seed([7; 32]), node_key(&stage.cluster.nodes[3]));
    let mut unsigned = key.clone();
    unsigned.nodes.last_mut().unwrap().row.build = Some("9.9.9".parse().unwrap());
    let changed = |change: fn(&mut IntegrityKey)| {
        let mut key = key.clone();
        change(&mut key);
        key
    };
    // Another computer of this cluster's.
    let other = key.nodes[1].row.computer_id;
    let rows = [
        ("another identity key", rewritten(&key, &own, |_| {})),
        // Even with a Spooler Controller's stolen key, it is neither a Management Server nor on another computer.
        ("another role", rewritten(&key, &spooler, |row| row.role = NodeRole::Management)),
        ("another computer ID", rewritten(&key, &spooler, |row| row.computer_id = other)),
        ("is not signed by its key", unsigned),
        ("other nodes than", changed(|key| drop(key.nodes.pop()))),
        ("another first license node", changed(|key| key.first_license_node = key.nodes[1].row.id)),
        ("another fence", changed(|key| key.fence = Fence(3))),
        ("another choice of telemetry", changed(|key| key.telemetry = !key.telemetry)),
        ("another Support ID", changed(|key| key.support_id = Some("QS-7K2M-9XQ4-TEST".parse().unwrap()))),
    ];
    for (said, key) in rows {
        let status = signed(&server, &key).expect_err(said);
        assert!(status.message().contains(said), "{said}: {status}");
    }
}
