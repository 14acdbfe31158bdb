//! The cluster's time: what the voters' clocks agree on, and jumps that wait to be confirmed.

use quorate_license::{ActivationKind, DAY_MS, Timestamp};
use quorate_raft_store::{
    Command, Outcome, Refusal,
    command::{AgreeTime, ClockReading, ConfirmTime},
    state::{AgreedTime, HeldJump, Method, SAME_CLOCK_MS},
};

use super::{Defect, refusals_keep_their_order};
use crate::{replica::Replica, sample};

const HOUR_MS: i64 = 3_600_000;
const YEAR_MS: i64 = 365 * DAY_MS;

/// Three Management Servers and a Spooler Controller, all of which read level 4.
fn cluster() -> Replica {
    let mut replica = Replica::with_nodes(4);
    replica.raise_level(4);
    replica
}

/// Clocks of the nodes 1, 2 and so on, so far ahead of `now`.
fn clocks(now: Timestamp, ahead_ms: &[i64]) -> AgreeTime {
    let reading =
        |(index, ms): (u8, &i64)| ClockReading { node: sample::node_id(index), time: now.plus_ms(*ms) };
    let clocks: Vec<ClockReading> = (1_u8..).zip(ahead_ms).map(reading).collect();
    AgreeTime { voters: 3, clocks, others: Vec::new() }
}

impl Replica {
    /// The voters' clocks are looked at, and are so far ahead of the leader's idea of the time.
    fn agree(&mut self, ahead_ms: &[i64]) -> Timestamp {
        let command = Command::AgreeTime(clocks(self.now, ahead_ms));
        let time = self.state().time();
        assert_eq!(self.accept(command), Outcome::TimeAgreed { time: self.state().time() });
        assert!(self.state().time() >= time, "it never goes back");
        self.now = self.state().time();
        self.now
    }

    /// Time passes as a monotonic clock measures it.
    fn pass(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
    }

    fn agreed(&self) -> &AgreedTime {
        self.state().agreed_time().unwrap()
    }

    fn held(&self) -> Option<&HeldJump> {
        self.agreed().held.as_ref()
    }
}

#[test]
fn the_median_of_the_voters_clocks_moves_the_time_and_never_back() {
    for (ahead, moves) in [
        (&[0, 0, 0][..], 0),
        (&[5_000, 5_000, 5_000], 5_000),
        (&[0, 2_000, 9_000], 2_000),
        (&[9_000, 0, 2_000], 2_000),
        // One clock alone moves nothing, however far away it is.
        (&[0, 0, YEAR_MS], 0),
        (&[0, 0, -YEAR_MS], 0),
        // Of an even number, the earlier one.
        (&[1_000, 2_000], 1_000),
        (&[0, YEAR_MS], 0),
        // All are behind.
        (&[-5_000, -5_000, -5_000], 0),
        (&[-YEAR_MS, -YEAR_MS, -YEAR_MS], 0),
        // A day is not too much, a moment more is.
        (&[DAY_MS, DAY_MS, DAY_MS], DAY_MS),
        (&[DAY_MS + 1, DAY_MS + 1, DAY_MS + 1], 0),
        // Less than a majority says nothing.
        (&[7_000], 0),
    ] {
        let mut replica = cluster();
        let before = replica.now;
        assert_eq!(replica.agree(ahead), before.plus_ms(moves), "{ahead:?}");
    }
}

#[test]
fn only_clocks_of_management_servers_count_and_each_once() {
    let mut replica = cluster();
    let now = replica.now;
    let mut command = clocks(now, &[0, 0]);
    let far = |index| ClockReading { node: sample::node_id(index), time: now.plus_ms(HOUR_MS) };
    // A Spooler Controller, and a node that nobody knows.
    command.clocks.extend([far(4), far(9)]);
    command.others = vec![far(4), far(9)];
    replica.accept(Command::AgreeTime(command));
    assert_eq!(replica.state().time(), now);
    let off: Vec<_> = replica.agreed().clocks.iter().filter(|clock| clock.is_off()).copied().collect();
    assert_eq!(off.len(), 1);
    assert_eq!((off[0].node, off[0].ms), (sample::node_id(4), HOUR_MS), "it is named all the same");

    let mut replica = cluster();
    let mut twice = clocks(now, &[HOUR_MS]);
    twice.clocks.push(twice.clocks[0]);
    replica.accept(Command::AgreeTime(twice));
    assert_eq!(replica.state().time(), now, "one voter's word twice is no majority");
}

#[test]
fn a_clock_that_is_off_is_kept_with_how_far() {
    let mut replica = cluster();
    replica.agree(&[0, SAME_CLOCK_MS - 1, -YEAR_MS]);
    let off: Vec<_> = replica.agreed().clocks.iter().filter(|clock| clock.is_off()).collect();
    assert_eq!(off.len(), 1);
    assert_eq!((off[0].node, off[0].ms), (sample::node_id(3), -YEAR_MS));
    replica.agree(&[0, 0, 0]);
    assert!(replica.agreed().clocks.iter().all(|clock| clock.ms == 0), "it was set right");
}

#[test]
fn a_jump_is_held_and_counts_after_three_days_on_which_the_voters_agree() {
    let mut replica = cluster();
    let start = replica.now;
    replica.agree(&[YEAR_MS; 3]);
    let held = replica.held().unwrap().clone();
    assert_eq!((held.since, held.until()), (start, start.plus_days(3)));
    assert_eq!(held.reported_by, [1, 2, 3].map(sample::node_id));
    for _ in 0..71 {
        replica.pass(HOUR_MS);
        replica.agree(&[YEAR_MS; 3]);
        assert_eq!(replica.held().unwrap().since, start, "it is the same jump");
    }
    assert_eq!(replica.state().time(), start.plus_ms(71 * HOUR_MS), "the time runs on meanwhile");
    replica.pass(HOUR_MS);
    replica.agree(&[YEAR_MS; 3]);
    assert_eq!((replica.held(), replica.state().time()), (None, start.plus_days(3).plus_ms(YEAR_MS)));
}

#[test]
fn three_days_begin_anew_when_the_clocks_stop_agreeing_or_jump_again() {
    let mut replica = cluster();
    let start = replica.now;
    replica.agree(&[YEAR_MS; 3]);
    replica.pass(DAY_MS);
    // The median is as far ahead as before, and no majority says so.
    replica.agree(&[YEAR_MS - HOUR_MS, YEAR_MS, YEAR_MS + HOUR_MS]);
    let held = replica.held().unwrap();
    assert_eq!((held.since, held.agreed_since), (start, start.plus_days(1)));
    replica.pass(DAY_MS);
    replica.agree(&[2 * YEAR_MS; 3]);
    assert_eq!(replica.held().unwrap().since, start.plus_days(2), "that is another jump");
    replica.pass(DAY_MS);
    replica.agree(&[0; 3]);
    assert_eq!(
        (replica.held(), replica.state().time()),
        (None, start.plus_days(3)),
        "the clocks were set right"
    );
    // One voter that goes back and forth does not disturb the others.
    replica.agree(&[YEAR_MS; 3]);
    let since = replica.now;
    replica.pass(DAY_MS);
    replica.agree(&[YEAR_MS, YEAR_MS, 0]);
    let held = replica.held().unwrap();
    assert_eq!((held.agreed_since, held.reported_by.len()), (since, 2));
}

#[test]
fn time_in_which_the_cluster_was_off_is_no_new_jump() {
    let mut replica = cluster();
    let start = replica.now;
    replica.agree(&[YEAR_MS; 3]);
    // Off for 20 hours every night: the cluster's time stands still then, the clocks don't.
    let (mut ahead, mut days) = (YEAR_MS, 0);
    while replica.held().is_some() && days < 30 {
        replica.pass(4 * HOUR_MS);
        ahead += 20 * HOUR_MS;
        replica.agree(&[ahead; 3]);
        days += 1;
    }
    assert_eq!(days, 18, "72 hours on, 4 of them a day");
    assert_eq!(replica.state().time(), start.plus_ms(days * DAY_MS).plus_ms(YEAR_MS));
}

#[test]
fn an_administrator_confirms_the_jump_that_was_shown() {
    let mut replica = cluster();
    replica.agree(&[YEAR_MS; 3]);
    let (since, now) = (replica.held().unwrap().since, replica.now);
    replica.pass(HOUR_MS);
    let confirm = ConfirmTime { since, requested_by: "anna".to_owned() };
    let time = now.plus_ms(HOUR_MS + YEAR_MS);
    assert_eq!(replica.accept(Command::ConfirmTime(confirm)), Outcome::TimeAgreed { time });
    assert_eq!((replica.held(), replica.state().time()), (None, time));
}

struct Confirmation {
    replica: Replica,
    confirm: ConfirmTime,
}

fn confirmation() -> Confirmation {
    let mut replica = cluster();
    replica.agree(&[YEAR_MS; 3]);
    let since = replica.held().unwrap().since;
    Confirmation { replica, confirm: ConfirmTime { since, requested_by: "anna".to_owned() } }
}

#[test]
fn what_is_confirmed_has_to_be_held_and_to_be_what_was_shown() {
    refusals_keep_their_order(
        confirmation,
        |case| case.replica.clone().decide(Command::ConfirmTime(case.confirm.clone())),
        &[
            Defect {
                name: "nothing is held",
                excludes: &[],
                make: |case| {
                    case.replica.agree(&[0; 3]);
                },
                refusal: |_| Refusal::NoTimeJumpHeld,
            },
            Defect {
                name: "another jump was shown",
                excludes: &[],
                make: |case| case.confirm.since = case.confirm.since.plus_ms(-1),
                refusal: |case| Refusal::TimeJumpChanged {
                    asked: case.confirm.since,
                    current: case.confirm.since.plus_ms(1),
                },
            },
        ],
    );
}

/// An activation whose answer the portal has signed so long after the cluster was initialized.
fn answered(replica: &mut Replica, nonce: u8, signed_after_ms: i64) {
    let kind = if nonce == 1 { ActivationKind::Activate } else { ActivationKind::Reactivate };
    replica.request(nonce, kind, Method::Offline);
    let serial = u64::from(nonce);
    let mut binding = sample::binding(nonce, 4, serial);
    binding.issued_at = sample::start().plus_ms(signed_after_ms);
    let answer = sample::sign(&binding, &[sample::license(nonce, serial)]);
    let install = quorate_raft_store::command::InstallLicense { nonce: sample::nonce(nonce), answer };
    replica.accept(Command::InstallLicense(install));
}

#[test]
fn the_portals_signed_time_confirms_what_the_clocks_say() {
    // The clocks are 100 days ahead of the cluster's time; so far ahead is what the portal has signed.
    for (signed_days, moves_days, held) in
        [(100, 100, false), (99, 100, false), (101, 100, false), (60, 60, true), (-5, 0, true)]
    {
        let mut replica = cluster();
        replica.agree(&[100 * DAY_MS; 3]);
        answered(&mut replica, 1, signed_days * DAY_MS);
        let time = sample::start().plus_ms(moves_days * DAY_MS);
        assert_eq!(
            (replica.state().time(), replica.held().is_some()),
            (time, held),
            "signed after {signed_days} days"
        );
        assert_eq!(replica.state().licenses().values().next().unwrap().installed_at, time);
    }
}

#[test]
fn what_the_portal_has_signed_is_remembered_and_alone_moves_nothing() {
    let mut replica = cluster();
    replica.agree(&[0; 3]);
    answered(&mut replica, 1, 100 * DAY_MS);
    assert_eq!(replica.state().time(), sample::start(), "a portal whose clock is ahead moves no time");
    answered(&mut replica, 2, 50 * DAY_MS);
    assert_eq!(replica.agreed().portal, Some(sample::start().plus_days(100)), "the latest counts");
    replica.agree(&[100 * DAY_MS; 3]);
    assert_eq!((replica.held(), replica.state().time()), (None, sample::start().plus_days(100)));
    replica.agree(&[2 * DAY_MS; 3]);
    assert!(replica.held().is_some(), "it confirms nothing beyond");
}

#[test]
fn before_level_4_the_time_is_the_leaders_and_the_portals_word_changes_nothing() {
    let mut replica = Replica::with_nodes(4);
    replica.raise_level(3);
    let refused = Refusal::FeatureLevelTooLow { needed: 4, current: 3 };
    let command = clocks(replica.now, &[0; 3]);
    assert_eq!(replica.decide(Command::AgreeTime(command)), Err(refused));
    answered(&mut replica, 1, 100 * DAY_MS);
    assert_eq!((replica.state().agreed_time(), replica.state().time()), (None, sample::start()));
}

#[test]
fn agreeing_forgets_old_tokens_as_a_tick_does() {
    let mut replica = cluster();
    let tokens = replica.state().tokens().len();
    assert!(tokens > 1);
    replica.pass(9 * DAY_MS);
    replica.agree(&[0; 3]);
    assert_eq!(
        replica.state().tokens().len(),
        1,
        "join tokens that ended more than a week ago are forgotten"
    );
}
