//! `POST /v1/telemetry`: a report of an installation whose administrator agreed to it.
//!
//! It is not signed and decides nothing: it is shown to the vendor. What makes it an installation's is its
//! cluster id, a random number that nobody else is told.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
};
use quorate_license::ClusterId;
use serde_json::Value;
use tracing::info;

use super::{App, Problem, activations::body_problem};

/// The largest report that is kept.
const MAX_REPORT_BYTES: usize = 64 * 1024;
/// The report's format that is read.
const VERSION: u64 = 1;

pub(super) async fn report(
    State(app): State<Arc<App>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    let body = body.map_err(|rejection| body_problem(&app, rejection.status()))?;
    if body.len() > MAX_REPORT_BYTES {
        return Err(Problem::too_large(MAX_REPORT_BYTES));
    }
    let report: Value = serde_json::from_slice(&body).map_err(|_| Problem::telemetry_malformed())?;
    if report["version"].as_u64() != Some(VERSION) {
        return Err(Problem::telemetry_malformed());
    }
    let cluster: ClusterId = report["cluster_id"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(Problem::telemetry_malformed)?;
    match app.service.keep_report(cluster, &report).await? {
        Some(support_id) => {
            info!(%support_id, "telemetry received");
            Ok(StatusCode::NO_CONTENT)
        }
        None => Err(Problem::cluster_unknown()),
    }
}
