//! The operations port: health, readiness and metrics, for whatever runs and watches the agent.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process works |
//! | `/readyz` | 200 when the node can serve, otherwise 503 and the reason |
//! | `/metrics` | all metrics in the text format of Prometheus |

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus::TextEncoder;
use quorate_license::TenantId;

use crate::{metrics::Metrics, service::licensing::Licensing};

/// The exposition format that is answered, whatever is asked for.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Says whether the node can serve, or why not.
pub type Ready = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What the operations port answers from.
#[derive(Clone)]
pub struct OpsState {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The licenses, which are shown as they are when somebody looks.
    pub licensing: Licensing,
    /// Whether the node can serve. Must not block.
    pub ready: Ready,
}

/// The paths of the operations port.
pub(super) const ROUTES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The routes of the operations port.
pub fn router(state: OpsState) -> Router {
    let [health_at, ready_at, metrics_at] = ROUTES;
    Router::new()
        .route(health_at, get(|| async { "ok\n" }))
        .route(ready_at, get(readyz))
        .route(metrics_at, get(metrics))
        .with_state(state)
}

async fn readyz(State(state): State<OpsState>) -> Response {
    match (state.ready)() {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(state): State<OpsState>) -> Response {
    // Reading the process's numbers and rendering thousands of tenants is no work for a runtime worker.
    let rendered = tokio::task::spawn_blocking(move || {
        show_licenses(&state.metrics, &state.licensing);
        TextEncoder::new()
            .encode_to_string(&state.metrics.registry.gather())
            .map_err(|error| error.to_string())
    });
    match rendered.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(error, "the metrics can't be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be rendered; see the log\n")
                .into_response()
        }
    }
}

/// Brings the metrics of the licenses up to now. The tenant `default` is shown even without a license.
fn show_licenses(metrics: &Metrics, licensing: &Licensing) {
    let view = licensing.views().current();
    metrics.license_applied_index.set(i64::try_from(view.applied_index()).unwrap_or(i64::MAX));
    let licensed = view.state.licenses().iter().map(|(tenant, _)| tenant.clone());
    let default = TenantId::default_tenant();
    let without = view.state.licenses().get(&default).is_none().then_some(default);
    for tenant in licensed.chain(without) {
        let standing = licensing.status(&tenant);
        let license = standing.license().map(|installed| &installed.license.claims);
        metrics.show_license(
            &tenant,
            &standing.report().status,
            standing.is_allowed(),
            license.map(|license| license.serial).unwrap_or_default(),
            license.and_then(|license| license.expires_at),
        );
        metrics.show_endings(&tenant, &standing.endings());
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use quorate_license::NodeId;
    use quorate_raft_store::{View, Views};
    use tower::ServiceExt;

    use super::*;

    fn router_that_is(ready: Result<(), &'static str>) -> Router {
        let views = Arc::new(Views::new(View::default()));
        router(OpsState {
            metrics: Arc::new(Metrics::new().unwrap()),
            licensing: Licensing::new(views, NodeId::new(1, 1), Arc::default()),
            ready: Arc::new(move || ready.map_err(str::to_owned)),
        })
    }

    async fn get(router: Router, path: &str) -> (StatusCode, Option<String>, String) {
        let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn health_does_not_depend_on_readiness() {
        let unready = router_that_is(Err("no leader is known"));
        assert_eq!(get(unready.clone(), "/healthz").await.0, StatusCode::OK);
        let (status, _, body) = get(unready, "/readyz").await;
        assert_eq!((status, body.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "no leader is known\n"));
        assert_eq!(get(router_that_is(Ok(())), "/readyz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_show_an_installation_without_a_license() {
        let (status, kind, body) = get(router_that_is(Ok(())), "/metrics").await;
        assert_eq!((status, kind.as_deref()), (StatusCode::OK, Some(TEXT_FORMAT)));
        for line in [
            "quorate_license_state{state=\"unlicensed\",tenant=\"default\"} 1",
            "quorate_license_state{state=\"active\",tenant=\"default\"} 0",
            "quorate_license_serial{tenant=\"default\"} 0",
            "quorate_server_has_leader 0",
        ] {
            assert!(body.lines().any(|shown| shown == line), "{line} in:\n{body}");
        }
    }

    #[tokio::test]
    async fn other_paths_are_not_found() {
        assert_eq!(get(router_that_is(Ok(())), "/debug").await.0, StatusCode::NOT_FOUND);
    }
}
