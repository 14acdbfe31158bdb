//! A node tells what is new about it.

use quorate_license::{BuildNumber, ComputerId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{Addresses, HostReport, Node, State},
};

/// Brings a node's row up to date. Proposed at every start and when something changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportNode {
    /// The node.
    pub node: NodeId,
    /// Its computer.
    pub computer_id: ComputerId,
    /// Version of the licensed product on it, if known.
    pub build: Option<BuildNumber>,
    /// Its agent's version.
    pub agent_version: String,
    /// The highest feature level that its agent reads.
    pub feature_level: u32,
    /// Where it is reached.
    pub addresses: Addresses,
    /// What its host says of itself.
    pub host: HostReport,
    /// How often its agent has started.
    pub start_counter: u64,
}

impl ReportNode {
    pub(super) fn apply(self, state: &mut State, now: Timestamp) -> Result<Outcome, Refusal> {
        let node = state.nodes.get(&self.node).ok_or(Refusal::NodeUnknown(self.node))?.clone();
        if self.start_counter < node.start_counter {
            return Err(Refusal::NodeStartOutdated {
                node: node.name,
                current: node.start_counter,
                reported: self.start_counter,
            });
        }
        let others = state.nodes.values().filter(|other| other.id != self.node);
        if let Some(holder) = others.into_iter().find(|other| other.computer_id == self.computer_id) {
            return Err(Refusal::ComputerIdInUse {
                computer_id: self.computer_id.to_string(),
                holder: holder.name.clone(),
            });
        }
        let level = state.cluster().map_or(0, |cluster| cluster.feature_level);
        if self.feature_level < level {
            return Err(Refusal::FeatureLevelUnsupported { node: node.name, supported: self.feature_level });
        }
        state.nodes.put(
            self.node,
            Node {
                computer_id: self.computer_id,
                build: self.build,
                agent_version: self.agent_version,
                feature_level: self.feature_level,
                addresses: self.addresses,
                host: self.host,
                start_counter: self.start_counter,
                reported_at: now,
                ..node
            },
        );
        Ok(Outcome::NodeReported)
    }
}
