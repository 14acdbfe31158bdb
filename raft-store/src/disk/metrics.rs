//! The store's metrics, under etcd's names where the thing is the same.

use prometheus::{Histogram, HistogramOpts, IntCounter, Registry, exponential_buckets};

/// Metrics of one store, registered once per process.
#[derive(Debug, Clone)]
pub struct StoreMetrics {
    /// Seconds that one sync of the write-ahead log took.
    pub wal_fsync: Histogram,
    /// Seconds that one write of applied entries took.
    pub apply_commit: Histogram,
    /// Log entries appended.
    pub appended_entries: IntCounter,
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
            syncs: IntCounter::new("quorate_disk_wal_syncs_total", "Syncs of the write-ahead log.")?,
        };
        registry.register(Box::new(metrics.wal_fsync.clone()))?;
        registry.register(Box::new(metrics.apply_commit.clone()))?;
        registry.register(Box::new(metrics.appended_entries.clone()))?;
        registry.register(Box::new(metrics.syncs.clone()))?;
        Ok(metrics)
    }
}
