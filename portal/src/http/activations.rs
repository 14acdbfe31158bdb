//! `POST /api/v1/activations`: the protocol's one call.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use tracing::{error, info, warn};

use super::{App, Problem};
use crate::activation::{ActivationError, Answer, RequestBody};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

pub(super) async fn activate(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|rejection| body_problem(&app, rejection.status()))?;
    let body = match media_type(&headers) {
        Some("text/plain") => RequestBody::Text(body.into()),
        Some("application/octet-stream") => RequestBody::Bytes(body.into()),
        _ => return Err(Problem::unsupported_media_type()),
    };
    let idempotency_key =
        headers.get(IDEMPOTENCY_KEY).map(|value| value.to_str().unwrap_or_default().to_owned());
    let answer = run(&app, body, Some(idempotency_key)).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

/// Asks the service, and counts and logs the outcome. `idempotency_key` is `None` where the caller
/// has no header to send (the page), `Some(None)` where it should have sent one.
pub(super) async fn run(
    app: &App,
    body: RequestBody,
    idempotency_key: Option<Option<String>>,
) -> Result<Answer, Problem> {
    let (kind, outcome) = app.service.activate(body, idempotency_key).await;
    let kind = kind.map_or("unknown", |kind| kind.as_str());
    let label = match &outcome {
        Ok(Answer { replayed: true, .. }) => "replayed",
        Ok(_) => "issued",
        Err(ActivationError::Refused(refusal)) => refusal.code(),
        Err(_) => "failed",
    };
    app.metrics.activations.with_label_values(&[kind, label]).inc();
    match &outcome {
        Ok(answer) => {
            info!(kind, support_id = %answer.support_id, serial = answer.serial.0, fence = answer.fence.0,
                replayed = answer.replayed, "license key issued");
        }
        Err(ActivationError::Refused(refusal)) => {
            warn!(kind, code = refusal.code(), reason = %refusal, "license key refused");
        }
        Err(cause) => error!(kind, %cause, "request failed"),
    }
    outcome.map_err(Problem::from)
}

pub(super) fn body_problem(app: &App, status: StatusCode) -> Problem {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::too_large(app.limits.max_body_bytes)
    } else {
        Problem::unreadable_body()
    }
}

/// The type without its parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim())
}
