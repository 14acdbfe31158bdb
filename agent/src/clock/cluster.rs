//! The cluster's time on this node: what was agreed on last, carried on by the monotonic clock.
//!
//! ```text
//! AgreeTime ─ apply ─> the time then, and the monotonic clock's reading ─> now = that + what has passed since
//! ```
//!
//! The time of day of this machine plays no part, so it can be set to anything. Before the voters have agreed on a
//! time for the first time (members of a feature level below 4), it is the machine's clock, never earlier than
//! what the cluster has seen.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_license::Timestamp;
use quorate_raft_store::{State, Views};
use tokio::time::Instant;

/// The cluster's time. Clones share what they know.
#[derive(Debug, Clone)]
pub struct ClusterClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    views: Arc<Views>,
    anchor: Mutex<Anchor>,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    /// The cluster's time at `at`.
    time: Timestamp,
    at: Instant,
    /// Which agreement it is of.
    agreed: Option<Timestamp>,
    /// What this node reckoned before it was started, at `at`; until it hears of an agreement.
    saved: Option<Timestamp>,
    /// Whether an agreement was applied since this process runs.
    heard: bool,
}

fn after(time: Timestamp, at: Instant) -> Timestamp {
    time.plus_ms(i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX))
}

fn agreement(state: &State) -> Option<Timestamp> {
    state.agreed_time().map(|agreed| agreed.at)
}

impl ClusterClock {
    /// The clock of a node that reads these views.
    pub fn new(views: Arc<Views>) -> Self {
        Self::going_on(views, None)
    }

    /// The same, of a node that reckoned it was `saved` before it was started.
    pub fn going_on(views: Arc<Views>, saved: Option<Timestamp>) -> Self {
        let state = &views.current().state;
        let anchor =
            Anchor { time: state.time(), at: Instant::now(), agreed: agreement(state), saved, heard: false };
        ClusterClock { shared: Arc::new(Shared { views, anchor: Mutex::new(anchor) }) }
    }

    /// The cluster's time now. The time of proposals, and of whatever is judged together with others.
    pub fn now(&self) -> Timestamp {
        let view = self.shared.views.current();
        match agreement(&view.state) {
            None => super::now().max(view.state.time()),
            Some(_) => {
                let anchor = self.follow(&view.state);
                after(anchor.time, anchor.at)
            }
        }
    }

    /// The time by which this node judges its license: the cluster's, and not earlier than what the node had reckoned
    /// before it was started, until the cluster agrees anew. So restarts of a node that is alone stop no clock.
    pub fn judging_time(&self) -> Timestamp {
        let now = self.now();
        let Anchor { saved, at, .. } = *self.anchor();
        saved.map_or(now, |saved| now.max(after(saved, at)))
    }

    /// Whether the voters' clocks have agreed on a time since this process was started. Until then the time may be
    /// behind by as long as the node was off.
    pub fn is_heard(&self) -> bool {
        self.note();
        self.anchor().heard
    }

    /// Takes note of what was agreed on, at the moment at which it is applied.
    pub fn note(&self) {
        self.now();
    }

    fn anchor(&self) -> MutexGuard<'_, Anchor> {
        self.shared.anchor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, state: &State) -> Anchor {
        let mut anchor = self.anchor();
        let agreed = agreement(state);
        if anchor.agreed != agreed {
            *anchor = Anchor { time: state.time(), at: Instant::now(), agreed, saved: None, heard: true };
        } else if state.time() > after(anchor.time, anchor.at) {
            let saved = anchor.saved.map(|saved| after(saved, anchor.at));
            *anchor = Anchor { time: state.time(), at: Instant::now(), saved, ..*anchor };
        }
        *anchor
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quorate_raft_store::{Applier, Command, Proposal, RequestId, View, command::AgreeTime};

    use super::*;
    use crate::service::licensing::samples;

    /// The state after the node 1, the only voter, has said that it is this time.
    fn agreed(state: &State, ahead_ms: i64, request: u128) -> View {
        let mut applier = Applier::resume(state.clone(), quorate_raft_store::Digest::default());
        let time = state.time();
        let clock = quorate_raft_store::command::ClockReading {
            node: samples::node_id(1),
            time: time.plus_ms(ahead_ms),
        };
        let command = Command::AgreeTime(AgreeTime { voters: 1, clocks: vec![clock], others: Vec::new() });
        let proposal = Proposal { request: RequestId(request), time, asked_by: None, command };
        let answer = applier.apply(90, &proposal.encode().unwrap()).unwrap();
        answer.result.unwrap();
        View { state: applier.state().clone(), ..View::default() }
    }

    /// So many seconds have passed since the last agreement.
    fn pass(clock: &ClusterClock, seconds: u64) {
        let mut anchor = clock.anchor();
        anchor.at = anchor.at.checked_sub(Duration::from_secs(seconds)).unwrap();
    }

    /// The clock runs while the test does.
    fn near(seen: Timestamp, expected: Timestamp) {
        let late = seen.ms_since(expected);
        assert!((0..20_000).contains(&late), "{seen} instead of {expected}");
    }

    fn before() -> View {
        View { state: samples::initialized(), ..View::default() }
    }

    #[test]
    fn before_the_first_agreement_it_is_the_machines_clock_and_then_the_monotonic_one() {
        let views = Arc::new(Views::new(before()));
        let clock = ClusterClock::new(views.clone());
        assert!(!clock.is_heard());
        assert!(super::super::now().ms_since(clock.now()).abs() < 5_000);

        let view = agreed(&views.current().state, 5_000, 1);
        let time = view.state.time();
        views.publish(view);
        assert!(clock.is_heard());
        near(clock.now(), time);
        pass(&clock, 7200);
        near(clock.now(), time.plus_ms(7_200_000));

        // The cluster's time has gone on by less here than the local clock reckons: the agreement counts.
        let view = agreed(&views.current().state, 3_600_000, 2);
        let time = view.state.time();
        views.publish(view);
        near(clock.now(), time);
    }

    #[test]
    fn a_node_that_was_started_again_judges_by_what_it_had_reckoned_until_it_hears_more() {
        let view = agreed(&before().state, 5_000, 1);
        let time = view.state.time();
        let views = Arc::new(Views::new(view));
        let clock = ClusterClock::going_on(views.clone(), Some(time.plus_days(40)));
        near(clock.now(), time);
        near(clock.judging_time(), time.plus_days(40));
        pass(&clock, 60);
        near(clock.now(), time.plus_ms(60_000));
        near(clock.judging_time(), time.plus_days(40).plus_ms(60_000));
        let view = agreed(&views.current().state, 90_000, 2);
        let time = view.state.time();
        views.publish(view);
        near(clock.now(), time);
        near(clock.judging_time(), time);
    }
}
