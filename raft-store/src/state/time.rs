//! The cluster's time as the voters' clocks agree on it, and a jump of theirs that waits to be confirmed.
//!
//! ```text
//! clocks of the voters ─> median ─ a day ahead at most ─> the cluster's time
//!                            └──── further ahead ───────> held: confirmed, signed by the portal, or three days
//! ```
//!
//! It never goes back: clocks that are behind the cluster's time change nothing.

use quorate_license::{DAY_MS, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Clock, Only, State};

/// Clocks that are further ahead of the cluster's time than this move it only when somebody confirms it.
pub const JUMP_MS: i64 = DAY_MS;

/// A jump on which the voters have agreed for so long counts. Measured by the cluster's time, which runs on by the
/// leader's monotonic clock meanwhile.
pub const HELD_FOR_MS: i64 = 3 * DAY_MS;

/// Clocks that differ by less say the same.
pub const SAME_CLOCK_MS: i64 = 60_000;

/// What the clocks of the nodes said when the cluster agreed on its time last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreedTime {
    /// The cluster's time from then on.
    pub at: Timestamp,
    /// The median of the voters' clocks then; of an even number, the earlier one of the two in the middle.
    pub median: Timestamp,
    /// By the ids of the nodes: every voter whose clock was read, and of the other nodes those whose clocks are off.
    pub clocks: Vec<ClockOffset>,
    /// A jump forward that the clocks have made, and the cluster's time has not.
    pub held: Option<HeldJump>,
    /// The latest time that the License Portal has signed: it has passed.
    pub portal: Option<Timestamp>,
}

/// How far a node's clock is from the median of the voters' clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// The node.
    pub node: NodeId,
    /// Milliseconds; positive: ahead.
    pub ms: i64,
}

/// A jump that waits to be confirmed: from the cluster's time to what the clocks say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldJump {
    /// The cluster's time when it was seen first: it names the jump.
    pub since: Timestamp,
    /// Since when a majority of the voters' clocks have said the same.
    pub agreed_since: Timestamp,
    /// The voters whose clocks say so.
    pub reported_by: Vec<NodeId>,
}

impl HeldJump {
    /// When it counts without anybody's confirmation, if the clocks stay as they are.
    pub fn until(&self) -> Timestamp {
        self.agreed_since.plus_ms(HELD_FOR_MS)
    }
}

impl ClockOffset {
    /// Whether the clock says something else than the voters' clocks.
    pub fn is_off(&self) -> bool {
        self.ms.abs() >= SAME_CLOCK_MS
    }
}

impl AgreedTime {
    /// What the clocks say when the cluster's time is `now`, if they have run on since.
    pub fn clocks_say(&self, now: Timestamp) -> Timestamp {
        self.median.plus_ms(now.ms_since(self.at).max(0))
    }

    /// How far the voters' clocks were ahead of the cluster's time, in milliseconds; negative: behind.
    pub fn ahead_ms(&self) -> i64 {
        self.median.ms_since(self.at)
    }

    /// The same clocks, looked at again when the cluster's time is `now`.
    pub(crate) fn again(&self, now: Timestamp) -> Reading {
        let reported_by = self.held.as_ref().map(|held| held.reported_by.clone()).unwrap_or_default();
        Reading {
            median: self.clocks_say(now),
            clocks: self.clocks.clone(),
            agreed: !reported_by.is_empty(),
            reported_by,
        }
    }
}

/// The voters' clocks, looked at together.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) median: Timestamp,
    pub(crate) clocks: Vec<ClockOffset>,
    /// Whether a majority of the voters say the same as the median.
    pub(crate) agreed: bool,
    /// Who does.
    pub(crate) reported_by: Vec<NodeId>,
}

/// The row and, in it, the cluster's time that follow from these clocks. `now` is the cluster's time, and `portal` the
/// latest time that the portal has signed.
pub(crate) fn judge(
    before: Option<&AgreedTime>,
    now: Timestamp,
    portal: Option<Timestamp>,
    reading: Reading,
) -> AgreedTime {
    let Reading { median, clocks, agreed, reported_by } = reading;
    // What the clocks and the portal both say has passed needs nobody's confirmation.
    let proven = portal.map_or(now, |portal| portal.min(median)).max(now);
    let judged = |at, held| AgreedTime { at, median, clocks, held, portal };
    if median.ms_since(proven) <= JUMP_MS {
        return judged(proven.max(median), None);
    }
    // The same jump, if the clocks are as far ahead as they were; a cluster that was off for a while is behind by
    // that, too, which is no new jump either.
    let ahead_ms = median.ms_since(now);
    let known = before.and_then(|before| Some((before.held.as_ref()?, before.ahead_ms())));
    let known = known.filter(|(_, known_ms)| (ahead_ms - known_ms).abs() <= JUMP_MS).map(|(held, _)| held);
    let since = known.map_or(now, |held| held.since);
    let agreed_since = known.filter(|_| agreed).map_or(now, |held| held.agreed_since);
    if agreed && now.ms_since(agreed_since) >= HELD_FOR_MS {
        return judged(median, None);
    }
    judged(proven, Some(HeldJump { since, agreed_since, reported_by }))
}

impl State {
    /// Puts what was agreed on. The cluster's time goes on to it.
    pub(crate) fn agree(&mut self, agreed: AgreedTime) -> Timestamp {
        let time = self.time().max(agreed.at);
        self.clock.put(Only, Clock { time });
        self.agreed_time.put(Only, agreed);
        time
    }

    /// Takes note of a time that the portal has signed. The cluster's time from then on.
    pub(crate) fn portal_signed(&mut self, signed: Timestamp, now: Timestamp) -> Timestamp {
        let Some(before) = self.agreed_time().cloned() else { return now };
        let portal = Some(before.portal.map_or(signed, |known| known.max(signed)));
        if before.held.is_none() {
            self.agreed_time.put(Only, AgreedTime { portal, ..before });
            return now;
        }
        let agreed = judge(Some(&before), now, portal, before.again(now));
        self.agree(agreed)
    }
}
