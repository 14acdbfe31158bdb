//! The listener: certificates, caps, timeouts, rates, stop.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Cluster, Database, Portal, admin};

#[tokio::test]
async fn a_client_that_does_not_trust_the_ca_gets_no_connection() {
    let portal = Portal::start(Database::sqlite()).await;
    let other = Portal::start(Database::sqlite()).await;
    let refused = other.client.get(format!("{}/healthz", portal.address)).send().await;
    assert!(refused.is_err_and(|error| error.is_connect()));
}

#[tokio::test]
async fn own_certificates_are_used() {
    let first = Portal::start(Database::sqlite()).await;
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let folder = first.folder.path();
    std::fs::write(folder.join("own.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("own.key"), key.serialize_pem()).unwrap();
    let config = folder.join("portal.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let own = "tls.cert_file = \"own.pem\"\ntls.key_file = \"own.key\"";
    std::fs::write(&config, text.replace("tls.self_signed = true", own)).unwrap();
    let mut portal = first;
    portal.kill();
    portal.serve(&[]);
    let trusting = rcgen_client(&certificate.pem());
    let answer = trusting.get(format!("{}/healthz", portal.address)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(portal.client.get(format!("{}/healthz", portal.address)).send().await.is_err());
}

#[tokio::test]
async fn slow_handshakes_and_slow_heads_are_ended() {
    let limits = "limits.handshake_timeout_seconds = 1\nlimits.header_timeout_seconds = 1\n\
                  ops_listen = \"127.0.0.1:0\"";
    let portal = Portal::start_with(Database::sqlite(), limits).await;
    // Nothing at all, instead of a handshake.
    ends_within(&connect(&portal.address), Duration::from_secs(10));
    // A head that never ends, on the plain port.
    let ops = ops_address(&portal);
    let mut slow = connect(&ops);
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n").unwrap();
    ends_within(&slow, Duration::from_secs(10));
    // A connection that is never used.
    ends_within(&connect(&ops), Duration::from_secs(10));
    assert_eq!(portal.get("/api/v1/roots").await.status(), 200);
}

#[tokio::test]
async fn connections_beyond_the_cap_are_closed_at_once() {
    let limits = "limits.max_connections_per_address = 3\nlimits.handshake_timeout_seconds = 60";
    let portal = Portal::start_with(Database::sqlite(), limits).await;
    let held: Vec<_> = (0..3).map(|_| connect(&portal.address)).collect();
    std::thread::sleep(Duration::from_millis(300));
    ends_within(&connect(&portal.address), Duration::from_secs(5));
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while portal.client.get(format!("{}/healthz", portal.address)).send().await.is_err() {
        assert!(Instant::now() < deadline, "the places are not given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let metrics = portal.get("/metrics").await.text().await.unwrap();
    assert!(
        metrics.contains(r#"quorate_portal_connections_refused_total{reason="address_full"}"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn an_address_that_asks_too_often_has_to_wait() {
    let portal = Portal::start_with(Database::sqlite(), "limits.requests_per_minute = 5").await;
    for _ in 0..5 {
        assert_eq!(portal.get("/api/v1/roots").await.status(), 200);
    }
    let refused = portal.get("/api/v1/roots").await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait));
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "too_many_requests");
}

#[tokio::test]
async fn operations_have_a_listener_of_their_own_if_configured() {
    let portal = Portal::start_with(Database::sqlite(), "ops_listen = \"127.0.0.1:0\"").await;
    assert_eq!(portal.get("/metrics").await.status(), 404);
    let ops = ops_address(&portal);
    for path in ["/metrics", "/healthz"] {
        let answer = portal.client.get(format!("http://{ops}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    let api = portal.client.get(format!("http://{ops}/api/v1/roots")).send().await.unwrap();
    assert_eq!(api.status(), 404);
}

// The clients need a worker of their own while the test waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_idle_connections_and_exits_cleanly() {
    let mut portal = Portal::start(Database::sqlite()).await;
    let pid_file = portal.folder.path().join("portal.pid");
    assert!(pid_file.exists());
    assert_eq!(portal.get("/healthz").await.status(), 200);
    let _idle = connect(&portal.address);
    portal.terminate();
    let began = Instant::now();
    assert!(portal.wait().success(), "{}", portal.log());
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(!pid_file.exists());
    assert!(portal.log().contains("stopped"), "{}", portal.log());
}

#[tokio::test]
async fn a_client_that_does_not_let_go_is_cut_off_at_a_stop() {
    let mut portal = Portal::start_with(Database::sqlite(), "drain_seconds = 1").await;
    // HTTP/2 asks the other side before it ends; this test's only worker waits and does not answer.
    assert_eq!(portal.get("/healthz").await.version(), reqwest::Version::HTTP_2);
    portal.terminate();
    assert!(portal.wait().success());
    assert!(portal.log().contains("cut off"), "{}", portal.log());
}

#[tokio::test]
async fn a_portal_whose_secrets_are_exposed_does_not_start() {
    let mut portal = Portal::start(Database::sqlite()).await;
    portal.kill();
    for file in ["root.key", "issuing.key"] {
        let path = portal.folder.path().join("data/keys").join(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let output = admin(portal.folder.path(), &["serve", "-o", "json"]);
        assert_eq!(output.status.code(), Some(1));
        let failure = String::from_utf8(output.stderr).unwrap();
        let failure: Value = serde_json::from_str(failure.lines().last().unwrap()).unwrap();
        assert_eq!(failure["code"], "key_unusable");
        assert!(failure["message"].as_str().unwrap().contains(file), "{failure}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    portal.serve(&[]);
}

#[tokio::test]
async fn a_rotated_issuing_key_signs_under_the_same_root() {
    let mut portal = Portal::start(Database::sqlite()).await;
    let ((_, first_key), (_, second_key)) = (portal.order(), portal.order());
    let first = portal.post(&Cluster::new(1).request(&first_key)).await;
    let before = portal.json(&["admin", "key", "list"]);
    let rotated = portal.json(&["admin", "key", "rotate-issuing"]);
    assert_ne!(before[1]["key_id"], rotated["issuing_key_id"]);
    portal.kill();
    portal.serve(&[]);
    let second = portal.post(&Cluster::new(2).request(&second_key)).await;
    for answered in [&first, &second] {
        answered.verified(&portal.roots());
    }
    assert_eq!(portal.json(&["admin", "key", "list"])[0], before[0]);
}

fn connect(address: &str) -> TcpStream {
    let port = address.rsplit(':').next().unwrap();
    TcpStream::connect(format!("127.0.0.1:{port}")).unwrap()
}

/// The other side closes the connection (with or without an answer) within this time.
#[track_caller]
fn ends_within(stream: &TcpStream, limit: Duration) {
    stream.set_read_timeout(Some(limit)).unwrap();
    let mut stream = stream;
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
}

fn ops_address(portal: &Portal) -> String {
    let log = portal.log();
    let line = log.lines().find_map(|line| line.split("operations on http://").nth(1));
    line.unwrap_or_else(|| panic!("{log}")).trim().to_owned()
}

fn rcgen_client(pem: &str) -> reqwest::Client {
    let certificate = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
    reqwest::Client::builder().tls_certs_only([certificate]).build().unwrap()
}
