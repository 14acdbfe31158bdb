//! What is kept of earlier licenses, the decision about telemetry, and what became of activations that gave way.

use quorate_license::{ActivationKind, License, LicenseKind, Serial};
use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{InstallLicense, SetTelemetry},
    state::Method,
};

use crate::{replica::Replica, sample};

/// Entries that are kept.
const KEPT: u64 = 200;

fn cluster(level: u32) -> Replica {
    let mut replica = Replica::with_nodes(2);
    if level > 1 {
        replica.raise_level(level);
    }
    replica
}

#[test]
fn every_installed_answer_is_remembered_with_what_it_held() {
    let mut replica = cluster(3);
    replica.request(1, ActivationKind::Trial, Method::Offline);
    let trial = License { kind: LicenseKind::Trial, orders: Vec::new(), ..sample::license(1, 1) };
    let answer = sample::sign(&sample::binding(1, 2, 1), &[trial]);
    replica.accept(Command::InstallLicense(InstallLicense { nonce: sample::nonce(1), answer }));
    replica.now = sample::start().plus_days(3);
    replica.request(2, ActivationKind::Upgrade, Method::Online);
    replica.accept(Command::InstallLicense(sample::install(2, 2, 2)));
    // A repeat, and one that is refused, add nothing.
    replica.accept(Command::InstallLicense(sample::install(2, 2, 2)));
    assert!(replica.run(Command::InstallLicense(sample::install(3, 2, 3))).is_err());

    let entries: Vec<_> = replica.state().license_history().values().cloned().collect();
    assert_eq!(entries.len(), 2);
    let [first, second] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((first.kind, first.method, &first.key_last5), (ActivationKind::Trial, Method::Offline, &None));
    assert_eq!(first.licenses[0].kind, LicenseKind::Trial);
    assert_eq!((second.serial, second.installed_at), (Serial(2), replica.now));
    assert_eq!(second.key_last5.as_deref(), Some("7K2M9"));
    assert_eq!(second.licenses[0].orders, sample::license(2, 2).orders);
    assert_eq!(second.nodes.len(), 2);
}

#[test]
fn members_that_read_level_2_at_most_keep_no_history_and_know_no_new_refusal() {
    let mut replica = cluster(1);
    replica.request(1, ActivationKind::Activate, Method::Offline);
    replica.request(2, ActivationKind::Activate, Method::Offline);
    let install = Command::InstallLicense(sample::install(1, 2, 1));
    assert_eq!(replica.decide(install), Err(Refusal::NoOpenActivation(sample::nonce(1))));
    replica.accept(Command::InstallLicense(sample::install(2, 2, 1)));
    assert_eq!(replica.state().license_history().len(), 0);
    let set = Command::SetTelemetry(SetTelemetry { enabled: true, requested_by: "anna".to_owned() });
    assert_eq!(replica.decide(set), Err(Refusal::FeatureLevelTooLow { needed: 3, current: 1 }));
}

#[test]
fn the_newest_entries_are_kept() {
    let mut replica = cluster(3);
    for serial in 1..=KEPT + 5 {
        let nonce = u8::try_from(serial % 250 + 1).unwrap();
        replica.now = replica.now.plus_ms(1);
        replica.request(nonce, ActivationKind::Reactivate, Method::Online);
        replica.accept(Command::InstallLicense(sample::install(nonce, 2, serial)));
    }
    let serials: Vec<u64> = replica.state().license_history().iter().map(|(serial, _)| *serial).collect();
    assert_eq!(serials, (6..=KEPT + 5).collect::<Vec<_>>());
}

#[test]
fn an_answer_to_an_activation_that_gave_way_is_refused_by_name() {
    let mut replica = cluster(3);
    replica.request(1, ActivationKind::Activate, Method::Offline);
    replica.request(2, ActivationKind::Activate, Method::Offline);
    let (nonce, by) = (sample::nonce(1), sample::nonce(2));
    let late = Command::InstallLicense(sample::install(1, 2, 1));
    assert_eq!(replica.decide(late), Err(Refusal::ActivationSuperseded { nonce, by }));
}

#[test]
fn what_gave_way_is_listed_until_a_license_is_installed_also_by_way_of_one_that_was_closed() {
    let listed = |replica: &Replica, nonce: u8| {
        replica.state().activations().get(&sample::nonce(nonce)).unwrap().superseded.clone()
    };
    let mut replica = cluster(3);
    replica.request(1, ActivationKind::Activate, Method::Offline);
    replica.begin(2, ActivationKind::Activate, Method::Offline);
    // A node was away: nothing of number 2 has left the cluster, but number 1 may have an answer at the portal.
    replica.accept(Command::CloseActivation(sample::close(2)));
    replica.now = replica.now.plus_ms(5);
    replica.request(3, ActivationKind::Activate, Method::Offline);
    assert_eq!(listed(&replica, 3), [sample::nonce(1)]);
    replica.request(4, ActivationKind::Activate, Method::Online);
    assert_eq!(listed(&replica, 4), [sample::nonce(1), sample::nonce(3)]);
    replica.now = replica.now.plus_ms(5);
    replica.accept(Command::InstallLicense(sample::install(4, 2, 1)));
    replica.now = replica.now.plus_ms(5);
    replica.request(5, ActivationKind::Upgrade, Method::Offline);
    assert_eq!(listed(&replica, 5), []);
}

#[test]
fn telemetry_is_off_until_an_administrator_decides() {
    let mut replica = cluster(3);
    let telemetry = |replica: &Replica| replica.state().cluster().unwrap().telemetry;
    assert!(!telemetry(&replica));
    for enabled in [true, true, false] {
        let set = SetTelemetry { enabled, requested_by: "anna".to_owned() };
        let outcome = replica.accept(Command::SetTelemetry(set));
        assert_eq!(outcome, Outcome::TelemetrySet { enabled });
        assert_eq!(telemetry(&replica), enabled);
    }
}
