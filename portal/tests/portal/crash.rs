//! The portal dies: what it committed is answered again, what it did not never happened.

use quorate_portal::failpoints;

use crate::support::{Cluster, Database, Portal};

on_both_databases!(
    a_portal_that_dies_after_the_commit_answers_the_same_afterwards,
    a_portal_that_dies_before_the_commit_has_done_nothing,
    a_killed_portal_keeps_everything,
);

#[test]
fn every_failpoint_has_a_test() {
    assert_eq!(failpoints::ALL, [failpoints::BEFORE_COMMIT, failpoints::AFTER_COMMIT]);
}

async fn a_portal_that_dies_after_the_commit_answers_the_same_afterwards(database: Database) {
    let mut portal = Portal::prepare(database, "");
    let (order, key) = portal.order();
    let request = Cluster::new(1).request(&key);
    dies_at(&mut portal, failpoints::AFTER_COMMIT, &request).await;
    assert_eq!((portal.activations(), portal.order_status(&order).as_str()), (1, "used"));

    portal.serve(&[]);
    let retried = portal.post(&request).await;
    assert_eq!(retried.status, 200, "{}", retried.body);
    assert_eq!(retried.body["replayed"], true);
    retried.verified(&portal.roots());
    assert_eq!(portal.activations(), 1);
}

async fn a_portal_that_dies_before_the_commit_has_done_nothing(database: Database) {
    let mut portal = Portal::prepare(database, "");
    let (order, key) = portal.order();
    let request = Cluster::new(1).request(&key);
    dies_at(&mut portal, failpoints::BEFORE_COMMIT, &request).await;
    assert_eq!((portal.activations(), portal.order_status(&order).as_str()), (0, "open"));

    portal.serve(&[]);
    let retried = portal.post(&request).await;
    assert_eq!(retried.status, 200, "{}", retried.body);
    assert_eq!((&retried.body["replayed"], &retried.body["fence"]), (&false.into(), &1.into()));
    assert_eq!(portal.activations(), 1);
}

async fn a_killed_portal_keeps_everything(database: Database) {
    let mut portal = Portal::start(database).await;
    let (_, key) = portal.order();
    let request = Cluster::new(1).request(&key);
    let first = portal.post(&request).await;
    let ca = std::fs::read(portal.folder.path().join("data/tls/ca.pem")).unwrap();
    portal.kill();
    portal.serve(&[]);
    let again = portal.post(&request).await;
    assert_eq!((again.license_key(), &again.body["replayed"]), (first.license_key(), &true.into()));
    assert_eq!(std::fs::read(portal.folder.path().join("data/tls/ca.pem")).unwrap(), ca);
    // The next installation gets a Support ID of its own.
    let (_, other) = portal.order();
    let second = portal.post(&Cluster::new(2).request(&other)).await;
    assert_ne!(second.support_id(), first.support_id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_named_and_found_again() {
    let database = Database::postgres();
    let (url, address) = (database.url(), database.address());
    let way = Way::to(&address).await;
    let mut portal = Portal::prepare(database, "limits.request_deadline_seconds = 20");
    let by_the_way = url.replace(&address, &way.address);
    portal.serve(&[("QUORATE_PORTAL_DATABASE", &by_the_way)]);
    let (_, key) = portal.order();
    let request = Cluster::new(1).request(&key);
    assert_eq!(portal.get("/healthz").await.status(), 200);

    way.close();
    let refused = portal.post(&request).await;
    assert_eq!(refused.code(), "temporarily_unavailable", "{}", portal.log());
    refused.assert_refused(503, "temporarily_unavailable");
    assert_eq!(portal.get("/healthz").await.status(), 503);
    assert_eq!(portal.activations(), 0);

    way.open();
    assert_eq!(portal.post(&request).await.body["replayed"], false);
    assert_eq!(portal.get("/healthz").await.status(), 200);
}

/// The way to a server, which can be closed: connections end, and new ones lead nowhere.
struct Way {
    address: String,
    open: tokio::sync::watch::Sender<bool>,
}

impl Way {
    async fn to(server: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, is_open) = tokio::sync::watch::channel(true);
        let server = server.to_owned();
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.clone().spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let (mut is_open, server) = (is_open.clone(), server.clone());
                tasks.spawn(async move {
                    if !*is_open.borrow_and_update() {
                        return;
                    }
                    let mut to = tokio::net::TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = is_open.changed() => {}
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                    }
                });
            }
        });
        Way { address, open }
    }

    fn close(&self) {
        self.open.send_replace(false);
    }

    fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Serves with the failpoint armed, posts, and sees it die there.
async fn dies_at(portal: &mut Portal, failpoint: &str, request: &quorate_license::IntegrityKey) {
    portal.serve(&[("FAILPOINTS", &format!("{failpoint}=return"))]);
    assert!(portal.try_post(request).await.is_err());
    assert!(!portal.wait().success());
    assert!(portal.log().contains(failpoint), "{}", portal.log());
}
