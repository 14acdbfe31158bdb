//! What is recorded of what was asked for, that no record can be changed unseen, and who may ask no more.

use quorate_license::{NodeRole, Timestamp};
use quorate_raft_store::{
    Command, Outcome, Proposal, Refusal, RequestId,
    audit::{Actor, AskedBy, BrokenChain, Face, KEEP, Verifier},
    command::{CreateToken, RemoveNode, RevokeToken, Tick},
    state::{AuditAnchor, AuditRecord, TokenId, TokenPurpose},
};

use super::{Defect, refusals_keep_their_order};
use crate::{replica::Replica, sample, specimens};

/// A cluster whose audit is being written; who asks is a local administrator.
fn audited() -> Replica {
    let mut replica = Replica::with_nodes(2);
    replica.raise_level(3);
    replica.asked_by = Some(local());
    replica
}

fn local() -> AskedBy {
    AskedBy {
        actor: Actor::Local { uid: Some(991) },
        node: sample::node_id(2),
        face: Face::AdminSocket,
        address: None,
    }
}

fn by(actor: Actor) -> AskedBy {
    AskedBy { actor, ..specimens::asked_by() }
}

fn token(id: u64, purpose: TokenPurpose) -> CreateToken {
    CreateToken { purpose, ..sample::join_token(TokenId(id), NodeRole::Spooler) }
}

fn admin(id: u64) -> CreateToken {
    token(id, TokenPurpose::Admin { label: "anna".to_owned() })
}

fn revoke(id: u64) -> Command {
    Command::RevokeToken(RevokeToken { id: TokenId(id) })
}

fn records(replica: &Replica) -> Vec<AuditRecord> {
    replica.state().audit().values().cloned().collect()
}

fn verify(anchor: AuditAnchor, records: &[AuditRecord]) -> Result<AuditAnchor, BrokenChain> {
    let mut verifier = Verifier::from_anchor(anchor);
    records.iter().try_for_each(|record| verifier.take(record))?;
    Ok(verifier.head())
}

#[test]
fn a_change_is_recorded_with_who_where_what_when_and_outcome() {
    let mut replica = audited();
    replica.now = sample::start().plus_ms(5000);
    replica.accept(Command::CreateToken(admin(5)));
    replica.asked_by = Some(by(Actor::Token(TokenId(5))));
    assert_eq!(replica.decide(revoke(99)), Err(Refusal::TokenUnknown));
    let records = records(&replica);
    let [done, refused] = &records[..] else { panic!("two records") };
    let pairs = |record: &AuditRecord| {
        record.particulars.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((done.number, done.at), (1, sample::start().plus_ms(5000)));
    assert_eq!(done.revision.index, replica.last_index() - 1);
    assert_eq!((done.who.as_str(), done.node_name.as_str()), ("local administrator on node-2", "node-2"));
    assert_eq!((done.actor, done.face, &done.address), (local().actor, Face::AdminSocket, &None));
    assert_eq!(done.command, "CreateToken");
    let expires_at = admin(5).expires_at;
    assert_eq!(
        pairs(done),
        format!("token=0000000000000005 access=admin label=anna expires_at={expires_at}")
    );
    assert_eq!(done.refusal, None);

    assert_eq!((refused.number, refused.who.as_str()), (2, "anna (token 0000000000000005)"));
    assert_eq!((refused.face, refused.address.as_deref()), (Face::NodePort, Some("192.0.2.7:50412")));
    assert_eq!(
        (refused.command.as_str(), pairs(refused)),
        ("RevokeToken", "token=0000000000000063".to_owned())
    );
    assert_eq!(refused.refusal.as_deref(), Some("token_unknown"));
}

#[test]
fn no_secret_of_any_command_is_recorded() {
    let mut replica = Replica::with_nodes(4);
    replica.raise_level(3);
    replica.asked_by = Some(local());
    for command in specimens::one_of_each_command() {
        let _ = replica.run(command);
    }
    let text = format!("{:?}", records(&replica));
    let hash = format!("{:?}", sample::secret_hash(sample::token_of(2)));
    assert!(!text.contains(&hash) && !text.contains("PRIVATE") && !text.to_lowercase().contains("sealed"));
}

#[test]
fn every_command_that_somebody_asks_for_is_recorded_and_no_other() {
    let unasked =
        ["ReportNode", "ReportStart", "ReportCertificate", "Tick", "AgreeTime", "RaiseFeatureLevel"];
    for command in specimens::one_of_each_command() {
        let mut replica = audited();
        let (name, before) = (command.name(), replica.state().audit().len());
        let _ = replica.run(command);
        let recorded = replica.state().audit().len() - before;
        assert_eq!(recorded, usize::from(!unasked.contains(&name)), "{name}");
    }
}

#[test]
fn a_change_of_which_nobody_says_who_asked_is_recorded_as_such() {
    let mut replica = audited();
    replica.asked_by = None;
    replica.accept(Command::CreateToken(admin(5)));
    let record = &records(&replica)[0];
    assert_eq!((record.actor, record.who.as_str()), (Actor::Unstated, "not stated"));
}

#[test]
fn a_repeated_request_is_recorded_once() {
    let mut replica = audited();
    let proposal = Proposal {
        request: RequestId(1 << 100),
        time: sample::start(),
        asked_by: Some(local()),
        command: Command::CreateToken(admin(5)),
    };
    let first = replica.apply(&proposal);
    assert_eq!(replica.apply(&proposal), first);
    assert_eq!(replica.state().audit().len(), 1);
}

#[test]
fn nothing_is_recorded_before_every_member_writes_records() {
    let mut replica = Replica::with_nodes(2);
    replica.raise_level(2);
    replica.asked_by = Some(local());
    replica.accept(Command::CreateToken(admin(5)));
    assert!(replica.state().audit().is_empty());
    replica.raise_level(3);
    replica.accept(Command::CreateToken(admin(6)));
    assert_eq!(records(&replica)[0].number, 1);
}

#[test]
fn a_new_clusters_audit_begins_with_its_beginning() {
    let mut replica = Replica::empty();
    replica.asked_by = Some(AskedBy::node(sample::node_id(1)));
    let init = quorate_raft_store::command::InitCluster { feature_level: 3, ..sample::init() };
    replica.accept(Command::InitCluster(init));
    let record = &records(&replica)[0];
    assert_eq!((record.command.as_str(), record.who.as_str()), ("InitCluster", "node node-1"));
}

type Spoil = fn(&mut AuditRecord);

#[test]
fn the_chain_finds_every_change() {
    let mut replica = audited();
    for id in 1..=6 {
        replica.accept(Command::CreateToken(admin(id)));
        let _ = replica.run(revoke(90 + id));
    }
    let whole = records(&replica);
    let anchor = replica.state().audit_anchor();
    assert_eq!(verify(anchor, &whole).unwrap().number, 12);
    let spoil: [(&str, Spoil); 13] = [
        ("time", |record| record.at = record.at.plus_ms(1)),
        ("revision", |record| record.revision.index += 1),
        ("actor", |record| record.actor = Actor::Local { uid: Some(0) }),
        ("kind of actor", |record| record.actor = Actor::Node),
        ("who", |record| record.who.push('x')),
        ("node", |record| record.node = sample::node_id(1)),
        ("node's name", |record| record.node_name.clear()),
        ("face", |record| record.face = Face::NodePort),
        ("address", |record| record.address = Some("192.0.2.1:1".to_owned())),
        ("command", |record| record.command = "Tick".to_owned()),
        ("particulars", |record| record.particulars[0].1.push('0')),
        ("particular left out", |record| drop(record.particulars.pop())),
        ("outcome", |record| record.refusal = Some("x".to_owned()).filter(|_| record.refusal.is_none())),
    ];
    for (what, spoil) in spoil {
        let mut records = whole.clone();
        spoil(&mut records[6]);
        assert_eq!(verify(anchor, &records), Err(BrokenChain::Changed { number: 7 }), "{what}");
        // Even if the changed record gets a fitting hash, the next one tells.
        records[6].hash = quorate_raft_store::audit::hash(&records[5].hash, &records[6]);
        assert_eq!(verify(anchor, &records), Err(BrokenChain::Changed { number: 8 }), "{what}");
    }
    let mut missing = whole.clone();
    missing.remove(4);
    assert_eq!(verify(anchor, &missing), Err(BrokenChain::Gap { expected: 5, found: 6 }));
    let mut swapped = whole.clone();
    swapped.swap(2, 3);
    assert_eq!(verify(anchor, &swapped), Err(BrokenChain::Gap { expected: 3, found: 4 }));
    assert_eq!(
        verify(AuditAnchor { number: 0, hash: [1; 32] }, &whole),
        Err(BrokenChain::Changed { number: 1 })
    );
}

#[test]
fn the_oldest_records_are_dropped_and_what_is_kept_still_fits() {
    let mut replica = audited();
    let surplus = 200;
    for _ in 0..KEEP + surplus {
        let _ = replica.run(revoke(99));
    }
    let (anchor, kept) = (replica.state().audit_anchor(), records(&replica));
    assert!((KEEP..KEEP + 32).contains(&kept.len()), "{}", kept.len());
    assert_eq!(anchor.number + kept.len() as u64, (KEEP + surplus) as u64);
    assert_eq!(verify(anchor, &kept).unwrap().number, (KEEP + surplus) as u64);
}

#[test]
fn long_words_of_others_are_cut() {
    let mut replica = audited();
    replica.asked_by = Some(AskedBy { address: Some("x".repeat(5000)), ..by(Actor::Node) });
    replica.accept(Command::CreateToken(token(5, TokenPurpose::Viewer { label: "ü".repeat(2000) })));
    let record = &records(&replica)[0];
    assert!(record.particulars.iter().all(|(_, value)| value.len() <= 256));
    assert_eq!(record.address.as_ref().unwrap().len(), 256);
}

struct Asking {
    actor: Actor,
    now: Timestamp,
    revoked: bool,
    command: Command,
}

fn run(asking: &Asking) -> Result<Outcome, Refusal> {
    let mut replica = audited();
    replica.accept(Command::CreateToken(admin(5)));
    replica.accept(Command::CreateToken(token(6, TokenPurpose::Viewer { label: "otto".to_owned() })));
    if asking.revoked {
        replica.accept(revoke(5));
        replica.accept(revoke(6));
    }
    replica.now = asking.now;
    replica.asked_by = Some(by(asking.actor));
    let before = replica.domain_rows();
    let result = replica.run(asking.command.clone());
    if result.is_err() {
        assert_eq!(replica.domain_rows(), before, "a refused change changes nothing");
    }
    let last = records(&replica).pop().unwrap();
    assert_eq!(last.refusal.as_deref(), result.as_ref().err().map(Refusal::code), "and it is recorded");
    result
}

#[test]
fn who_may_not_ask_is_refused_before_what_is_asked() {
    let good = || Asking {
        actor: Actor::Token(TokenId(5)),
        now: sample::start(),
        revoked: false,
        command: Command::CreateToken(admin(7)),
    };
    refusals_keep_their_order(
        good,
        run,
        &[
            Defect {
                name: "an unknown token",
                excludes: &["a revoked token", "an expired token", "a viewer's token", "a join token"],
                make: |asking| asking.actor = Actor::Token(TokenId(0x77)),
                refusal: |_| Refusal::AskerTokenInvalid(TokenId(0x77)),
            },
            Defect {
                name: "a revoked token",
                excludes: &["a viewer's token", "a join token"],
                make: |asking| asking.revoked = true,
                refusal: |_| Refusal::AskerTokenInvalid(TokenId(5)),
            },
            Defect {
                name: "an expired token",
                excludes: &["a viewer's token", "a join token"],
                make: |asking| asking.now = admin(5).expires_at,
                refusal: |_| Refusal::AskerTokenInvalid(TokenId(5)),
            },
            Defect {
                name: "a viewer's token",
                excludes: &["a join token"],
                make: |asking| asking.actor = Actor::Token(TokenId(6)),
                refusal: |_| Refusal::AskerMayNotChange(TokenId(6)),
            },
            Defect {
                name: "a join token",
                excludes: &[],
                make: |asking| asking.actor = Actor::Token(sample::token_of(2)),
                // It is used up already.
                refusal: |_| Refusal::AskerTokenInvalid(sample::token_of(2)),
            },
            Defect {
                name: "a command that is refused by itself",
                excludes: &[],
                make: |asking| asking.command = revoke(0x99),
                refusal: |_| Refusal::TokenUnknown,
            },
        ],
    );
}

#[test]
fn a_revocation_counts_from_its_entry_on() {
    let mut replica = audited();
    replica.accept(Command::CreateToken(admin(5)));
    let (own, other) = (Some(by(Actor::Token(TokenId(5)))), Some(local()));
    replica.asked_by = own.clone();
    replica.accept(Command::CreateToken(admin(6)));
    replica.asked_by = other;
    replica.accept(revoke(5));
    replica.asked_by = own;
    for command in [
        Command::CreateToken(admin(7)),
        revoke(6),
        Command::RemoveNode(RemoveNode { node: sample::node_id(2), requested_by: "anna".to_owned() }),
    ] {
        assert_eq!(replica.decide(command), Err(Refusal::AskerTokenInvalid(TokenId(5))));
    }
    // A tick asks for nothing.
    replica.asked_by = None;
    replica.accept(Command::Tick(Tick {}));
}
