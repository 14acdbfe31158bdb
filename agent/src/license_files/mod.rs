//! License files and receipts, written on every node for the product that asks no agent.
//!
//! ```text
//! View ─> what changed? ─> DATA_DIR/licenses/TENANT.lic, then TENANT.receipt
//! ```
//!
//! Written after every change of license or binding, and at the start if they differ. A receipt is
//! renewed when the cluster's time has gone on by a day: the cluster's, not this host's, so that a node
//! that was cut off can't renew its own. What this node's trust roots don't verify is not written.
//!
//! The license file is written first. A product that reads the receipt first, then the license file,
//! never sees a receipt that is newer than its file.

mod files;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use quorate_license::{ComputerId, DAY_MS, NodeId, NodeKey, TenantId, Timestamp};
use quorate_raft_store::View;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::Metrics,
    service::licensing::{Licensing, Rows},
};
use files::{Files, Outcome, Wanted};

pub use files::WriteError;

/// A receipt is renewed when the cluster's time has gone on by this much.
const RENEW_AFTER_MS: i64 = DAY_MS;

/// Changes within this time are written together.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the files are looked at again, in case somebody has changed or removed them.
const LOOK_AGAIN: Duration = Duration::from_secs(60 * 60);

/// The first wait after a failed write; doubled by each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest wait between tries.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// What the files are made from, and where they go.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node that signs the receipts.
    pub node: NodeId,
    /// Its identity key.
    pub key: Arc<NodeKey>,
    /// Its host.
    pub computer_id: ComputerId,
    /// The folder. Made if it is missing.
    pub folder: PathBuf,
}

/// Keeps this node's license files and receipts up to date until `token` is cancelled.
///
/// A failed write is logged by name, counted, and tried again after a second, then after ever longer,
/// at least once a minute.
pub async fn run(licensing: Licensing, options: Options, metrics: Arc<Metrics>, token: CancellationToken) {
    let mut applied = licensing.views().subscribe();
    let files = Arc::new(Files::new(licensing.roots().clone(), options));
    let mut keeper = Keeper { licensing, files, metrics, handled: BTreeMap::new(), failures: 0 };
    let mut look_again = tokio::time::interval_at(Instant::now() + LOOK_AGAIN, LOOK_AGAIN);
    look_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        applied.mark_unchanged();
        tokio::select! {
            () = token.cancelled() => return,
            () = keeper.bring_up_to_date() => {}
        }
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        tokio::select! {
            () = token.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
            _ = look_again.tick() => keeper.handled.clear(),
            () = tokio::time::sleep(keeper.retry_after()), if keeper.failures > 0 => {}
        }
    }
}

impl Wanted {
    fn handled(&self, rows: Rows, outcome: Outcome) -> Handled {
        Handled { rows, reactivation_until: self.reactivation_until, outcome }
    }
}

struct Keeper {
    licensing: Licensing,
    files: Arc<Files>,
    metrics: Arc<Metrics>,
    handled: BTreeMap<TenantId, Handled>,
    /// Passes in a row in which a write failed.
    failures: u32,
}

/// What was last done for a tenant.
#[derive(Debug, Clone, Copy)]
struct Handled {
    rows: Rows,
    reactivation_until: Option<Timestamp>,
    outcome: Outcome,
}

impl Handled {
    /// Whether there is nothing to do while these rows are installed, a reactivation has this end, and the cluster's
    /// time is `now`.
    fn holds(&self, rows: Rows, reactivation_until: Option<Timestamp>, now: Timestamp) -> bool {
        (self.rows, self.reactivation_until) == (rows, reactivation_until)
            && match self.outcome {
                Outcome::Current { receipt_at } => now.ms_since(receipt_at) < RENEW_AFTER_MS,
                Outcome::NewerOnDisk => true,
            }
    }
}

impl Keeper {
    async fn bring_up_to_date(&mut self) {
        let due = self.due(self.licensing.views().current());
        if due.is_empty() {
            self.failures = 0;
            return;
        }
        let files = self.files.clone();
        let written = tokio::task::spawn_blocking(move || {
            due.into_iter()
                .map(|(rows, wanted)| {
                    let outcome = files.write(&wanted);
                    (outcome.map(|outcome| wanted.handled(rows, outcome)), wanted.tenant)
                })
                .collect::<Vec<_>>()
        });
        let mut failed = false;
        match written.await {
            Ok(results) => {
                for (result, tenant) in results {
                    failed |= self.note(result, tenant);
                }
            }
            Err(error) => {
                tracing::error!(%error, "writing the license files was broken off");
                failed = true;
            }
        }
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
    }

    /// What has to be written for this view. A license or binding that isn't trusted here is left out,
    /// which [`Licensing`] has told already.
    /// A node that was taken out signs nothing more: its file ends being believed with its last receipt.
    fn due(&self, view: Arc<View>) -> Vec<(Rows, Wanted)> {
        if self.licensing.is_removed(&view.state) {
            return Vec::new();
        }
        let Some(binding) = view.state.binding() else { return Vec::new() };
        let now = view.state.time();
        let mut due = Vec::new();
        for (tenant, license) in view.state.licenses().iter() {
            let rows = Rows::of(Some(license), Some(binding));
            let reactivation_until = license
                .reactivation_required_since
                .map(|since| since.plus_days(license.license.claims.graces.reactivation_days));
            if self.handled.get(tenant).is_some_and(|handled| handled.holds(rows, reactivation_until, now)) {
                continue;
            }
            if self.licensing.status_in(tenant, view.clone()).refusal().is_none() {
                due.push((
                    rows,
                    Wanted {
                        tenant: tenant.clone(),
                        license: license.license.clone(),
                        binding: binding.binding.clone(),
                        cluster_time: now,
                        reactivation_until,
                    },
                ));
            }
        }
        due
    }

    /// Remembers what was done; says whether it failed.
    fn note(&mut self, result: Result<Handled, WriteError>, tenant: TenantId) -> bool {
        match result {
            Ok(handled) => {
                if handled.outcome == Outcome::NewerOnDisk {
                    tracing::info!(%tenant, "the license file is newer than what this node has applied so far; it stays");
                }
                self.handled.insert(tenant, handled);
                false
            }
            Err(error) => {
                self.metrics.license_file_write_failures.inc();
                tracing::warn!(%tenant, file = %error.path.display(), %error, "a license file is not up to date");
                true
            }
        }
    }

    fn retry_after(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        FIRST_RETRY.saturating_mul(1 << doublings).min(LAST_RETRY)
    }
}

#[cfg(test)]
mod tests;
