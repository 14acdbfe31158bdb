//! `docs/portal-refusals.md`: every refusal of the portal with an example of its text and the way out, written by
//! the code.
//!
//! With `QUORATE_BLESS=1` the page is written.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use quorate_license::{
    ActivationKind, ClusterId, ComputerId, ComputerIdSource, Fence, IntegrityKeyError, IntegrityKeyRefusal,
    NodeId, OrderId, SupportId, Timestamp,
};
use quorate_portal::{
    activation::{ActivationError, Refusal},
    http::Problem,
    store::StoreError,
};

use crate::support::computer_id;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/portal-refusals.md");

#[test]
fn the_page_of_refusals_is_what_the_code_says() {
    let page = page();
    if std::env::var_os("QUORATE_BLESS").is_some() {
        std::fs::write(PAGE, page).unwrap();
    } else {
        let found = std::fs::read_to_string(PAGE).unwrap_or_default();
        assert!(
            found == page,
            "docs/portal-refusals.md differs from the code; run the test with QUORATE_BLESS=1"
        );
    }
}

/// Codes are texts of the portal's source: whatever gives one is on the page.
#[test]
fn the_page_of_refusals_is_complete() {
    let page = page();
    let mut seen = 0;
    for source in sources(&["http", "activation"].map(|folder| Path::new(SOURCE).join(folder))) {
        // `Problem::new(STATUS, "code", ...)`, and the arms of whatever maps refusals to codes.
        let problems = source.split("Problem::new(").skip(1).filter_map(|call| call.split('"').nth(1));
        let arms = source
            .split("fn ")
            .filter(|function| {
                let name = function.split(['(', '<']).next().unwrap_or_default();
                name.ends_with("code") && function.contains("&'static str {")
            })
            .flat_map(|function| function.split('\n').filter(|line| !line.contains("field: \"")))
            .filter_map(|line| line.split('"').nth(1));
        for code in problems.chain(arms) {
            assert!(page.contains(&format!("| `{code}` |")), "docs/portal-refusals.md lacks {code}");
            seen += 1;
        }
    }
    assert!(seen >= 50, "{seen}");
}

fn sources(folders: &[PathBuf]) -> Vec<String> {
    let mut texts = Vec::new();
    for folder in folders {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                texts.extend(sources(&[path]));
            } else {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    texts
}

fn page() -> String {
    let mut rows = BTreeMap::new();
    for problem in refusals().into_iter().map(Problem::from).chain(problems()) {
        let retry = if problem.status().as_u16() >= 429 { "yes" } else { "" };
        let text =
            format!("| {} | {} | {} | {} |", problem.status().as_u16(), retry, problem.message, problem.hint);
        rows.entry(problem.code).or_insert_with(Vec::new).push(text);
    }
    let mut page = String::from(
        "# What the License Portal refuses\n\nEvery code, an example of its text, and the way out. Written by \
         `portal/tests/portal/table.rs` from the code. What each\nbrings in `details` is in \
         [portal/PROTOCOL.md](../portal/PROTOCOL.md#refusals). A cluster tries again by itself where that stands.\n\n\
         | code | status | tried again | text, for example | way out |\n|---|---|---|---|---|\n",
    );
    for (code, texts) in rows {
        for text in texts {
            page.push_str(&format!("| `{code}` {text}\n"));
        }
    }
    page
}

fn problems() -> Vec<Problem> {
    vec![
        Problem::not_found(),
        Problem::method_not_allowed(),
        Problem::too_large(524_288),
        Problem::unreadable_body(),
        Problem::unsupported_media_type(),
        Problem::deadline(),
        Problem::too_many_requests(30),
        Problem::activation_key_unreadable("it has 14 characters instead of 30"),
        Problem::telemetry_malformed(),
        Problem::cluster_unknown(),
        Problem::internal(),
        ActivationError::IssuingKeyExpired { from: time(), until: time() }.into(),
        ActivationError::IssuingKeyRevoked { key_id: "key".to_owned() }.into(),
        StoreError::Busy.into(),
    ]
}

fn refusals() -> Vec<Refusal> {
    let unreadable = [
        IntegrityKeyError::Malformed,
        IntegrityKeyError::TooLarge { bytes: 300_000 },
        IntegrityKeyError::Version { found: 2 },
        IntegrityKeyError::Field {
            field: "activation_key",
            reason: "it has 14 bytes instead of 15".to_owned(),
        },
        IntegrityKeyError::NotCanonical,
        IntegrityKeyError::FirstLicenseNode { node: node(4) },
        IntegrityKeyError::ActivationKeyMissing { kind: ActivationKind::Activate },
        IntegrityKeyError::ActivationKeyUnexpected { kind: ActivationKind::Trial },
    ];
    let unverified = [
        IntegrityKeyRefusal::Statement { node: node(2) },
        IntegrityKeyRefusal::SameComputerId { first: node(1), second: node(2), computer_id: computer() },
        IntegrityKeyRefusal::SameKey { first: node(1), second: node(2) },
        IntegrityKeyRefusal::ManagementSignature { node: node(2) },
        IntegrityKeyRefusal::NotSignedBy { nodes: vec![node(2)] },
    ];
    let mut refusals: Vec<Refusal> = unreadable.into_iter().map(Refusal::Unreadable).collect();
    refusals.extend(unverified.into_iter().map(Refusal::Unverified));
    refusals.extend(of_requests());
    refusals.extend(of_orders());
    refusals.extend(of_installations());
    refusals
}

fn of_requests() -> [Refusal; 5] {
    [
        Refusal::IdempotencyKeyMissing,
        Refusal::IdempotencyKeyMismatch { expected: String::new() },
        Refusal::IdempotencyConflict { idempotency_key: String::new() },
        Refusal::KindNotSupported { kind: ActivationKind::Transfer },
        Refusal::ComputerIdSourceRefused { node: node(2) },
    ]
}

fn of_orders() -> Vec<Refusal> {
    let used = |on_these_computers| Refusal::ActivationKeyUsed {
        last5: "AY91B".to_owned(),
        order_id: order(1),
        support_id_end: "0C8R".to_owned(),
        on_these_computers,
    };
    vec![
        Refusal::ActivationKeyMissing,
        Refusal::ActivationKeyUnknown { last5: "AY91B".to_owned() },
        used(false),
        used(true),
        Refusal::OrderOfAnotherInstallation { order_id: order(1), support_id: support_id() },
        Refusal::RenewedOrderNotHere { order_id: order(2), renewed: order(1) },
        Refusal::OrderNotUsed { order_id: order(1) },
        Refusal::OrderBlocked { order_id: order(1) },
        Refusal::OrderRevoked { order_id: order(1) },
        Refusal::OrderExpired { order_id: order(1), expired_at: time() },
        Refusal::OrdersEnded { support_id: support_id(), orders: vec![order(1), order(2)] },
    ]
}

fn of_installations() -> Vec<Refusal> {
    let support_id_end = || "0C8R".to_owned();
    vec![
        Refusal::InstallationBlocked { support_id: support_id() },
        Refusal::TrialEnded { support_id: support_id(), ended_at: time() },
        Refusal::TrialUsed { started_at: time(), computer_ids: vec![computer()] },
        Refusal::TrialNotOffered,
        Refusal::ComputersActivated { support_id_end: support_id_end() },
        Refusal::InstallationUnknown,
        Refusal::InstallationAmbiguous { support_id_ends: vec![support_id_end(), "7QX2".to_owned()] },
        Refusal::RestoreIncomplete {
            support_id_end: support_id_end(),
            computer_id_ends: vec!["7NSKQ".to_owned()],
        },
        Refusal::RestoreNeedsApproval {
            support_id: support_id(),
            cluster_id: ClusterId([2; 16]),
            restores: 3,
        },
        Refusal::ClusterReplaced {
            support_id: support_id(),
            replaced_by: ClusterId([2; 16]),
            replaced_at: time(),
        },
        Refusal::AlreadyActivated { support_id: support_id() },
        Refusal::NotActivated,
        Refusal::FirstLicenseNodeChanged {
            support_id: support_id(),
            node: node(2),
            home_computer_id: computer(),
            home_node: Some(node(1)),
        },
        Refusal::BoundNodesMissing { computer_ids: vec![computer()] },
        Refusal::NodeKeysChanged { known: 1, pinned: 3 },
        Refusal::FenceMismatch { support_id: Some(support_id()), shown: Fence(1), current: Fence(2) },
    ]
}

fn node(index: u64) -> NodeId {
    NodeId::new(1, index)
}

fn computer() -> ComputerId {
    computer_id(1, 1, ComputerIdSource::Host)
}

fn order(number: u8) -> OrderId {
    format!("QO-00000{number}").parse().unwrap()
}

fn support_id() -> SupportId {
    "QS-7K2M-94XD-0C8R".parse().unwrap()
}

fn time() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}
