use super::*;
use crate::{
    Binding, IntegrityScope, LicenseKind, NodeRole, RegisteredNode, StatusInput, evaluate,
    samples::{self, issued_at, node_id},
};

/// What a row of a table changes.
type Change<T> = fn(&mut T);

struct Case {
    license: Option<License>,
    binding: Binding,
    nodes: Vec<RegisteredNode>,
    restored: bool,
    since: Option<Timestamp>,
    now: Timestamp,
    node: NodeId,
    feature: &'static str,
    quantity: u64,
}

impl Case {
    /// Node 2 asks for 25 devices, a day after the activation.
    fn good() -> Self {
        let nodes = (1..=4).map(|index| {
            let row = samples::row(index);
            let (id, role, computer_id, build) = (row.id, row.role, row.computer_id, row.build);
            RegisteredNode { id, role, computer_id, build, joined_at: Timestamp::ZERO }
        });
        Case {
            license: Some(samples::license()),
            binding: samples::binding(),
            nodes: nodes.collect(),
            restored: false,
            since: None,
            now: issued_at().plus_days(1),
            node: node_id(2),
            feature: "devices",
            quantity: 25,
        }
    }

    fn license(&mut self) -> &mut License {
        self.license.as_mut().unwrap()
    }

    fn join(&mut self, joined_at: Timestamp) {
        let row = samples::row(5);
        let (id, role, computer_id) = (row.id, NodeRole::Spooler, row.computer_id);
        self.nodes.push(RegisteredNode { id, role, computer_id, build: None, joined_at });
    }

    /// What the node answers once it was taken out.
    fn check_removed(&self) -> Decision {
        check(&CheckInput {
            report: &crate::of_removed_node(),
            license: self.license.as_ref(),
            node: self.node,
            feature: None,
            quantity: 1,
            now: self.now,
        })
    }

    fn check(&self) -> Decision {
        let report = evaluate(&StatusInput {
            license: self.license.as_ref(),
            binding: Some(&self.binding),
            nodes: &self.nodes,
            scope: IntegrityScope::All,
            restored: self.restored,
            reactivation_required_since: self.since,
            now: self.now,
        });
        let feature = self.feature.parse().ok();
        check(&CheckInput {
            report: &report,
            license: self.license.as_ref(),
            node: self.node,
            feature: feature.as_ref(),
            quantity: self.quantity,
            now: self.now,
        })
    }
}

/// One row per reason to say yes. The changes add up: what is named is the most pressing reason.
#[test]
fn the_product_may() {
    let rows: [(&str, Option<u32>, Change<Case>); 6] = [
        ("licensed", None, |c| {
            c.license().kind = LicenseKind::Perpetual;
            c.license().expires_at = None;
        }),
        ("licensed", Some(378), |c| c.license = Some(samples::license())),
        ("trial", Some(378), |c| c.license().kind = LicenseKind::Trial),
        ("grace", Some(13), |c| c.now = issued_at().plus_days(366)),
        ("unbound_grace", Some(7), |c| {
            c.join(c.now);
            c.node = node_id(5);
        }),
        ("reactivation_grace", Some(2), |c| {
            c.restored = true;
            c.since = Some(c.now.plus_ms(-19 * crate::DAY_MS));
        }),
    ];
    let mut case = Case::good();
    for (code, days_left, change) in rows {
        change(&mut case);
        let decision = case.check();
        assert_eq!((decision.allowed, decision.reason.code(), decision.days_left), (true, code, days_left));
    }
}

/// One row per refusal, from the last that is checked to the first. The changes add up.
#[test]
fn refusals_come_in_a_fixed_order() {
    let rows: [(&str, Change<Case>); 8] = [
        ("quantity_exceeded", |c| c.quantity = 26),
        ("feature_not_licensed", |c| c.feature = "fax"),
        ("node_unbound", |c| {
            c.join(c.now.plus_ms(-7 * crate::DAY_MS));
            c.binding.issued_at = Timestamp::ZERO;
            c.node = node_id(5);
        }),
        ("reactivation_required", |c| {
            c.restored = true;
            c.since = Some(c.now.plus_ms(-21 * crate::DAY_MS));
        }),
        ("expired", |c| c.now = issued_at().plus_days(379)),
        ("not_yet_valid", |c| c.now = issued_at().plus_ms(-1)),
        ("invalid", |c| c.binding.support_id = "OTHER".parse().unwrap()),
        ("unlicensed", |c| c.license = None),
    ];
    let mut case = Case::good();
    for (code, change) in rows {
        change(&mut case);
        let decision = case.check();
        assert_eq!((decision.allowed, decision.reason.code()), (false, code));
    }
}

#[test]
fn the_quantities_are_named() {
    let case = Case { quantity: 26, ..Case::good() };
    assert_eq!(case.check().reason, CheckReason::QuantityExceeded { licensed: 25, requested: 26 });
    let case = Case { feature: "scan", quantity: u64::MAX, ..Case::good() };
    assert!(case.check().allowed);
}

#[test]
fn without_a_feature_the_status_alone_decides() {
    let mut case = Case { feature: "", quantity: u64::MAX, ..Case::good() };
    assert!(case.check().allowed);
    case.license = None;
    assert!(!case.check().allowed);
}

#[test]
fn a_reactivation_grace_of_zero_refuses_at_once() {
    let mut case = Case::good();
    case.license().graces.reactivation_days = 0;
    case.restored = true;
    assert_eq!(case.check().reason, CheckReason::ReactivationRequired);
}

#[test]
fn a_joined_node_never_stops_the_bound_ones() {
    let mut case = Case::good();
    case.join(case.now);
    case.now = case.now.plus_days(200);
    assert_eq!(case.check().reason, CheckReason::Licensed);
    case.node = node_id(5);
    assert_eq!(case.check().reason, CheckReason::NodeUnbound);
}

#[test]
fn a_tolerated_loss_changes_nothing() {
    let mut case = Case::good();
    case.nodes.remove(2);
    assert_eq!(case.check().reason, CheckReason::Licensed);
    case.nodes.remove(2);
    assert_eq!(case.check().reason, CheckReason::ReactivationGrace);
}

#[test]
fn a_node_that_was_taken_out_is_refused_whatever_the_license_says() {
    let changes: [Change<Case>; 3] =
        [|_| {}, |case| case.license = None, |case| case.now = issued_at().plus_days(10_000)];
    for change in changes {
        let mut case = Case::good();
        change(&mut case);
        let decision = case.check_removed();
        assert_eq!(
            (decision.allowed, decision.reason.code(), decision.days_left),
            (false, "node_removed", None)
        );
        assert!(decision.reason.to_string().contains("quorate join"));
    }
    let report = crate::of_removed_node();
    assert_eq!((report.status.as_str(), report.next_step), ("invalid", crate::NextStep::JoinAgain));
}
