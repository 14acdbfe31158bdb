//! The voters' clocks agree on the cluster's time.

use std::collections::BTreeMap;

use quorate_license::{NodeId, NodeRole, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Outcome, create_token};
use crate::{
    refusal::Refusal,
    state::{AgreedTime, ClockOffset, Reading, SAME_CLOCK_MS, State, judge},
};

/// What a node's clock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// The node.
    pub node: NodeId,
    /// Its time of day when the command was proposed.
    pub time: Timestamp,
}

/// Agrees on the cluster's time by the clocks that the leader has read just now: their median counts.
///
/// Clocks of less than a majority of the voters say nothing; the cluster's time is the leader's then, as with a tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgreeTime {
    /// How many voters there are.
    pub voters: u32,
    /// Clocks of voters.
    pub clocks: Vec<ClockReading>,
    /// Clocks of other nodes: what they say is shown and does not count.
    pub others: Vec<ClockReading>,
}

impl AgreeTime {
    /// What the clocks give in this state, when the cluster's time is `now`; none if they are too few.
    pub fn judge(&self, state: &State, now: Timestamp) -> Option<AgreedTime> {
        let votes = |reading: &&ClockReading| {
            state.nodes().get(&reading.node).is_some_and(|node| node.role == NodeRole::Management)
        };
        let clocks: BTreeMap<NodeId, Timestamp> =
            self.clocks.iter().filter(votes).map(|reading| (reading.node, reading.time)).collect();
        let majority = |count: usize| count * 2 > usize::try_from(self.voters).unwrap_or(usize::MAX);
        if !majority(clocks.len()) {
            return None;
        }
        let mut sorted: Vec<Timestamp> = clocks.values().copied().collect();
        sorted.sort_unstable();
        let median = *sorted.get((sorted.len() - 1) / 2)?;
        let offset = |(node, time): (NodeId, Timestamp)| ClockOffset { node, ms: time.ms_since(median) };
        let of_voters: Vec<ClockOffset> = clocks.iter().map(|(node, time)| offset((*node, *time))).collect();
        let reported_by: Vec<NodeId> =
            of_voters.iter().filter(|clock| clock.ms.abs() < SAME_CLOCK_MS).map(|clock| clock.node).collect();
        let others = self
            .others
            .iter()
            .filter(|reading| {
                !clocks.contains_key(&reading.node) && state.nodes().get(&reading.node).is_some()
            })
            .map(|reading| offset((reading.node, reading.time)))
            .filter(ClockOffset::is_off);
        let mut all: BTreeMap<NodeId, ClockOffset> = others.map(|clock| (clock.node, clock)).collect();
        all.extend(of_voters.iter().map(|clock| (clock.node, *clock)));
        let reading = Reading {
            median,
            clocks: all.into_values().collect(),
            agreed: majority(reported_by.len()),
            reported_by,
        };
        let before = state.agreed_time();
        Some(judge(before, now, before.and_then(|before| before.portal), reading))
    }

    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let time = match self.judge(state, now) {
            Some(agreed) => state.agree(agreed),
            None => now,
        };
        create_token::forget_outdated(state, time);
        Ok(Outcome::TimeAgreed { time })
    }
}
