//! What the portal counts: one registry, every metric named here.

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `quorate_portal_http_requests_total{route,method,status}`.
    pub requests: IntCounterVec,
    /// `quorate_portal_http_request_duration_seconds{route}`.
    pub request_duration: HistogramVec,
    /// `quorate_portal_activations_total{kind,outcome}`: `issued`, `replayed`, or the refusal's code.
    /// `kind` is `unknown` for requests that can't be read.
    pub activations: IntCounterVec,
    /// `quorate_portal_connections`: open now.
    pub connections: IntGauge,
    /// `quorate_portal_connections_refused_total{reason}`.
    pub connections_refused: IntCounterVec,
    /// `quorate_portal_issuing_key_expiration_timestamp_seconds`.
    pub issuing_key_expiration: IntGauge,
}

impl Metrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// Two of them have one name, or a name is not allowed.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let requests = IntCounterVec::new(
            Opts::new("quorate_portal_http_requests_total", "Requests answered."),
            &["route", "method", "status"],
        )?;
        let request_duration = HistogramVec::new(
            HistogramOpts::new(
                "quorate_portal_http_request_duration_seconds",
                "Time from a request's head to its answer.",
            )
            .buckets(prometheus::exponential_buckets(0.001, 2.0, 14)?),
            &["route"],
        )?;
        let activations = IntCounterVec::new(
            Opts::new("quorate_portal_activations_total", "Requests for a license key by outcome."),
            &["kind", "outcome"],
        )?;
        let connections = IntGauge::new("quorate_portal_connections", "Connections that are open.")?;
        let connections_refused = IntCounterVec::new(
            Opts::new("quorate_portal_connections_refused_total", "Connections closed before a request."),
            &["reason"],
        )?;
        let issuing_key_expiration = IntGauge::new(
            "quorate_portal_issuing_key_expiration_timestamp_seconds",
            "When the issuing key can no longer sign.",
        )?;
        let build_info = IntGaugeVec::new(Opts::new("quorate_portal_build_info", "Always 1."), &["version"])?;
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(request_duration.clone()))?;
        registry.register(Box::new(activations.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(connections_refused.clone()))?;
        registry.register(Box::new(issuing_key_expiration.clone()))?;
        registry.register(Box::new(build_info))?;
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Metrics {
            registry,
            requests,
            request_duration,
            activations,
            connections,
            connections_refused,
            issuing_key_expiration,
        })
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// A metric can't be written.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::with_capacity(8 * 1024);
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
