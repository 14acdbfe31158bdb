//! A product watches its license: every change arrives, once and in order, whatever breaks in between.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod watcher;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use quorate_chaos_tests::{
    Cluster, Role,
    client::{channel, request, runtime, stable_code},
    stage::FakeStage,
    tls_server::Reply,
    wait::{self, PATIENCE, Seen},
};
use quorate_license::ActivationKey;
use quorate_proto::v1::{
    ReportBuildRequest, Revision, WatchRequest, license_service_client::LicenseServiceClient,
};
use tonic::Code;

use watcher::{Frame, Watcher};

fn stage() -> FakeStage {
    let mut stage = FakeStage::prepare(
        |_| {},
        |signer, key| {
            let claims = signer.claims(key);
            signer.sign(&claims).map_or(Reply::Nothing, |license_key| signer.reply(&claims, &license_key))
        },
    )
    .unwrap();
    stage.cluster.start().unwrap();
    stage
}

/// Activates a further order through a node; gives the serial.
fn activate(cluster: &Cluster, node: usize) -> u64 {
    let key = ActivationKey::from_entropy(rand::random()).expose().to_string();
    cluster.activate(node, &key).unwrap().serial
}

/// The product on a node tells another version: the license is worth something else until it is told back.
fn report(cluster: &Cluster, node: usize, build: &str) {
    let mut product = LicenseServiceClient::new(channel(&cluster.nodes[node].socket));
    let asked = request(ReportBuildRequest { build: build.to_owned() }, PATIENCE);
    runtime().block_on(product.report_build(asked)).unwrap();
}

/// Waits until a node's license is worth this.
fn is_worth(cluster: &Cluster, node: usize, status: &str) {
    wait::until(&format!("the license to be {status}"), PATIENCE, || {
        let shown = cluster.nodes[node].product().license()?.status;
        Ok(Seen::when(shown == status, || shown.clone()))
    })
    .unwrap();
}

/// Another build on the Spooler Controller, and back; seen by the leader in between, so both are in the log.
fn other_build_and_back(cluster: &Cluster, spooler: usize) {
    report(cluster, spooler, "7.3.0");
    is_worth(cluster, 0, "reactivation_required");
    report(cluster, spooler, "7.2.0");
    is_worth(cluster, 0, "active");
}

/// The changes among the messages.
fn changes(frames: &[Frame]) -> Vec<(u64, u64, &str)> {
    let changed = frames.iter().filter(|frame| frame.changed);
    changed.map(|frame| (frame.index, frame.serial, frame.status.as_str())).collect()
}

#[test]
fn a_watch_that_breaks_off_goes_on_where_it_was_and_sees_every_change_once() {
    let mut stage = stage();
    let cluster = &mut stage.cluster;
    let spooler = 3;
    assert_eq!(cluster.nodes[spooler].role, Role::Spooler);

    // It begins with the present state, on a Spooler Controller.
    let mut watcher = Watcher::default();
    watcher.read(&cluster.nodes[spooler], 1);
    assert_eq!((watcher.frames[0].status.as_str(), watcher.frames[0].changed), ("unlicensed", false));
    let begin = watcher.seen.unwrap();

    // Changes that come while it is there.
    let serials: Vec<u64> = thread::scope(|scope| {
        let changing = scope.spawn(|| (0..3).map(|node| activate(cluster, node)).collect());
        watcher.read_until(&cluster.nodes[1], |frames| changes(frames).len() == 3);
        changing.join().unwrap()
    });
    assert_eq!(serials, [1, 2, 3]);

    // Changes that come while it is away.
    for node in 0..3 {
        activate(cluster, node);
    }
    other_build_and_back(cluster, spooler);
    // Its node is killed while it reads, and the leader is another one afterwards.
    let leader = cluster.leader().unwrap();
    watcher.read(&cluster.nodes[leader], 2);
    let id = cluster.status().unwrap().leader;
    if leader == 0 {
        let others = cluster.status().unwrap();
        let other = others.nodes.iter().find(|node| node.voter && Some(node.id) != id).unwrap().id;
        cluster.nodes[0].admin().transfer_leader(other).unwrap();
    } else {
        cluster.nodes[leader].kill().unwrap();
        cluster.nodes[leader].serve().unwrap();
    }
    cluster.wait_for_members(4).unwrap();
    assert_ne!(cluster.leader().unwrap(), leader, "another one leads");
    watcher.read(&cluster.nodes[spooler], 1);
    let last = activate(cluster, 2);
    other_build_and_back(cluster, spooler);

    // All are killed, and come back.
    cluster.kill_all().unwrap();
    for node in &mut cluster.nodes {
        node.serve().unwrap();
    }
    cluster.wait_for_members(4).unwrap();
    cluster.wait_for_serial(last).unwrap();
    watcher.read_until(&cluster.nodes[leader], |frames| {
        changes(frames).last().is_some_and(|(_, serial, status)| (*serial, *status) == (last, "active"))
    });
    let last = activate(cluster, 1);
    cluster.wait_for_serial(last).unwrap();
    watcher
        .read_until(&cluster.nodes[2], |frames| changes(frames).last().is_some_and(|found| found.1 == last));

    // Each change once, in the order of the log; each license at its change, and both changes of each build.
    let seen = changes(&watcher.frames);
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "{seen:?}");
    let told: Vec<(u64, &str)> = seen.iter().map(|(_, serial, status)| (*serial, *status)).collect();
    let required = "reactivation_required";
    assert_eq!(
        told,
        [
            (1, "active"),
            (2, "active"),
            (3, "active"),
            (4, "active"),
            (5, "active"),
            (6, "active"),
            (6, required),
            (6, "active"),
            (7, "active"),
            (7, required),
            (7, "active"),
            (8, "active"),
        ]
    );
    assert_eq!(last, 8);

    // Whoever begins anew behind the first message, on any node, is told the same.
    for node in &cluster.nodes {
        let mut anew = Watcher { seen: Some(begin), frames: Vec::new() };
        anew.read(node, seen.len());
        assert_eq!(changes(&anew.frames), seen, "{}", node.name);
        let (newest, past) = anew.frames.split_last().unwrap();
        assert!(past.iter().all(|frame| frame.past && !frame.has_token), "{past:?}");
        assert!(!newest.past && newest.has_token, "{newest:?}");
        // Nothing is left: it hears the present state, which is no change.
        anew.frames.clear();
        anew.read(node, 1);
        assert_eq!((changes(&anew.frames).len(), anew.frames[0].serial), (0, last));
    }
}

#[test]
fn a_reader_that_is_slow_misses_nothing_of_many_changes() {
    let mut stage = stage();
    let cluster = &mut stage.cluster;
    let first = activate(cluster, 0);
    cluster.wait_for_serial(first).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut watcher = Watcher::default();
    watcher.read(&cluster.nodes[1], 1);
    let begin = watcher.seen.unwrap();
    thread::scope(|scope| {
        // As fast as a product can tell another version. What is told while a node reports may be one change.
        let its_stop = Arc::clone(&stop);
        let cluster = &*cluster;
        let changing = scope.spawn(move || {
            let mut number = 0_u32;
            while !its_stop.load(Ordering::SeqCst) {
                report(cluster, 1, if number.is_multiple_of(2) { "7.3.0" } else { "7.2.0" });
                number += 1;
            }
        });
        watcher.read_slowly(&cluster.nodes[1], 40, Duration::from_millis(60));
        stop.store(true, Ordering::SeqCst);
        changing.join().unwrap();
    });
    let seen = changes(&watcher.frames);
    assert_eq!(seen.len(), 40);
    let mut fast = Watcher { seen: Some(begin), frames: Vec::new() };
    fast.read(&cluster.nodes[2], seen.len());
    assert_eq!(changes(&fast.frames), seen);
    assert!(seen.windows(2).all(|pair| pair[0].2 != pair[1].2), "each is another status: {seen:?}");
}

#[test]
fn a_revision_that_is_not_known_is_refused_by_name() {
    let mut stage = stage();
    let cluster = &mut stage.cluster;
    let serial = activate(cluster, 0);
    cluster.wait_for_serial(serial).unwrap();
    let ask = |after: Revision| {
        let mut product = LicenseServiceClient::new(channel(&cluster.nodes[2].socket));
        runtime().block_on(async move {
            let asked = WatchRequest { tenant: String::new(), after: Some(after) };
            let mut stream = product.watch(asked).await?.into_inner();
            stream.message().await
        })
    };
    // Of another epoch: nobody knows what came in between.
    let refused = ask(Revision { epoch: 7, index: 3 }).unwrap_err();
    assert_eq!(
        (refused.code(), stable_code(&refused).as_deref()),
        (Code::OutOfRange, Some("watch_compacted")),
        "{refused}"
    );
    // Of a node that is further: this one waits for a while.
    let refused = ask(Revision { epoch: 1, index: u64::MAX / 2 }).unwrap_err();
    assert_eq!(
        (refused.code(), stable_code(&refused).as_deref()),
        (Code::Unavailable, Some("node_behind")),
        "{refused}"
    );
}
