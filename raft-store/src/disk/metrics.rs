//! The store's metrics, under etcd's names where the thing is the same.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry, exponential_buckets};

/// Metrics of one store, registered once per process.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    /// Seconds that one sync of the write-ahead log took.
    pub wal_fsync: Histogram,
    /// Seconds that one write of applied entries took.
    pub apply_commit: Histogram,
    /// Log entries appended.
    pub appended_entries: IntCounter,
    /// Their bytes.
    pub wal_write_bytes: IntCounter,
    /// Writes of applied entries that took longer than 100 ms.
    pub slow_applies: IntCounter,
    /// Seconds that building a snapshot took.
    pub snapshot_save: Histogram,
    /// 1 while a snapshot of the leader is installed.
    pub snapshot_apply_in_progress: IntGauge,
    /// Syncs done. Entries per sync tell how well writes are grouped.
    pub syncs: IntCounter,
}

impl StoreMetrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// If `registry` has metrics of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            wal_fsync: Histogram::with_opts(
                HistogramOpts::new(
                    "quorate_disk_wal_fsync_duration_seconds",
                    "How long syncing the write-ahead log took.",
                )
                .buckets(exponential_buckets(0.001, 2.0, 14)?),
            )?,
            apply_commit: Histogram::with_opts(
                HistogramOpts::new(
                    "quorate_disk_backend_commit_duration_seconds",
                    "How long writing applied entries to the state took.",
                )
                .buckets(exponential_buckets(0.001, 2.0, 14)?),
            )?,
            appended_entries: IntCounter::new(
                "quorate_disk_appended_entries_total",
                "Log entries appended to the write-ahead log.",
            )?,
            wal_write_bytes: IntCounter::new(
                "quorate_disk_wal_write_bytes_total",
                "Bytes of log entries appended to the write-ahead log.",
            )?,
            slow_applies: IntCounter::new(
                "quorate_server_slow_apply_total",
                "Writes of applied entries that took longer than 100 ms.",
            )?,
            snapshot_save: Histogram::with_opts(
                HistogramOpts::new(
                    "quorate_snap_db_save_total_duration_seconds",
                    "How long building a snapshot took, its sync included.",
                )
                .buckets(exponential_buckets(0.1, 2.0, 10)?),
            )?,
            snapshot_apply_in_progress: IntGauge::new(
                "quorate_server_snapshot_apply_in_progress",
                "1 while a snapshot of the leader is installed.",
            )?,
            syncs: IntCounter::new("quorate_disk_wal_syncs_total", "Syncs of the write-ahead log.")?,
        };
        registry.register(Box::new(metrics.wal_fsync.clone()))?;
        registry.register(Box::new(metrics.apply_commit.clone()))?;
        registry.register(Box::new(metrics.appended_entries.clone()))?;
        registry.register(Box::new(metrics.wal_write_bytes.clone()))?;
        registry.register(Box::new(metrics.slow_applies.clone()))?;
        registry.register(Box::new(metrics.snapshot_save.clone()))?;
        registry.register(Box::new(metrics.snapshot_apply_in_progress.clone()))?;
        registry.register(Box::new(metrics.syncs.clone()))?;
        Ok(metrics)
    }
}
