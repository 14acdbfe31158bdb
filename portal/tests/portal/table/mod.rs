//! `docs/portal-refusals.md`: every refusal of the portal with an example of its text and the way out, written by
//! the code.
//!
//! With `QUORATE_BLESS=1` the page is written.

mod commands;

use std::{
    collections::{BTreeMap, BTreeSet},
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
const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/portal");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/portal-refusals.md");

/// Which test provokes which code: file, test, codes.
const PROVOKED: [(&str, &str, &[&str]); 32] = [
    ("activation.rs", "a_further_order_adds_to_the_installation", &["not_activated"]),
    (
        "activation.rs",
        "a_further_order_is_refused_where_the_installation_is_not_what_it_was",
        &["first_license_node_changed"],
    ),
    (
        "activation.rs",
        "a_request_repeated_after_restarts_of_nodes_is_the_same_request",
        &["idempotency_conflict"],
    ),
    ("crash.rs", "a_database_that_is_away_is_named_and_found_again", &["temporarily_unavailable"]),
    (
        "kinds.rs",
        "a_blocked_installation_and_a_blocked_order_wait",
        &["installation_blocked", "order_blocked"],
    ),
    ("kinds.rs", "a_bound_computer_that_is_missing_means_transfer", &["bound_nodes_missing"]),
    ("kinds.rs", "a_changed_build_is_reactivated_without_a_key", &["installation_unknown"]),
    ("kinds.rs", "a_cluster_that_is_set_up_again_gets_no_second_support_id", &["computers_activated"]),
    ("kinds.rs", "a_trial_runs_once_and_becomes_a_purchased_license", &["trial_used"]),
    ("kinds.rs", "an_installation_is_restored_from_nothing_with_every_order", &["cluster_replaced"]),
    (
        "kinds.rs",
        "an_order_of_another_installation_is_refused_by_name_and_works_at_home",
        &["order_of_another_installation"],
    ),
    ("kinds.rs", "orders_that_are_all_over_license_nothing", &["orders_ended"]),
    ("kinds.rs", "restores_beyond_the_years_number_wait_for_the_vendor", &["restore_needs_approval"]),
    ("kinds.rs", "telemetry_is_kept_and_shown", &["cluster_unknown", "telemetry_malformed"]),
    ("kinds.rs", "what_a_revoked_issuing_key_signed_is_signed_anew", &["issuing_key_revoked"]),
    ("protocol.rs", "an_activation_key_brings_its_current_license", &["order_not_used"]),
    ("protocol.rs", "other_addresses_and_methods_are_refused_as_json", &["method_not_allowed", "not_found"]),
    (
        "protocol.rs",
        "requests_that_can_not_be_read_are_refused_by_name",
        &[
            "idempotency_key_mismatch",
            "idempotency_key_missing",
            "integrity_key_malformed",
            "integrity_key_not_canonical",
            "integrity_key_too_large",
            "integrity_key_version_unsupported",
            "request_too_large",
            "unsupported_media_type",
        ],
    ),
    ("refusals.rs", "a_cluster_that_is_activated_is_told_so", &["already_activated"]),
    ("refusals.rs", "a_fence_that_is_not_the_portals_is_refused", &["fence_mismatch"]),
    (
        "refusals.rs",
        "activation_keys_and_orders_are_refused_by_name",
        &[
            "activation_key_malformed",
            "activation_key_missing",
            "activation_key_unexpected",
            "activation_key_unknown",
            "order_expired",
            "order_revoked",
        ],
    ),
    ("refusals.rs", "an_order_used_elsewhere_is_refused_and_stays_where_it_is", &["activation_key_used"]),
    (
        "refusals.rs",
        "requests_that_no_cluster_should_send_are_refused_by_name",
        &[
            "computer_id_source_refused",
            "duplicate_computer_id",
            "duplicate_node_key",
            "first_license_node_invalid",
            "kind_not_supported",
            "management_signature_invalid",
            "management_signature_missing",
            "statement_invalid",
        ],
    ),
    ("seldom.rs", "a_portal_may_offer_no_trials", &["trial_not_offered"]),
    ("seldom.rs", "a_renewal_needs_the_order_that_it_renews", &["renewed_order_not_here"]),
    ("seldom.rs", "a_trial_that_has_ended_is_not_brought_back", &["trial_ended"]),
    (
        "seldom.rs",
        "an_issuing_key_that_has_ended_signs_nothing_until_it_is_rotated",
        &["issuing_key_expired"],
    ),
    (
        "seldom.rs",
        "bodies_that_break_off_or_never_come_are_refused_by_name",
        &["deadline_exceeded", "request_unreadable"],
    ),
    ("seldom.rs", "computers_of_several_installations_are_not_guessed", &["installation_ambiguous"]),
    ("seldom.rs", "records_that_are_not_as_they_were_are_no_ones_secret_but_the_logs", &["internal"]),
    ("serving.rs", "an_address_that_asks_too_often_has_to_wait", &["too_many_requests"]),
    ("takeover.rs", "a_leaked_integrity_key_does_not_take_the_installation_over", &["node_keys_changed"]),
];

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

/// Every code has a test against the real program that names it.
#[test]
fn every_refusal_is_provoked() {
    let codes: BTreeSet<&str> = all().iter().map(|problem| problem.code).collect();
    assert_eq!(provoked(&PROVOKED), codes);
}

/// The codes of a table, each of which is named by the test that it stands with.
fn provoked(table: &[(&str, &str, &[&'static str])]) -> BTreeSet<&'static str> {
    let mut provoked = BTreeSet::new();
    for (file, test, codes) in table {
        let source = std::fs::read_to_string(Path::new(TESTS).join(file)).unwrap();
        let text =
            source.split(&format!("fn {test}(")).nth(1).unwrap_or_else(|| panic!("{file} has no {test}"));
        let body = text.split("\n}\n").next().unwrap_or_default();
        for code in *codes {
            let named =
                [format!("\"{code}\""), format!("\\\"{code}\\\"")].iter().any(|name| body.contains(name));
            assert!(named, "{test} does not name {code}");
            assert!(provoked.insert(*code), "{code} is there twice");
        }
    }
    provoked
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
    for problem in all() {
        let retry = if problem.status().as_u16() >= 429 { "yes" } else { "" };
        let text = format!(
            "| {} | {} | {} | {} | {} |",
            problem.status().as_u16(),
            retry,
            problem.message,
            problem.hint,
            test_of(problem.code)
        );
        rows.entry(problem.code).or_insert_with(Vec::new).push(text);
    }
    let mut page = String::from(
        "# What the License Portal refuses\n\nEvery code, an example of its text, and the way out. Written by \
         `portal/tests/portal/table/` from the code. What each\nbrings in `details` is in \
         [portal/PROTOCOL.md](../portal/PROTOCOL.md#refusals). A cluster tries again by itself where that stands.\nThe \
         tests are in `portal/tests/portal`, and ask the real program.\n\n\
         | code | status | tried again | text, for example | way out | provoked by |\n|---|---|---|---|---|---|\n",
    );
    for (code, texts) in rows {
        for text in texts {
            page.push_str(&format!("| `{code}` {text}\n"));
        }
    }
    page + &commands::section()
}

fn all() -> Vec<Problem> {
    refusals().into_iter().map(Problem::from).chain(problems()).collect()
}

/// The test that provokes a code, as it stands on the page.
fn test_of(code: &str) -> String {
    let row = PROVOKED.iter().find(|(_, _, codes)| codes.contains(&code));
    row.map(|(file, test, _)| format!("`{file}`: `{test}`")).unwrap_or_default()
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
