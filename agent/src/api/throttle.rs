//! What strangers may ask in a minute, on the ports that they reach over the network.
//!
//! ```text
//! request -> has its address been refused too often? -> has it used up its minute? -> handler
//!                    429 / RESOURCE_EXHAUSTED, with the time to wait
//! ```
//!
//! A stranger is whoever shows no certificate of a node: those who join, administrators' tools with a token, and
//! those who have no business here. Guessing a token is hopeless; that it costs little is what is seen to here.

use std::{net::IpAddr, sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use prometheus::IntCounterVec;
use quorate_limits::{RateLimit, neighbourhood};
use tonic::{Code, Status};

use super::{ApiError, ErrorKind, http::HttpError};
use crate::{metrics::Metrics, net::PeerInfo};

/// Requests a minute of one address.
const REQUESTS_PER_MINUTE: u32 = 1_200;
/// Refused requests a minute of one address: no certificate, no token, a wrong one, or one that may not.
const REFUSALS_PER_MINUTE: u32 = 120;

/// Counts strangers' requests, over all ports that it guards.
pub struct Throttle {
    requests: RateLimit<IpAddr>,
    refusals: RateLimit<IpAddr>,
    turned_away: IntCounterVec,
}

impl Throttle {
    /// Counts in these metrics.
    pub fn new(metrics: &Metrics) -> Arc<Self> {
        Arc::new(Throttle {
            requests: RateLimit::new(REQUESTS_PER_MINUTE),
            refusals: RateLimit::new(REFUSALS_PER_MINUTE),
            turned_away: metrics.requests_turned_away.clone(),
        })
    }

    /// Counts the requests for these routes.
    pub fn guard(self: &Arc<Self>, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), pass))
    }

    fn admit(&self, address: IpAddr, now: Instant) -> Result<(), ApiError> {
        let client = neighbourhood(address);
        let (reason, wait) = match self.refusals.exhausted(client, now) {
            Some(wait) => ("refusals", wait),
            None => match self.requests.count(client, now) {
                Ok(()) => return Ok(()),
                Err(wait) => ("requests", wait),
            },
        };
        self.turned_away.with_label_values(&[reason]).inc();
        let seconds = wait.as_secs() + 1;
        let message = match reason {
            "refusals" => format!("{address} was refused more than {REFUSALS_PER_MINUTE} times in a minute"),
            _ => format!("{address} has asked more than {REQUESTS_PER_MINUTE} times in a minute"),
        };
        Err(ApiError::new(ErrorKind::Busy, "too_many_requests", message, format!("wait {seconds} seconds")))
    }
}

async fn pass(State(throttle): State<Arc<Throttle>>, request: Request, next: Next) -> Response {
    let Some(address) = stranger(&request) else { return next.run(request).await };
    if let Err(error) = throttle.admit(address, Instant::now()) {
        return refused(error, request.headers());
    }
    let response = next.run(request).await;
    if is_refusal(&response) {
        // The next one is turned away; this one has its answer.
        let _ = throttle.refusals.count(neighbourhood(address), Instant::now());
    }
    response
}

/// The address of whoever shows no certificate, over the network.
fn stranger(request: &Request) -> Option<IpAddr> {
    match request.extensions().get::<PeerInfo>()? {
        PeerInfo::Tcp { address, identity: None, .. } => Some(address.ip()),
        PeerInfo::Tcp { identity: Some(_), .. } | PeerInfo::Local { .. } => None,
    }
}

/// The refusal in the caller's own protocol.
fn refused(error: ApiError, headers: &HeaderMap) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("application/grpc")) {
        Status::from(error).into_http()
    } else {
        HttpError(error).into_response()
    }
}

fn is_refusal(response: &Response) -> bool {
    let of_grpc = Status::from_header_map(response.headers()).map(|status| status.code());
    matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        || matches!(of_grpc, Some(Code::Unauthenticated | Code::PermissionDenied))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use tower::ServiceExt;

    use super::*;

    fn throttle() -> (Arc<Throttle>, Router) {
        let throttle = Throttle::new(&Metrics::new().unwrap());
        let routes = Router::new()
            .route("/open", get(|| async { "open" }))
            .route("/closed", get(|| async { StatusCode::UNAUTHORIZED }));
        let guarded = throttle.guard(routes);
        (throttle, guarded)
    }

    async fn ask(routes: &Router, path: &str, peer: PeerInfo, kind: &str) -> Response {
        let request = axum::http::Request::get(path)
            .header(header::CONTENT_TYPE, kind)
            .extension(peer)
            .body(Body::empty())
            .unwrap();
        routes.clone().oneshot(request).await.unwrap()
    }

    fn at(address: &str) -> PeerInfo {
        PeerInfo::Tcp { address: format!("{address}:4000").parse().unwrap(), identity: None, flaw: None }
    }

    #[tokio::test]
    async fn an_address_that_was_refused_too_often_waits_and_others_do_not() {
        let (throttle, routes) = throttle();
        for _ in 0..REFUSALS_PER_MINUTE {
            assert_eq!(ask(&routes, "/closed", at("10.0.0.1"), "").await.status(), StatusCode::UNAUTHORIZED);
        }
        let answer = ask(&routes, "/open", at("10.0.0.1"), "").await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        let answer = ask(&routes, "/open", at("10.0.0.1"), "application/grpc").await;
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("10.0.0.1 was refused more than"), "{status:?}");
        assert_eq!(ask(&routes, "/open", at("10.0.0.2"), "").await.status(), StatusCode::OK);
        assert_eq!(throttle.turned_away.with_label_values(&["refusals"]).get(), 2);
    }

    #[tokio::test]
    async fn an_address_has_so_many_requests_a_minute_and_local_callers_have_any_number() {
        let (_throttle, routes) = throttle();
        for _ in 0..REQUESTS_PER_MINUTE {
            assert_eq!(ask(&routes, "/open", at("10.0.0.1"), "").await.status(), StatusCode::OK);
            let local = PeerInfo::Local { uid: Some(0) };
            assert_eq!(ask(&routes, "/closed", local, "").await.status(), StatusCode::UNAUTHORIZED);
        }
        let answer = ask(&routes, "/open", at("10.0.0.1"), "").await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(
            ask(&routes, "/open", PeerInfo::Local { uid: Some(0) }, "").await.status(),
            StatusCode::OK
        );
    }
}
