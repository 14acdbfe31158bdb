//! Nodes that bring certificates of an organisation's CA: from the first minute, replaced under load, in a cluster that is
//! changed over and back; and whoever shows less than both certificates.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../attacks/caller.rs"]
#[allow(dead_code, reason = "the attacks use more of it")]
mod caller;
mod kinds;
#[path = "../rotation/load.rs"]
#[allow(dead_code, reason = "the rotation uses more of it")]
mod load;
mod organisation;
#[path = "../attacks/records.rs"]
#[allow(dead_code, reason = "the attacks use more of it")]
mod records;
mod refused;

use std::{
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quorate_chaos_tests::{
    Cluster, Node, Stage,
    wait::{self, PATIENCE, Seen},
};
use serde_json::Value;

use load::{Load, connect, over_one_connection, shown, trusting};
use organisation::{Organisation, configure, der, file, name_of, put};

const ROUNDS: usize = 5;
const LEADER_CHANGES: &str = "quorate_server_leader_changes_seen_total";
const UNUSABLE: &str = "quorate_certificate_files_unusable{kind=\"brought\"}";

/// One test of this file at a time: they count leader changes on a machine of two cores.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cluster all of whose nodes bring certificates, from `init` and `join` on.
fn brought(organisation: &Organisation) -> Stage {
    let mut stage = Stage::prepare(|_| {}).unwrap();
    for node in &mut stage.cluster.nodes {
        organisation.bring(node);
        configure(node, None);
    }
    stage.cluster.start().unwrap();
    stage
}

/// Waits until every node shows what its files hold.
fn wait_until_shown(nodes: &[Node]) {
    for node in nodes {
        let (tls, wanted) = (trusting(&file(node, "ca.crt")), der(&file(node, "tls.crt")));
        wait::until(&format!("{} to show its new certificate", node.name), PATIENCE, || {
            Ok(Seen::when(shown(&tls, node) == wanted, || "it shows another one".to_owned()))
        })
        .unwrap();
    }
}

fn changes_of_leader(cluster: &Cluster) -> Vec<f64> {
    cluster.nodes.iter().map(|node| node.metric(LEADER_CHANGES).unwrap()).collect()
}

#[test]
fn a_cluster_on_brought_certificates_activates_and_replaces_them_under_load() {
    let _alone = alone();
    let organisation = Organisation::new();
    let mut stage = brought(&organisation);
    let key = stage.portal.order().unwrap().activation_key;
    let serial = stage.cluster.activate(0, &key).unwrap().serial;
    stage.cluster.wait_for_serial(serial).unwrap();
    let cluster = &mut stage.cluster;
    wait_until_shown(&cluster.nodes);

    let leader = cluster.leader().unwrap();
    let before = changes_of_leader(cluster);
    let token = cluster.admin_token("rotation").unwrap().token;
    // An administrator's tool trusts the organisation's CA.
    let tls = trusting(&file(&cluster.nodes[1], "ca.crt"));
    let connection = over_one_connection(connect(&tls, cluster.nodes[1].raft).unwrap());
    let load = Load::start(&cluster.nodes, connection, token);
    for round in 0..ROUNDS {
        for node in &cluster.nodes {
            organisation.bring(node);
        }
        wait_until_shown(&cluster.nodes);
        if round == 2 {
            // The cluster's own CA goes on being rotated.
            cluster.nodes[0].cli(["ca", "rotate", "-o", "json"]).run().unwrap().success().unwrap();
        }
    }
    // Another CA of the organisation takes over: both are believed, everybody gets a certificate of the new one, the old
    // one is believed no more.
    let next = Organisation::new();
    let both = organisation.ca() + &next.ca();
    for (of, believed) in [(&organisation, &both), (&next, &both), (&next, &next.ca())] {
        for node in &cluster.nodes {
            of.bring_with(node, &[&name_of(node)], believed);
        }
        wait_until_shown(&cluster.nodes);
    }
    let organisation = next;
    // What can't be used is told, and what was there before is shown on.
    let node = &cluster.nodes[0];
    let (good, kept) = (fs::read_to_string(file(node, "tls.key")).unwrap(), der(&file(node, "tls.crt")));
    put(&file(node, "tls.key"), &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let unusable = |wanted: f64| {
        wait::until("the files to be judged", PATIENCE, || {
            let now = node.metric(UNUSABLE)?;
            Ok(Seen::when((now - wanted).abs() < 0.5, || now.to_string()))
        })
        .unwrap();
    };
    unusable(1.0);
    let warnings = node.admin().status().unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("is not the key of")), "{warnings:?}");
    assert_eq!(shown(&trusting(&file(node, "ca.crt")), node), kept);
    put(&file(node, "tls.key"), &good);
    unusable(0.0);

    let done = load.finish().unwrap();
    assert!(done.failed.is_empty(), "{:#?}", done.failed);
    assert!(done.calls > 1000 && done.changes > 100, "{} calls, {} changes", done.calls, done.changes);
    assert!(done.longest_gap < Duration::from_secs(2), "{:?}", done.longest_gap);
    assert_eq!((cluster.leader().unwrap(), changes_of_leader(cluster)), (leader, before));
    for node in &cluster.nodes {
        let end = node.metric("quorate_certificate_expiration_timestamp_seconds{kind=\"brought\"}").unwrap();
        assert!(end > 0.0, "{}", node.name);
    }

    // All of them at once, with other keys than they had: nobody is needed for it who is not there yet.
    cluster.stop().unwrap();
    for node in &mut cluster.nodes {
        organisation.bring(node);
        node.serve().unwrap();
    }
    cluster.wait_for_members(4).unwrap();
    wait_until_shown(&cluster.nodes);
}

#[test]
fn a_cluster_changes_over_to_brought_certificates_and_back_node_by_node() {
    let _alone = alone();
    let organisation = Organisation::new();
    let (mut stage, serial) = Stage::activated(|_| {}).unwrap();
    let count = stage.cluster.nodes.len();
    for node in &stage.cluster.nodes {
        organisation.bring(node);
    }
    type Pass = (&'static str, fn(&mut Node));
    let passes: [Pass; 4] = [
        ("both", |node| configure(node, Some("any"))),
        ("brought only", |node| configure(node, None)),
        ("both again", |node| configure(node, Some("any"))),
        ("the cluster's own", |node| {
            for key in ["certificate_file", "key_file", "ca_file", "node_certificates"] {
                node.unset("tls", key);
            }
            node.write_config().unwrap();
        }),
    ];
    for (pass, change) in passes {
        for index in 0..count {
            let node = &mut stage.cluster.nodes[index];
            change(node);
            node.stop().unwrap();
            node.serve().unwrap();
            // Everybody hears everybody, in the old way or in the new one.
            stage.cluster.wait_for_members(count).unwrap_or_else(|failure| panic!("{pass}: {failure}"));
            stage.cluster.wait_for_serial(serial).unwrap();
        }
        if pass == "brought only" {
            wait_until_shown(&stage.cluster.nodes);
        }
    }
    let cluster = &stage.cluster;
    for node in &cluster.nodes {
        connect(&trusting(&node.data_dir.join("tls/ca.crt")), node.raft).unwrap();
    }
}

#[test]
fn a_renamed_node_goes_on_and_is_asked_for_a_certificate_with_its_new_name() {
    let _alone = alone();
    let organisation = Organisation::new();
    let mut stage = brought(&organisation);
    let rename = stage.cluster.nodes[0].cli(["node", "rename", "management-3", "alpha", "-o", "json"]);
    rename.run().unwrap().success().unwrap();
    let warned = |node: &Node, wanted: bool| {
        wait::until("the warning of an outdated name", PATIENCE, || {
            let warnings = node.admin().status()?.warnings;
            let found =
                warnings.iter().any(|it| it.contains("is outdated") && it.contains("management/alpha"));
            Ok(Seen::when(found == wanted, || format!("{warnings:?}")))
        })
        .unwrap();
    };
    warned(&stage.cluster.nodes[2], true);
    stage.cluster.wait_for_members(4).unwrap();
    // A restart with the old name is none of a stranger: the cluster has certified the pair.
    stage.cluster.nodes[2].stop().unwrap();
    stage.cluster.nodes[2].serve().unwrap();
    stage.cluster.wait_for_members(4).unwrap();

    organisation.bring_as(&stage.cluster.nodes[2], &["quorate://corp.example.com/management/alpha"]);
    wait_until_shown(&stage.cluster.nodes);
    warned(&stage.cluster.nodes[2], false);
    stage.cluster.wait_for_members(4).unwrap();
}

#[test]
fn config_check_and_serve_say_what_is_wrong_with_the_files() {
    let _alone = alone();
    let (ours, theirs) = (Organisation::new(), Organisation::new());
    let mut stage = Stage::prepare(|plan| (plan.management, plan.spoolers) = (1, 0)).unwrap();
    let node = &mut stage.cluster.nodes[0];
    ours.bring(node);
    configure(node, None);
    let check = |node: &Node| node.cli(["config", "check", "-o", "json"]).run().unwrap();
    check(node).success().unwrap();
    ours.bring_as(node, &["quorate://corp.example.com/management/somebody"]);
    let refused = node.cli(["init", "-o", "json"]).run().unwrap().refusal().unwrap();
    assert_eq!(refused.code, "certificate_names_other_node");
    assert!(refused.message.contains("quorate://DOMAIN/management/management-1"), "{refused:?}");
    ours.bring(node);
    node.cli(["init", "-o", "json"]).run().unwrap().success().unwrap();

    type Change<'c> = Box<dyn Fn(&Node) + 'c>;
    let rows: Vec<(&str, Change<'_>)> = vec![
        ("certificate_unreadable", Box::new(|node| fs::remove_file(file(node, "tls.key")).unwrap())),
        ("certificate_unreadable", Box::new(|node| fs::remove_file(file(node, "ca.crt")).unwrap())),
        (
            "certificate_key_readable",
            Box::new(|node| {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(file(node, "tls.key"), fs::Permissions::from_mode(0o644)).unwrap();
            }),
        ),
        ("certificate_unusable", Box::new(|node| put(&file(node, "tls.crt"), "nothing"))),
        (
            "certificate_key_differs",
            Box::new(|node| {
                put(&file(node, "tls.key"), &rcgen::KeyPair::generate().unwrap().serialize_pem());
            }),
        ),
        ("certificate_of_other_ca", Box::new(|node| put(&file(node, "ca.crt"), &theirs.ca()))),
        (
            "certificate_ended",
            Box::new(|node| {
                ours.bring_changed(node, |made| made.not_after = rcgen::date_time_ymd(2020, 1, 2));
            }),
        ),
        (
            "certificate_not_yet_valid",
            Box::new(|node| {
                ours.bring_changed(node, |made| made.not_before = rcgen::date_time_ymd(2090, 1, 2));
            }),
        ),
        (
            "certificate_usage",
            Box::new(|node| {
                ours.bring_changed(node, |made| {
                    made.extended_key_usages.truncate(1);
                })
            }),
        ),
        ("certificate_names_no_node", Box::new(|node| ours.bring_as(node, &["https://corp.example.com"]))),
    ];
    for (code, change) in rows {
        ours.bring(node);
        check(node).success().unwrap();
        change(node);
        let refused = check(node).refusal().unwrap();
        assert_eq!(refused.code, code, "{refused:?}");
        let served = node.cli(["serve", "-o", "json"]).run().unwrap();
        assert_eq!((served.refusal().unwrap().code.as_str(), served.code), (code, Some(1)));
    }
    // A configuration with one of the files says which other ones it needs.
    ours.bring(node);
    node.unset("tls", "ca_file");
    node.write_config().unwrap();
    let refused = check(node).refusal().unwrap();
    assert_eq!(refused.code, "config_missing_key");
    assert!(refused.message.contains("tls.ca_file"), "{refused:?}");
    assert!(name_of(node).ends_with("/management/management-1"));
}

/// What a command prints as JSON.
fn json(node: &Node, words: &[&str]) -> Value {
    node.cli(words.iter().copied()).json().unwrap()
}
