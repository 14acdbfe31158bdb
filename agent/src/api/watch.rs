//! One open watch of a tenant's license: every change in order, then the present state and what time makes of it.
//!
//! ```text
//! after a revision ── not known that far back ──> watch_compacted
//!        │       └── this node is behind it ────> waits; node_behind
//!        ▼
//! changes behind it, one message each ──> the newest one with the present state ──> waits for more
//! ```
//!
//! Changes are rows of the replicated state, so a watch goes on after a restart and on any other node. Each message is
//! made when the connection has room: a slow reader holds nothing up and misses nothing, unless it is further behind than
//! changes are kept.

use std::time::Duration;

use prometheus::IntGauge;
use quorate_license::TenantId;
use quorate_proto::v1::{GetLicenseResponse, Revision};
use quorate_raft_store::{State, View, state::LicenseChange};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    ApiError, ErrorKind,
    license::{changed_response, license_response},
};
use crate::service::licensing::Licensing;

/// The present state is not looked at more often than this. Changes wait for nothing.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a watch looks for what time alone changes, such as the end of a term.
const TICK: Duration = Duration::from_secs(1);

/// How long a watch waits for a node that has not applied yet what the watcher has seen elsewhere.
const BEHIND: Duration = Duration::from_secs(30);

/// One open watch.
pub(super) struct Watch {
    licensing: Licensing,
    tenant: TenantId,
    applied: watch::Receiver<u64>,
    ticks: Interval,
    /// The revision that the watcher has seen; none before the first message.
    seen: Option<Revision>,
    last: Option<GetLicenseResponse>,
    not_before: Instant,
    /// Until when this node has to have caught up with the watcher.
    catch_up_by: Instant,
    shutdown: CancellationToken,
    ended: bool,
    open: IntGauge,
    _permit: OwnedSemaphorePermit,
}

impl Watch {
    /// A watch that goes on behind `after`, or begins with the present state.
    pub(super) fn new(
        licensing: Licensing,
        tenant: TenantId,
        after: Option<Revision>,
        shutdown: CancellationToken,
        open: IntGauge,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        open.inc();
        let now = Instant::now();
        Watch {
            applied: licensing.views().subscribe(),
            licensing,
            tenant,
            ticks,
            seen: after,
            last: None,
            not_before: now,
            catch_up_by: now + BEHIND,
            shutdown,
            ended: false,
            open,
            _permit: permit,
        }
    }

    /// The next message, or why there is none any more.
    pub(super) async fn next(mut self) -> Option<(Result<GetLicenseResponse, Status>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            match self.look() {
                Ok(Some(message)) => return Some((Ok(message), self)),
                Ok(None) => {}
                Err(error) => return Some(self.end(error)),
            }
            if !self.wait().await {
                let ended = ApiError::new(
                    ErrorKind::Unavailable,
                    "shutting_down",
                    "this agent is shutting down",
                    "watch again once it runs, or on another node, after the last revision that you have seen; until \
                     then the license file holds the license",
                );
                return Some(self.end(ended));
            }
        }
    }

    fn end(mut self, error: ApiError) -> (Result<GetLicenseResponse, Status>, Self) {
        self.ended = true;
        (Err(error.into()), self)
    }

    /// What is to be told now, if anything.
    fn look(&mut self) -> Result<Option<GetLicenseResponse>, ApiError> {
        let standing = self.licensing.status(&self.tenant);
        let view = standing.view().clone();
        let Some(seen) = self.seen else {
            self.seen = newest(&view.state);
            let first = license_response(&standing);
            // Also when only the revision is new: from then on a watcher can go on after a break.
            let tells = self.last.as_ref() != Some(&first);
            return Ok(tells.then(|| self.told(first)));
        };
        if self.is_behind(&view, seen)? {
            return Ok(None);
        }
        let changes = view.state.license_changes();
        if forgotten(&view.state, seen) {
            return Err(compacted(seen));
        }
        let mut further = changes.starting_at(seen.index + 1);
        let change = further.find_map(|(index, change)| Some((*index, change.of(&self.tenant)?)));
        if let Some((index, changed)) = change
            && further.any(|(_, later)| later.of(&self.tenant).is_some())
        {
            let revision = Revision { epoch: seen.epoch, index };
            self.seen = Some(revision);
            return Ok(Some(self.told(changed_response(changed, revision))));
        }
        // The newest change has the present state, with all that belongs to it.
        self.seen = newest(&view.state).or(self.seen);
        let present = GetLicenseResponse { changed: change.is_some(), ..license_response(&standing) };
        let tells = present.changed || self.last.as_ref().is_none_or(|last| differs(last, &present));
        Ok(tells.then(|| self.told(present)))
    }

    fn told(&mut self, message: GetLicenseResponse) -> GetLicenseResponse {
        self.last = Some(message.clone());
        message
    }

    /// Whether this node has not applied yet what the watcher has seen.
    fn is_behind(&self, view: &View, seen: Revision) -> Result<bool, ApiError> {
        let epoch = view.state.cluster().map(|cluster| cluster.epoch.number);
        if epoch.is_some_and(|epoch| epoch != seen.epoch) {
            return Err(compacted(seen));
        }
        let applied = view.applied_index();
        if epoch.is_some() && applied >= seen.index {
            return Ok(false);
        }
        if Instant::now() < self.catch_up_by {
            return Ok(true);
        }
        Err(ApiError::new(
            ErrorKind::Unavailable,
            "node_behind",
            format!(
                "this node has applied entry {applied} of the log, and you have seen entry {}",
                seen.index
            ),
            "watch again later, or on another node",
        ))
    }

    /// Waits until something may have changed. `false`: the agent is shutting down.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            () = self.shutdown.cancelled() => return false,
            () = tokio::time::sleep_until(self.not_before) => {}
        }
        let goes_on = tokio::select! {
            () = self.shutdown.cancelled() => false,
            changed = self.applied.changed() => changed.is_ok(),
            _ = self.ticks.tick() => true,
        };
        self.not_before = Instant::now() + PAUSE;
        goes_on
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// The newest change in this state; index 0 if none is known. None before the state is here.
pub(super) fn newest(state: &State) -> Option<Revision> {
    let epoch = state.cluster()?.epoch.number;
    let index = state.license_changes().last().map_or(0, |(index, _)| *index);
    Some(Revision { epoch, index })
}

/// Whether a message tells something else than the one before. The revision moves on with other tenants' changes, too.
fn differs(last: &GetLicenseResponse, present: &GetLicenseResponse) -> bool {
    let revision = last.revision;
    *last != GetLicenseResponse { revision, changed: last.changed, ..present.clone() }
}

/// Whether a change behind `seen` was forgotten.
fn forgotten(state: &State, seen: Revision) -> bool {
    let oldest: Option<&LicenseChange> = state.license_changes().first().map(|(_, change)| change);
    oldest.and_then(|oldest| oldest.previous).is_some_and(|previous| previous > seen.index)
}

fn compacted(seen: Revision) -> ApiError {
    ApiError::new(
        ErrorKind::Gone,
        "watch_compacted",
        format!(
            "not every change since epoch {}, entry {} is known to this node any more",
            seen.epoch, seen.index
        ),
        "watch again without a revision: the present state comes first, and then each change",
    )
}
