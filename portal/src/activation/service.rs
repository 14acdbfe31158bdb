//! The order of the steps, their transactions, and what may be tried again.

use std::sync::Arc;

use quorate_license::{
    ActivationKey, ActivationKind, ClusterId, Fence, RootPublicKey, Serial, SupportId, Timestamp,
    VerifiedAnswer,
};
use serde::Serialize;
use serde_json::Value;
use tracing::warn;

use super::{Refusal, issue, request::Request, request::RequestBody, rules, verify::verify};
use crate::{
    clock,
    config::Policy,
    entropy, failpoints,
    keys::{Signer, SigningError},
    store::{
        Conn, Retryable, Store, StoreError,
        activations::{self, Activation},
        installations, issuing_keys, orders, restores, telemetry,
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
    /// The issuing key must not be believed any more.
    #[error("the issuing key {key_id} is revoked; run quorate-portal admin key rotate-issuing")]
    IssuingKeyRevoked {
        /// The key.
        key_id: String,
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

    /// The answer that was issued last to the installation of an activation key.
    ///
    /// # Errors
    /// The key is unknown, its order was taken back or not used yet, or the database fails.
    pub async fn current(&self, key: &ActivationKey) -> Result<Answer, ActivationError> {
        self.store.retrying(|| self.find_current(key)).await
    }

    async fn find_current(&self, key: &ActivationKey) -> Result<Answer, ActivationError> {
        let mut tx = self.store.begin().await?;
        let order = orders::find_by_key(&mut tx, &key.hash())
            .await?
            .ok_or_else(|| Refusal::ActivationKeyUnknown { last5: key.last5() })?;
        let order_id = order.order_id;
        if order.revoked_at.is_some() {
            return Err(Refusal::OrderRevoked { order_id }.into());
        }
        if order.blocked_at.is_some() {
            return Err(Refusal::OrderBlocked { order_id }.into());
        }
        let support_id = order.usage.ok_or(Refusal::OrderNotUsed { order_id })?.support_id;
        let installation = installations::find(&mut tx, &support_id).await?;
        if installation.is_some_and(|installation| installation.blocked_at.is_some()) {
            return Err(Refusal::InstallationBlocked { support_id }.into());
        }
        let latest = activations::latest(&mut tx, &support_id).await?;
        let mut latest = latest.ok_or_else(|| Refusal::OrdersEnded { support_id, orders: Vec::new() })?;
        if signed_by_revoked(&mut tx, &latest).await? {
            latest = self.sign_again(&mut tx, latest, clock::now()).await?;
            tx.commit().await.map_err(StoreError::from)?;
        }
        Ok(Answer::of(latest, true))
    }

    /// Reads a license key that this portal has signed.
    ///
    /// # Errors
    /// It is none.
    pub fn read(&self, license_key: &str) -> Result<VerifiedAnswer, SigningError> {
        self.signer.read(license_key)
    }

    /// Keeps a telemetry report of the installation that this cluster is; `None` if it is none.
    ///
    /// # Errors
    /// The database fails.
    pub async fn keep_report(
        &self,
        cluster: ClusterId,
        report: &Value,
    ) -> Result<Option<SupportId>, StoreError> {
        let report_id: String = entropy::id::<12>().iter().map(|byte| format!("{byte:02x}")).collect();
        self.store.retrying(|| self.put_report(cluster, &report_id, report)).await
    }

    async fn put_report(
        &self,
        cluster: ClusterId,
        report_id: &str,
        report: &Value,
    ) -> Result<Option<SupportId>, StoreError> {
        let mut tx = self.store.begin().await?;
        let Some(installation) = installations::find_by_cluster(&mut tx, cluster).await? else {
            return Ok(None);
        };
        telemetry::add(&mut tx, &installation.support_id, report_id, clock::now(), report).await?;
        tx.commit().await?;
        Ok(Some(installation.support_id))
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
        let outcome = self.store.retrying(|| self.carry_out(request)).await;
        if let Err(ActivationError::Refused(Refusal::RestoreNeedsApproval {
            support_id, cluster_id, ..
        })) = &outcome
        {
            warn!(%support_id, %cluster_id, "a restore waits for approval");
            self.store.retrying(|| self.note_restore(support_id, *cluster_id)).await?;
        }
        outcome
    }

    /// A refusal leaves no trace, but a restore that waits has to be seen by the vendor.
    async fn note_restore(&self, support_id: &SupportId, cluster: ClusterId) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        restores::ask(&mut tx, support_id, cluster, clock::now()).await?;
        Ok(tx.commit().await?)
    }

    /// The stored answer, if exactly these bytes were answered before. They were verified then. Not if
    /// its issuing key was revoked since: then it has to be signed again.
    async fn replay(&self, request: &Request) -> Result<Option<Answer>, ActivationError> {
        let mut tx = self.store.begin_read().await?;
        let stored = activations::find(&mut tx, &request.idempotency_key).await?;
        let believed = match &stored {
            Some(stored) => !signed_by_revoked(&mut tx, stored).await?,
            None => false,
        };
        tx.rollback().await.map_err(StoreError::from)?;
        Ok(stored
            .filter(|stored| believed && stored.request_digest == request.request_digest)
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
            if !signed_by_revoked(&mut tx, &stored).await? {
                return Ok(Answer::of(stored, true));
            }
            let signed = self.sign_again(&mut tx, stored, now).await?;
            tx.commit().await.map_err(StoreError::from)?;
            return Ok(Answer::of(signed, true));
        }
        let permit = rules::judge(&mut tx, &request.key, &self.policy, now).await?;
        let issued = issue::issue(&mut tx, request, permit, &self.signer, &self.policy, now).await?;
        failpoints::hit(failpoints::BEFORE_COMMIT);
        tx.commit().await.map_err(StoreError::from)?;
        failpoints::hit(failpoints::AFTER_COMMIT);
        Ok(Answer::of(issued, false))
    }

    /// A stored answer under the issuing key of today, with the same serial and fence.
    async fn sign_again(
        &self,
        conn: &mut Conn,
        stored: Activation,
        now: Timestamp,
    ) -> Result<Activation, ActivationError> {
        let key_id = self.signer.key_id();
        if issuing_keys::is_revoked(conn, key_id).await? {
            return Err(ActivationError::IssuingKeyRevoked { key_id: key_id.to_owned() });
        }
        let answer = self.signer.again(&stored.answer, now)?;
        activations::resign(conn, &stored.idempotency_key, &answer, key_id).await?;
        Ok(Activation { answer, key_id: Some(key_id.to_owned()), ..stored })
    }
}

async fn signed_by_revoked(conn: &mut Conn, stored: &Activation) -> Result<bool, StoreError> {
    match &stored.key_id {
        Some(key_id) => issuing_keys::is_revoked(conn, key_id).await,
        None => Ok(false),
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
