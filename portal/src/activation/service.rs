//! The order of the steps, their transactions, and what may be tried again.

use std::sync::Arc;

use quorate_license::{ActivationKind, Fence, RootPublicKey, Serial, SupportId, Timestamp};
use serde::Serialize;

use super::{Refusal, issue, request::Request, request::RequestBody, rules, verify::verify};
use crate::{
    clock,
    config::Policy,
    failpoints,
    keys::{Signer, SigningError},
    store::{
        Retryable, Store, StoreError,
        activations::{self, Activation},
    },
};

/// What a cluster gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The license key's text.
    pub license_key: String,
    /// The installation.
    pub support_id: SupportId,
    /// The serial of binding and license.
    pub serial: Serial,
    /// The fence of the binding.
    pub fence: Fence,
    /// True if this request had been answered before: nothing has changed.
    pub replayed: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The request was understood and refused; the records are unchanged.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database failed. Whether the answer was stored is not known: send the request again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The issuing key's certificate does not cover this time.
    #[error(
        "the issuing key may sign from {from} to {until} only; run quorate-portal admin key rotate-issuing"
    )]
    IssuingKeyExpired {
        /// The first moment.
        from: Timestamp,
        /// The last one.
        until: Timestamp,
    },
    /// The answer could not be signed.
    #[error("the answer could not be signed: {0}")]
    Signing(SigningError),
}

/// The use case with all that it needs.
#[derive(Debug)]
pub struct ActivationService {
    store: Store,
    signer: Signer,
    policy: Policy,
}

impl Retryable for ActivationError {
    /// A unique index speaks up when two requests were first at the same time: the second look finds
    /// what the other one left.
    fn is_retryable(&self) -> bool {
        matches!(self, ActivationError::Store(StoreError::Busy | StoreError::AlreadyThere))
    }
}

impl From<SigningError> for ActivationError {
    fn from(error: SigningError) -> Self {
        match error {
            SigningError::NotCovered { from, until } => ActivationError::IssuingKeyExpired { from, until },
            other => ActivationError::Signing(other),
        }
    }
}

impl Answer {
    fn of(activation: Activation, replayed: bool) -> Self {
        Answer {
            license_key: activation.answer,
            support_id: activation.support_id,
            serial: activation.serial,
            fence: activation.fence,
            replayed,
        }
    }
}

impl ActivationService {
    /// The use case over these records, signing with this key.
    pub fn new(store: Store, signer: Signer, policy: Policy) -> Self {
        ActivationService { store, signer, policy }
    }

    /// The root public keys under which answers verify.
    pub fn roots(&self) -> &[RootPublicKey] {
        self.signer.roots()
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// It gives none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }

    /// Answers a request; tells its kind as well, as soon as that is known.
    ///
    /// `header` is the header `Idempotency-Key`: `None` where the way of the request has none.
    pub async fn activate(
        &self,
        body: RequestBody,
        header: Option<Option<String>>,
    ) -> (Option<ActivationKind>, Result<Answer, ActivationError>) {
        let request = match off_the_worker(move || Request::read(&body)).await {
            Ok(Ok(request)) => Arc::new(request),
            Ok(Err(refusal)) => return (None, Err(refusal.into())),
            Err(error) => return (None, Err(error)),
        };
        let outcome = match request.check_name(header.as_ref().map(Option::as_deref)) {
            Ok(()) => self.answer(&request).await,
            Err(refusal) => Err(refusal.into()),
        };
        (Some(request.key.kind), outcome)
    }

    async fn answer(&self, request: &Arc<Request>) -> Result<Answer, ActivationError> {
        if let Some(answer) = self.store.retrying(|| self.replay(request)).await? {
            return Ok(answer);
        }
        let (verified, policy) = (Arc::clone(request), self.policy.clone());
        off_the_worker(move || verify(&verified.key, &policy)).await??;
        self.store.retrying(|| self.carry_out(request)).await
    }

    /// The stored answer, if exactly these bytes were answered before. They were verified then.
    async fn replay(&self, request: &Request) -> Result<Option<Answer>, ActivationError> {
        let mut tx = self.store.begin_read().await?;
        let stored = activations::find(&mut tx, &request.idempotency_key).await?;
        tx.rollback().await.map_err(StoreError::from)?;
        Ok(stored
            .filter(|stored| stored.request_digest == request.request_digest)
            .map(|stored| Answer::of(stored, true)))
    }

    /// Everything in one transaction: of several requests at the same time, one issues, and the
    /// others see its rows.
    async fn carry_out(&self, request: &Request) -> Result<Answer, ActivationError> {
        let now = clock::now();
        let mut tx = self.store.begin().await?;
        if let Some(stored) = activations::find(&mut tx, &request.idempotency_key).await? {
            if stored.content_digest != request.content_digest {
                let idempotency_key = request.idempotency_key.clone();
                return Err(Refusal::IdempotencyConflict { idempotency_key }.into());
            }
            return Ok(Answer::of(stored, true));
        }
        let permit = rules::judge(&mut tx, &request.key, now).await?;
        let issued = issue::issue(&mut tx, request, permit, &self.signer, &self.policy, now).await?;
        failpoints::hit(failpoints::BEFORE_COMMIT);
        tx.commit().await.map_err(StoreError::from)?;
        failpoints::hit(failpoints::AFTER_COMMIT);
        Ok(Answer::of(issued, false))
    }
}

/// Decoding and verifying up to hundreds of statements takes milliseconds: not on a worker that
/// serves connections.
async fn off_the_worker<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ActivationError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StoreError::Unavailable("the portal is stopping".to_owned()).into())
}
