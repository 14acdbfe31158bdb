//! What the licensed product asks: gRPC `quorate.v1.LicenseService`, on a Unix socket and on loopback.
//!
//! Answered from memory on every node, with or without quorum. Only `ReportBuild` writes, to this node's
//! own disk.

use std::{pin::Pin, str::FromStr, sync::Arc};

use futures::{Stream, StreamExt, stream};
use quorate_license::{BuildNumber, ParseIdError, Quantity, TenantId, Timestamp};
use quorate_proto::v1::{
    CheckRequest, CheckResponse, Entitlement, GetLicenseRequest, GetLicenseResponse, InstalledLicense,
    ReportBuildRequest, ReportBuildResponse, Revision, WatchRequest,
    license_service_server::{LicenseService, LicenseServiceServer},
};
use quorate_raft_store::state::{self, ChangedLicense};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    ApiError, ErrorKind,
    watch::{Watch, newest},
};
use crate::{
    host::BuildWatcher,
    metrics::Metrics,
    service::licensing::{Answer, Licensing, Standing},
};

/// No request is larger: names and a number.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// Open watches at a time. A product opens one per process.
const MAX_WATCHES: usize = 1024;

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
        let WatchRequest { tenant: named, after } = request.into_inner();
        let tenant = tenant(&named)?;
        let Ok(permit) = self.watches.clone().try_acquire_owned() else {
            let message = format!("{MAX_WATCHES} watches are open on this node, which is the most");
            let hint = "keep one watch per process, and close those that are not needed";
            return Err(ApiError::new(ErrorKind::Unavailable, "too_many_watches", message, hint).into());
        };
        let (open, shutdown) = (self.metrics.license_watches.clone(), self.shutdown.clone());
        let watch = Watch::new(self.licensing.clone(), tenant, after, shutdown, open, permit);
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
pub(super) fn license_response(standing: &Standing) -> GetLicenseResponse {
    let report = standing.report();
    GetLicenseResponse {
        tenant: standing.tenant().to_string(),
        status: report.status.as_str().to_owned(),
        next_step: standing.next_step(),
        days_left: report.days_left,
        license: standing.license().map(|installed| installed_license(installed, standing.binding())),
        revision: newest(&standing.view().state),
        past: false,
        changed: false,
    }
}

/// The frame of `Watch` for an earlier change.
pub(super) fn changed_response(changed: &ChangedLicense, revision: Revision) -> GetLicenseResponse {
    let license = InstalledLicense {
        support_id: changed.support_id.to_string(),
        serial: changed.serial.0,
        kind: changed.kind.to_string(),
        entitlements: entitlements(&changed.entitlements),
        orders: changed.orders.iter().map(ToString::to_string).collect(),
        issued_at_ms: changed.issued_at.as_unix_ms(),
        not_before_ms: changed.not_before.as_unix_ms(),
        expires_at_ms: changed.expires_at.map(Timestamp::as_unix_ms),
        support_until_ms: changed.support_until.map(Timestamp::as_unix_ms),
        license_token: String::new(),
        binding_token: String::new(),
    };
    GetLicenseResponse {
        tenant: changed.tenant.to_string(),
        status: changed.status.clone(),
        next_step: String::new(),
        days_left: None,
        license: Some(license),
        revision: Some(revision),
        past: true,
        changed: true,
    }
}

fn entitlements(held: &[quorate_license::Entitlement]) -> Vec<Entitlement> {
    let entitlement = |held: &quorate_license::Entitlement| Entitlement {
        feature: held.feature.to_string(),
        quantity: match held.quantity {
            Quantity::Limited(limit) => Some(limit),
            Quantity::Unlimited => None,
        },
    };
    held.iter().map(entitlement).collect()
}

fn installed_license(
    installed: &state::InstalledLicense,
    binding: Option<&state::InstalledBinding>,
) -> InstalledLicense {
    let license = &installed.license.claims;
    InstalledLicense {
        support_id: license.support_id.to_string(),
        serial: license.serial.0,
        kind: license.kind.to_string(),
        entitlements: entitlements(&license.entitlements),
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
