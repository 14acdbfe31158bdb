//! What the portal serves: the protocol (PROTOCOL.md), pages for people, and its operations.
//!
//! ```text
//! POST /api/v1/activations   an integrity key in, a license key out
//! GET  /api/v1/roots         the root public keys
//! POST /v1/telemetry         what an installation tells of itself
//! GET  /, GET+POST /activate, GET+POST /license   pages for people
//! GET  /healthz, /metrics    for operators (on a listener of their own, if one is configured)
//! ```
//!
//! Every request passes `guard`: counted by address, bounded in time, measured.

mod activations;
mod ops;
mod pages;
mod problem;
mod telemetry;

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use quorate_limits::{RateLimit, neighbourhood};
use serde_json::{Value, json};
use tokio::time::timeout;

pub use problem::Problem;

use crate::{
    activation::ActivationService,
    clock,
    config::{Limits, PublicUrl},
    metrics::Metrics,
    server::Peer,
};

/// What the handlers share.
#[derive(Debug)]
pub struct App {
    /// The use case.
    pub service: ActivationService,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Bounds.
    pub limits: Limits,
    /// Requests by address.
    pub rate: RateLimit<IpAddr>,
    /// Submissions of the pages' forms by address.
    pub page_rate: RateLimit<IpAddr>,
    /// The address that customers use.
    pub public_url: PublicUrl,
}

/// Everything for customers; with the operations, unless they have a listener of their own.
pub fn public_router(app: Arc<App>, with_ops: bool) -> Router {
    let mut router = Router::new()
        .merge(pages::routes())
        .route("/api/v1/activations", post(activations::activate))
        .route("/api/v1/roots", get(roots))
        .route("/v1/telemetry", post(telemetry::report));
    if with_ops {
        router = router.merge(ops::routes());
    }
    router
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
        .fallback(|| async { Problem::not_found() })
        .layer(DefaultBodyLimit::max(app.limits.max_body_bytes))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}

/// Operations alone.
pub fn ops_router(app: Arc<App>) -> Router {
    ops::routes().fallback(|| async { Problem::not_found() }).with_state(app)
}

async fn roots(State(app): State<Arc<App>>) -> Json<Value> {
    let roots: Vec<String> = app.service.roots().iter().map(ToString::to_string).collect();
    Json(json!({ "roots": roots }))
}

/// Counts the request against its address, bounds its time, and measures it.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let began = clock::instant();
    let method = known_method(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let peer = request.extensions().get::<Peer>().copied();
    let counted = peer.map_or(Ok(()), |Peer(peer)| app.rate.count(neighbourhood(peer.ip()), began));
    let response = match counted {
        Ok(()) => match timeout(app.limits.request_deadline, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::deadline().into_response(),
        },
        Err(wait) => Problem::too_many_requests(whole_seconds(wait)).into_response(),
    };
    let status = response.status().as_u16().to_string();
    app.metrics.requests.with_label_values(&[route.as_str(), method, &status]).inc();
    app.metrics.request_duration.with_label_values(&[route.as_str()]).observe(began.elapsed().as_secs_f64());
    response
}

/// Methods are free text: only those in use become labels.
fn known_method(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        _ => "other",
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
