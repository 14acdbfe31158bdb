//! The leader reads the nodes' clocks and lets the cluster agree on its time.
//!
//! ```text
//! NodeStateResponse.clock_ms ─> a reading, with the moment ─ fresh ones ─> AgreeTime ─> log
//! ```
//!
//! Every hour, and whenever the clocks would change something: the time, a jump that is held, or which clocks are
//! off. So the time is the agreed one whenever something is judged by it, without a question in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use quorate_license::{NodeId, Timestamp};
use quorate_proto::node::v1::NodeStateResponse;
use quorate_raft_store::{
    Command, State,
    command::{AgreeTime, ClockReading},
    state::{AgreedTime, ClockOffset, SAME_CLOCK_MS},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Cluster;
use crate::clock;

/// The feature level from which on the clocks agree.
const LEVEL: u32 = 4;
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The clocks agree this often, at least.
const EVERY_MS: i64 = 3_600_000;
/// What is older is no reading: its node may not be there any more.
const STALE: Duration = Duration::from_secs(60);
/// Clocks that are ahead by less wait for the hour: reading them is not more exact.
const WORTH_MS: i64 = 2_000;
/// Whose clocks are off is told at once, but not more often than this.
const OFF_AGAIN: Duration = Duration::from_secs(10);

/// What the clocks of other nodes said, and when.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    read: BTreeMap<NodeId, (Timestamp, Instant)>,
}

impl Clocks {
    fn note(&mut self, node: NodeId, time: Timestamp, at: Instant) {
        self.read.insert(node, (time, at));
    }

    /// What the clocks say at this moment.
    fn at(&mut self, now: Instant) -> BTreeMap<NodeId, Timestamp> {
        self.read.retain(|_, (_, at)| now.duration_since(*at) < STALE);
        let run_on = |time: Timestamp, at: Instant| {
            time.plus_ms(i64::try_from(now.duration_since(at).as_millis()).unwrap_or(i64::MAX))
        };
        self.read.iter().map(|(node, (time, at))| (*node, run_on(*time, *at))).collect()
    }
}

/// The command for these clocks.
fn command(clocks: BTreeMap<NodeId, Timestamp>, voters: &BTreeSet<NodeId>) -> AgreeTime {
    let readings = clocks.into_iter().map(|(node, time)| ClockReading { node, time });
    let (clocks, others) = readings.partition(|reading| voters.contains(&reading.node));
    AgreeTime { voters: u32::try_from(voters.len()).unwrap_or(u32::MAX), clocks, others }
}

/// Why the clocks should agree now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// It would change the time, or what is held; or an hour is over.
    Now,
    /// It would only change what is told of the clocks: which are off, and how far all are behind.
    Off,
}

/// Whether there is something to agree on, when the cluster's time is `now`.
fn due(state: &State, now: Timestamp, command: &AgreeTime) -> Option<Due> {
    let after = command.judge(state, now)?;
    let Some(before) = state.agreed_time() else { return Some(Due::Now) };
    let hour = now.ms_since(before.at) >= EVERY_MS;
    let moves = after.at.ms_since(now) >= WORTH_MS;
    let held = |agreed: &AgreedTime| agreed.held.as_ref().map(|held| held.since);
    if hour || moves || held(before) != held(&after) {
        return Some(Due::Now);
    }
    let off = |agreed: &AgreedTime| -> BTreeSet<NodeId> {
        agreed.clocks.iter().filter(|clock| clock.is_off()).map(|clock| clock.node).collect()
    };
    let others_say_so = |agreed: &AgreedTime| agreed.held.as_ref().map(|held| held.reported_by.clone());
    let moved = (after.ahead_ms() - before.ahead_ms()).abs() >= SAME_CLOCK_MS;
    let changed = moved || off(before) != off(&after) || others_say_so(before) != others_say_so(&after);
    changed.then_some(Due::Off)
}

impl Cluster {
    /// Takes note of what a node's clock says.
    pub(super) fn hear_clock(&self, node: NodeId, answer: &NodeStateResponse) {
        if answer.clock_ms > 0 {
            let time = Timestamp::from_unix_ms(answer.clock_ms);
            self.clocks.lock().unwrap_or_else(PoisonError::into_inner).note(node, time, Instant::now());
        }
    }

    /// All clocks, this node's among them.
    fn clocks_now(&self) -> BTreeMap<NodeId, Timestamp> {
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner).at(Instant::now());
        clocks.insert(self.node, clock::now());
        clocks
    }
}

/// Lets the cluster agree on its time while this node leads, until `stop`.
pub async fn agree_on_time(cluster: Arc<Cluster>, stop: CancellationToken) {
    let mut told_off: Option<Instant> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        let view = cluster.view();
        let reads = view.state.cluster().is_some_and(|row| row.feature_level >= LEVEL);
        if !reads || !cluster.leads() {
            continue;
        }
        let command = command(cluster.clocks_now(), &cluster.voters());
        match due(&view.state, cluster.clock.now(), &command) {
            None => continue,
            Some(Due::Off) if told_off.is_some_and(|at| at.elapsed() < OFF_AGAIN) => continue,
            Some(Due::Off) => told_off = Some(Instant::now()),
            Some(Due::Now) => {}
        }
        let itself = cluster.itself();
        let agreed = tokio::select! {
            () = stop.cancelled() => return,
            agreed = cluster.propose(Command::AgreeTime(command), &itself) => agreed,
        };
        match agreed.map(|answer| answer.result) {
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => tracing::warn!(%refusal, "the cluster's time was not agreed on"),
            Err(error) => {
                tracing::debug!(%error, "the cluster's time was not agreed on; it runs on meanwhile")
            }
        }
    }
}

/// The clock's distance from the median in words, such as `2h 5m ahead of`.
pub fn distance(clock: &ClockOffset) -> String {
    let direction = if clock.ms < 0 { "behind" } else { "ahead of" };
    format!("{} {direction}", span(clock.ms))
}

/// A span of time in words, two units at most.
pub fn span(ms: i64) -> String {
    let seconds = ms.unsigned_abs() / 1000;
    let parts =
        [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown = parts.iter().skip(first).take(2).filter(|(count, _)| *count > 0);
    let shown: Vec<String> = shown.map(|(count, unit)| format!("{count}{unit}")).collect();
    if shown.is_empty() { "0s".to_owned() } else { shown.join(" ") }
}

#[cfg(test)]
mod tests {
    use quorate_raft_store::{Applier, Digest, Proposal, RequestId};

    use super::*;
    use crate::service::licensing::samples;

    #[test]
    fn spans_are_told_in_two_units_at_most() {
        for (ms, words) in [
            (0, "0s"),
            (999, "0s"),
            (-61_000, "1m 1s"),
            (3_600_000, "1h"),
            (365 * 86_400_000 + 7_384_000, "365d 2h"),
            (86_400_000 + 60_000, "1d"),
        ] {
            assert_eq!(span(ms), words, "{ms}");
        }
        assert_eq!(distance(&ClockOffset { node: NodeId(1), ms: -90_000 }), "1m 30s behind");
    }

    #[test]
    fn readings_run_on_and_old_ones_are_dropped() {
        let mut clocks = Clocks::default();
        let time = Timestamp::from_unix_ms(1_000_000);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        clocks.note(NodeId(1), time, start);
        clocks.note(NodeId(2), time, after(50));
        let read = clocks.at(after(50));
        assert_eq!((read[&NodeId(1)], read[&NodeId(2)]), (time.plus_ms(50_000), time));
        assert_eq!(clocks.at(after(61)).keys().copied().collect::<Vec<_>>(), [NodeId(2)]);
    }

    #[test]
    fn the_clocks_agree_when_that_changes_something_and_every_hour() {
        let (own, other) = (samples::node_id(1), NodeId(99));
        let voters = BTreeSet::from([own]);
        let mut applier = Applier::resume(samples::initialized(), Digest::default());
        let start = Timestamp::from_unix_ms(1_800_000_000_000);
        let agree = |applier: &mut Applier, now: Timestamp, command: &AgreeTime, request| {
            let command = Command::AgreeTime(command.clone());
            let proposal = Proposal { request: RequestId(request), time: now, asked_by: None, command };
            applier.apply(100, &proposal.encode().unwrap()).unwrap().result.unwrap();
        };
        let says = |time: Timestamp| command(BTreeMap::from([(own, time), (other, time)]), &voters);
        assert_eq!(says(start).clocks.len(), 1, "the other one does not vote");
        assert_eq!(due(applier.state(), start, &says(start)), Some(Due::Now), "for the first time");
        agree(&mut applier, start, &says(start), 1);
        for (ahead_ms, passed_ms, expected) in [
            (0, 60_000, None),
            (WORTH_MS - 1, 60_000, None),
            (WORTH_MS, 60_000, Some(Due::Now)),
            (-50_000, 60_000, None),
            (-600_000, 60_000, Some(Due::Off)),
            (3 * 86_400_000, 60_000, Some(Due::Now)),
            (0, EVERY_MS, Some(Due::Now)),
        ] {
            let now = start.plus_ms(passed_ms);
            let command = says(now.plus_ms(ahead_ms));
            assert_eq!(due(applier.state(), now, &command), expected, "{ahead_ms} {passed_ms}");
        }
        // A jump that is held is not told again and again.
        let far = says(start.plus_days(30));
        agree(&mut applier, start, &far, 2);
        assert_eq!(
            due(applier.state(), start.plus_ms(60_000), &says(start.plus_days(30).plus_ms(60_000))),
            None
        );
        assert_eq!(due(applier.state(), start, &says(start)), Some(Due::Now), "it is over");
        let nobody = command(BTreeMap::new(), &voters);
        assert_eq!(due(applier.state(), start.plus_days(1), &nobody), None, "no clock can be read");
    }
}
