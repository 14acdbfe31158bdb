//! Refusals that need another day, a broken body, or records that are not as they were.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use quorate_license::ActivationKind;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, UnixTime, pem::PemObject as _},
    time_provider::TimeProvider,
};

use crate::support::{Cluster, Database, Portal, without_key};

on_both_databases!(
    a_trial_that_has_ended_is_not_brought_back,
    a_portal_may_offer_no_trials,
    an_issuing_key_that_has_ended_signs_nothing_until_it_is_rotated,
    computers_of_several_installations_are_not_guessed,
    a_renewal_needs_the_order_that_it_renews,
);

/// What makes a process see a time of day that is so many days off.
fn days_ahead(days: u32) -> Vec<(&'static str, String)> {
    let below = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let library =
        below.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file());
    let library =
        library.unwrap_or_else(|| panic!("libfaketime is not installed: run apt-get install libfaketime"));
    vec![
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", format!("+{days}d")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ]
}

/// The same portal, so many days later.
fn serve_later(portal: &mut Portal, days: u32) {
    portal.kill();
    let environment = days_ahead(days);
    portal.serve(&environment.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>());
    // Its certificate begins then, too.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_details(provider, Arc::new(DaysAhead(days)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(portal))
        .with_no_client_auth();
    portal.client = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
}

/// A clock for looking at certificates.
#[derive(Debug)]
struct DaysAhead(u32);

impl TimeProvider for DaysAhead {
    fn current_time(&self) -> Option<UnixTime> {
        let now = Duration::from_secs(UnixTime::now().as_secs());
        Some(UnixTime::since_unix_epoch(now + Duration::from_secs(u64::from(self.0) * 86_400)))
    }
}

/// The portal's CA.
fn roots(portal: &Portal) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(portal.folder.path().join("data/tls/ca.pem")).unwrap();
    roots.add(ca).unwrap();
    roots
}

async fn a_trial_that_has_ended_is_not_brought_back(database: Database) {
    let mut portal = Portal::start(database).await;
    let cluster = Cluster { kind: ActivationKind::Trial, ..Cluster::new(1) };
    let trial = portal.post(&without_key(&cluster)).await;
    assert_eq!(trial.status, 200, "{}", trial.body);
    let mut rebuilt = Cluster { kind: ActivationKind::Reactivate, ..cluster.with_nonce(2) };
    rebuilt.fence.0 = 1;

    serve_later(&mut portal, 29);
    assert_eq!(portal.post(&without_key(&rebuilt)).await.status, 200);
    serve_later(&mut portal, 31);
    let mut again = rebuilt.with_nonce(3);
    again.fence.0 = 2;
    let refused = portal.post(&without_key(&again)).await;
    refused.assert_refused(403, "trial_ended");
    assert_eq!(refused.body["details"]["support_id"], trial.support_id());
    // What was bought meanwhile is licensed under the same Support ID.
    let (_, key) = portal.order();
    let bought = Cluster { kind: ActivationKind::Activate, ..again.with_nonce(4) };
    assert_eq!(portal.post(&bought.request(&key)).await.support_id(), trial.support_id());
}

async fn a_portal_may_offer_no_trials(database: Database) {
    let portal = Portal::start_with(database, "policy.trial_days = 0").await;
    let cluster = Cluster { kind: ActivationKind::Trial, ..Cluster::new(1) };
    portal.post(&without_key(&cluster)).await.assert_refused(403, "trial_not_offered");
    assert_eq!(portal.activations(), 0);
}

async fn an_issuing_key_that_has_ended_signs_nothing_until_it_is_rotated(database: Database) {
    let mut portal = Portal::prepare(database, "keys.issuing_days = 40");
    portal.serve(&[]);
    let (order, key) = portal.order();
    let request = Cluster::new(1).request(&key);
    serve_later(&mut portal, 41);
    let refused = portal.post(&request).await;
    refused.assert_refused(503, "issuing_key_expired");
    assert_eq!((portal.activations(), portal.order_status(&order).as_str()), (0, "open"));
    portal.json(&["admin", "key", "rotate-issuing"]);
    portal.kill();
    portal.serve(&[]);
    portal.post(&request).await.verified(&portal.roots());
}

async fn computers_of_several_installations_are_not_guessed(database: Database) {
    let portal = Portal::start(database).await;
    let clusters = [Cluster::new(1), Cluster::new(2)];
    let mut ends = Vec::new();
    for cluster in &clusters {
        let (_, key) = portal.order();
        let answered = portal.post(&cluster.request(&key)).await;
        ends.push(answered.support_id().rsplit('-').next().unwrap().to_owned());
    }
    // A new cluster with a computer of each, none of them its home.
    let mut mixed = Cluster { kind: ActivationKind::Reactivate, ..Cluster::new(3) };
    for (index, cluster) in [(1, 0), (2, 1)] {
        mixed.rows[index].computer_id = clusters[cluster].rows[index].computer_id;
    }
    let refused = portal.post(&without_key(&mixed)).await;
    refused.assert_refused(409, "installation_ambiguous");
    let told = refused.body["details"].to_string();
    assert!(ends.iter().all(|end| told.contains(end)), "{ends:?} {told}");
    assert_eq!(portal.activations(), 2);
}

async fn a_renewal_needs_the_order_that_it_renews(database: Database) {
    let portal = Portal::start(database).await;
    let (first, first_key) = portal.order();
    let (renewal, renewal_key) =
        portal.bare_order(&["--kind", "subscription", "--days", "365", "--renews", &first]);
    let cluster = Cluster::new(1);
    let refused = portal.post(&cluster.request(&renewal_key)).await;
    refused.assert_refused(409, "renewed_order_not_here");
    assert_eq!(refused.body["details"]["renewed_order_id"], first, "{}", refused.body);
    assert_eq!(portal.order_status(&renewal), "open");
    assert_eq!(portal.post(&cluster.request(&first_key)).await.status, 200);
    let mut renewed = Cluster { kind: ActivationKind::Upgrade, ..cluster.with_nonce(2) };
    renewed.fence.0 = 1;
    assert_eq!(portal.post(&renewed.request(&renewal_key)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_not_as_they_were_are_no_ones_secret_but_the_logs() {
    let portal = Portal::start(Database::postgres()).await;
    let (_, key) = portal.order();
    portal.database.run("ALTER TABLE activation_keys RENAME TO lost_keys");
    let refused = portal.post(&Cluster::new(1).request(&key)).await;
    refused.assert_refused(500, "internal");
    assert!(!refused.body.to_string().contains("activation_keys"), "{}", refused.body);
    assert!(portal.log().contains("activation_keys"), "{}", portal.log());
    portal.database.run("ALTER TABLE lost_keys RENAME TO activation_keys");
    assert_eq!(portal.post(&Cluster::new(1).request(&key)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_break_off_or_never_come_are_refused_by_name() {
    let portal = Portal::start_with(Database::sqlite(), "limits.request_deadline_seconds = 1").await;
    let head = "POST /api/v1/activations HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\
                idempotency-key: 0/0/0\r\nconnection: close\r\n";
    let broken = format!("{head}transfer-encoding: chunked\r\n\r\n4\r\nabcd\r\nno length\r\n");
    let answer = told(&portal, &broken);
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"request_unreadable\""), "{answer}");
    let slow = format!("{head}content-length: 100\r\n\r\nthe rest stays away");
    let answer = told(&portal, &slow);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"deadline_exceeded\""), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after: "), "{answer}");
}

/// Sends these bytes in one TLS connection and gives all that comes back.
fn told(portal: &Portal, request: &str) -> String {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(portal))
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let port = portal.address.rsplit(':').next().unwrap();
    let stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // How the other side ends the connection says nothing about what it has said before.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}
