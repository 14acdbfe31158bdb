//! Watches the disk that holds the data directory: a full one stops every change to the cluster.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::free_disk_bytes;
use crate::metrics::Metrics;

/// How often is asked.
const PERIOD: Duration = Duration::from_secs(15);

/// And how often with less than this: a busy log fills it within [`PERIOD`].
const CLOSE_BYTES: u64 = 1 << 30;
const CLOSE_PERIOD: Duration = Duration::from_secs(1);

/// Less than this is warned of.
const LOW_BYTES: u64 = 512 * 1024 * 1024;

/// Asks again and again until `token` is cancelled. Sets the metric, hands what is free to `measured`, warns once when
/// space gets low, and says once when there is room again.
pub async fn watch(
    data_dir: PathBuf,
    metrics: Arc<Metrics>,
    measured: impl Fn(u64),
    token: CancellationToken,
) {
    let (mut low, mut period) = (false, Duration::ZERO);
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        period = PERIOD;
        let path = data_dir.clone();
        let free = tokio::select! {
            () = token.cancelled() => return,
            free = tokio::task::spawn_blocking(move || free_disk_bytes(&path)) => free,
        };
        let Ok(Some(free)) = free else { continue };
        if free < CLOSE_BYTES {
            period = CLOSE_PERIOD;
        }
        metrics.disk_free.set(i64::try_from(free).unwrap_or(i64::MAX));
        measured(free);
        let now_low = free < LOW_BYTES;
        if now_low && !low {
            tracing::warn!(
                data_dir = %data_dir.display(),
                free_bytes = free,
                "the disk that holds the data directory is almost full; make room before changes fail"
            );
        } else if low && !now_low {
            tracing::info!(data_dir = %data_dir.display(), free_bytes = free, "the disk has room again");
        }
        low = now_low;
    }
}
