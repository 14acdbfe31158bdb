//! Nodes that come back at other addresses, and under other names.

use quorate_chaos_tests::{
    Node, Stage,
    cluster::wait_for_serial,
    wait::{self, PATIENCE, Seen},
};
use quorate_proto::v1::StatusResponse;

use super::{changes_work, digests_are_equal, lines, named, refused, refuses_to_serve, three};

#[test]
fn nodes_come_back_at_other_addresses_the_leader_among_them() {
    let mut stage = Stage::start(three).unwrap();
    let second = named(&stage.cluster.status().unwrap(), "management-2").id;
    stage.cluster.nodes[0].admin().transfer_leader(second).unwrap();
    assert_eq!(stage.cluster.leader().unwrap(), 1);
    let before = stage.cluster.status().unwrap();

    // Two of three move, and a stranger takes the old address of one of them.
    let mut plan = stage.plan.clone();
    plan.management = 1;
    plan.first_host = 2;
    plan.folder = stage.folder.path().join("stranger");
    let mut stranger = plan.prepare().unwrap();
    for index in [1, 2] {
        stage.cluster.nodes[index].stop().unwrap();
    }
    stranger.found().unwrap();
    for index in [1, 2] {
        let address = stage.plan.network.host(20 + u8::try_from(index).unwrap());
        move_to(&mut stage.cluster.nodes[index], address);
        stage.cluster.nodes[index].serve().unwrap();
    }
    stage.cluster.wait_for_members(3).unwrap();
    stage.cluster.leader().unwrap();
    // Raft hears a node before the log has its new row.
    let after = wait::until("the new addresses", PATIENCE, || {
        let after = stage.cluster.status()?;
        let new = |index: usize| {
            let node = &stage.cluster.nodes[index];
            named(&after, &node.name).raft_address == node.raft.to_string()
        };
        Ok(if new(1) && new(2) { Seen::Done(after) } else { Seen::not_yet(format!("{:?}", after.nodes)) })
    })
    .unwrap();
    let ids =
        |status: &StatusResponse| status.nodes.iter().map(|node| (node.id, node.voter)).collect::<Vec<_>>();
    assert_eq!(ids(&after), ids(&before), "the same members vote");
    for index in [1, 2] {
        changes_work(&stage.cluster, index).unwrap();
    }
    assert_eq!(stranger.status().unwrap().nodes.len(), 1, "the stranger is alone");

    // And the third.
    stage.cluster.nodes[0].stop().unwrap();
    let address = stage.plan.network.host(20);
    move_to(&mut stage.cluster.nodes[0], address);
    stage.cluster.nodes[0].serve().unwrap();
    stage.cluster.wait_for_members(3).unwrap();
    changes_work(&stage.cluster, 0).unwrap();
    stage.cluster.leader().unwrap();
    wait::until("each node to tell once that it has moved", PATIENCE, || {
        let nodes = stage.cluster.nodes.iter();
        let told: Vec<usize> = nodes.map(|node| lines(node, "came back at another address")).collect();
        Ok(Seen::when(told == [1, 1, 1], || format!("{told:?} lines")))
    })
    .unwrap();
    digests_are_equal(&mut stage.cluster);
}

#[test]
fn a_renamed_node_goes_on_and_starts_under_its_old_name_and_its_new_one() {
    let (mut stage, serial) = Stage::activated(three).unwrap();
    let cluster = &mut stage.cluster;
    let before = named(&cluster.status().unwrap(), "management-3").clone();
    let rename = |node: &Node, from: &str, to: &str| node.cli(["node", "rename", from, to, "-o", "json"]);
    let taken = refused(rename(&cluster.nodes[0], "management-3", "management-2").run().unwrap());
    assert_eq!(taken.code, "node_name_taken");
    let malformed = rename(&cluster.nodes[0], "management-3", "a name").run().unwrap();
    assert_eq!(malformed.code, Some(2), "{malformed:?}");
    rename(&cluster.nodes[0], "management-3", "west").run().unwrap().success().unwrap();
    let renamed = |status: &StatusResponse| status.nodes.iter().any(|node| node.name == "west");
    cluster.wait_for_status("the new name", renamed).unwrap();
    let after = cluster.status().unwrap();
    let west = named(&after, "west");
    assert_eq!((west.id, &west.computer_id, west.voter), (before.id, &before.computer_id, true));
    assert_eq!(after.license.as_ref().unwrap().status, "active");

    // Its configuration has the old name still, then the new one, then one that is nobody's.
    for (configured, serves) in [("management-3", true), ("west", true), ("east", false)] {
        cluster.nodes[2].stop().unwrap();
        cluster.nodes[2].set("node", "name", configured);
        cluster.nodes[2].write_config().unwrap();
        if serves {
            cluster.nodes[2].serve().unwrap();
            cluster.wait_for_members(3).unwrap();
            wait_for_serial(&mut cluster.nodes[2], serial).unwrap();
        } else {
            let words = refuses_to_serve(&mut cluster.nodes[2]);
            assert!(words.contains("belongs to node west"), "{words}");
        }
    }
    assert_eq!(lines(&cluster.nodes[2], "the cluster has given this node another name"), 1);
    cluster.nodes[2].set("node", "name", "west");
    cluster.nodes[2].write_config().unwrap();
    cluster.nodes[2].serve().unwrap();
    cluster.wait_for_members(3).unwrap();
    // It can be named in further commands, and the old name is free.
    rename(&cluster.nodes[1], "management-2", "management-3").run().unwrap().success().unwrap();
    assert_eq!(cluster.nodes[2].admin().status().unwrap().nodes.len(), 3);
    digests_are_equal(cluster);
}

/// All its addresses are others now.
fn move_to(node: &mut Node, address: std::net::Ipv4Addr) {
    for (key, at) in
        [("raft", &mut node.raft), ("grpc", &mut node.grpc), ("http", &mut node.http), ("ops", &mut node.ops)]
    {
        at.set_ip(address.into());
        let text = at.to_string();
        if let Some(toml::Value::Table(listen)) = node.settings.get_mut("listen") {
            listen.insert(key.to_owned(), text.into());
        }
    }
    node.write_config().unwrap();
}
