//! openraft's settings.

use std::sync::Arc;

use openraft::{Config, ConfigError, SnapshotPolicy};
use quorate_license::NodeRole;

use crate::config;

/// Entries that are kept behind a snapshot, for followers that lag a little.
const KEEP_ENTRIES: u64 = 2_000;
/// Entries in one append at most; their bytes are small and bounded.
const ENTRIES_PER_APPEND: u64 = 512;

/// A Spooler Controller looks at Raft's clock so many times less often: it never leads and never stands for election, and
/// there may be hundreds of them.
const SPOOLERS_PATIENCE: u64 = 10;

pub(super) fn raft_config(settings: &config::Raft, role: NodeRole) -> Result<Arc<Config>, ConfigError> {
    let patience = if role == NodeRole::Spooler { SPOOLERS_PATIENCE } else { 1 };
    let config = Config {
        cluster_name: "quorate".to_owned(),
        heartbeat_interval: patience * settings.heartbeat_ms,
        election_timeout_min: patience * settings.election_min_ms,
        election_timeout_max: patience * settings.election_max_ms,
        max_payload_entries: ENTRIES_PER_APPEND,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(settings.snapshot_after_entries),
        max_in_snapshot_log_to_keep: KEEP_ENTRIES,
        purge_batch_size: 256,
        // A node that was cut off asks before it raises the term, so its return disturbs nobody.
        enable_pre_vote: Some(true),
        // Without it a leader that lost its quorum can wait for ever.
        quorum_loss_probe_interval: Some(2 * patience * settings.election_max_ms),
        // A restarted leader asks for votes like everybody else.
        enable_leader_restore: Some(false),
        // A follower's log never goes back: a voter that lost its disk must join again.
        allow_log_reversion: Some(false),
        ..Config::default()
    };
    config.validate().map(Arc::new)
}
