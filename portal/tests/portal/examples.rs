//! The examples in PROTOCOL.md are what the code writes and reads.
//!
//! With `QUORATE_BLESS=1` they are written into the page instead.

use quorate_license::{
    ActivationKey, Binding, BoundNode, Entitlement, Fence, Graces, IntegrityKey, IssuingKey, IssuingSecret,
    License, LicenseKey, LicenseKind, Quantity, RootKey, Serial, Timestamp, TrustRoots,
};
use quorate_portal::{activation::Refusal, http::Problem};
use serde_json::json;

use crate::support::Cluster;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/PROTOCOL.md");

#[test]
fn the_examples_of_the_protocol_are_true() {
    let activation_key = ActivationKey::from_entropy(*b"an example key!").expose().to_string();
    let request = Cluster::new(1).request(&activation_key);
    assert_eq!(request.verify_signatures(), Ok(()));
    let (root, issuing) = keys();
    let (binding, license) = claims(&request);
    let signed = (issuing.sign(&binding).unwrap(), issuing.sign(&license).unwrap());
    let answer = LicenseKey::new(&signed.0, &[signed.1]).to_text().unwrap();
    let verified = LicenseKey::from_text(&answer).unwrap().verify(&TrustRoots(vec![root.public()])).unwrap();
    assert_eq!(verified.binding.claims, binding);
    let name = format!("{}/{}/{}", request.cluster_id, request.epoch.id, request.nonce);
    let body = json!({
        "license_key": answer, "support_id": binding.support_id, "serial": 1, "fence": 1, "replayed": false,
    });
    let mut unsigned = request.clone();
    unsigned.signatures.remove(2);
    let refusal = Problem::from(Refusal::Unverified(unsigned.verify_signatures().unwrap_err()));

    let examples = [
        ("activation_key", format!("`{activation_key}`")),
        (
            "request",
            format!(
                "\n```\nPOST /api/v1/activations HTTP/1.1\nHost: portal.example:7600\nContent-Type: text/plain\n\
                 Idempotency-Key: {name}\nContent-Length: {}\n\n{}\n```\n",
                request.to_text().len(),
                request.to_text().trim_end()
            ),
        ),
        (
            "answer",
            format!(
                "\n```\nHTTP/1.1 200 OK\nContent-Type: application/json\n\n{}\n```\n\nIts license key as text:\n\n\
                 ```\n{}\n```\n",
                json!({ "license_key": "(the text below)", "support_id": body["support_id"], "serial": 1,
                    "fence": 1, "replayed": false }),
                answer.trim_end()
            ),
        ),
        ("root", format!("\n```\n{}\n```\n", root.public())),
        ("binding", format!("\n```json\n{}\n```\n", serde_json::to_string_pretty(&binding).unwrap())),
        ("license", format!("\n```json\n{}\n```\n", serde_json::to_string_pretty(&license).unwrap())),
        (
            "refusal",
            format!(
                "\n```\nHTTP/1.1 {}\nContent-Type: application/json\n\n{}\n```\n",
                refusal.status(),
                serde_json::to_string_pretty(&refusal).unwrap()
            ),
        ),
    ];
    let page = std::fs::read_to_string(PAGE).unwrap();
    let mut expected = page.clone();
    for (name, text) in &examples {
        expected = with_example(&expected, name, text);
    }
    if std::env::var_os("QUORATE_BLESS").is_some() {
        std::fs::write(PAGE, expected).unwrap();
    } else {
        assert!(
            page == expected,
            "PROTOCOL.md differs from the code; run the test with QUORATE_BLESS=1 and look"
        );
    }
}

/// Every code that the portal can give stands in the page's table, with its status.
#[test]
fn the_table_of_refusals_is_complete() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let sources =
        ["src/activation/refusal/mod.rs", "src/activation/refusal/integrity.rs", "src/http/problem.rs"]
            .map(|file| std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap());
    let mut seen = 0;
    for literal in sources.iter().flat_map(|source| source.split('"').skip(1).step_by(2)) {
        let is_code =
            literal.contains('_') && literal.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let is_field = ["_last5", "_end", "_at", "_id", "_ids", "_key", "_bytes"]
            .iter()
            .any(|end| literal.ends_with(end));
        if is_code && !is_field {
            assert!(page.contains(&format!("`{literal}`")), "{literal}");
            seen += 1;
        }
    }
    assert!(seen >= 25, "{seen}");
}

fn keys() -> (RootKey, IssuingKey) {
    let root = RootKey::from_seed([1; 32]).unwrap();
    let secret = IssuingSecret::from_seed([2; 32]).unwrap();
    let (from, until) = (time("2026-01-01T00:00:00Z"), time("2027-01-01T00:00:00Z"));
    let certificate = root.certify(secret.public(), from, until).unwrap();
    (root, IssuingKey::new(secret, certificate).unwrap())
}

fn claims(request: &IntegrityKey) -> (Binding, License) {
    let now = time("2026-06-01T12:00:00Z");
    let graces =
        Graces { expiry_days: 14, reactivation_days: 30, unbound_days: 14, receipt_max_age_days: 35 };
    let rows = request.nodes.iter().map(|statement| statement.row.clone());
    let nodes = rows.map(|row| BoundNode {
        id: row.id,
        role: row.role,
        computer_id: row.computer_id,
        build: row.build,
        key: row.key,
    });
    let binding = Binding {
        support_id: "QS-7K2M-94XD-0C8R".parse().unwrap(),
        cluster_id: request.cluster_id,
        epoch: request.epoch,
        fence: Fence(1),
        serial: Serial(1),
        nonce: request.nonce,
        nodes: nodes.collect(),
        first_license_node: request.first_license_node,
        home_computer_id: request.nodes[0].row.computer_id,
        tolerance: 1,
        graces,
        issued_at: now,
    };
    let license = License {
        support_id: binding.support_id.clone(),
        cluster_id: request.cluster_id,
        tenant: request.tenant.clone(),
        serial: Serial(1),
        nonce: request.nonce,
        kind: LicenseKind::Subscription,
        orders: vec!["QO-000001".parse().unwrap()],
        entitlements: vec![
            Entitlement { feature: "devices".parse().unwrap(), quantity: Quantity::Limited(50) },
            Entitlement { feature: "scan".parse().unwrap(), quantity: Quantity::Unlimited },
        ],
        issued_at: now,
        not_before: time("2026-05-31T12:00:00Z"),
        expires_at: Some(now.plus_days(365)),
        support_until: Some(now.plus_days(365)),
        graces,
    };
    (binding, license)
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn with_example(page: &str, name: &str, text: &str) -> String {
    let mark = format!("<!-- example: {name} -->");
    let (before, rest) =
        page.split_once(&mark).unwrap_or_else(|| panic!("no example '{name}' in PROTOCOL.md"));
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    format!("{before}{mark}{text}<!-- end -->{after}")
}
