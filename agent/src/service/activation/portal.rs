//! Asking the License Portal, over TLS, with a deadline and retries.
//!
//! Every retry sends the same bytes under the same idempotency key, so the portal answers once
//! however often it is asked.

use std::{path::PathBuf, sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use quorate_license::{IntegrityKey, LicenseKey};
use reqwest::{
    Certificate, Client, Proxy, RequestBuilder, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Deserialize;

use crate::{
    api::{ApiError, ErrorKind},
    config,
    metrics::Metrics,
};

/// The path of telemetry reports.
const TELEMETRY: &str = "/v1/telemetry";

const ATTEMPT: Duration = Duration::from_secs(15);
/// The longest pause between two attempts, unless the portal asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause that a portal may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(60);
/// Attempts to deliver a telemetry report, which nobody waits for.
const REPORT_ATTEMPTS: usize = 4;
const MAX_ANSWER_BYTES: usize = 6 << 20;

/// The way to the portal.
pub(in crate::service) struct Portal {
    client: Client,
    url: String,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

/// Why the portal gave no license key.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::service) enum PortalError {
    /// It can't be set up from the configuration.
    #[error("the way to the License Portal can't be set up: {0}")]
    Setup(String),
    /// It refused, for good.
    #[error("{message}")]
    Refused { code: String, message: String, hint: String },
    /// It could not be reached, or could not answer now. It may have seen the request.
    #[error("the License Portal at {url} could not be reached: {reason}")]
    Unreachable { url: String, reason: String, retry_after: Option<Duration> },
    /// Something is in the way that goes away only when the configuration is another one. It has seen nothing.
    #[error("the License Portal at {url} could not be reached: {reason}")]
    Barred { url: String, reason: String, by: Barrier },
    /// Its answer can't be read.
    #[error("the License Portal's answer can't be used: {0}")]
    Answer(String),
}

/// What is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::service) enum Barrier {
    /// Whoever answers shows a certificate that is not trusted.
    Certificate,
    /// The proxy wants another user or password.
    Proxy,
}

#[derive(Deserialize)]
struct Activated {
    license_key: String,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    message: String,
    #[serde(default)]
    hint: String,
}

impl Portal {
    pub(in crate::service) async fn new(
        config: &config::Portal,
        metrics: Arc<Metrics>,
    ) -> Result<Self, PortalError> {
        let setup = |error: &dyn std::fmt::Display| PortalError::Setup(error.to_string());
        let mut builder = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(ATTEMPT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("quorate/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &config.ca_file {
            builder = builder.tls_certs_only(read_certificates(path.clone()).await?);
        }
        builder = match &config.proxy {
            Some(proxy) => builder.proxy(Proxy::all(proxy.expose()).map_err(|error| setup(&error))?),
            None => builder.no_proxy(),
        };
        Ok(Portal {
            client: builder.build().map_err(|error| setup(&error))?,
            url: config.url.trim_end_matches('/').to_owned(),
            timeout: config.timeout,
            metrics,
        })
    }

    /// Sends an integrity key and returns the license key. Nothing of it is checked yet.
    pub(super) async fn activate(&self, key: &IntegrityKey, text: &str) -> Result<LicenseKey, PortalError> {
        let idempotency_key = format!("{}/{}/{}", key.cluster_id, key.epoch.id, key.nonce);
        let attempt = || self.attempt(&idempotency_key, text);
        let mut last = None;
        let retried = attempt
            .retry(backoff().without_max_times())
            .when(PortalError::is_temporary)
            .adjust(PortalError::pause)
            .notify(|error, pause| {
                tracing::info!(%error, ?pause, "asking the portal again");
                last = Some(error.clone());
            });
        let in_time = tokio::time::timeout(self.timeout, retried).await;
        in_time.unwrap_or_else(|_| {
            let seconds = self.timeout.as_secs();
            let reason = match last {
                Some(PortalError::Unreachable { reason, .. }) => {
                    format!("{reason} (tried for {seconds} seconds)")
                }
                _ => format!("no answer within {seconds} seconds"),
            };
            Err(PortalError::Unreachable { url: self.url.clone(), reason, retry_after: None })
        })
    }

    async fn attempt(&self, idempotency_key: &str, text: &str) -> Result<LicenseKey, PortalError> {
        let started = tokio::time::Instant::now();
        let result = self.post(idempotency_key, text).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(PortalError::Refused { .. }) => "refused",
            Err(_) => "failed",
        };
        let took = started.elapsed().as_secs_f64();
        self.metrics.portal_request_duration.with_label_values(&[outcome]).observe(took);
        result
    }

    async fn post(&self, idempotency_key: &str, text: &str) -> Result<LicenseKey, PortalError> {
        let request = self
            .client
            .post(format!("{}/api/v1/activations", self.url))
            .header("Idempotency-Key", idempotency_key)
            .header(CONTENT_TYPE, "text/plain")
            .body(text.to_owned());
        let body = self.exchange(request).await?;
        let activated: Activated =
            serde_json::from_slice(&body).map_err(|error| PortalError::Answer(error.to_string()))?;
        LicenseKey::from_text(&activated.license_key).map_err(|error| PortalError::Answer(error.to_string()))
    }

    /// Delivers a telemetry report, JSON.
    pub(in crate::service) async fn report(&self, json: String) -> Result<(), PortalError> {
        let attempt = || async {
            let request = self
                .client
                .post(format!("{}{TELEMETRY}", self.url))
                .header(CONTENT_TYPE, "application/json")
                .body(json.clone());
            self.exchange(request).await.map(|_| ())
        };
        attempt
            .retry(backoff().with_max_times(REPORT_ATTEMPTS - 1))
            .when(PortalError::is_temporary)
            .adjust(PortalError::pause)
            .await
    }

    /// Where telemetry reports go.
    pub(in crate::service) fn telemetry_url(config: &config::Portal) -> String {
        format!("{}{TELEMETRY}", config.url.trim_end_matches('/'))
    }

    /// One request and the body of a good answer.
    async fn exchange(&self, request: RequestBuilder) -> Result<Vec<u8>, PortalError> {
        let unreachable = |error: reqwest::Error| {
            let (url, reason) = (self.url.clone(), root_cause(&error));
            match barrier(&error) {
                Some(by) => PortalError::Barred { url, reason, by },
                None => PortalError::Unreachable { url, reason, retry_after: None },
            }
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let body = bounded_body(response).await.map_err(|error| match error {
            Some(error) => unreachable(error),
            None => PortalError::Answer("it is too large".to_owned()),
        })?;
        if status.is_success() {
            return Ok(body);
        }
        let temporary = status.is_server_error()
            || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) if !temporary => {
                Err(PortalError::Refused { code: refusal.code, message: refusal.message, hint: refusal.hint })
            }
            said => {
                let why = match said {
                    Ok(Refusal { code, message, .. }) => format!(": {message} ({code})"),
                    // A proxy's or another server's page: the portal has not spoken.
                    Err(_) => String::new(),
                };
                let reason = format!("it answered with HTTP status {status}{why}");
                Err(PortalError::Unreachable { url: self.url.clone(), reason, retry_after })
            }
        }
    }
}

impl PortalError {
    fn is_temporary(&self) -> bool {
        matches!(self, PortalError::Unreachable { .. })
    }

    /// The pause before the next attempt: what was asked for, within reason, if it is longer than ours.
    fn pause(&self, ours: Option<Duration>) -> Option<Duration> {
        let PortalError::Unreachable { retry_after: Some(asked), .. } = self else { return ours };
        ours.map(|ours| ours.max((*asked).min(LONGEST_ASKED)))
    }
}

fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(300))
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
}

/// How long the portal asks to wait, in seconds.
fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Reads a body, up to a bound. None as the error: it is larger.
async fn bounded_body(mut response: reqwest::Response) -> Result<Vec<u8>, Option<reqwest::Error>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Some)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn read_certificates(path: PathBuf) -> Result<Vec<Certificate>, PortalError> {
    let failed = |reason: String| PortalError::Setup(reason);
    let pem = tokio::fs::read(&path).await.map_err(|error| failed(format!("{}: {error}", path.display())))?;
    Certificate::from_pem_bundle(&pem).map_err(|error| failed(format!("{}: {error}", path.display())))
}

/// What is at the bottom: "connection refused", not "error sending request".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What is in the way, if it is something that another attempt would find there, too.
fn barrier(error: &reqwest::Error) -> Option<Barrier> {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |cause| cause.source());
    for cause in causes {
        if let Some(rustls::Error::InvalidCertificate(_)) = tls_error(cause) {
            return Some(Barrier::Certificate);
        }
        // The HTTP client says it in words only.
        if cause.to_string().contains("proxy authorization required") {
            return Some(Barrier::Proxy);
        }
    }
    None
}

/// The error of TLS that an error of the system holds, however often it is wrapped.
fn tls_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e rustls::Error> {
    match error.downcast_ref::<std::io::Error>() {
        Some(wrapped) => wrapped.get_ref().and_then(|inner| tls_error(inner)),
        None => error.downcast_ref(),
    }
}

impl From<PortalError> for ApiError {
    fn from(error: PortalError) -> Self {
        let message = error.to_string();
        match error {
            PortalError::Refused { code, hint, .. } => {
                ApiError::new(ErrorKind::Refused, &code, message, hint)
            }
            PortalError::Unreachable { .. } => ApiError::new(
                ErrorKind::Unavailable,
                "portal_unreachable",
                message,
                "the activation stays open: repeat the command with the same activation key, or wait, it is \
                 retried by itself; nothing is used twice",
            ),
            PortalError::Barred { by: Barrier::Certificate, .. } => ApiError::new(
                ErrorKind::Unavailable,
                "portal_unreachable",
                message,
                "let portal.ca_file name the CA of the portal's certificate, or of the gateway that inspects TLS on the \
                 way there, and restart the first license node; the activation stays open",
            ),
            PortalError::Barred { by: Barrier::Proxy, .. } => ApiError::new(
                ErrorKind::Unavailable,
                "portal_unreachable",
                message,
                "correct user and password in portal.proxy, and restart the first license node; the activation stays \
                 open",
            ),
            PortalError::Setup(_) => ApiError::new(
                ErrorKind::Refused,
                "portal_not_configured",
                message,
                "correct the section [portal] of the configuration",
            ),
            PortalError::Answer(_) => ApiError::new(
                ErrorKind::Refused,
                "portal_answer_invalid",
                message,
                "check portal.url; nothing was changed, the activation stays open",
            ),
        }
    }
}

#[cfg(test)]
#[path = "portal_tests.rs"]
mod tests;
