//! The cluster's time on this node: kept, saved, told of; and confirmed where a jump is held.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use quorate_license::{NodeId, NodeName, NodeRole, Timestamp};
use quorate_raft_store::{
    Command, Outcome, State,
    command::ConfirmTime,
    state::{AgreedTime, HeldJump},
};
use tokio_util::sync::CancellationToken;

use super::admission::unexpected;
use crate::{
    api::{ApiError, Caller},
    clock::ClusterClock,
    cluster::{Cluster, distance, span},
    data_dir::DataDir,
    metrics::Metrics,
};

/// How often the time is saved, for a start without a leader.
const SAVE_EVERY: Duration = Duration::from_secs(600);
/// The clocks are behind the cluster's time by so much that it should be looked at.
const BEHIND_MS: i64 = 300_000;

/// The stable codes of what can be wrong with the clocks.
const CODES: [&str; 3] = ["time_jump_held", "clock_off", "clocks_behind"];

/// The cluster's time, the nodes' clocks and what is held.
#[derive(Debug, Clone)]
pub struct TimeStatus {
    /// The cluster's time now.
    pub now: Timestamp,
    /// When the clocks agreed last; none before feature level 4.
    pub agreed_at: Option<Timestamp>,
    /// How far the median of the voters' clocks is ahead of the cluster's time, in milliseconds; negative: behind.
    pub ahead_ms: i64,
    /// The nodes' clocks, by id.
    pub clocks: Vec<ClockStatus>,
    /// A jump that is held.
    pub held: Option<Held>,
}

/// One node's clock.
#[derive(Debug, Clone)]
pub struct ClockStatus {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Its role.
    pub role: NodeRole,
    /// How far it is ahead of the cluster's time, in milliseconds; negative: behind. None if it was not read, or is no
    /// voter's and not off.
    pub ahead_ms: Option<i64>,
    /// Whether it says something else than the voters' clocks.
    pub off: bool,
}

/// A jump that is held.
#[derive(Debug, Clone)]
pub struct Held {
    /// The cluster's time now: what the jump is from.
    pub from: Timestamp,
    /// What the clocks say now: what it is to.
    pub to: Timestamp,
    /// Since when it has been held, by the cluster's time: it names the jump.
    pub since: Timestamp,
    /// When it counts without a confirmation.
    pub until: Timestamp,
    /// Names of the voters whose clocks say so.
    pub reported_by: Vec<String>,
}

impl Held {
    fn new(state: &State, agreed: &AgreedTime, held: &HeldJump, now: Timestamp) -> Self {
        Held {
            from: now,
            to: agreed.clocks_say(now),
            since: held.since,
            until: held.until(),
            reported_by: held.reported_by.iter().map(|node| name(state, *node)).collect(),
        }
    }
}

fn name(state: &State, node: NodeId) -> String {
    state.nodes().get(&node).map_or_else(|| format!("node {node}"), |node| node.name.to_string())
}

/// The cluster's time and the clocks, as of the last agreement.
pub fn time_status(state: &State, now: Timestamp) -> TimeStatus {
    let agreed = state.agreed_time();
    let of = |node: NodeId| agreed?.clocks.iter().find(|clock| clock.node == node);
    let ahead_ms = agreed.map_or(0, AgreedTime::ahead_ms);
    let clocks = state.nodes().values().map(|node| ClockStatus {
        node: node.id,
        name: node.name.clone(),
        role: node.role,
        ahead_ms: of(node.id).map(|clock| clock.ms.saturating_add(ahead_ms)),
        off: of(node.id).is_some_and(|clock| clock.is_off()),
    });
    TimeStatus {
        now,
        agreed_at: agreed.map(|agreed| agreed.at),
        ahead_ms,
        clocks: clocks.collect(),
        held: agreed.and_then(|agreed| Some(Held::new(state, agreed, agreed.held.as_ref()?, now))),
    }
}

/// What is wrong with the clocks: code, what it is about, and words with everybody concerned by name.
fn alarms(state: &State, now: Timestamp) -> Vec<(&'static str, String, String)> {
    let Some(agreed) = state.agreed_time() else { return Vec::new() };
    let mut alarms = Vec::new();
    if let Some(held) = &agreed.held {
        let Held { from, to, until, reported_by, .. } = Held::new(state, agreed, held, now);
        let who = if reported_by.is_empty() { "the voters".to_owned() } else { reported_by.join(", ") };
        let words = format!(
            "the clocks of {who} say {to}, and the cluster's time is {from}: a jump of more than a day counts when an \
             administrator confirms it (`quorate cluster confirm-time`), when the License Portal has signed it, or on \
             {until}, if the clocks stay so"
        );
        alarms.push(("time_jump_held", held.since.to_string(), words));
    } else if agreed.ahead_ms() <= -BEHIND_MS {
        let words = format!(
            "the voters' clocks are {} behind the cluster's time, which never goes back: set them right if they are wrong",
            span(agreed.ahead_ms())
        );
        alarms.push(("clocks_behind", String::new(), words));
    }
    for clock in agreed.clocks.iter().filter(|clock| clock.is_off()) {
        let name = name(state, clock.node);
        let words = format!(
            "the clock of {name} is {} the other voters' clocks: set it right; the cluster does not go by it",
            distance(clock)
        );
        alarms.push(("clock_off", name, words));
    }
    alarms
}

/// What status and health say of the clocks.
pub fn time_warnings(state: &State, now: Timestamp) -> Vec<String> {
    alarms(state, now).into_iter().map(|(code, _, words)| format!("{code}: {words}")).collect()
}

/// Confirms the jump that has been held since this time. Returns the cluster's time from then on.
///
/// # Errors
/// The refusal by name: `no_time_jump_held`, `time_jump_changed`, `feature_level_too_low`.
pub async fn confirm_time(
    cluster: &Cluster,
    since: Timestamp,
    caller: &Caller,
) -> Result<Timestamp, ApiError> {
    let command = ConfirmTime { since, requested_by: caller.name.clone() };
    match cluster.propose(Command::ConfirmTime(command), &caller.asked_by).await?.result? {
        Outcome::TimeAgreed { time } => {
            tracing::warn!(%time, by = caller.name, "an administrator has confirmed what the clocks say");
            Ok(time)
        }
        other => Err(unexpected(&other)),
    }
}

/// Carries the cluster's time on over what is applied, saves it now and then, and tells of clocks that are wrong,
/// until `stop`.
pub async fn keep_time(cluster: Arc<Cluster>, dir: DataDir, metrics: Arc<Metrics>, stop: CancellationToken) {
    let clock = cluster.clock().clone();
    let mut applied = cluster.views().subscribe();
    let mut save = tokio::time::interval(SAVE_EVERY);
    save.tick().await;
    let mut told = BTreeSet::new();
    let mut seen: Option<AgreedTime> = None;
    loop {
        clock.note();
        let view = cluster.view();
        if view.state.agreed_time() != seen.as_ref() {
            seen = view.state.agreed_time().cloned();
            told = tell(&view.state, clock.now(), &metrics, told);
        }
        tokio::select! {
            () = stop.cancelled() => break,
            changed = applied.changed() => if changed.is_err() { break },
            _ = save.tick() => save_time(&clock, dir.clone()).await,
        }
    }
    save_time(&clock, dir).await;
}

async fn save_time(clock: &ClusterClock, dir: DataDir) {
    let time = clock.judging_time();
    let saved = tokio::task::spawn_blocking(move || dir.save_reckoned_time(time)).await;
    if let Ok(Err(error)) = saved {
        tracing::debug!(%error, "the cluster's time could not be saved; it runs on");
    }
}

/// Logs what is wrong with the clocks and what is over, and sets the metrics. Returns what is wrong now.
fn tell(
    state: &State,
    now: Timestamp,
    metrics: &Metrics,
    before: BTreeSet<(&'static str, String)>,
) -> BTreeSet<(&'static str, String)> {
    let alarms = alarms(state, now);
    let mut told = BTreeSet::new();
    for (code, subject, words) in alarms {
        if !before.contains(&(code, subject.clone())) {
            tracing::warn!(code, "{words}");
        }
        told.insert((code, subject));
    }
    for (code, subject) in before.difference(&told) {
        tracing::info!(code, subject, "that is over");
    }
    for code in CODES {
        let count = told.iter().filter(|(told, _)| *told == code).count();
        metrics.time_alarms.with_label_values(&[code]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    metrics.clock_offset.reset();
    for clock in time_status(state, now).clocks {
        if let Some(ahead_ms) = clock.ahead_ms {
            let offset = metrics.clock_offset.with_label_values(&[clock.name.as_str()]);
            offset.set(ahead_ms as f64 / 1000.0);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use quorate_raft_store::{
        Applier, Digest, Proposal, RequestId,
        command::{AgreeTime, ClockReading},
    };

    use super::*;
    use crate::service::licensing::samples;

    /// What a node says whose clock is so far ahead of the cluster's time.
    fn agreed(ahead_ms: i64) -> (State, Timestamp) {
        let mut applier = Applier::resume(samples::initialized(), Digest::default());
        let now = Timestamp::from_unix_ms(1_800_000_000_000);
        let own = samples::node_id(1);
        let clock = |ms| ClockReading { node: own, time: now.plus_ms(ms) };
        let agree = |applier: &mut Applier, ahead: i64, request| {
            let command = AgreeTime { voters: 1, clocks: vec![clock(ahead)], others: Vec::new() };
            let command = Command::AgreeTime(command);
            let proposal = Proposal { request: RequestId(request), time: now, asked_by: None, command };
            applier.apply(request as u64, &proposal.encode().unwrap()).unwrap().result.unwrap();
        };
        agree(&mut applier, 0, 1);
        agree(&mut applier, ahead_ms, 2);
        (applier.state().clone(), now)
    }

    #[test]
    fn a_jump_is_named_with_from_to_and_who_says_so() {
        let (state, now) = agreed(100 * quorate_license::DAY_MS);
        let later = now.plus_ms(5000);
        let warnings = time_warnings(&state, later);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        let name = state.nodes().values().next().unwrap().name.to_string();
        for part in
            ["time_jump_held: ", &name, &later.to_string(), &later.plus_days(100).to_string(), "confirm-time"]
        {
            assert!(warnings[0].contains(part), "{part} in {warnings:?}");
        }
        let held = time_status(&state, later).held.unwrap();
        assert_eq!((held.since, held.until), (now, now.plus_days(3)));
    }

    #[test]
    fn clocks_that_are_behind_are_told_of_and_good_ones_are_not() {
        let (state, now) = agreed(-3_600_000);
        assert!(time_warnings(&state, now)[0].starts_with("clocks_behind: the voters' clocks are 1h behind"));
        let (state, now) = agreed(500);
        assert_eq!(time_warnings(&state, now), Vec::<String>::new());
        assert_eq!(time_warnings(&samples::initialized(), now), Vec::<String>::new(), "before level 4");
    }
}
