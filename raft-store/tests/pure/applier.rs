//! Repeated requests, how long they are remembered, and entries that can't be read.

use quorate_license::Timestamp;
use quorate_raft_store::{
    Answer, Applier, ApplyError, Command, Outcome, Proposal, Refusal, RequestId, Revision, command::Tick,
    raft_types::EncodedProposal,
};

use crate::{
    replica::{self, Replica},
    sample,
};

/// How long an answer is remembered.
const RETENTION_MS: i64 = 120_000;
/// The answers of this many entries are remembered even longer.
const MIN_ENTRIES: u64 = 16_384;
/// How many answers are remembered at most.
const MOST_ANSWERS: u64 = 200_000;

fn proposal(request: u128, time: Timestamp, command: Command) -> Proposal {
    Proposal { request: RequestId(request), time, asked_by: None, command }
}

fn tick(request: u128, time: Timestamp) -> Proposal {
    proposal(request, time, Command::Tick(Tick {}))
}

#[test]
fn a_repeated_request_gets_its_first_answer_and_changes_nothing() {
    let mut replica = Replica::with_nodes(1);
    replica.accept(Command::CreateToken(sample::join_token(sample::token_of(2), sample::role(2))));
    let admit = proposal(1 << 100, sample::start(), Command::AdmitNode(sample::admit(2)));
    let first = replica.apply(&admit);
    assert_eq!(first.result, Ok(Outcome::NodeAdmitted { node: sample::node_id(2) }));
    assert_eq!(first.revision, Revision { epoch: 1, index: replica.last_index() });

    let before = replica.rows();
    // The repeat comes from another leader, with another time; even another command gets that answer.
    let later = sample::start().plus_ms(RETENTION_MS);
    assert_eq!(replica.apply(&Proposal { time: later, ..admit.clone() }), first);
    assert_eq!(replica.apply(&tick(1 << 100, later)), first);
    assert_eq!(replica.rows(), before, "not even the clock");
}

#[test]
fn a_repeated_request_that_was_refused_is_refused_again() {
    let mut replica = Replica::empty();
    let report = proposal(7, sample::start(), Command::ReportNode(sample::report(1)));
    let first = replica.apply(&report);
    assert_eq!(
        first,
        Answer { revision: Revision { epoch: 0, index: 1 }, result: Err(Refusal::NotInitialized) }
    );
    replica.accept(Command::InitCluster(sample::init()));
    assert_eq!(replica.apply(&report), first, "though it would be accepted now");
    let anew = proposal(8, sample::start(), Command::ReportNode(sample::report(1)));
    assert_eq!(replica.apply(&anew).result, Ok(Outcome::NodeReported));
}

#[test]
fn an_answer_is_remembered_for_its_time_and_not_longer() {
    let mut replica = Replica::with_nodes(1);
    let request = RequestId(1 << 100);
    let first = replica.apply(&tick(request.0, sample::start()));
    let remembered = |replica: &Replica| replica.state().answered(request).map(|row| row.answer.clone());

    replica.skip(MIN_ENTRIES);
    replica.tick(sample::start().plus_ms(RETENTION_MS));
    assert_eq!(remembered(&replica), Some(first));
    replica.tick(sample::start().plus_ms(RETENTION_MS + 1));
    assert_eq!(remembered(&replica), None);
    // It is a new request then.
    let answer = replica.apply(&tick(request.0, sample::start()));
    assert_eq!(answer.result, Ok(Outcome::Ticked { time: sample::start().plus_ms(RETENTION_MS + 1) }));
    assert_eq!(remembered(&replica), Some(answer));
}

#[test]
fn a_clock_that_is_far_ahead_makes_no_answer_be_forgotten() {
    let mut replica = Replica::with_nodes(1);
    let first = replica.apply(&tick(1 << 100, sample::start()));
    let ahead = sample::start().plus_ms(1000 * RETENTION_MS);
    let asked_at = replica.last_index();
    while replica.last_index() < asked_at + MIN_ENTRIES - 1 {
        replica.tick(ahead);
    }
    assert_eq!(replica.apply(&tick(1 << 100, ahead)), first, "and the repeat is applied once");
}

#[test]
fn a_request_that_was_forgotten_and_came_again_is_remembered_for_its_whole_time() {
    let mut replica = Replica::with_nodes(1);
    let request = RequestId(1 << 100);
    replica.apply(&tick(request.0, sample::start()));
    let again = sample::start().plus_ms(RETENTION_MS + 1);
    replica.skip(MIN_ENTRIES);
    replica.tick(again);
    replica.apply(&tick(request.0, again));
    replica.skip(MIN_ENTRIES);
    replica.tick(again.plus_ms(RETENTION_MS));
    assert!(replica.state().answered(request).is_some());
    replica.tick(again.plus_ms(RETENTION_MS + 1));
    assert!(replica.state().answered(request).is_none());
}

/// How many answers are remembered.
fn remembered(applier: &Applier) -> usize {
    let mut count = 0;
    let tables = applier.state().tables();
    let tagged = |tag| *tables.iter().find(|table| table.tag() == tag).unwrap();
    let (requests, order) = (tagged(8), tagged(9));
    requests.rows(&mut |_, _| count += 1).unwrap();
    let mut ordered = 0;
    order.rows(&mut |_, _| ordered += 1).unwrap();
    assert_eq!(ordered, count, "every remembered answer has its place in the order");
    count
}

#[test]
fn one_entry_forgets_four_answers_at_most() {
    let mut applier = Applier::default();
    for index in 1..=20 {
        applier.apply(index, &tick(index.into(), sample::start()).encode().unwrap()).unwrap();
    }
    let later = sample::start().plus_ms(RETENTION_MS + 1);
    let left: Vec<usize> = (21..=27)
        .map(|index| {
            let index = index + MIN_ENTRIES;
            applier.apply(index, &tick(index.into(), later).encode().unwrap()).unwrap();
            remembered(&applier)
        })
        .collect();
    assert_eq!(left, [17, 14, 11, 8, 5, 6, 7]);
}

#[test]
fn remembered_answers_are_bounded_and_the_oldest_go_first() {
    let mut applier = Applier::default();
    for index in 1..=MOST_ANSWERS + 10 {
        applier.apply(index, &tick(index.into(), sample::start()).encode().unwrap()).unwrap();
    }
    assert_eq!(remembered(&applier) as u64, MOST_ANSWERS);
    assert!(applier.state().answered(RequestId(10)).is_none());
    assert!(applier.state().answered(RequestId(11)).is_some());
    applier.take_changes().unwrap();
    assert_eq!(applier.digest(), replica::digest(&replica::rows(applier.state())));
}

#[test]
fn an_entry_that_can_not_be_read_stops_the_replica_and_changes_nothing() {
    let mut replica = Replica::with_nodes(2);
    let before = replica.rows();
    let whole = tick(99, sample::start()).encode().unwrap().0;
    let mut newer = whole.to_vec();
    newer[0] = 3;
    let mut longer = whole.to_vec();
    longer.push(0);
    for (bytes, reason) in [
        (Vec::new(), "the record is empty"),
        (newer, "the record has format version 3; this build reads version 2"),
        (longer, "1 bytes are left over behind the record"),
        (whole[..whole.len() - 1].to_vec(), "the record is damaged"),
    ] {
        let error = replica.applier.apply(42, &EncodedProposal(bytes.into())).unwrap_err();
        assert!(matches!(error, ApplyError::UnreadableEntry { index: 42, .. }));
        let message = error.to_string();
        assert!(message.starts_with(&format!("log entry 42 can't be read: {reason}")), "{message}");
    }
    assert_eq!(replica.rows(), before);
}
