//! A node tells what is new about it, and which start of its agent tells it.

use quorate_license::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Outcome, ReportNode};
use crate::{
    refusal::Refusal,
    state::{NodeStart, StartId, State},
};

/// Brings a node's row up to date, as [`ReportNode`] does, and refuses a copy of its directory or one that
/// was rolled back: every start has an id of its own, and no counter belongs to two of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportStart {
    /// What is new.
    pub report: ReportNode,
    /// Which start of its agent this is.
    pub start: StartId,
}

impl ReportStart {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let ReportStart { report, start } = self;
        let (node, counter) = (report.node, report.start_counter);
        let known = state.starts.get(&node).copied();
        if let (Some(known), Some(row)) = (known, state.nodes.get(&node))
            && counter == known.counter
            && start != known.id
        {
            return Err(Refusal::NodeStartRepeated { node: row.name.clone(), counter });
        }
        let outcome = report.apply(state, now)?;
        if known.is_none_or(|known| known.id != start) {
            state.starts.put(node, NodeStart { counter, id: start, at: now });
        }
        Ok(outcome)
    }
}
