//! A node joins with a token.

use quorate_license::{ComputerId, NodeId, NodeKey, NodeRole, Timestamp};
use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{AdmitNode, CreateToken, InitCluster, RaiseFeatureLevel, RevokeToken},
    state::{TokenId, TokenPurpose, TokenState},
};

use super::{Defect, refusals_keep_their_order};
use crate::{replica::Replica, sample};

const TOKEN: TokenId = TokenId(0x70);

/// Node 3 joins a cluster of two nodes.
struct Case {
    token: CreateToken,
    /// Node 4 has joined with the token.
    used: bool,
    revoked: bool,
    at: Timestamp,
    admit: AdmitNode,
}

fn good() -> Case {
    Case {
        token: sample::join_token(TOKEN, NodeRole::Management),
        used: false,
        revoked: false,
        at: sample::start(),
        admit: AdmitNode { token: TOKEN, secret_hash: sample::secret_hash(TOKEN), ..sample::admit(3) },
    }
}

fn run(case: &Case) -> Result<Outcome, Refusal> {
    let mut replica = Replica::with_nodes(2);
    replica.accept(Command::CreateToken(case.token.clone()));
    if case.used {
        let TokenPurpose::Join { role, name } = &case.token.purpose else { panic!("no join token") };
        let mut other = AdmitNode { role: *role, ..sample::admit(4) };
        (other.token, other.secret_hash) = (TOKEN, sample::secret_hash(TOKEN));
        other.name = name.clone().unwrap_or(other.name);
        replica.accept(Command::AdmitNode(other));
    }
    if case.revoked {
        replica.accept(Command::RevokeToken(RevokeToken { id: TOKEN }));
    }
    replica.now = case.at;
    replica.decide(Command::AdmitNode(case.admit.clone()))
}

#[test]
fn every_refusal_has_its_place() {
    let defects = [
        Defect {
            name: "an unknown token",
            excludes: &["a wrong secret"],
            make: |case: &mut Case| case.admit.token = TokenId(0x71),
            refusal: |_| Refusal::TokenUnknown,
        },
        Defect {
            name: "a wrong secret",
            excludes: &[],
            make: |case| case.admit.secret_hash[31] ^= 1,
            refusal: |_| Refusal::TokenUnknown,
        },
        Defect {
            name: "an administrator's token",
            excludes: &[
                "a token used by another node",
                "a token for another role",
                "a token for another name",
            ],
            make: |case| case.token.purpose = TokenPurpose::Admin { label: "anna".to_owned() },
            refusal: |_| Refusal::TokenNotForJoin(TOKEN),
        },
        Defect {
            name: "a token used by another node",
            excludes: &[],
            make: |case| case.used = true,
            refusal: |_| Refusal::TokenUsed { token: TOKEN, node: sample::node_id(3) },
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
            make: |case| match &mut case.token.purpose {
                TokenPurpose::Join { role, .. } => *role = NodeRole::Spooler,
                TokenPurpose::Admin { .. } | TokenPurpose::Viewer { .. } => panic!("no join token"),
            },
            refusal: |_| Refusal::TokenRoleMismatch {
                allowed: NodeRole::Spooler,
                asked: NodeRole::Management,
            },
        },
        Defect {
            name: "a token for another name",
            excludes: &[],
            make: |case| match &mut case.token.purpose {
                TokenPurpose::Join { name, .. } => *name = Some(sample::name(9)),
                TokenPurpose::Admin { .. } | TokenPurpose::Viewer { .. } => panic!("no join token"),
            },
            refusal: |case| Refusal::TokenNameMismatch {
                allowed: sample::name(9),
                asked: case.admit.name.clone(),
            },
        },
        Defect {
            name: "an agent that is too old",
            excludes: &[],
            make: |case| case.admit.feature_level = 0,
            refusal: |case| Refusal::FeatureLevelUnsupported { node: case.admit.name.clone(), supported: 0 },
        },
        Defect {
            name: "a name that is taken",
            excludes: &[],
            make: |case| case.admit.name = sample::name(2),
            refusal: |_| Refusal::NodeNameTaken { name: sample::name(2), holder: sample::node_id(2) },
        },
        Defect {
            name: "a computer ID that is in use",
            excludes: &[],
            make: |case| case.admit.computer_id = sample::computer_id(2),
            refusal: |_| Refusal::ComputerIdInUse {
                computer_id: sample::computer_id(2).to_string(),
                holder: sample::name(2),
            },
        },
        Defect {
            name: "a node key that is in use",
            excludes: &[],
            make: |case| case.admit.key = sample::node_key(2).public(),
            refusal: |_| Refusal::NodeKeyInUse { holder: sample::name(2) },
        },
    ];
    refusals_keep_their_order(good, run, &defects);
}

#[test]
fn an_admitted_node_gets_the_next_id_and_uses_its_token_up() {
    let mut replica = Replica::with_nodes(1);
    replica.accept(Command::CreateToken(sample::join_token(sample::token_of(2), NodeRole::Management)));
    let taken = AdmitNode { name: sample::name(1), ..sample::admit(2) };
    assert!(replica.decide(Command::AdmitNode(taken)).is_err(), "a refused node gets no id");

    replica.now = sample::start().plus_ms(5000);
    let outcome = replica.accept(Command::AdmitNode(sample::admit(2)));
    assert_eq!(outcome, Outcome::NodeAdmitted { node: sample::node_id(2) });
    let node = replica.state().nodes().get(&sample::node_id(2)).unwrap();
    assert_eq!((&node.name, node.role), (&sample::name(2), NodeRole::Management));
    assert_eq!((node.joined_at, node.joined_by), (replica.now, Some(sample::token_of(2))));
    assert_eq!(node.start_counter, 0);
    let token = replica.state().tokens().get(&sample::token_of(2)).unwrap();
    assert_eq!(token.state, TokenState::Used { node: node.id, key: sample::node_key(2).public() });
    assert_eq!(replica.state().cluster().unwrap().next_node_index, 3);
}

#[test]
fn a_joiner_that_asks_again_with_its_key_gets_the_same_id() {
    let mut replica = Replica::with_nodes(3);
    let before = replica.domain_rows();
    let again = |replica: &mut Replica, admit| replica.decide(Command::AdmitNode(admit));
    let same = Ok(Outcome::NodeAdmitted { node: sample::node_id(3) });

    assert_eq!(again(&mut replica, sample::admit(3)), same);
    let updated = AdmitNode { agent_version: "0.2.0".to_owned(), build: None, ..sample::admit(3) };
    assert_eq!(again(&mut replica, updated), same, "an update between crash and repeat doesn't matter");
    replica.accept(Command::RevokeToken(RevokeToken { id: sample::token_of(3) }));
    assert_eq!(again(&mut replica, sample::admit(3)), same, "a used token can't be revoked any more");
    replica.now = sample::start().plus_days(3);
    assert_eq!(again(&mut replica, sample::admit(3)), same, "nor does it expire for its user");
    assert_eq!(replica.domain_rows(), before);

    let used = Err(Refusal::TokenUsed { token: sample::token_of(3), node: sample::node_id(3) });
    for other in [
        AdmitNode { key: sample::node_key(8).public(), ..sample::admit(3) },
        AdmitNode { name: sample::name(8), ..sample::admit(3) },
        AdmitNode { role: NodeRole::Spooler, ..sample::admit(3) },
    ] {
        assert_eq!(again(&mut replica, other), used);
    }
    let wrong_secret = AdmitNode { secret_hash: [0; 32], ..sample::admit(3) };
    assert_eq!(again(&mut replica, wrong_secret), Err(Refusal::TokenUnknown));
}

#[test]
fn a_named_token_admits_its_name() {
    let mut replica = Replica::with_nodes(1);
    let purpose = TokenPurpose::Join { role: NodeRole::Spooler, name: Some(sample::name(4)) };
    let token = CreateToken { purpose, ..sample::join_token(sample::token_of(4), NodeRole::Spooler) };
    replica.accept(Command::CreateToken(token));
    replica.accept(Command::AdmitNode(sample::admit(4)));
    assert_eq!(replica.state().node_named(&sample::name(4)).unwrap().role, NodeRole::Spooler);
}

#[test]
fn of_two_nodes_in_the_way_the_older_one_is_named() {
    let mut replica = Replica::with_nodes(2);
    replica.accept(Command::CreateToken(sample::join_token(sample::token_of(3), NodeRole::Management)));
    let key = sample::node_key(1).public();
    let both = AdmitNode { name: sample::name(2), key, ..sample::admit(3) };
    let holder = sample::name(1);
    assert_eq!(replica.decide(Command::AdmitNode(both)), Err(Refusal::NodeKeyInUse { holder }));
}

#[test]
fn a_node_has_to_read_the_level_that_the_cluster_has_reached() {
    let init = InitCluster { feature_level: 3, ..sample::init() };
    let mut replica = Replica::initialized_by(init);
    replica.accept(Command::RaiseFeatureLevel(RaiseFeatureLevel { level: 3 }));
    replica.accept(Command::CreateToken(sample::join_token(sample::token_of(2), NodeRole::Management)));
    let admit = |level| Command::AdmitNode(AdmitNode { feature_level: level, ..sample::admit(2) });
    let refused = Refusal::FeatureLevelUnsupported { node: sample::name(2), supported: 2 };
    assert_eq!(replica.decide(admit(2)), Err(refused));
    assert_eq!(replica.decide(admit(3)), Ok(Outcome::NodeAdmitted { node: sample::node_id(2) }));
}

fn spooler_token(index: u64) -> TokenId {
    TokenId(0x1_0000 + index)
}

/// A Spooler Controller that differs from every other one.
pub(crate) fn spooler(index: u64) -> AdmitNode {
    let mut seed = [0xf0; 32];
    seed[..8].copy_from_slice(&index.to_le_bytes());
    let mut computer_id = [1; 21];
    computer_id[1..9].copy_from_slice(&index.to_le_bytes());
    let token = spooler_token(index);
    AdmitNode {
        token,
        secret_hash: sample::secret_hash(token),
        name: format!("spooler-{index}").parse().unwrap(),
        key: NodeKey::from_seed(seed).public(),
        computer_id: ComputerId::from_bytes(computer_id).unwrap(),
        ..sample::admit(4)
    }
}

#[test]
fn a_cluster_has_1024_nodes_at_most() {
    let mut replica = Replica::with_nodes(1);
    for index in 2..=1024 {
        replica.accept(Command::CreateToken(sample::join_token(spooler_token(index), NodeRole::Spooler)));
        let outcome = replica.accept(Command::AdmitNode(spooler(index)));
        assert_eq!(outcome, Outcome::NodeAdmitted { node: NodeId::new(1, index) });
    }
    replica.accept(Command::CreateToken(sample::join_token(spooler_token(2000), NodeRole::Spooler)));
    let full = Err(Refusal::TooManyNodes(1024));
    assert_eq!(replica.decide(Command::AdmitNode(spooler(2000))), full);
    let also_taken = AdmitNode { name: sample::name(1), feature_level: 0, ..spooler(2000) };
    assert_eq!(
        replica.decide(Command::AdmitNode(also_taken)),
        full,
        "it comes before what is wrong with the node"
    );
    let wrong_role = AdmitNode { role: NodeRole::Management, ..spooler(2000) };
    let mismatch = Refusal::TokenRoleMismatch { allowed: NodeRole::Spooler, asked: NodeRole::Management };
    assert_eq!(
        replica.decide(Command::AdmitNode(wrong_role)),
        Err(mismatch),
        "it comes after what is wrong with the token"
    );
    assert!(replica.decide(Command::AdmitNode(spooler(1024))).is_ok(), "a member may repeat its request");
}
