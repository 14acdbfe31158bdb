//! Tokens are made, revoked and forgotten.

use quorate_license::{DAY_MS, NodeRole, Timestamp};
use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{CreateToken, RevokeToken},
    state::{TokenId, TokenPurpose, TokenState},
};

use crate::{replica::Replica, sample};

/// How long a token is kept after its end, to be listed.
const KEPT_MS: i64 = 7 * DAY_MS;
const MOST_TOKENS: u64 = 131_072;

fn create(id: u64, expires_at: Timestamp) -> Command {
    let token = sample::join_token(TokenId(id), NodeRole::Spooler);
    Command::CreateToken(CreateToken { expires_at, ..token })
}

fn revoke(id: TokenId) -> Command {
    Command::RevokeToken(RevokeToken { id })
}

#[test]
fn a_new_token_is_open_until_it_expires() {
    let mut replica = Replica::with_nodes(1);
    let purpose = TokenPurpose::Admin { label: "anna".to_owned() };
    let token = CreateToken { purpose: purpose.clone(), ..sample::join_token(TokenId(5), NodeRole::Spooler) };
    assert_eq!(replica.accept(Command::CreateToken(token)), Outcome::TokenCreated { token: TokenId(5) });
    let token = replica.state().tokens().get(&TokenId(5)).unwrap();
    assert_eq!((&token.purpose, &token.state), (&purpose, &TokenState::Open));
    assert_eq!((token.created_at, token.created_by.as_str()), (sample::start(), "admin"));
    assert!(token.is_valid(token.expires_at.plus_ms(-1)));
    assert!(!token.is_valid(token.expires_at));
}

#[test]
fn a_token_id_is_given_once() {
    let mut replica = Replica::with_nodes(2);
    let used = sample::token_of(2);
    replica.accept(create(5, sample::start().plus_days(1)));
    replica.accept(create(6, sample::start().plus_days(1)));
    replica.accept(revoke(TokenId(6)));
    for id in [sample::ADMIN_TOKEN, used, TokenId(5), TokenId(6)] {
        let again = create(id.0, sample::start().plus_days(1));
        assert_eq!(replica.decide(again), Err(Refusal::TokenIdTaken(id)));
    }
}

#[test]
fn a_revoked_token_stays_revoked_and_a_used_one_stays_used() {
    let mut replica = Replica::with_nodes(2);
    assert_eq!(replica.decide(revoke(TokenId(5))), Err(Refusal::TokenUnknown));
    replica.accept(create(5, sample::start().plus_days(1)));
    for _ in 0..2 {
        assert_eq!(replica.decide(revoke(TokenId(5))), Ok(Outcome::TokenRevoked));
        assert_eq!(replica.state().tokens().get(&TokenId(5)).unwrap().state, TokenState::Revoked);
    }
    let before = replica.domain_rows();
    assert_eq!(replica.decide(revoke(sample::token_of(2))), Ok(Outcome::TokenRevoked));
    assert_eq!(replica.domain_rows(), before, "the node that joined with it remains");
}

#[test]
fn a_token_is_forgotten_a_week_after_its_end_and_not_before() {
    let mut replica = Replica::with_nodes(1);
    let end = sample::start().plus_days(1);
    replica.accept(create(5, end));
    replica.accept(create(6, end.plus_ms(1)));
    replica.tick(end.plus_ms(KEPT_MS));
    assert!(replica.state().tokens().get(&TokenId(5)).is_some());
    replica.tick(end.plus_ms(KEPT_MS + 1));
    assert!(replica.state().tokens().get(&TokenId(5)).is_none());
    assert!(replica.state().tokens().get(&TokenId(6)).is_some());
    assert!(replica.state().tokens().get(&sample::ADMIN_TOKEN).is_some());
}

#[test]
fn one_tick_forgets_16_tokens_at_most() {
    let mut replica = Replica::with_nodes(1);
    (1..=40).for_each(|id| drop(replica.accept(create(id, sample::start().plus_days(1)))));
    let left: Vec<usize> = (0..4)
        .map(|_| {
            replica.tick(sample::start().plus_days(30));
            replica.state().tokens().len()
        })
        .collect();
    assert_eq!(left, [25, 9, 1, 1], "the administrator's token is good for a year");
}

/// A cluster with as many tokens as it can have; every other one ends after a day.
fn full() -> Replica {
    let mut replica = Replica::with_nodes(2);
    // `init` has left one, and node 2 has used one.
    for id in 2..MOST_TOKENS {
        let id = 0x1_0000 + id;
        replica.accept(create(id, sample::start().plus_days(if id % 2 == 0 { 1 } else { 90 })));
    }
    replica
}

#[test]
fn tokens_are_bounded_and_those_that_are_over_make_room() {
    let mut replica = full();
    let new = |id: u64| create(id, sample::start().plus_days(90));
    assert_eq!(replica.run(new(1)), Err(Refusal::TooManyTokens(MOST_TOKENS)));
    assert_eq!(
        replica.state().tokens().len() as u64,
        MOST_TOKENS,
        "no open token gives way, and no used one"
    );

    replica.accept(revoke(TokenId(0x1_0003)));
    assert_eq!(replica.run(new(1)), Ok(Outcome::TokenCreated { token: TokenId(1) }), "as the refusal says");
    assert!(replica.state().tokens().get(&TokenId(0x1_0003)).is_none());
    assert_eq!(replica.run(new(2)), Err(Refusal::TooManyTokens(MOST_TOKENS)));

    replica.now = sample::start().plus_days(1);
    assert_eq!(replica.run(new(2)), Ok(Outcome::TokenCreated { token: TokenId(2) }), "some have expired");
    assert!(replica.state().tokens().get(&TokenId(0x1_0002)).is_none());
    assert!(replica.state().tokens().get(&TokenId(0x1_0005)).is_some());
}

#[test]
fn token_ids_are_written_with_16_hexadecimal_digits() {
    assert_eq!(TokenId(0xad).to_string(), "00000000000000ad");
    for id in [TokenId(0), TokenId(0xad), TokenId(u64::MAX)] {
        assert_eq!(id.to_string().parse::<TokenId>().unwrap(), id);
    }
    for wrong in ["", "ad", "+0000000000000ad", "00000000000000ag", "000000000000000ad", "0x000000000000ad"] {
        assert!(wrong.parse::<TokenId>().is_err(), "{wrong}");
    }
}
