//! The protocol as HTTP: forms, headers, sizes, methods, pages; and that secrets stay secret.

use quorate_license::{ActivationKey, IntegrityKey, LicenseFile};
use reqwest::Version;
use serde_json::{Value, json};

use crate::{
    mangle::{Dice, mangle},
    support::{Cluster, Database, Portal},
};

on_both_databases!(
    activation_keys_are_in_no_record_and_no_log,
    the_page_gives_the_same_license_key_as_the_protocol,
    an_activation_key_brings_its_current_license,
);

#[tokio::test]
async fn requests_that_can_not_be_read_are_refused_by_name() {
    let portal = Portal::start(Database::sqlite()).await;
    let (_, key) = portal.order();
    let request = Cluster::new(1).request(&key);
    let name = format!("{}/{}/{}", request.cluster_id, request.epoch.id, request.nonce);
    let text = request.to_text();
    let bytes = request.to_bytes();
    let mut version_2 = bytes.to_vec();
    assert_eq!(version_2[..2], [0x08, 0x01]);
    version_2[1] = 2;
    let twice_kind = [&bytes[..], &[0x08, 0x01]].concat();
    let (plain, octets) = ("text/plain; charset=utf-8", "application/octet-stream");
    let some = Some(name.as_str());
    // Content type, name in the header, body; status and code.
    type Case<'a> = (&'a str, Option<&'a str>, Vec<u8>, u16, &'a str);
    let cases: [Case<'_>; 11] = [
        (plain, some, b"".to_vec(), 400, "integrity_key_malformed"),
        (plain, some, b"hello".to_vec(), 400, "integrity_key_malformed"),
        (plain, some, text.as_bytes()[..text.len() / 2].to_vec(), 400, "integrity_key_malformed"),
        (plain, some, vec![0xff; 100], 400, "integrity_key_malformed"),
        (octets, some, bytes[..bytes.len() - 1].to_vec(), 400, "integrity_key_malformed"),
        (octets, some, version_2, 400, "integrity_key_version_unsupported"),
        (octets, some, twice_kind, 400, "integrity_key_not_canonical"),
        (octets, some, vec![0; IntegrityKey::MAX_BYTES + 1], 400, "integrity_key_too_large"),
        ("application/json", some, text.as_bytes().to_vec(), 415, "unsupported_media_type"),
        (plain, None, text.as_bytes().to_vec(), 400, "idempotency_key_missing"),
        (plain, Some("0/0/0"), text.as_bytes().to_vec(), 400, "idempotency_key_mismatch"),
    ];
    for (content_type, idempotency_key, body, status, code) in cases {
        portal.send(content_type, idempotency_key, body).await.unwrap().assert_refused(status, code);
    }
    let refused = portal.send(plain, Some("0/0/0"), text.as_bytes().to_vec()).await.unwrap();
    assert_eq!(refused.body["details"]["expected"], name);
    let too_large = portal.send(octets, some, vec![0; 512 * 1024 + 1]).await.unwrap();
    too_large.assert_refused(413, "request_too_large");
    assert_eq!(portal.activations(), 0);
}

#[tokio::test]
async fn other_addresses_and_methods_are_refused_as_json() {
    let portal = Portal::start(Database::sqlite()).await;
    let lost = portal.get("/api/v1/nothing").await;
    assert_eq!(lost.status(), 404);
    assert_eq!(lost.json::<Value>().await.unwrap()["code"], "not_found");
    let wrong = portal.get("/api/v1/activations").await;
    assert_eq!(wrong.status(), 405);
    assert_eq!(wrong.json::<Value>().await.unwrap()["code"], "method_not_allowed");
}

#[tokio::test]
async fn the_roots_are_public() {
    let portal = Portal::start(Database::sqlite()).await;
    let roots: Value = portal.get("/api/v1/roots").await.json().await.unwrap();
    assert_eq!(roots, json!({ "roots": [portal.root.to_string()] }));
    let page = portal.get("/").await;
    assert!(page.headers().contains_key("content-security-policy"));
    assert!(page.text().await.unwrap().contains(&portal.root.to_string()));
}

#[tokio::test]
async fn http_1_and_http_2_are_served() {
    let portal = Portal::start(Database::sqlite()).await;
    assert_eq!(portal.get("/healthz").await.version(), Version::HTTP_2);
    let old = portal.client_with(|builder| builder.http1_only());
    let answer = old.get(format!("{}/healthz", portal.address)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_11));
}

#[tokio::test]
async fn health_is_json() {
    let portal = Portal::start(Database::sqlite()).await;
    let health = portal.get("/healthz").await;
    assert_eq!(
        (health.status().as_u16(), health.text().await.unwrap().as_str()),
        (200, r#"{"status":"ok"}"#)
    );
}

#[tokio::test]
async fn metrics_count_requests_and_outcomes() {
    let portal = Portal::start(Database::sqlite()).await;
    let (_, key) = portal.order();
    let request = Cluster::new(1).request(&key);
    for _ in 0..2 {
        portal.post(&request).await;
    }
    portal.post(&Cluster::new(2).request(&key)).await.assert_refused(409, "activation_key_used");
    let metrics = portal.get("/metrics").await.text().await.unwrap();
    for line in [
        r#"quorate_portal_activations_total{kind="activate",outcome="issued"} 1"#,
        r#"quorate_portal_activations_total{kind="activate",outcome="replayed"} 1"#,
        r#"quorate_portal_activations_total{kind="activate",outcome="activation_key_used"} 1"#,
        r#"quorate_portal_http_requests_total{method="POST",route="/api/v1/activations",status="200"} 2"#,
        r#"quorate_portal_http_request_duration_seconds_count{route="/api/v1/activations"} 3"#,
        "quorate_portal_build_info{version=",
        "process_open_fds ",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

async fn activation_keys_are_in_no_record_and_no_log(database: Database) {
    let portal = Portal::start_with(database, "log.filter = \"trace\"").await;
    let (_, key) = portal.order();
    let request = Cluster::new(1).request(&key);
    assert_eq!(portal.post(&request).await.status, 200);
    portal.post(&Cluster::new(2).request(&key)).await.assert_refused(409, "activation_key_used");
    let unknown = ActivationKey::from_entropy(*b"unknown entropy").expose();
    portal.post(&Cluster::new(3).request(&unknown)).await.assert_refused(404, "activation_key_unknown");

    let (dump, log) = (portal.database.dump(), portal.log());
    assert!(contains(&dump, &request.nonce.to_string()), "the dump shows the records");
    for key in [key.as_str(), &unknown] {
        let entropy = entropy(key);
        let texts = [key.to_owned(), key.replace('-', ""), hex(&entropy)];
        for text in texts {
            assert!(!contains(&dump, &text) && !log.contains(&text), "{text}");
        }
        assert!(!dump.windows(entropy.len()).any(|window| window == entropy));
    }
    // And the signing keys are nowhere but in their files.
    for file in ["root.key", "issuing.key"] {
        let text = std::fs::read_to_string(portal.folder.path().join("data/keys").join(file)).unwrap();
        let secret: Value = serde_json::from_str(&text).unwrap();
        let secret = secret["secret"].as_str().unwrap();
        assert!(!contains(&dump, secret) && !log.contains(secret), "{file}");
    }
}

async fn the_page_gives_the_same_license_key_as_the_protocol(database: Database) {
    let portal = Portal::start(database).await;
    let (_, key) = portal.order();
    let request = Cluster::new(1).request(&key);
    assert!(portal.get("/activate").await.text().await.unwrap().contains("<form method=\"post\""));
    let submit = async |text: &str| {
        let form = [("integrity_key", text)];
        let page =
            portal.client.post(format!("{}/activate", portal.address)).form(&form).send().await.unwrap();
        (page.status().as_u16(), page.text().await.unwrap())
    };
    let (status, page) = submit(&request.to_text()).await;
    assert_eq!(status, 200, "{page}");
    let answered = portal.post(&request).await;
    assert_eq!(answered.body["replayed"], true);
    assert!(page.contains(answered.support_id()));
    assert!(page.contains(answered.license_key()), "{page}");

    let (status, page) = submit("<script>alert(1)</script>").await;
    assert_eq!(status, 400);
    assert!(page.contains("integrity_key_malformed") && !page.contains("<script>"), "{page}");
    let (status, page) = submit(&Cluster::new(2).request(&key).to_text()).await;
    assert_eq!(status, 409);
    assert!(page.contains("activation_key_used"), "{page}");
}

async fn an_activation_key_brings_its_current_license(database: Database) {
    let portal = Portal::start_with(database, "limits.page_submissions_per_minute = 9").await;
    let ((_, key), (_, unused)) = (portal.order(), portal.order());
    let submit = async |path: &str, key: &str| {
        let url = format!("{}{path}", portal.address);
        let page = portal.client.post(url).form(&[("activation_key", key)]).send().await.unwrap();
        let name = page.headers().get("content-disposition").map(|name| name.to_str().unwrap().to_owned());
        (page.status().as_u16(), name, page.text().await.unwrap())
    };
    // Activated online: by the protocol, not by a page.
    let answered = portal.post(&Cluster::new(1).request(&key)).await;
    let (status, _, page) = submit("/license", &key.to_lowercase()).await;
    assert_eq!(status, 200, "{page}");
    assert!(page.contains(answered.license_key()) && page.contains(answered.support_id()), "{page}");
    let (_, name, text) = submit("/license/download", &key).await;
    assert_eq!(text, answered.license_key());
    assert!(name.unwrap().contains(answered.support_id()));
    let (_, name, text) = submit("/license/file", &key).await;
    assert!(name.unwrap().contains("default.lic"));
    let (license, _) = LicenseFile::from_text(&text).unwrap().open(&portal.roots()).unwrap();
    assert_eq!(license.claims.support_id.as_str(), answered.support_id());

    let damaged = format!("{}!{}", &key[..5], &key[6..]);
    let (status, _, page) = submit("/license", &damaged).await;
    assert_eq!(status, 400);
    assert!(page.contains("position 6") && page.contains("aria-invalid=\"true\""), "{page}");
    let unknown = ActivationKey::from_entropy([7; 15]).expose();
    for (key, status, code) in
        [(unknown.as_str(), 404, "activation_key_unknown"), (unused.as_str(), 409, "order_not_used")]
    {
        let (found, _, page) = submit("/license", key).await;
        assert_eq!(found, status);
        assert!(page.contains(code), "{page}");
    }
    portal.json(&["admin", "installation", "block", answered.support_id()]);
    let (status, _, page) = submit("/license", &key).await;
    assert_eq!(status, 403);
    assert!(page.contains("installation_blocked"), "{page}");
    // Nobody guesses for long.
    for _ in 0..4 {
        submit("/license", &unknown).await;
    }
    let (status, _, page) = submit("/license", &unknown).await;
    assert_eq!(status, 429);
    assert!(page.contains("too_many_requests"), "{page}");
}

/// The same manglings as of the library, through the page: most are forgiven, the others refused with the place; the
/// order is used once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_mail_and_forms_do_to_a_key_is_forgiven_by_the_page_or_refused_with_the_place() {
    let limits = "limits.page_submissions_per_minute = 100000\nlimits.requests_per_minute = 100000";
    let portal = Portal::start_with(Database::sqlite(), limits).await;
    let (_, key) = portal.order();
    let text = Cluster::new(1).request(&key).to_text();
    let url = format!("{}/activate", portal.address);
    let mut dice = Dice::seeded();
    let (mut forgiven, mut refused, mut placed) = (0, 0, 0);
    for _ in 0..300 {
        let mangled = mangle(&text, &mut dice);
        let form = [("integrity_key", &mangled.text)];
        let answer = portal.client.post(&url).form(&form).send().await.unwrap();
        let (status, page) = (answer.status().as_u16(), answer.text().await.unwrap());
        match (status, mangled.wrong) {
            (200, _) => {
                forgiven += 1;
                assert!(page.contains("BEGIN QUORATE LICENSE KEY"), "{page}");
            }
            (400, Some(wrong)) => {
                refused += 1;
                assert!(page.contains("integrity_key_malformed"), "{page}");
                placed += u32::from(page.to_lowercase().contains(&format!("line {}", wrong.line)));
            }
            (status, wrong) => panic!("{status}, {wrong:?} is wrong:\n{}\n{page}", mangled.text),
        }
    }
    assert!(forgiven > 60 && refused > 60, "{forgiven} {refused}");
    // One that reads as quoting, or in a line that reads as words, is refused as a whole.
    assert!(placed * 50 > refused * 49, "{placed} of {refused} with the place");
    assert_eq!(portal.activations(), 1);
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere() {
    let portal = Portal::start(Database::sqlite()).await;
    for path in ["/", "/activate", "/license"] {
        let page = portal.get(path).await;
        let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let text = page.text().await.unwrap();
        assert!(!text.contains("src=\"http") && !text.contains("href=\"http") && !text.contains("style=\""));
        assert!(text.contains("lang=\"en\"") && text.len() < 4096, "{text}");
    }
    for (path, kind) in [("/page.css", "text/css"), ("/page.js", "text/javascript")] {
        let asset = portal.get(path).await;
        assert!(asset.headers()["content-type"].to_str().unwrap().starts_with(kind));
        assert!(!asset.text().await.unwrap().contains("http"));
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The bytes of an activation key, by way of an integrity key that holds it.
fn entropy(key: &str) -> Vec<u8> {
    let with = Cluster::new(9).request_with(Some(key), |_| {});
    let marked = ActivationKey::from_entropy([0xA7; 15]);
    let other = Cluster::new(9).request_with(Some(&marked.expose()), |_| {});
    let at = other.to_bytes().windows(15).position(|window| window == [0xA7; 15]).unwrap();
    with.to_bytes()[at..at + 15].to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
