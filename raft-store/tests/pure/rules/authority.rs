//! The CA is rotated, phase by phase, as nodes tell about their certificates.

use quorate_license::NodeRole;
use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{AdvanceCa, RemoveNode, ReportCertificate, RotateCa},
    state::{CaPhase, TokenId, TokenState},
};

use super::{Defect, refusals_keep_their_order};
use crate::{replica::Replica, sample};

/// Three nodes at the level that knows certificates.
fn cluster() -> Replica {
    let mut replica = Replica::with_nodes(3);
    replica.raise_level(3);
    replica
}

fn tell(replica: &mut Replica, index: u8, issuer: u8, trusts: &[u8]) {
    replica.accept(Command::ReportCertificate(sample::report_certificate(index, issuer, trusts)));
}

fn advance(replica: &mut Replica, version: u64) -> Result<Outcome, Refusal> {
    replica.decide(Command::AdvanceCa(AdvanceCa { version }))
}

/// A rotation from CA 0 to CA 1.
struct Rotation {
    level: u32,
    under_way: bool,
    rotate: RotateCa,
}

#[test]
fn every_refusal_of_a_rotation_has_its_place() {
    let good = || Rotation { level: 3, under_way: false, rotate: sample::rotate_ca(0, 1) };
    let run = |case: &Rotation| {
        let mut replica = Replica::with_nodes(3);
        replica.raise_level(case.level);
        if case.under_way {
            replica.accept(Command::RotateCa(sample::rotate_ca(0, 1)));
        }
        replica.decide(Command::RotateCa(case.rotate.clone()))
    };
    let defects = [
        Defect {
            name: "a cluster of an older level",
            excludes: &["a rotation that is under way"],
            make: |case: &mut Rotation| case.level = 2,
            refusal: |_| Refusal::FeatureLevelTooLow { needed: 3, current: 2 },
        },
        Defect {
            name: "a rotation that is under way",
            excludes: &[],
            make: |case| case.under_way = true,
            refusal: |_| Refusal::CaRotationInProgress {
                started_at: sample::start(),
                requested_by: "anna".to_owned(),
            },
        },
        Defect {
            name: "a CA that was made for another version",
            excludes: &[],
            make: |case| case.rotate.version = 4,
            refusal: |_| Refusal::CaRotationOutdated { asked: 4, current: 0 },
        },
    ];
    refusals_keep_their_order(good, run, &defects);
}

#[test]
fn a_report_is_a_members_and_the_last_one_counts() {
    let mut replica = cluster();
    let report = |node, index| ReportCertificate { node, ..sample::report_certificate(index, 0, &[0]) };
    let unknown = Command::ReportCertificate(report(sample::node_id(9), 2));
    assert_eq!(replica.decide(unknown), Err(Refusal::NodeUnknown(sample::node_id(9))));
    tell(&mut replica, 2, 0, &[0]);
    replica.now = sample::start().plus_ms(1000);
    tell(&mut replica, 2, 1, &[0, 1]);
    let told = replica.state().certificates().get(&sample::node_id(2)).unwrap();
    assert_eq!((told.issuer, told.reported_at), (Some(sample::ca(1)), replica.now));

    let requested_by = "anna".to_owned();
    replica.accept(Command::RemoveNode(RemoveNode { node: sample::node_id(2), requested_by }));
    assert!(replica.state().certificates().is_empty(), "it goes with its node");
    let gone = replica.decide(Command::ReportCertificate(report(sample::node_id(2), 2)));
    assert_eq!(gone, Err(Refusal::NodeRemoved { node: sample::name(2), at: replica.now }));
}

/// A table of what is told in turn, and whether the phase may end then.
#[test]
fn each_phase_waits_for_every_node_by_name() {
    let mut replica = cluster();
    let waits = |nodes: &[u8]| {
        Err(Refusal::CaRotationWaits { nodes: nodes.iter().map(|index| sample::name(*index)).collect() })
    };
    assert_eq!(advance(&mut replica, 0), Err(Refusal::CaRotationOutdated { asked: 0, current: 0 }));
    let begun = replica.accept(Command::RotateCa(sample::rotate_ca(0, 1)));
    assert_eq!(begun, Outcome::CaRotated { version: 1 });
    for (index, trusts, expected, why) in [
        (1, &[0][..], waits(&[1, 2, 3]), "trusts the old one only"),
        (1, &[0, 1], waits(&[2, 3]), "trusts both"),
        (3, &[0, 1], waits(&[2]), "trusts both"),
        (3, &[1], waits(&[2]), "trusts the new one"),
    ] {
        tell(&mut replica, index, 0, trusts);
        assert_eq!(advance(&mut replica, 1), expected, "node {index} {why}");
    }
    let outdated = Err(Refusal::CaRotationOutdated { asked: 2, current: 1 });
    assert_eq!(advance(&mut replica, 2), outdated, "a phase that has not begun");
    assert_eq!(replica.state().cluster().unwrap().ca_certificate, sample::init().ca_certificate);
    assert_eq!(replica.state().trusted_cas().len(), 2);

    // The last one is not heard of any more: it is removed.
    let requested_by = "anna".to_owned();
    replica.accept(Command::RemoveNode(RemoveNode { node: sample::node_id(2), requested_by }));
    assert_eq!(advance(&mut replica, 1), Ok(Outcome::CaRotated { version: 2 }));
    let outdated = Err(Refusal::CaRotationOutdated { asked: 1, current: 2 });
    assert_eq!(advance(&mut replica, 1), outdated, "two leaders advance it once");
    let next = sample::rotate_ca(0, 1).next;
    let cluster = replica.state().cluster().unwrap();
    assert_eq!((&cluster.ca_certificate, &cluster.sealed_ca_key), (&next.certificate, &next.sealed_key));
    assert_eq!(replica.state().trusted_cas(), [&next.certificate, &sample::init().ca_certificate]);
    assert_eq!(replica.state().ca_bridges(), next.bridges);

    assert_eq!(advance(&mut replica, 2), waits(&[1, 3]), "nobody has a certificate of the new one");
    tell(&mut replica, 3, 1, &[1, 0]);
    assert_eq!(advance(&mut replica, 2), waits(&[1]));
    // A certificate that is none of the cluster's is none to be exchanged.
    let own = ReportCertificate { issuer: None, ..sample::report_certificate(1, 0, &[1, 0]) };
    replica.accept(Command::ReportCertificate(own));
    assert_eq!(advance(&mut replica, 2), Ok(Outcome::CaRotated { version: 3 }));
    let rotation = replica.state().ca_rotation().unwrap();
    assert_eq!(
        (rotation.current, &rotation.phase),
        (sample::ca(1), &CaPhase::Settled { previous: sample::ca(0) })
    );
    assert_eq!(replica.state().trusted_cas(), [&next.certificate]);
    assert!(replica.state().ca_bridges().is_empty() && replica.state().rotation_waits_for().is_empty());
    assert_eq!(advance(&mut replica, 3), Err(Refusal::CaRotationOutdated { asked: 3, current: 3 }));
    replica.accept(Command::RotateCa(sample::rotate_ca(3, 2)));
}

#[test]
fn join_tokens_of_the_old_ca_end_with_it() {
    let mut replica = cluster();
    let token = |replica: &mut Replica, id: u64| {
        replica.accept(Command::CreateToken(sample::join_token(TokenId(id), NodeRole::Spooler)));
    };
    let state =
        |replica: &Replica, id: u64| replica.state().tokens().get(&TokenId(id)).unwrap().state.clone();
    token(&mut replica, 0x301);
    replica.accept(Command::RotateCa(sample::rotate_ca(0, 1)));
    replica.now = sample::start().plus_ms(1000);
    token(&mut replica, 0x302);
    (1..=3).for_each(|index| tell(&mut replica, index, 0, &[0, 1]));
    replica.now = sample::start().plus_ms(2000);
    replica.accept(Command::AdvanceCa(AdvanceCa { version: 1 }));
    token(&mut replica, 0x303);
    assert_eq!(state(&replica, 0x301), TokenState::Open, "both CAs are trusted, so are their tokens");
    (1..=3).for_each(|index| tell(&mut replica, index, 1, &[1, 0]));
    replica.accept(Command::AdvanceCa(AdvanceCa { version: 2 }));
    assert_eq!((state(&replica, 0x301), state(&replica, 0x302)), (TokenState::Revoked, TokenState::Revoked));
    assert_eq!(state(&replica, 0x303), TokenState::Open, "it carries the hash of the new one");
    let admin = replica.state().tokens().get(&sample::ADMIN_TOKEN).unwrap();
    assert_eq!(admin.state, TokenState::Open, "an administrator's token names no CA");
    let used = replica.state().tokens().get(&sample::token_of(2)).unwrap();
    assert!(matches!(used.state, TokenState::Used { .. }));
}
