//! What the licensed product asks: gRPC `quorate.v1.LicenseService`, on a Unix socket and on loopback.
//!
//! Answered from memory on every node, with or without quorum. Only `ReportBuild` writes, to this node's
//! own disk.

use std::{pin::Pin, str::FromStr, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use prometheus::IntGauge;
use quorate_license::{BuildNumber, ParseIdError, Quantity, TenantId, Timestamp};
use quorate_proto::v1::{
    CheckRequest, CheckResponse, Entitlement, GetLicenseRequest, GetLicenseResponse, InstalledLicense,
    ReportBuildRequest, ReportBuildResponse, WatchRequest,
    license_service_server::{LicenseService, LicenseServiceServer},
};
use quorate_raft_store::state;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, Interval, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{ApiError, ErrorKind};
use crate::{
    host::BuildWatcher,
    metrics::Metrics,
    service::licensing::{Answer, Licensing, Standing},
};

/// No request is larger: names and a number.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// Open watches at a time. A product opens one per process.
const MAX_WATCHES: usize = 1024;

/// A watch tells changes at once, but not more often than this.
const WATCH_PAUSE: Duration = Duration::from_millis(50);

/// How often a watch looks for changes that time alone makes, such as the end of a term.
const WATCH_TICK: Duration = Duration::from_secs(1);

/// The service.
#[derive(Debug, Clone)]
pub struct LicenseApi {
    licensing: Licensing,
    builds: BuildWatcher,
    metrics: Arc<Metrics>,
    watches: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl LicenseApi {
    /// Answers from `licensing`; hands build numbers to `builds`; ends its watches when `shutdown` is
    /// cancelled.
    pub fn new(
        licensing: Licensing,
        builds: BuildWatcher,
        metrics: Arc<Metrics>,
        shutdown: CancellationToken,
    ) -> Self {
        LicenseApi { licensing, builds, metrics, watches: Arc::new(Semaphore::new(MAX_WATCHES)), shutdown }
    }

    /// The gRPC service, for a router.
    pub fn service(self) -> LicenseServiceServer<Self> {
        LicenseServiceServer::new(self).max_decoding_message_size(MAX_REQUEST_BYTES)
    }
}

#[tonic::async_trait]
impl LicenseService for LicenseApi {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let request = request.into_inner();
        let tenant = tenant(&request.tenant)?;
        let feature = match request.feature.as_str() {
            "" => None,
            name => Some(parse(name, "invalid_feature")?),
        };
        let answer = self.licensing.check(&tenant, feature.as_ref(), request.quantity.max(1));
        if answer.decision.allowed {
            self.metrics.license_checks_allowed.inc();
        } else {
            self.metrics.license_checks_refused.inc();
        }
        Ok(Response::new(check_response(answer)))
    }

    async fn get_license(
        &self,
        request: Request<GetLicenseRequest>,
    ) -> Result<Response<GetLicenseResponse>, Status> {
        let tenant = tenant(&request.into_inner().tenant)?;
        Ok(Response::new(license_response(&self.licensing.status(&tenant))))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<GetLicenseResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let tenant = tenant(&request.into_inner().tenant)?;
        let Ok(permit) = self.watches.clone().try_acquire_owned() else {
            let message = format!("{MAX_WATCHES} watches are open on this node, which is the most");
            let hint = "keep one watch per process, and close those that are not needed";
            return Err(ApiError::new(ErrorKind::Unavailable, "too_many_watches", message, hint).into());
        };
        let watch = Watch::new(self, tenant, permit);
        Ok(Response::new(stream::unfold(watch, Watch::next).fuse().boxed()))
    }

    async fn report_build(
        &self,
        request: Request<ReportBuildRequest>,
    ) -> Result<Response<ReportBuildResponse>, Status> {
        let build: BuildNumber = parse(&request.into_inner().build, "invalid_build")?;
        self.builds.report(build).await.map_err(|error| {
            tracing::error!(%error, "a build number was told and can't be kept");
            let hint = "make room on the disk, or correct the folder's permissions, and tell it again";
            ApiError::new(ErrorKind::Internal, "build_not_kept", error.to_string(), hint)
        })?;
        Ok(Response::new(ReportBuildResponse {}))
    }
}

/// One open watch.
struct Watch {
    licensing: Licensing,
    tenant: TenantId,
    applied: watch::Receiver<u64>,
    ticks: Interval,
    last: Option<GetLicenseResponse>,
    not_before: Instant,
    shutdown: CancellationToken,
    ended: bool,
    open: IntGauge,
    _permit: OwnedSemaphorePermit,
}

impl Watch {
    fn new(api: &LicenseApi, tenant: TenantId, permit: OwnedSemaphorePermit) -> Self {
        let mut ticks = tokio::time::interval(WATCH_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let open = api.metrics.license_watches.clone();
        open.inc();
        Watch {
            licensing: api.licensing.clone(),
            tenant,
            applied: api.licensing.views().subscribe(),
            ticks,
            last: None,
            not_before: Instant::now(),
            shutdown: api.shutdown.clone(),
            ended: false,
            open,
            _permit: permit,
        }
    }

    /// The next frame: at first the present state, then each that differs from the one before. Made
    /// only when the connection has room, so a slow reader skips states and never queues them.
    async fn next(mut self) -> Option<(Result<GetLicenseResponse, Status>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            let frame = license_response(&self.licensing.status(&self.tenant));
            if self.last.as_ref() != Some(&frame) {
                self.last = Some(frame.clone());
                return Some((Ok(frame), self));
            }
            if !self.wait().await {
                self.ended = true;
                let ended = ApiError::new(
                    ErrorKind::Unavailable,
                    "shutting_down",
                    "this agent is shutting down",
                    "watch again once it runs; until then the license file holds the license",
                );
                return Some((Err(ended.into()), self));
            }
        }
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
        self.not_before = Instant::now() + WATCH_PAUSE;
        goes_on
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.open.dec();
    }
}

fn tenant(text: &str) -> Result<TenantId, Status> {
    if text.is_empty() { Ok(TenantId::default_tenant()) } else { parse(text, "invalid_tenant") }
}

fn parse<T: FromStr<Err = ParseIdError>>(text: &str, code: &str) -> Result<T, Status> {
    text.parse().map_err(|error: ParseIdError| {
        ApiError::new(ErrorKind::Invalid, code, error.to_string(), "correct the request").into()
    })
}

fn check_response(answer: Answer) -> CheckResponse {
    CheckResponse {
        allowed: answer.decision.allowed,
        reason: answer.decision.reason.code().to_owned(),
        message: answer.message,
        status: answer.status.to_owned(),
        days_left: answer.decision.days_left,
        licensed_quantity: answer.licensed_quantity,
        serial: answer.serial.0,
    }
}

/// The frame of `GetLicense` and `Watch`.
fn license_response(standing: &Standing) -> GetLicenseResponse {
    let report = standing.report();
    GetLicenseResponse {
        tenant: standing.tenant().to_string(),
        status: report.status.as_str().to_owned(),
        next_step: standing.next_step(),
        days_left: report.days_left,
        license: standing.license().map(|installed| installed_license(installed, standing.binding())),
    }
}

fn installed_license(
    installed: &state::InstalledLicense,
    binding: Option<&state::InstalledBinding>,
) -> InstalledLicense {
    let license = &installed.license.claims;
    let entitlements = license.entitlements.iter().map(|held| Entitlement {
        feature: held.feature.to_string(),
        quantity: match held.quantity {
            Quantity::Limited(limit) => Some(limit),
            Quantity::Unlimited => None,
        },
    });
    InstalledLicense {
        support_id: license.support_id.to_string(),
        serial: license.serial.0,
        kind: license.kind.to_string(),
        entitlements: entitlements.collect(),
        orders: license.orders.iter().map(ToString::to_string).collect(),
        issued_at_ms: license.issued_at.as_unix_ms(),
        not_before_ms: license.not_before.as_unix_ms(),
        expires_at_ms: license.expires_at.map(Timestamp::as_unix_ms),
        support_until_ms: license.support_until.map(Timestamp::as_unix_ms),
        license_token: installed.license.token.clone(),
        binding_token: binding.map(|installed| installed.binding.token.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
#[path = "license_tests.rs"]
mod tests;
