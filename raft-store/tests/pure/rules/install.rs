//! The portal's answer becomes the cluster's license.

use quorate_license::{
    ActivationKind, AnswerRefusal, Binding, ClusterId, Epoch, EpochId, Fence, License, Nonce, Serial,
    SupportId, Timestamp,
};
use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{InstallLicense, ReportNode},
    state::{ActivationState, Method},
};

use super::{Defect, refusals_keep_their_order};
use crate::{replica::Replica, sample};

/// Two nodes, activated with serial 1, get the answer to their reactivation, which has nonce 2.
struct Case {
    nonce: Nonce,
    binding: Binding,
    license: License,
}

fn good() -> Case {
    Case { nonce: sample::nonce(2), binding: sample::binding(2, 2, 2), license: sample::license(2, 2) }
}

fn run(case: &Case) -> Result<Outcome, Refusal> {
    let mut replica = Replica::activated(2);
    replica.request(2, ActivationKind::Reactivate, Method::Online);
    let answer = sample::sign(&case.binding, std::slice::from_ref(&case.license));
    replica.decide(Command::InstallLicense(InstallLicense { nonce: case.nonce, answer }))
}

fn other_support_id() -> SupportId {
    "QS-OTHER-0001".parse().unwrap()
}

#[test]
fn every_refusal_has_its_place() {
    let defects = [
        Defect {
            name: "no such activation",
            excludes: &[],
            make: |case: &mut Case| case.nonce = sample::nonce(9),
            refusal: |_| Refusal::NoOpenActivation(sample::nonce(9)),
        },
        Defect {
            name: "the answer to another activation",
            excludes: &[],
            make: |case| case.binding.nonce = sample::nonce(1),
            refusal: |_| {
                let (expected, found) = (sample::nonce(2), sample::nonce(1));
                Refusal::AnswerRefused(AnswerRefusal::NonceMismatch { expected, found })
            },
        },
        Defect {
            name: "another cluster's",
            excludes: &[],
            make: |case| case.binding.cluster_id = ClusterId([0xc2; 16]),
            refusal: |_| {
                let (expected, found) = (sample::cluster_id(), ClusterId([0xc2; 16]));
                Refusal::AnswerRefused(AnswerRefusal::ClusterMismatch { expected, found })
            },
        },
        Defect {
            name: "another epoch's",
            excludes: &[],
            make: |case| case.binding.epoch = Epoch { number: 1, id: EpochId([0xe2; 16]) },
            refusal: |_| {
                let found = Epoch { number: 1, id: EpochId([0xe2; 16]) };
                Refusal::AnswerRefused(AnswerRefusal::EpochMismatch { expected: sample::epoch(), found })
            },
        },
        Defect {
            name: "another installation's",
            excludes: &[],
            make: |case| case.binding.support_id = other_support_id(),
            refusal: |_| {
                let (expected, found) = (sample::support_id(), other_support_id());
                Refusal::AnswerRefused(AnswerRefusal::SupportIdMismatch { expected, found })
            },
        },
        Defect {
            name: "an old fence",
            excludes: &[],
            make: |case| case.binding.fence = Fence(1),
            refusal: |_| {
                let (current, offered) = (Fence(1), Fence(1));
                Refusal::AnswerRefused(AnswerRefusal::FenceNotHigher { current, offered })
            },
        },
        Defect {
            name: "an old binding",
            excludes: &[],
            make: |case| case.binding.serial = Serial(1),
            refusal: |_| {
                let (current, offered) = (Serial(1), Serial(1));
                Refusal::AnswerRefused(AnswerRefusal::BindingSerialNotHigher { current, offered })
            },
        },
        Defect {
            name: "an old license",
            excludes: &[],
            make: |case| case.license.serial = Serial(0),
            refusal: |case| {
                let (tenant, current, offered) = (case.license.tenant.clone(), Serial(1), Serial(0));
                Refusal::AnswerRefused(AnswerRefusal::SerialNotHigher { tenant, current, offered })
            },
        },
    ];
    refusals_keep_their_order(good, run, &defects);
}

#[test]
fn the_first_answer_needs_a_fence_and_a_serial_too() {
    let mut replica = Replica::with_nodes(2);
    replica.request(1, ActivationKind::Activate, Method::Online);
    let zero = (Fence(0), Serial(0));
    let refused = Refusal::AnswerRefused(AnswerRefusal::FenceNotHigher { current: zero.0, offered: zero.0 });
    assert_eq!(replica.decide(Command::InstallLicense(sample::install(1, 2, 0))), Err(refused));
    let binding = Binding { fence: Fence(1), ..sample::binding(1, 2, 0) };
    let answer = sample::sign(&binding, &[sample::license(1, 1)]);
    let install = InstallLicense { nonce: sample::nonce(1), answer };
    let refused = AnswerRefusal::BindingSerialNotHigher { current: zero.1, offered: zero.1 };
    assert_eq!(replica.decide(Command::InstallLicense(install)), Err(Refusal::AnswerRefused(refused)));
    assert!(replica.decide(Command::InstallLicense(sample::install(1, 2, 1))).is_ok());
}

#[test]
fn an_installed_answer_is_there_as_it_was_signed() {
    let mut replica = Replica::with_nodes(2);
    replica.request(1, ActivationKind::Activate, Method::Online);
    replica.now = sample::start().plus_ms(7000);
    let install = sample::install(1, 2, 1);
    let outcome = replica.accept(Command::InstallLicense(install.clone()));
    let (support_id, serial) = (sample::support_id(), Serial(1));
    assert_eq!(outcome, Outcome::LicenseInstalled { support_id, serial });

    let state = replica.state();
    let binding = state.binding().unwrap();
    assert_eq!((&binding.binding, binding.installed_at), (&install.answer.binding, replica.now));
    let license = state.licenses().get(&install.answer.licenses[0].claims.tenant).unwrap();
    assert_eq!((&license.license, license.installed_at), (&install.answer.licenses[0], replica.now));
    assert_eq!(license.reactivation_required_since, None);
    let activation = state.activations().get(&sample::nonce(1)).unwrap();
    assert_eq!(activation.state, ActivationState::Installed { serial, at: replica.now });
    assert_eq!(state.open_activation(), None);
}

#[test]
fn the_same_answer_again_gets_the_same_outcome_and_changes_nothing() {
    let mut replica = Replica::activated(2);
    let before = replica.domain_rows();
    replica.now = sample::start().plus_days(2);
    let outcome = replica.decide(Command::InstallLicense(sample::install(1, 2, 1)));
    let (support_id, serial) = (sample::support_id(), Serial(1));
    assert_eq!(outcome, Ok(Outcome::LicenseInstalled { support_id, serial }));
    assert_eq!(replica.domain_rows(), before);
    let other = replica.decide(Command::InstallLicense(sample::install(1, 2, 2)));
    assert_eq!(other, Err(Refusal::NoOpenActivation(sample::nonce(1))), "one activation has one answer");
}

#[test]
fn an_old_answer_is_refused_after_a_newer_one() {
    let mut replica = Replica::activated(2);
    replica.request(2, ActivationKind::Reactivate, Method::Online);
    replica.accept(Command::InstallLicense(sample::install(2, 2, 2)));
    let before = replica.domain_rows();
    // The repeat of a proposal that was installed long ago: its outcome, and no way back.
    assert!(replica.decide(Command::InstallLicense(sample::install(1, 2, 1))).is_ok());
    assert_eq!(replica.domain_rows(), before);
    replica.request(3, ActivationKind::Reactivate, Method::Online);
    let old = InstallLicense { nonce: sample::nonce(3), ..sample::install(1, 2, 1) };
    let (expected, found) = (sample::nonce(3), sample::nonce(1));
    let refused = Refusal::AnswerRefused(AnswerRefusal::NonceMismatch { expected, found });
    assert_eq!(replica.decide(Command::InstallLicense(old)), Err(refused));
}

#[test]
fn each_tenant_has_its_own_serial_and_a_binding_alone_keeps_every_license() {
    let mut replica = Replica::activated(2);
    let acme = |nonce, serial| License { tenant: "acme".parse().unwrap(), ..sample::license(nonce, serial) };
    replica.request(2, ActivationKind::Upgrade, Method::Online);
    let answer = sample::sign(&sample::binding(2, 2, 2), &[acme(2, 1)]);
    replica.accept(Command::InstallLicense(InstallLicense { nonce: sample::nonce(2), answer }));
    let serials = |replica: &Replica| -> Vec<(String, u64)> {
        let licenses = replica.state().licenses().iter();
        licenses.map(|(tenant, row)| (tenant.to_string(), row.license.claims.serial.0)).collect()
    };
    assert_eq!(serials(&replica), [("acme".to_owned(), 1), ("default".to_owned(), 1)]);

    replica.request(3, ActivationKind::Transfer, Method::Online);
    let answer = sample::sign(&sample::binding(3, 2, 3), &[]);
    replica.accept(Command::InstallLicense(InstallLicense { nonce: sample::nonce(3), answer }));
    assert_eq!(serials(&replica), [("acme".to_owned(), 1), ("default".to_owned(), 1)]);
    assert_eq!(replica.state().binding().unwrap().binding.claims.serial, Serial(3));
}

fn required_since(replica: &Replica) -> Option<Timestamp> {
    replica.state().licenses().values().next().unwrap().reactivation_required_since
}

fn report_build(replica: &mut Replica, build: &str) {
    let report = ReportNode { build: Some(build.parse().unwrap()), ..sample::report(2) };
    replica.accept(Command::ReportNode(report));
}

#[test]
fn the_grace_of_a_changed_build_counts_from_the_change() {
    let mut replica = Replica::activated(2);
    let day = |days| sample::start().plus_days(days);
    replica.now = day(1);
    report_build(&mut replica, "11.2.0");
    assert_eq!(required_since(&replica), None);
    replica.now = day(2);
    report_build(&mut replica, "11.3.0");
    assert_eq!(required_since(&replica), Some(day(2)));
    replica.now = day(3);
    report_build(&mut replica, "11.4.0");
    assert_eq!(required_since(&replica), Some(day(2)), "a further change gives no further time");
    replica.tick(day(4));
    assert_eq!(required_since(&replica), Some(day(2)));
    report_build(&mut replica, "11.2.0");
    assert_eq!(required_since(&replica), None, "the bound build is back");

    report_build(&mut replica, "11.3.0");
    replica.request(2, ActivationKind::Reactivate, Method::Online);
    let mut binding = sample::binding(2, 2, 2);
    binding.nodes[1].build = Some("11.3.0".parse().unwrap());
    let answer = sample::sign(&binding, &[sample::license(2, 2)]);
    replica.accept(Command::InstallLicense(InstallLicense { nonce: sample::nonce(2), answer }));
    assert_eq!(required_since(&replica), None, "the reactivation covers it");
}

#[test]
fn a_node_that_joins_does_not_start_the_grace_of_the_bound_nodes() {
    let mut replica = Replica::activated(2);
    replica.join_up_to(3);
    assert_eq!(required_since(&replica), None, "the new node has a time of its own");
    replica.now = sample::start().plus_days(60);
    report_build(&mut replica, "11.3.0");
    assert_eq!(required_since(&replica), Some(replica.now), "an update much later has its whole grace");
}
