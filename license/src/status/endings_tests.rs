//! Every kind of end, and the days at which it is announced.

use super::*;
use crate::{DAY_MS, LicenseKind, StatusReport, UnboundNode, samples, status::NextStep};

const NOW: Timestamp = Timestamp::from_unix_ms(1_800_000_000_000);

/// What the status says of a license that runs, with these changes.
fn report(change: impl FnOnce(&mut StatusReport)) -> StatusReport {
    let mut report = StatusReport {
        status: LicenseStatus::Active,
        days_left: None,
        next_step: NextStep::None,
        unbound: Vec::new(),
        reactivation_until: None,
        trial: false,
        in_expiry_grace: false,
    };
    change(&mut report);
    report
}

/// A license without any end, with these changes.
fn license(change: impl FnOnce(&mut License)) -> License {
    let mut license =
        License { kind: LicenseKind::Perpetual, expires_at: None, support_until: None, ..samples::license() };
    license.graces.expiry_days = 14;
    change(&mut license);
    license
}

fn found(report: &StatusReport, license: &License) -> Vec<(&'static str, Option<u64>, u32, u32)> {
    endings(report, Some(license), NOW)
        .into_iter()
        .map(|e| (e.kind.as_str(), e.node.map(|node| node.0), e.days_left, e.within_days))
        .collect()
}

#[test]
fn an_end_is_announced_at_30_14_7_and_2_days_and_not_before_nor_afterwards() {
    for (left_ms, announced) in [
        (31 * DAY_MS, None),
        (30 * DAY_MS + 1, None),
        (30 * DAY_MS, Some((30, 30))),
        (14 * DAY_MS + 1, Some((15, 30))),
        (14 * DAY_MS, Some((14, 14))),
        (7 * DAY_MS + 1, Some((8, 14))),
        (7 * DAY_MS, Some((7, 7))),
        (2 * DAY_MS + 1, Some((3, 7))),
        (2 * DAY_MS, Some((2, 2))),
        (1, Some((1, 2))),
        (0, None),
        (-DAY_MS, None),
    ] {
        let ends = license(|license| license.expires_at = Some(NOW.plus_ms(left_ms)));
        let expected: Vec<_> =
            announced.map(|(days, within)| ("term", None, days, within)).into_iter().collect();
        assert_eq!(found(&report(|_| {}), &ends), expected, "{left_ms} ms before the end");
    }
}

#[test]
fn every_kind_of_end_has_its_name() {
    let soon = NOW.plus_days(5);
    let ends_soon = |license: &mut License| license.expires_at = Some(soon);
    let unbound = UnboundNode { node: NodeId(7), until: soon };
    for (report, license, expected) in [
        (report(|r| r.trial = true), license(ends_soon), ("trial", None, 5, 7)),
        (report(|_| {}), license(ends_soon), ("term", None, 5, 7)),
        (
            report(|r| (r.status, r.in_expiry_grace) = (LicenseStatus::Grace, true)),
            license(|license| license.expires_at = Some(NOW.plus_ms(-9 * DAY_MS))),
            ("expiry_grace", None, 5, 7),
        ),
        (report(|r| r.reactivation_until = Some(soon)), license(|_| {}), ("reactivation_grace", None, 5, 7)),
        (report(|r| r.unbound = vec![unbound]), license(|_| {}), ("unbound_grace", Some(7), 5, 7)),
        (report(|_| {}), license(|l| l.support_until = Some(soon)), ("support", None, 5, 7)),
    ] {
        assert_eq!(found(&report, &license), [expected]);
    }
    let names: Vec<&str> = EndingKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(names, ["trial", "term", "expiry_grace", "reactivation_grace", "unbound_grace", "support"]);
}

#[test]
fn the_soonest_end_comes_first() {
    let report = report(|report| {
        report.reactivation_until = Some(NOW.plus_days(12));
        report.unbound = [(4, 3), (5, 1)]
            .map(|(node, days)| UnboundNode { node: NodeId(node), until: NOW.plus_days(days) })
            .into();
    });
    let license = license(|license| {
        license.expires_at = Some(NOW.plus_days(300));
        license.support_until = Some(NOW.plus_days(20));
    });
    assert_eq!(
        found(&report, &license),
        [
            ("unbound_grace", Some(5), 1, 2),
            ("unbound_grace", Some(4), 3, 7),
            ("reactivation_grace", None, 12, 14),
            ("support", None, 20, 30),
        ]
    );
}

#[test]
fn what_is_over_or_not_there_is_not_about_to_end() {
    let ends = license(|license| license.support_until = Some(NOW.plus_days(3)));
    assert_eq!(found(&report(|_| {}), &ends).len(), 1);
    for status in [
        LicenseStatus::Unlicensed,
        LicenseStatus::Expired,
        LicenseStatus::Invalid { reason: crate::InvalidReason::BindingMissing },
    ] {
        assert_eq!(found(&report(|report| report.status = status.clone()), &ends), [], "{status}");
    }
    assert_eq!(endings(&report(|_| {}), None, NOW), []);
}
