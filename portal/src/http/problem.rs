//! The one place that turns what went wrong into an HTTP answer:
//! `{"code", "message", "hint", "details"}`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    activation::{ActivationError, Refusal},
    store::StoreError,
};

/// An answer that is not what was asked for.
#[derive(Debug, Serialize)]
pub struct Problem {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    retry_after_seconds: Option<u64>,
    /// The stable code.
    pub code: &'static str,
    /// What happened, for people.
    pub message: String,
    /// What to do now, for people.
    pub hint: &'static str,
    /// What the message names, for programs.
    pub details: Value,
}

impl Problem {
    /// A problem with nothing more to say about it.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: &'static str,
    ) -> Self {
        Problem { status, retry_after_seconds: None, code, message: message.into(), hint, details: json!({}) }
    }

    /// With the time after which it is worth asking again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The address is nothing of the portal's.
    pub fn not_found() -> Self {
        Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is nothing at this address",
            "The page at / says what this is.",
        )
    }

    /// The address does not take this method.
    pub fn method_not_allowed() -> Self {
        Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "this address does not take this method",
            "See PROTOCOL.md of the portal.",
        )
    }

    /// The body is larger than the limit.
    pub fn too_large(limit: usize) -> Self {
        let mut problem = Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            format!("the request is larger than {limit} bytes"),
            "Send the integrity key alone.",
        );
        problem.details = json!({ "max_body_bytes": limit });
        problem
    }

    /// The body ended early or was not sent in the announced form.
    pub fn unreadable_body() -> Self {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "request_unreadable",
            "the request's body could not be read to its end",
            "Send it again.",
        )
    }

    /// The body is of another type.
    pub fn unsupported_media_type() -> Self {
        Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "an integrity key is sent as text/plain (its text) or application/octet-stream (its bytes)",
            "Set the header Content-Type.",
        )
    }

    /// An activation key that can't be one; the reason says where it is damaged.
    pub fn activation_key_unreadable(reason: impl Into<String>) -> Self {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "activation_key_malformed",
            reason,
            "Compare the activation key with the one that came with the order.",
        )
    }

    /// A telemetry report that is none.
    pub fn telemetry_malformed() -> Self {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "telemetry_malformed",
            "this is not a telemetry report that the portal reads",
            "Send the JSON that PROTOCOL.md of the portal describes, with version 1 and the cluster's id.",
        )
    }

    /// A telemetry report of a cluster that is no installation.
    pub fn cluster_unknown() -> Self {
        Problem::new(
            StatusCode::NOT_FOUND,
            "cluster_unknown",
            "no installation is this cluster",
            "Activate the cluster first; telemetry of a cluster that was restored as another one is not kept.",
        )
    }

    /// The request took too long; whether it was carried out is not known.
    pub fn deadline() -> Self {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "deadline_exceeded",
            "the request took too long",
            "Send it again with the same Idempotency-Key: nothing is done twice.",
        )
        .retry_after(5)
    }

    /// The address asks too often.
    pub fn too_many_requests(seconds: u64) -> Self {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "there were too many requests from this address",
            "Wait for as many seconds as the header Retry-After says.",
        )
        .retry_after(seconds)
    }

    /// Something in the portal broke. The log says what; callers learn nothing of it.
    pub fn internal() -> Self {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the portal could not finish the request",
            "Send it again later with the same Idempotency-Key. If it fails again, tell the vendor.",
        )
    }
}

impl From<ActivationError> for Problem {
    fn from(error: ActivationError) -> Self {
        match error {
            ActivationError::Refused(refusal) => refusal.into(),
            ActivationError::Store(error) => error.into(),
            ActivationError::IssuingKeyExpired { .. } => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "issuing_key_expired",
                "the portal can't sign at the moment",
                "Tell the vendor that the portal's issuing key has to be renewed, and send it again afterwards.",
            ),
            ActivationError::IssuingKeyRevoked { .. } => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "issuing_key_revoked",
                "the portal can't sign at the moment: its issuing key was revoked",
                "Tell the vendor that the portal needs a new issuing key, and send it again afterwards.",
            ),
            ActivationError::Signing(_) => Problem::internal(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::AlreadyThere | StoreError::Unavailable(_) => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "the portal can't reach its records at the moment",
                "Send it again with the same Idempotency-Key: nothing is done twice.",
            )
            .retry_after(5),
            StoreError::NotPrepared(_) | StoreError::Unreadable { .. } | StoreError::Failed(_) => {
                Problem::internal()
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Problem {
            status: status(&refusal),
            retry_after_seconds: None,
            code: refusal.code(),
            message: refusal.to_string(),
            hint: refusal.hint(),
            details: refusal.details(),
        }
    }
}

/// 400: can't be read. 422: read, but not a request that any cluster should send. 403, 404, 409: a
/// good request that the records speak against.
fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::Unreadable(_)
        | Refusal::ActivationKeyMissing
        | Refusal::IdempotencyKeyMissing
        | Refusal::IdempotencyKeyMismatch { .. } => StatusCode::BAD_REQUEST,
        Refusal::Unverified(_)
        | Refusal::KindNotSupported { .. }
        | Refusal::ComputerIdSourceRefused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::OrderRevoked { .. }
        | Refusal::OrderExpired { .. }
        | Refusal::OrderBlocked { .. }
        | Refusal::InstallationBlocked { .. }
        | Refusal::OrdersEnded { .. }
        | Refusal::TrialEnded { .. }
        | Refusal::TrialNotOffered
        | Refusal::RestoreNeedsApproval { .. } => StatusCode::FORBIDDEN,
        Refusal::ActivationKeyUnknown { .. } | Refusal::InstallationUnknown => StatusCode::NOT_FOUND,
        Refusal::IdempotencyConflict { .. }
        | Refusal::ActivationKeyUsed { .. }
        | Refusal::OrderOfAnotherInstallation { .. }
        | Refusal::RenewedOrderNotHere { .. }
        | Refusal::OrderNotUsed { .. }
        | Refusal::TrialUsed { .. }
        | Refusal::ComputersActivated { .. }
        | Refusal::InstallationAmbiguous { .. }
        | Refusal::RestoreIncomplete { .. }
        | Refusal::ClusterReplaced { .. }
        | Refusal::AlreadyActivated { .. }
        | Refusal::NotActivated
        | Refusal::FirstLicenseNodeChanged { .. }
        | Refusal::BoundNodesMissing { .. }
        | Refusal::NodeKeysChanged { .. }
        | Refusal::FenceMismatch { .. } => StatusCode::CONFLICT,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry_after) = (self.status, self.retry_after_seconds);
        let mut response = (status, Json(self)).into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
