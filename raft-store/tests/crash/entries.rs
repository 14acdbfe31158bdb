//! Log entries as a function of seed, term and index: whoever checks a log needs no copy of it.

use std::collections::BTreeSet;

use openraft::entry::RaftEntry;
use quorate_license::{NodeId, NodeRole};
use quorate_raft_store::{
    Command, Proposal, RequestId,
    command::{CreateToken, RevokeToken, Tick},
    raft_types::{Entry, EntryPayload, Membership, log_id},
    state::{TokenId, TokenPurpose},
};

use crate::{random::Random, sample};

/// The entry of this place in the log.
pub(crate) fn entry(seed: u64, term: u64, index: u64) -> Entry {
    Entry::new(log_id(term, index), payload(seed, term, index))
}

fn payload(seed: u64, term: u64, index: u64) -> EntryPayload {
    let mut random = Random::of(seed, &[term, index]);
    let command = match index {
        0 => return EntryPayload::Membership(membership(3)),
        1 => Command::InitCluster(sample::init()),
        _ => match random.below(16) {
            0 => return EntryPayload::Blank,
            1 => return EntryPayload::Membership(membership(1 + random.below(9))),
            2..4 => Command::Tick(Tick {}),
            4..7 => Command::RevokeToken(RevokeToken { id: TokenId(random.below(200)) }),
            _ => Command::CreateToken(CreateToken {
                id: TokenId(random.below(200)),
                purpose: TokenPurpose::Join { role: NodeRole::Spooler, name: None },
                secret_hash: [random.next() as u8; 32],
                created_by: "x".repeat(length(&mut random)),
                expires_at: sample::start().plus_ms(index as i64 * 500 + 60_000),
            }),
        },
    };
    // Half a second an entry: what is remembered for minutes is forgotten within a run.
    let time = sample::start().plus_ms(index as i64 * 500);
    let request = RequestId(u128::from(random.next()) << 64 | u128::from(index));
    EntryPayload::Normal(Proposal { request, time, asked_by: None, command }.encode().unwrap())
}

/// Mostly short; some fill pages, a few fill the memtables.
fn length(random: &mut Random) -> usize {
    (match random.below(32) {
        0 => random.below(60_000),
        1..6 => random.below(5_000),
        _ => random.below(100),
    }) as usize
}

fn membership(voters: u64) -> Membership {
    let voters: BTreeSet<NodeId> = (1..=voters).map(NodeId).collect();
    Membership::new_with_defaults(vec![voters.clone()], voters)
}
