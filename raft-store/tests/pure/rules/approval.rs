//! A node joins after an administrator has accepted it.

use quorate_license::{NodeRole, Timestamp};
use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{AdmitNode, CreateToken, DecideJoin, ReplaceNode, RequestJoin, RevokeToken, Tick},
    state::{JoinDecision, TokenId, TokenPurpose, TokenState},
};

use super::{Defect, refusals_keep_their_order};
use crate::{replica::Replica, sample};

const TOKEN: TokenId = TokenId(0x70);

fn joiner(index: u8) -> AdmitNode {
    AdmitNode {
        token: TOKEN,
        secret_hash: sample::secret_hash(TOKEN),
        role: NodeRole::Management,
        feature_level: 3,
        ..sample::admit(index)
    }
}

fn request(index: u8) -> Command {
    Command::RequestJoin(RequestJoin { joiner: joiner(index) })
}

fn decide(accept: bool) -> Command {
    Command::DecideJoin(DecideJoin { token: TOKEN, accept, decided_by: "anna".to_owned() })
}

/// Two nodes, and a token that needs approval.
fn cluster() -> Replica {
    let mut replica = Replica::with_nodes(2);
    replica.raise_level(3);
    replica.accept(Command::CreateToken(sample::approval_token(TOKEN, NodeRole::Management)));
    replica
}

/// Node 3 asks to join.
struct Case {
    token: CreateToken,
    /// Node 4 has shown the token before.
    shown: bool,
    revoked: bool,
    at: Timestamp,
    joiner: AdmitNode,
}

#[test]
fn every_refusal_of_a_request_has_its_place() {
    let good = || Case {
        token: sample::approval_token(TOKEN, NodeRole::Management),
        shown: false,
        revoked: false,
        at: sample::start(),
        joiner: joiner(3),
    };
    let run = |case: &Case| {
        let mut replica = Replica::with_nodes(2);
        replica.raise_level(3);
        replica.accept(Command::CreateToken(case.token.clone()));
        if case.shown {
            let role = match &case.token.purpose {
                TokenPurpose::JoinWithApproval { role, .. } => *role,
                other => panic!("{other:?}"),
            };
            let other = AdmitNode { role, ..joiner(4) };
            replica.accept(Command::RequestJoin(RequestJoin { joiner: other }));
        }
        if case.revoked {
            replica.accept(Command::RevokeToken(RevokeToken { id: TOKEN }));
        }
        replica.now = case.at;
        replica.decide(Command::RequestJoin(RequestJoin { joiner: case.joiner.clone() }))
    };
    let defects = [
        Defect {
            name: "a wrong secret",
            excludes: &[],
            make: |case: &mut Case| case.joiner.secret_hash[31] ^= 1,
            refusal: |_| Refusal::TokenUnknown,
        },
        Defect {
            name: "a token that another node has shown",
            excludes: &["a token that needs no approval"],
            make: |case| case.shown = true,
            refusal: |_| Refusal::TokenShownByOther { token: TOKEN, holder: sample::name(4) },
        },
        Defect {
            name: "a token that needs no approval",
            excludes: &["a token for another role"],
            make: |case| case.token = sample::join_token(TOKEN, NodeRole::Management),
            refusal: |_| Refusal::TokenNotForJoin(TOKEN),
        },
        Defect {
            name: "a revoked token",
            excludes: &[],
            make: |case| case.revoked = true,
            refusal: |_| Refusal::TokenRevoked(TOKEN),
        },
        Defect {
            name: "an expired token",
            excludes: &[],
            make: |case| case.at = case.token.expires_at,
            refusal: |_| Refusal::TokenExpired(TOKEN),
        },
        Defect {
            name: "a token for another role",
            excludes: &[],
            make: |case| case.token = sample::approval_token(TOKEN, NodeRole::Spooler),
            refusal: |_| Refusal::TokenRoleMismatch {
                allowed: NodeRole::Spooler,
                asked: NodeRole::Management,
            },
        },
        Defect {
            name: "an agent that is too old",
            excludes: &[],
            make: |case| case.joiner.feature_level = 2,
            refusal: |case| Refusal::FeatureLevelUnsupported { node: case.joiner.name.clone(), supported: 2 },
        },
        Defect {
            name: "a name that is taken",
            excludes: &[],
            make: |case| case.joiner.name = sample::name(2),
            refusal: |_| Refusal::NodeNameTaken { name: sample::name(2), holder: sample::node_id(2) },
        },
        Defect {
            name: "a computer ID that is in use",
            excludes: &[],
            make: |case| case.joiner.computer_id = sample::computer_id(2),
            refusal: |_| Refusal::ComputerIdInUse {
                computer_id: sample::computer_id(2).to_string(),
                holder: sample::name(2),
            },
        },
        Defect {
            name: "a node key that is in use",
            excludes: &[],
            make: |case| case.joiner.key = sample::node_key(2).public(),
            refusal: |_| Refusal::NodeKeyInUse { holder: sample::name(2) },
        },
    ];
    refusals_keep_their_order(good, run, &defects);
}

#[test]
fn a_node_waits_is_accepted_and_asks_again() {
    let mut replica = cluster();
    let admit = Command::AdmitNode(joiner(3));
    assert_eq!(replica.decide(admit.clone()), Err(Refusal::ApprovalNeeded(TOKEN)), "not by itself");
    let replace = ReplaceNode { replaced: sample::node_id(2), joiner: joiner(2) };
    assert_eq!(replica.decide(Command::ReplaceNode(replace)), Err(Refusal::ApprovalNeeded(TOKEN)));
    assert_eq!(replica.decide(decide(true)), Err(Refusal::NoPendingJoin(TOKEN)));

    let pending = Ok(Outcome::JoinPending { token: TOKEN });
    assert_eq!(replica.decide(request(3)), pending);
    assert_eq!(replica.decide(request(3)), pending, "a repeat waits on");
    assert_eq!(replica.state().nodes().len(), 2, "it is no member");
    let token = |replica: &Replica| replica.state().tokens().get(&TOKEN).unwrap().state.clone();
    assert_eq!(token(&replica), TokenState::Open);

    // The token may end while an administrator thinks.
    replica.now = sample::start().plus_days(3);
    let admitted = Ok(Outcome::NodeAdmitted { node: sample::node_id(3) });
    assert_eq!(replica.decide(decide(true)), admitted);
    assert_eq!(replica.decide(decide(true)), admitted, "twice is once");
    assert_eq!(replica.decide(request(3)), admitted, "the joiner learns of it");
    assert_eq!(replica.state().nodes().get(&sample::node_id(3)).unwrap().joined_by, Some(TOKEN));
    assert!(matches!(token(&replica), TokenState::Used { .. }));
    let decided = |accepted, replica: &Replica| Refusal::JoinDecided {
        name: sample::name(3),
        accepted,
        by: "anna".to_owned(),
        at: replica.now,
    };
    assert_eq!(replica.decide(decide(false)), Err(decided(true, &replica)));
}

#[test]
fn a_refused_node_is_told_by_whom_and_its_token_is_good_for_nothing() {
    let mut replica = cluster();
    replica.accept(request(3));
    assert_eq!(replica.decide(decide(false)), Ok(Outcome::JoinRefused));
    assert_eq!(replica.decide(decide(false)), Ok(Outcome::JoinRefused), "twice is once");
    let at = replica.now;
    let refused = Refusal::JoinRefused { name: sample::name(3), by: "anna".to_owned(), at };
    assert_eq!(replica.decide(request(3)), Err(refused));
    let other = Refusal::TokenShownByOther { token: TOKEN, holder: sample::name(3) };
    assert_eq!(replica.decide(request(4)), Err(other));
    let decided = Refusal::JoinDecided { name: sample::name(3), accepted: false, by: "anna".to_owned(), at };
    assert_eq!(replica.decide(decide(true)), Err(decided));
    assert_eq!(replica.state().tokens().get(&TOKEN).unwrap().state, TokenState::Revoked);
    assert_eq!(replica.state().nodes().len(), 2);

    // What is remembered of it goes with its token.
    replica.tick(sample::start().plus_days(20));
    replica.accept(Command::Tick(Tick {}));
    assert!(replica.state().tokens().get(&TOKEN).is_none() && replica.state().pending_joins().is_empty());
}

#[test]
fn an_acceptance_is_checked_again() {
    let mut replica = cluster();
    replica.accept(request(3));
    replica.accept(Command::CreateToken(sample::join_token(sample::token_of(4), NodeRole::Management)));
    let same_name = AdmitNode { name: sample::name(3), feature_level: 3, ..sample::admit(4) };
    replica.accept(Command::AdmitNode(AdmitNode { role: NodeRole::Management, ..same_name }));
    let taken = Refusal::NodeNameTaken { name: sample::name(3), holder: sample::node_id(3) };
    assert_eq!(replica.decide(decide(true)), Err(taken), "the name was taken meanwhile");
    let waiting = replica.state().pending_joins().get(&TOKEN).unwrap();
    assert_eq!(waiting.decision, JoinDecision::Waiting);
    replica.accept(Command::RevokeToken(RevokeToken { id: TOKEN }));
    assert_eq!(replica.decide(decide(true)), Err(Refusal::TokenRevoked(TOKEN)));
    replica.accept(decide(false));
}
