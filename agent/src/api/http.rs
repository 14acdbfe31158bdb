//! The management port: JSON over HTTPS for administrators' tools. Pages come with the management
//! interface.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State as FromState},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use quorate_license::TenantId;
use serde_json::{Value, json};

use super::{ApiError, ErrorKind};
use crate::{
    cluster::Cluster,
    service::{cluster_status, licensing::Licensing},
};

/// Bytes of a request's body.
const MAX_BODY_BYTES: usize = 64 << 10;

/// What the management port needs.
#[derive(Clone)]
pub struct HttpState {
    /// The node's part in the group.
    pub cluster: Arc<Cluster>,
    /// What is licensed.
    pub licensing: Licensing,
}

/// The paths of the management port. Who may ask there is said by the gate in front.
pub(super) const ROUTES: [&str; 2] = ["/api/v1/status", "/api/v1/license"];

/// The routes of the management port.
pub fn router(state: HttpState) -> Router {
    let [status_at, license_at] = ROUTES;
    Router::new()
        .route(status_at, get(status))
        .route(license_at, get(license))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state)
}

/// An error as JSON: `{code, message, hint}`.
pub(crate) struct HttpError(pub(crate) ApiError);

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let status = match self.0.kind {
            ErrorKind::Invalid if self.0.code == "not_found" => StatusCode::NOT_FOUND,
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Refused => StatusCode::CONFLICT,
            ErrorKind::Denied => StatusCode::FORBIDDEN,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Busy => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Gone => StatusCode::GONE,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let body = json!({ "code": self.0.code, "message": self.0.message, "hint": self.0.hint });
        (status, Json(body)).into_response()
    }
}

async fn status(FromState(state): FromState<HttpState>) -> Result<Json<Value>, HttpError> {
    let status = cluster_status(&state.cluster)
        .await
        .ok_or_else(|| HttpError(quorate_raft_store::Refusal::NotInitialized.into()))?;
    let nodes: Vec<Value> = status
        .nodes
        .iter()
        .map(|status| {
            json!({
                "id": status.node.id,
                "name": status.node.name,
                "role": status.node.role,
                "voter": status.voter,
                "online": status.online,
                "computer_id": status.node.computer_id.to_string(),
                "build": status.node.build,
                "applied_index": status.applied_index,
                "license_serial": status.license_serial,
            })
        })
        .collect();
    Ok(Json(json!({
        "cluster_id": status.cluster_id,
        "epoch": status.epoch,
        "leader": status.leader,
        "first_license_node": status.first_license_node,
        "nodes": nodes,
        "license": license_json(&state),
    })))
}

async fn license(FromState(state): FromState<HttpState>) -> Result<Json<Value>, HttpError> {
    Ok(Json(json!({ "license": license_json(&state) })))
}

/// The default tenant's license in short; null without one.
fn license_json(state: &HttpState) -> Value {
    let standing = state.licensing.status(&TenantId::default_tenant());
    let report = standing.report();
    match standing.license().map(|installed| &installed.license.claims) {
        Some(license) => json!({
            "status": report.status.as_str(),
            "kind": license.kind.as_str(),
            "support_id": license.support_id,
            "serial": license.serial,
            "expires_at": license.expires_at,
            "days_left": report.days_left,
        }),
        None => Value::Null,
    }
}
