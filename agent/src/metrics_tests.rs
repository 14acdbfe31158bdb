//! Names, types and help of the metrics, and those that come and go.

use std::fmt::Write as _;

use prometheus::proto::MetricType;

use super::*;

/// All metrics, the labelled ones with one value each.
fn all() -> Metrics {
    let metrics = Metrics::new().unwrap();
    metrics.set_role(NodeRole::Management);
    metrics.identity_alarms.with_label_values(&["data_directory_cloned"]).set(1);
    metrics.clock_offset.with_label_values(&["ms2"]).set(0.5);
    metrics.time_alarms.with_label_values(&["clock_off"]).set(1);
    metrics.peer_round_trip.with_label_values(&["ms2"]).observe(0.001);
    metrics.peer_sent_failures.with_label_values(&["ms2"]).inc();
    metrics.peer_sent_bytes.with_label_values(&["ms2"]).inc();
    metrics.peer_received_bytes.with_label_values(&["ms2"]).inc();
    metrics.portal_request_duration.with_label_values(&["ok"]).observe(0.1);
    metrics.calls_denied.with_label_values(&["node"]).inc();
    let end = Some(Timestamp::from_unix_ms(1_800_000_000_000));
    metrics.show_license(&TenantId::default_tenant(), &LicenseStatus::Active, true, Serial(3), end);
    metrics.show_endings(&TenantId::default_tenant(), &[ending(EndingKind::Term, 14)]);
    metrics
}

fn ending(kind: EndingKind, within_days: u32) -> Ending {
    let ends_at = Timestamp::from_unix_ms(1_800_000_000_000);
    Ending { kind, node: None, ends_at, days_left: within_days, within_days }
}

#[test]
fn the_soonest_end_of_a_kind_is_shown_until_it_is_none() {
    let (metrics, tenant) = (all(), TenantId::default_tenant());
    let shown = |what: &str| metrics.license_ending.with_label_values(&["default", what]).get();
    assert_eq!(shown("term"), 14);
    metrics
        .show_endings(&tenant, &[ending(EndingKind::UnboundGrace, 7), ending(EndingKind::UnboundGrace, 30)]);
    assert_eq!((shown("unbound_grace"), shown("term")), (7, 0));
    metrics.show_endings(&tenant, &[]);
    let names: Vec<_> = metrics.registry.gather().iter().map(|family| family.name().to_owned()).collect();
    assert!(!names.iter().any(|name| name.contains("license_ending")), "{names:?}");
}

#[test]
fn names_types_and_help_are_a_promise() {
    let mut text = String::new();
    for family in all().registry.gather() {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            MetricType::SUMMARY => "summary",
            MetricType::UNTYPED => "untyped",
        };
        let first = &family.get_metric()[0];
        let labels: Vec<_> = first.get_label().iter().map(|label| label.name()).collect();
        writeln!(text, "{} ({kind}) {{{}}}\n    {}", family.name(), labels.join(","), family.help()).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    for family in all().registry.gather() {
        let (name, counter) = (family.name(), family.get_field_type() == MetricType::COUNTER);
        assert_eq!(name.ends_with("_total"), counter, "{name}");
        assert!(name.starts_with("quorate_") || name.starts_with("process_"), "{name}");
        assert!(!family.help().is_empty(), "{name}");
    }
}

#[test]
fn one_state_is_shown_at_a_time_and_a_perpetual_license_has_no_end() {
    let metrics = all();
    let tenant = TenantId::default_tenant();
    let shown = |state: &str| metrics.license_state.with_label_values(&["default", state]).get();
    assert_eq!((shown("active"), shown("expired")), (1, 0));
    metrics.show_license(&tenant, &LicenseStatus::Expired, false, Serial(4), None);
    assert_eq!((shown("active"), shown("expired")), (0, 1));
    assert_eq!(metrics.license_allowed.with_label_values(&["default"]).get(), 0);
    let names: Vec<_> = metrics.registry.gather().iter().map(|family| family.name().to_owned()).collect();
    assert!(!names.iter().any(|name| name.contains("expiration")), "{names:?}");
}

#[test]
fn counters_follow_an_index_and_never_go_back() {
    let metrics = all();
    for index in [5, 9, 7] {
        Metrics::advance(&metrics.proposals_applied, index);
    }
    assert_eq!(metrics.proposals_applied.get(), 9);
}
