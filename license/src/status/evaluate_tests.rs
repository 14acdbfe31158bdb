use super::*;
use crate::{
    NodeId,
    samples::{computer_id, issued_at, node_id, row},
    status::{InvalidReason, UnboundNode},
};

/// What a row of a table changes.
type Change<T> = fn(&mut T);

/// The installation of the samples as it is now, which a test may change.
struct Case {
    license: Option<License>,
    binding: Option<Binding>,
    nodes: Vec<RegisteredNode>,
    scope: IntegrityScope,
    restored: bool,
    since: Option<Timestamp>,
    now: Timestamp,
}

fn registered(index: u8) -> RegisteredNode {
    let row = row(index);
    RegisteredNode {
        id: row.id,
        role: row.role,
        computer_id: row.computer_id,
        build: row.build,
        joined_at: issued_at().plus_ms(-1000),
    }
}

fn build(text: &str) -> crate::BuildNumber {
    text.parse().unwrap()
}

impl Case {
    /// Everything right, a day after the activation.
    fn good() -> Self {
        Case {
            license: Some(crate::samples::license()),
            binding: Some(crate::samples::binding()),
            nodes: (1..=4).map(registered).collect(),
            scope: IntegrityScope::All,
            restored: false,
            since: None,
            now: issued_at().plus_days(1),
        }
    }

    fn license(&mut self) -> &mut License {
        self.license.as_mut().unwrap()
    }

    fn binding(&mut self) -> &mut Binding {
        self.binding.as_mut().unwrap()
    }

    fn binding_if_any(&mut self, change: impl FnOnce(&mut Binding)) {
        if let Some(binding) = &mut self.binding {
            change(binding);
        }
    }

    fn lose(&mut self, index: u8) {
        self.nodes.retain(|node| node.id != node_id(index));
    }

    fn join(&mut self, index: u8) {
        self.nodes.push(RegisteredNode { joined_at: self.now, ..registered(index) });
    }

    fn evaluate(&self) -> StatusReport {
        evaluate(&StatusInput {
            license: self.license.as_ref(),
            binding: self.binding.as_ref(),
            nodes: &self.nodes,
            scope: self.scope,
            restored: self.restored,
            reactivation_required_since: self.since,
            now: self.now,
        })
    }
}

fn required(reasons: impl Into<Vec<ReactivationReason>>) -> LicenseStatus {
    LicenseStatus::ReactivationRequired { reasons: reasons.into() }
}

fn invalid(reason: InvalidReason) -> LicenseStatus {
    LicenseStatus::Invalid { reason }
}

fn nodes_changed(missing: &[u8], added: &[u8]) -> ReactivationReason {
    let ids = |indexes: &[u8]| -> Vec<NodeId> { indexes.iter().map(|index| node_id(*index)).collect() };
    ReactivationReason::NodesChanged { missing: ids(missing), added: ids(added) }
}

/// One row per case: what is changed, and status, days left and next step.
#[test]
fn every_case_has_its_status() {
    type Row = (&'static str, Change<Case>, LicenseStatus, Option<u32>, NextStep);
    let rows: Vec<Row> = vec![
        ("nothing", |_| {}, LicenseStatus::Active, Some(364), NextStep::None),
        (
            "perpetual",
            |c| {
                c.license().kind = LicenseKind::Perpetual;
                c.license().expires_at = None;
            },
            LicenseStatus::Active,
            None,
            NextStep::None,
        ),
        (
            "trial",
            |c| c.license().kind = LicenseKind::Trial,
            LicenseStatus::Trial,
            Some(364),
            NextStep::Purchase,
        ),
        (
            "last millisecond",
            |c| c.now = issued_at().plus_days(365).plus_ms(-1),
            LicenseStatus::Active,
            Some(1),
            NextStep::None,
        ),
        (
            "term over",
            |c| c.now = issued_at().plus_days(365),
            LicenseStatus::Grace,
            Some(14),
            NextStep::Renew,
        ),
        (
            "trial over",
            |c| {
                c.license().kind = LicenseKind::Trial;
                c.now = issued_at().plus_days(365);
            },
            LicenseStatus::Grace,
            Some(14),
            NextStep::Purchase,
        ),
        (
            "grace over",
            |c| c.now = issued_at().plus_days(379),
            LicenseStatus::Expired,
            Some(0),
            NextStep::Renew,
        ),
        (
            "no grace",
            |c| {
                c.license().graces.expiry_days = 0;
                c.now = issued_at().plus_days(365);
            },
            LicenseStatus::Expired,
            Some(0),
            NextStep::Renew,
        ),
        (
            "trial expired",
            |c| {
                c.license().kind = LicenseKind::Trial;
                c.now = issued_at().plus_days(379);
            },
            LicenseStatus::Expired,
            Some(0),
            NextStep::Activate,
        ),
        ("no license", |c| c.license = None, LicenseStatus::Unlicensed, None, NextStep::Activate),
        (
            "no binding",
            |c| c.binding = None,
            LicenseStatus::Invalid { reason: InvalidReason::BindingMissing },
            None,
            NextStep::ContactVendor,
        ),
        (
            "other Support ID",
            |c| c.binding().support_id = "OTHER".parse().unwrap(),
            LicenseStatus::Invalid { reason: InvalidReason::OtherInstallation },
            None,
            NextStep::ContactVendor,
        ),
        (
            "other cluster",
            |c| c.license().cluster_id = crate::ClusterId([1; 16]),
            LicenseStatus::Invalid { reason: InvalidReason::OtherInstallation },
            None,
            NextStep::ContactVendor,
        ),
        (
            "too early",
            |c| c.now = issued_at().plus_ms(-1),
            LicenseStatus::Invalid { reason: InvalidReason::NotYetValid { not_before: issued_at() } },
            None,
            NextStep::Wait,
        ),
        ("one node missing, tolerated", |c| c.lose(3), LicenseStatus::Active, Some(364), NextStep::None),
        (
            "two nodes missing",
            |c| {
                c.lose(2);
                c.lose(3);
            },
            required([nodes_changed(&[2, 3], &[])]),
            Some(21),
            NextStep::Transfer,
        ),
        (
            "a node missing, no tolerance",
            |c| {
                c.binding().tolerance = 0;
                c.lose(4);
            },
            required([nodes_changed(&[4], &[])]),
            Some(21),
            NextStep::Transfer,
        ),
        ("a node joined", |c| c.join(5), required([nodes_changed(&[], &[5])]), Some(7), NextStep::Reactivate),
        (
            "a node joined, another is missing",
            |c| {
                c.lose(4);
                c.join(5);
            },
            required([nodes_changed(&[4], &[5])]),
            Some(7),
            NextStep::Transfer,
        ),
        (
            "a build changed",
            |c| c.nodes[1].build = Some(build("11.3.0")),
            required([ReactivationReason::BuildChanged {
                node: node_id(2),
                bound: Some(build("11.2.0")),
                current: build("11.3.0"),
            }]),
            Some(21),
            NextStep::Reactivate,
        ),
        (
            "a build is known now",
            |c| c.binding().nodes[1].build = None,
            required([ReactivationReason::BuildChanged {
                node: node_id(2),
                bound: None,
                current: build("11.2.0"),
            }]),
            Some(21),
            NextStep::Reactivate,
        ),
        (
            "a build is not told any more",
            |c| c.nodes[1].build = None,
            LicenseStatus::Active,
            Some(364),
            NextStep::None,
        ),
        (
            "restored",
            |c| c.restored = true,
            required([ReactivationReason::Restored]),
            Some(21),
            NextStep::Reactivate,
        ),
        (
            "a build changed, a node is missing",
            |c| {
                c.lose(3);
                c.nodes[1].build = Some(build("11.3.0"));
            },
            required([ReactivationReason::BuildChanged {
                node: node_id(2),
                bound: Some(build("11.2.0")),
                current: build("11.3.0"),
            }]),
            Some(21),
            NextStep::Transfer,
        ),
        (
            "a node set up anew on its host",
            |c| c.nodes[2].id = node_id(9),
            LicenseStatus::Active,
            Some(364),
            NextStep::None,
        ),
        (
            "a node on another host",
            |c| {
                c.binding().tolerance = 0;
                c.nodes[2].computer_id = computer_id(9);
            },
            required([nodes_changed(&[3], &[3])]),
            Some(7),
            NextStep::Transfer,
        ),
        (
            "a node in another role",
            |c| {
                c.binding().tolerance = 0;
                c.nodes[3].role = crate::NodeRole::Management;
            },
            required([nodes_changed(&[4], &[4])]),
            Some(6),
            NextStep::Transfer,
        ),
    ];
    for (name, change, status, days_left, next_step) in rows {
        let mut case = Case::good();
        change(&mut case);
        // A node whose host or role changed joined now.
        if name == "a node on another host" {
            case.nodes[2].joined_at = case.now;
        }
        let report = case.evaluate();
        assert_eq!(
            (report.status, report.days_left, report.next_step),
            (status, days_left, next_step),
            "{name}"
        );
    }
}

/// Each row stands above the ones before it: with any two of them, in whichever order they came, it is the later one's
/// status; and so it is with all of them up to there.
#[test]
fn statuses_have_a_fixed_precedence() {
    type Row = (Change<Case>, fn() -> LicenseStatus);
    let rows: [Row; 11] = [
        (|_| {}, || LicenseStatus::Active),
        (|c| c.license().kind = LicenseKind::Trial, || LicenseStatus::Trial),
        (|c| c.license().expires_at = Some(c.now.plus_ms(-1)), || LicenseStatus::Grace),
        (|c| c.restored = true, || required([ReactivationReason::Restored])),
        (
            |c| (c.restored, c.license().graces.reactivation_days) = (true, 0),
            || required([ReactivationReason::Restored]),
        ),
        (
            |c| {
                c.license().expires_at = Some(c.now.plus_ms(-1));
                c.license().graces.expiry_days = 0;
            },
            || LicenseStatus::Expired,
        ),
        (
            |c| c.license().not_before = issued_at().plus_days(2),
            || invalid(InvalidReason::NotYetValid { not_before: issued_at().plus_days(2) }),
        ),
        (
            |c| c.binding_if_any(|b| b.support_id = "OTHER".parse().unwrap()),
            || invalid(InvalidReason::OtherInstallation),
        ),
        (|c| c.binding_if_any(|b| b.cluster_id.0 = [9; 16]), || invalid(InvalidReason::OtherInstallation)),
        (|c| c.binding = None, || invalid(InvalidReason::BindingMissing)),
        (|c| c.license = None, || LicenseStatus::Unlicensed),
    ];
    let mut all = Case::good();
    for (above, (change, expected)) in rows.iter().enumerate() {
        change(&mut all);
        assert_eq!(all.evaluate().status, expected(), "all up to row {above}");
        for (below, (other, _)) in rows[..above].iter().enumerate() {
            for [first, second] in [[other, change], [change, other]] {
                let mut case = Case::good();
                first(&mut case);
                if case.license.is_some() {
                    second(&mut case);
                }
                let status = case.evaluate().status;
                assert_eq!(status, expected(), "rows {below} and {above}");
            }
        }
    }
}

#[test]
fn all_reasons_are_listed() {
    let mut case = Case::good();
    case.lose(3);
    case.lose(4);
    case.join(5);
    case.restored = true;
    case.nodes[0].build = Some(build("12"));
    let changed = ReactivationReason::BuildChanged {
        node: node_id(1),
        bound: Some(build("11.2.0")),
        current: build("12"),
    };
    let expected = required([changed, nodes_changed(&[3, 4], &[5]), ReactivationReason::Restored]);
    assert_eq!(case.evaluate().status, expected);
}

#[test]
fn the_reactivation_grace_runs_from_when_it_was_noticed() {
    let mut case = Case::good();
    case.restored = true;
    assert_eq!(case.evaluate().reactivation_until, Some(case.now.plus_days(21)));
    case.since = Some(case.now.plus_ms(-10 * crate::DAY_MS));
    let report = case.evaluate();
    assert_eq!(report.reactivation_until, Some(case.now.plus_days(11)));
    assert_eq!(report.days_left, Some(11));
    case.restored = false;
    assert_eq!(case.evaluate().reactivation_until, None);
}

#[test]
fn a_joined_node_starts_no_grace_for_the_others() {
    let mut case = Case::good();
    case.join(5);
    let report = case.evaluate();
    assert_eq!(report.reactivation_until, None);
    assert_eq!(report.unbound, [UnboundNode { node: node_id(5), until: case.now.plus_days(7) }]);
}

#[test]
fn what_ends_first_counts() {
    let mut case = Case::good();
    case.restored = true;
    case.now = case.license().expires_at.unwrap().plus_ms(-crate::DAY_MS);
    assert_eq!(case.evaluate().days_left, Some(1));
    case.now = case.license().expires_at.unwrap();
    assert_eq!(case.evaluate().days_left, Some(14));
    assert!(case.evaluate().in_expiry_grace);
}

#[test]
fn outside_the_scope_nobody_is_missing_or_added() {
    let mut case = Case::good();
    case.binding().tolerance = 0;
    case.scope = IntegrityScope::Management;
    case.lose(4);
    case.join(5);
    assert_eq!(case.evaluate().status, LicenseStatus::Active);
    case.scope = IntegrityScope::All;
    assert_eq!(case.evaluate().status, required([nodes_changed(&[4], &[5])]));
}

#[test]
fn a_wider_scope_gives_the_nodes_their_time_from_the_activation() {
    let mut case = Case::good();
    case.binding().nodes.truncate(3);
    let until = issued_at().plus_days(7);
    assert_eq!(case.evaluate().unbound, [UnboundNode { node: node_id(4), until }]);
}
