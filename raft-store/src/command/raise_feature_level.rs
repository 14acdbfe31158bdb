//! All agents are new enough for more.

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::{
    refusal::Refusal,
    state::{Cluster, Only, State},
};

/// Raises the cluster's feature level, once every member reads the new one. It never goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseFeatureLevel {
    /// The wanted level.
    pub level: u32,
}

impl RaiseFeatureLevel {
    pub(super) fn apply(self, state: &mut State) -> Result<Outcome, Refusal> {
        if let Some(node) = state.nodes.values().find(|node| node.feature_level < self.level) {
            return Err(Refusal::FeatureLevelUnsupported {
                node: node.name.clone(),
                supported: node.feature_level,
            });
        }
        let cluster = state.cluster().ok_or(Refusal::NotInitialized)?.clone();
        let level = cluster.feature_level.max(self.level);
        state.cluster.put(Only, Cluster { feature_level: level, ..cluster });
        Ok(Outcome::FeatureLevelRaised { level })
    }
}
