//! For operators: is it alive, and what does it count.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tracing::error;

use super::{App, Problem};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/healthz", get(healthz)).route("/metrics", get(metrics))
}

/// 200 when the database answers, 503 when it does not.
async fn healthz(State(app): State<Arc<App>>) -> Result<Json<Value>, Problem> {
    if let Err(cause) = app.service.ping().await {
        error!(%cause, "the database gives no sign of life");
        return Err(cause.into());
    }
    Ok(Json(json!({ "status": "ok" })))
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    match app.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(cause) => {
            error!(%cause, "the metrics can't be written");
            Problem::internal().into_response()
        }
    }
}
