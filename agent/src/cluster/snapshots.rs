//! When a snapshot of the state is due.
//!
//! A snapshot writes every row, so a large state is written less often: each entry then pays for so many rows at most
//! (four, as the settings are), and the log is never longer than in proportion to the state that it leads to.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Cluster;

/// With so many rows, a snapshot is taken as often as the settings say; with twice as many, half as often.
const LARGE_ROWS: u64 = 40_000;
/// Between two looks while entries are applied.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Has snapshots taken, `after_entries` entries after the last one at the earliest, later if the state is large, until `stop`.
pub async fn take_snapshots(cluster: Arc<Cluster>, after_entries: u64, stop: CancellationToken) {
    let mut applied = cluster.views().subscribe();
    loop {
        let view = cluster.view();
        let covered = cluster.raft_metrics().now().snapshot.as_ref().map_or(0, |id| id.index());
        if is_due(view.applied_index(), covered, view.state.row_count(), after_entries)
            // While one is being built, this does nothing.
            && let Err(error) = cluster.raft.trigger().snapshot().await
        {
            return tracing::debug!(%error, "no snapshots are taken any more: consensus has stopped");
        }
        let next = async {
            let goes_on = applied.changed().await.is_ok();
            tokio::time::sleep(LOOK_AGAIN).await;
            goes_on
        };
        if stop.run_until_cancelled(next).await != Some(true) {
            return;
        }
    }
}

/// Whether enough entries were applied since the last snapshot.
fn is_due(applied: u64, covered: u64, rows: u64, after_entries: u64) -> bool {
    let entries = u128::from(after_entries) * u128::from(rows.max(LARGE_ROWS)) / u128::from(LARGE_ROWS);
    u128::from(applied.saturating_sub(covered)) >= entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_state_is_written_less_often() {
        for (applied, covered, rows, due) in [
            (9_999, 0, 0, false),
            (10_000, 0, 0, true),
            (19_999, 10_000, 40_000, false),
            (20_000, 10_000, 40_000, true),
            (20_000, 10_000, 200_000, false),
            (60_000, 10_000, 200_000, true),
            (60_000, 10_000, u64::MAX, false),
            // A snapshot that was installed may be ahead of the view that was looked at.
            (5, 10, 0, false),
        ] {
            assert_eq!(is_due(applied, covered, rows, 10_000), due, "{applied} {covered} {rows}");
        }
    }
}
