//! Certificates and the CA are rotated while everything goes on: real processes, public faces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod load;
mod strangers;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quorate_chaos_tests::{
    Cluster, Node, Stage,
    cluster::NewToken,
    wait::{self, PATIENCE, Seen},
};
use serde::Deserialize;

use load::{Load, Watch, connect, over_one_connection, shown, trusting};

const ROUNDS: usize = 10;
const LEADER_CHANGES: &str = "quorate_server_leader_changes_seen_total";
const ROTATIONS: &str = "quorate_certificate_rotations_total";

/// One test of this file at a time: they count leader changes on a machine of two cores.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `quorate cert list` says of a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Certificate {
    name: String,
    issuer: Option<String>,
    serial: Option<String>,
    days_left: Option<i64>,
}

/// What `quorate ca status` says.
#[derive(Debug, Clone, Deserialize)]
struct Ca {
    ca: CaSummary,
    phase: String,
    version: u64,
    waits: Vec<Wait>,
}

#[derive(Debug, Clone, Deserialize)]
struct CaSummary {
    fingerprint: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Wait {
    name: String,
    online: Option<bool>,
}

fn certificates(node: &Node) -> Vec<Certificate> {
    node.cli(["cert", "list"]).json().unwrap()
}

/// The certificates, once every node has told about one of this CA.
fn all_of(node: &Node, ca: &str) -> Vec<Certificate> {
    wait::until("every node to have a certificate of the CA", PATIENCE, || {
        let all = certificates(node);
        let told = all.iter().all(|one| one.issuer.as_deref() == Some(ca));
        Ok(if told { Seen::Done(all) } else { Seen::not_yet(format!("{all:?}")) })
    })
    .unwrap()
}

fn ca(node: &Node) -> Ca {
    node.cli(["ca", "status"]).json().unwrap()
}

fn settled(node: &Node) -> Ca {
    wait::until("the end of the rotation of the CA", PATIENCE, || {
        let ca = ca(node);
        let done = ca.phase == "settled";
        Ok(if done { Seen::Done(ca) } else { Seen::not_yet(format!("{ca:?}")) })
    })
    .unwrap()
}

fn rotate_all(node: &Node) {
    node.cli(["cert", "rotate", "--all", "-o", "json"]).run().unwrap().success().unwrap();
}

fn rotations(cluster: &Cluster) -> Vec<f64> {
    cluster.nodes.iter().map(|node| node.metric(ROTATIONS).unwrap()).collect()
}

#[test]
fn rotation_of_every_certificate_and_of_the_ca_under_load_ten_times() {
    let _alone = alone();
    let (mut stage, serial) = Stage::activated(|_| {}).unwrap();
    let cluster = &mut stage.cluster;
    let leader = cluster.leader().unwrap();
    let changes_before: Vec<f64> =
        cluster.nodes.iter().map(|node| node.metric(LEADER_CHANGES).unwrap()).collect();
    let first = ca(&cluster.nodes[0]);
    let old_ca = stage.folder.path().join("old-ca.crt");
    fs::copy(cluster.nodes[0].data_dir.join("tls/ca.crt"), &old_ca).unwrap();
    let trusts_old = trusting(&old_ca);
    let token: NewToken = cluster.admin_token("rotation").unwrap();
    let connection = over_one_connection(connect(&trusts_old, cluster.nodes[1].raft).unwrap());
    let watches: Vec<Watch> = cluster.nodes.iter().map(Watch::open).collect();
    let mut serials = vec![all_of(&cluster.nodes[0], &first.ca.fingerprint)];

    let load = Load::start(&cluster.nodes, connection, token.token.clone());
    for round in 0..ROUNDS {
        // From another node each time, a Spooler Controller's socket aside: that one only reads.
        let node = &cluster.nodes[round % 3];
        rotate_all(node);
        node.cli(["ca", "rotate", "-o", "json"]).run().unwrap().success().unwrap();
        let now = settled(node);
        assert_eq!(now.version, 3 * (round as u64 + 1));
        serials.push(all_of(node, &now.ca.fingerprint));
    }
    let done = load.finish().unwrap();
    assert!(done.failed.is_empty(), "{:#?}", done.failed);
    assert!(done.calls > 1000 && done.changes > 100, "{} calls, {} changes", done.calls, done.changes);
    assert!(done.longest_gap < Duration::from_secs(2), "{:?}", done.longest_gap);

    // Nobody was voted out, nobody restarted, and every certificate is another one each time.
    assert_eq!(cluster.leader().unwrap(), leader);
    let changes: Vec<f64> = cluster.nodes.iter().map(|node| node.metric(LEADER_CHANGES).unwrap()).collect();
    assert_eq!(changes, changes_before);
    for pair in serials.windows(2) {
        assert!(pair[0].iter().zip(&pair[1]).all(|(before, after)| before.serial != after.serial));
    }
    assert!(rotations(cluster).iter().all(|count| *count >= 2.0 * ROUNDS as f64), "{:?}", rotations(cluster));

    // New handshakes: the old CA proves nothing any more, the present one does.
    let present = cluster.nodes[0].data_dir.join("tls/ca.crt");
    for node in &cluster.nodes {
        assert!(connect(&trusts_old, node.raft).is_err(), "{} shows a certificate of the old CA", node.name);
        connect(&trusting(&present), node.raft).unwrap();
        let trusted = fs::read_to_string(node.data_dir.join("tls/ca.crt")).unwrap();
        assert_eq!(trusted.matches("BEGIN CERTIFICATE").count(), 1, "{} trusts one CA", node.name);
    }

    // The watches that were open all the time tell what comes afterwards.
    assert!(watches.iter().all(|watch| watch.serial() == Some(serial)));
    let key = stage.portal.order().unwrap().activation_key;
    let next = stage.cluster.activate(0, &key).unwrap().serial;
    wait::until("every watch to tell the next license", PATIENCE, || {
        let told: Vec<_> = watches.iter().map(Watch::serial).collect();
        Ok(Seen::when(told.iter().all(|told| *told == Some(next)), || format!("{told:?}")))
    })
    .unwrap();
}

#[test]
fn nodes_renew_their_certificates_by_themselves_and_after_they_have_ended() {
    let _alone = alone();
    let mut stage = Stage::start(|plan| plan.management = 2).unwrap();
    let cluster = &mut stage.cluster;
    // A longer life at first, so that nothing is due while the cluster is set up.
    for node in &mut cluster.nodes {
        assert!(certificates(node).iter().all(|one| one.days_left.is_none_or(|days| days == 89)));
        node.set("tls", "certificate_lifetime", "12s");
        node.write_config().unwrap();
    }
    cluster.stop().unwrap();
    cluster.nodes.iter_mut().for_each(|node| node.serve().unwrap());
    cluster.wait_for_members(3).unwrap();
    rotate_all(&cluster.nodes[0]);
    let tls = trusting(&cluster.nodes[0].data_dir.join("tls/ca.crt"));
    let before: Vec<Vec<u8>> = cluster.nodes.iter().map(|node| shown(&tls, node)).collect();
    let pids: Vec<_> = cluster.nodes.iter().map(Node::pid).collect();
    let counted = rotations(cluster);
    wait::until("two renewals of every node", PATIENCE, || {
        let now = rotations(cluster);
        let twice = now.iter().zip(&counted).all(|(now, before)| *now >= before + 2.0);
        Ok(Seen::when(twice, || format!("{now:?}")))
    })
    .unwrap();
    let after: Vec<Vec<u8>> = cluster.nodes.iter().map(|node| shown(&tls, node)).collect();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after));
    assert_eq!(cluster.nodes.iter().map(Node::pid).collect::<Vec<_>>(), pids);
    cluster.wait_for_members(3).unwrap();

    // Off for longer than a certificate lives: all of them, and they find each other again.
    cluster.stop().unwrap();
    let ended = ends(&cluster.nodes);
    wait::until("every certificate to end", PATIENCE, || {
        Ok(Seen::when(std::time::SystemTime::now() > ended, || "not yet".to_owned()))
    })
    .unwrap();
    cluster.nodes.iter_mut().for_each(|node| node.serve().unwrap());
    cluster.wait_for_members(3).unwrap();
}

/// When the certificates that these nodes hold have ended for sure.
fn ends(nodes: &[Node]) -> std::time::SystemTime {
    let changed =
        nodes.iter().map(|node| fs::metadata(node.data_dir.join("tls/node.pem")).unwrap().modified());
    changed.map(std::result::Result::unwrap).max().unwrap() + Duration::from_secs(13)
}

#[test]
fn a_rotation_of_the_ca_waits_for_nodes_that_are_away_and_survives_its_leader() {
    let _alone = alone();
    let mut stage = Stage::start(|_| {}).unwrap();
    let cluster = &mut stage.cluster;
    let before = ca(&cluster.nodes[0]);
    all_of(&cluster.nodes[0], &before.ca.fingerprint);
    let join: NewToken = cluster.token(quorate_chaos_tests::Role::Spooler, None).unwrap();
    let unused: NewToken = cluster.token(quorate_chaos_tests::Role::Spooler, None).unwrap();
    cluster.nodes[3].kill().unwrap();
    cluster.wait_for_members(3).unwrap();
    cluster.nodes[0].cli(["ca", "rotate", "--no-wait", "-o", "json"]).run().unwrap().success().unwrap();
    wait::until("only the node that is away to be waited for", PATIENCE, || {
        let now = ca(&cluster.nodes[0]);
        let waits: Vec<_> = now.waits.iter().map(|wait| (wait.name.as_str(), wait.online)).collect();
        let named = now.phase == "trusting" && waits == [("spooler-1", Some(false))];
        Ok(Seen::when(named, || format!("{now:?}")))
    })
    .unwrap();
    let warned = cluster.status().unwrap().warnings;
    assert!(warned.iter().any(|warning| warning.contains("waits for spooler-1")), "{warned:?}");
    let second = cluster.nodes[1].cli(["ca", "rotate", "-o", "json"]).run().unwrap();
    assert_eq!(second.refusal().unwrap().code, "ca_rotation_in_progress");

    // Whoever leads next goes on. A node that joins meanwhile takes part, with a token of before.
    let leader = cluster.leader().unwrap();
    cluster.nodes[leader].kill().unwrap();
    let other = (leader + 1) % 3;
    wait::until("another leader", PATIENCE, || {
        let status = cluster.nodes[other].admin().status();
        let led = status.as_ref().is_ok_and(|status| status.leader.is_some());
        Ok(Seen::when(led, || format!("{status:?}")))
    })
    .unwrap();
    let mut late = stage.plan.node(4).unwrap();
    late.join(&join.token, cluster.nodes[other].raft).unwrap().success().unwrap();
    late.serve().unwrap();
    cluster.nodes[leader].serve().unwrap();
    cluster.nodes[3].serve().unwrap();
    let after = settled(&cluster.nodes[other]);
    assert_ne!(after.ca.fingerprint, before.ca.fingerprint);
    assert_eq!(all_of(&cluster.nodes[other], &after.ca.fingerprint).len(), 5);
    late.must_run().unwrap();
    cluster.wait_for_members(5).unwrap();

    // A token that carries the hash of the old CA says so, before anything is sent: as soon as the server has followed
    // what it knows.
    let trusts_now = trusting(&cluster.nodes[other].data_dir.join("tls/ca.crt"));
    wait::until("the server to show the new CA alone", PATIENCE, || {
        let chain = connect(&trusts_now, cluster.nodes[other].raft)
            .map(|stream| stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len));
        Ok(Seen::when(matches!(chain, Ok(2)), || format!("{chain:?}")))
    })
    .unwrap();
    let refused = stage.plan.node(5).unwrap().join(&unused.token, cluster.nodes[other].raft).unwrap();
    let refusal = refused.refusal().unwrap();
    assert_eq!(refusal.code, "ca_mismatch", "{refusal:?}");
    assert!(refusal.message.contains("CA was changed after the token was made"), "{refusal:?}");
    let token = cluster.nodes[0].admin().tokens().unwrap().into_iter().find(|token| token.id == unused.id);
    assert_eq!(token.unwrap().state, "revoked");
    let fresh: NewToken = cluster.token(quorate_chaos_tests::Role::Spooler, None).unwrap();
    stage.plan.node(5).unwrap().join(&fresh.token, cluster.nodes[other].raft).unwrap().success().unwrap();
    late.stop().unwrap();
}

/// Writes a self-signed pair for the management port and gives the certificate, DER.
fn bring_certificate(node: &Node, folder: &Path) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed([node.http.ip().to_string()]).unwrap();
    fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(folder.join("tls.key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
    made.cert.der().to_vec()
}

#[test]
fn the_management_port_shows_a_certificate_of_ones_own_and_its_renewal() {
    let _alone = alone();
    let mut stage = Stage::prepare(|plan| (plan.management, plan.spoolers) = (1, 0)).unwrap();
    let folder = stage.folder.path().to_owned();
    let node = &mut stage.cluster.nodes[0];
    let mut brought = bring_certificate(node, &folder);
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    node.set("tls", "http_certificate_file", file("tls.crt"));
    node.set("tls", "http_key_file", file("tls.key"));
    node.write_config().unwrap();
    stage.cluster.start().unwrap();
    let node = &stage.cluster.nodes[0];
    for _ in 0..3 {
        let tls = trusting(&folder.join("tls.crt"));
        wait::until("the management port to show what was brought", PATIENCE, || {
            let shown = connect(&tls, node.http).map(|stream| {
                stream.get_ref().1.peer_certificates().is_some_and(|chain| chain[0].as_ref() == brought)
            });
            Ok(Seen::when(matches!(shown, Ok(true)), || format!("{shown:?}")))
        })
        .unwrap();
        // The node port goes on with the cluster's.
        connect(&trusting(&node.data_dir.join("tls/ca.crt")), node.raft).unwrap();
        brought = bring_certificate(node, &folder);
    }
}
