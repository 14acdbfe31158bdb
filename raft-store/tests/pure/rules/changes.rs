//! What is kept of every change of the licenses, for whoever watches.

use quorate_license::ActivationKind;
use quorate_raft_store::{
    Command,
    command::{InstallLicense, ReportNode},
    state::{LicenseChange, Method},
};

use crate::{replica::Replica, sample};

/// Changes that are kept.
const KEPT: u64 = 1000;

fn cluster(level: u32) -> Replica {
    let mut replica = Replica::with_nodes(2);
    replica.raise_level(level);
    replica
}

fn install(replica: &mut Replica, serial: u64) {
    let nonce = u8::try_from(serial % 250 + 1).unwrap();
    replica.now = replica.now.plus_ms(1);
    replica.request(nonce, ActivationKind::Reactivate, Method::Online);
    let install: InstallLicense = sample::install(nonce, 2, serial);
    replica.accept(Command::InstallLicense(install));
}

fn changes(replica: &Replica) -> Vec<(u64, LicenseChange)> {
    replica.state().license_changes().iter().map(|(index, change)| (*index, change.clone())).collect()
}

/// What a node tells of itself, with this build.
fn report(index: u8, build: &str) -> Command {
    let build = Some(build.parse().unwrap());
    Command::ReportNode(ReportNode { build, feature_level: 5, ..sample::report(index) })
}

#[test]
fn a_change_is_kept_by_its_entry_and_nothing_else_is() {
    let mut replica = cluster(5);
    assert_eq!(changes(&replica), [], "without a license nothing changes");
    install(&mut replica, 1);
    let first = replica.last_index();
    // Repeated, refused, and what has nothing to do with licenses.
    replica.accept(report(2, "11.2.0"));
    replica.tick(replica.now.plus_ms(10));
    assert!(replica.run(Command::InstallLicense(sample::install(9, 2, 9))).is_err());
    // Another build makes it worth something else, and back.
    replica.accept(report(2, "99.0"));
    let other_build = replica.last_index();
    replica.accept(report(2, "99.0"));
    replica.accept(report(2, "11.2.0"));
    let back = replica.last_index();
    install(&mut replica, 2);
    let second = replica.last_index();

    let kept = changes(&replica);
    let told: Vec<_> = kept
        .iter()
        .map(|(index, change)| {
            let [tenant] = &change.tenants[..] else { panic!("one tenant: {change:?}") };
            (*index, change.previous, tenant.serial.0, tenant.status.as_str())
        })
        .collect();
    assert_eq!(
        told,
        [
            (first, None, 1, "active"),
            (other_build, Some(first), 1, "reactivation_required"),
            (back, Some(other_build), 1, "active"),
            (second, Some(back), 2, "active"),
        ]
    );
    let license = sample::license(3, 2);
    let last = &kept.last().unwrap().1.tenants[0];
    assert_eq!((&last.orders, &last.entitlements), (&license.orders, &license.entitlements));
    assert_eq!(kept[3].1.at, replica.now);
}

#[test]
fn members_that_read_level_4_at_most_keep_no_changes() {
    let mut replica = cluster(4);
    install(&mut replica, 1);
    assert_eq!(changes(&replica), []);
}

#[test]
fn the_newest_changes_are_kept_and_the_first_one_names_what_was_forgotten() {
    let mut replica = cluster(5);
    let mut indexes = Vec::new();
    for serial in 1..=KEPT + 2 {
        install(&mut replica, serial);
        indexes.push(replica.last_index());
    }
    let kept = changes(&replica);
    assert_eq!(kept.len() as u64, KEPT);
    assert_eq!((kept[0].0, kept[0].1.previous), (indexes[2], Some(indexes[1])));
}
