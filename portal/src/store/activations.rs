//! Issued answers: what was asked, what was answered, by idempotency key.

use quorate_license::{
    ActivationKind, ClusterId, Fence, Nonce, OrderId, Serial, SupportId, TenantId, Timestamp,
};
use serde::Serialize;
use sqlx::any::AnyRow;

use super::{Conn, StoreError, row};

/// All that [`read`] needs.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT idempotency_key, cluster_id, nonce, support_id, order_id, key_last5, kind, tenant, ",
            "request_digest, content_digest, request, answer, serial, fence, outcome, at, key_id ",
            "FROM activations ",
            $rest
        )
    };
}

/// What became of an issued answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is the current one, or was until the next.
    Issued,
    /// The cluster said, in a later request, that it never installed it and never will.
    Superseded,
}

/// One issued answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Activation {
    /// `<cluster id>/<epoch id>/<nonce>`.
    pub idempotency_key: String,
    /// The cluster that asked.
    pub cluster_id: ClusterId,
    /// The nonce of its intent.
    pub nonce: Nonce,
    /// The installation.
    pub support_id: SupportId,
    /// The order whose activation key was in the request.
    pub order_id: Option<OrderId>,
    /// The last five characters of that activation key.
    pub activation_key_last5: Option<String>,
    /// What was asked for.
    pub kind: ActivationKind,
    /// For which licensee.
    pub tenant: TenantId,
    /// SHA-256 of the request's bytes as they came.
    #[serde(skip)]
    pub request_digest: [u8; 32],
    /// SHA-256 of what the request asks for (see `activation::request`).
    #[serde(skip)]
    pub content_digest: [u8; 32],
    /// The request's bytes without the activation key.
    #[serde(skip)]
    pub request: Vec<u8>,
    /// The license key's text.
    #[serde(skip)]
    pub answer: String,
    /// The serial that was issued.
    pub serial: Serial,
    /// The fence that was issued.
    pub fence: Fence,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was issued.
    pub at: Timestamp,
    /// The id of the issuing key that signed it.
    pub key_id: Option<String>,
}

impl Outcome {
    /// The outcome's name in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Issued => "issued",
            Outcome::Superseded => "superseded",
        }
    }
}

/// The answer that was issued for this idempotency key.
///
/// # Errors
/// The database fails.
pub async fn find(conn: &mut Conn, idempotency_key: &str) -> Result<Option<Activation>, StoreError> {
    let found =
        sqlx::query(select!("WHERE idempotency_key = $1")).bind(idempotency_key).fetch_optional(conn).await?;
    found.as_ref().map(read).transpose()
}

/// The answers to one cluster that moved its installation's fence beyond `fence`, the oldest first.
/// Those to an earlier cluster of the installation can't be installed on this one.
///
/// # Errors
/// The database fails.
pub async fn beyond(
    conn: &mut Conn,
    support_id: &SupportId,
    cluster: ClusterId,
    fence: Fence,
) -> Result<Vec<Activation>, StoreError> {
    let rows =
        sqlx::query(select!("WHERE support_id = $1 AND cluster_id = $2 AND fence > $3 ORDER BY fence"))
            .bind(support_id.as_str())
            .bind(cluster.to_string())
            .bind(i64::try_from(fence.0).unwrap_or(i64::MAX))
            .fetch_all(conn)
            .await?;
    rows.iter().map(read).collect()
}

/// All answers, or those of one installation, the oldest first.
///
/// # Errors
/// The database fails.
pub async fn list(conn: &mut Conn, support_id: Option<&SupportId>) -> Result<Vec<Activation>, StoreError> {
    let rows = match support_id {
        Some(support_id) => {
            sqlx::query(select!("WHERE support_id = $1 ORDER BY at, fence"))
                .bind(support_id.as_str())
                .fetch_all(conn)
                .await?
        }
        None => sqlx::query(select!("ORDER BY at, support_id, fence")).fetch_all(conn).await?,
    };
    rows.iter().map(read).collect()
}

/// Adds an issued answer.
///
/// # Errors
/// [`StoreError::AlreadyThere`] if this idempotency key, or this fence of this installation, has one.
pub async fn add(conn: &mut Conn, activation: &Activation) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO activations (idempotency_key, cluster_id, nonce, support_id, order_id, key_last5, kind, \
         tenant, request_digest, content_digest, request, answer, serial, fence, outcome, at, key_id) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
    )
    .bind(activation.idempotency_key.as_str())
    .bind(activation.cluster_id.to_string())
    .bind(activation.nonce.to_string())
    .bind(activation.support_id.as_str())
    .bind(activation.order_id.as_ref().map(|id| id.as_str().to_owned()))
    .bind(activation.activation_key_last5.clone())
    .bind(activation.kind.as_str())
    .bind(activation.tenant.as_str())
    .bind(activation.request_digest.as_slice())
    .bind(activation.content_digest.as_slice())
    .bind(activation.request.as_slice())
    .bind(activation.answer.as_str())
    .bind(row::stored(activation.serial.0, "serial")?)
    .bind(row::stored(activation.fence.0, "fence")?)
    .bind(activation.outcome.as_str())
    .bind(activation.at.as_unix_ms())
    .bind(activation.key_id.clone())
    .execute(conn)
    .await?;
    Ok(())
}

/// The answer that was issued to an installation last.
///
/// # Errors
/// The database fails.
pub async fn latest(conn: &mut Conn, support_id: &SupportId) -> Result<Option<Activation>, StoreError> {
    let found = sqlx::query(select!("WHERE support_id = $1 ORDER BY fence DESC LIMIT 1"))
        .bind(support_id.as_str())
        .fetch_optional(conn)
        .await?;
    found.as_ref().map(read).transpose()
}

/// Puts a newly signed text of the same answer in place of the one that is there.
///
/// # Errors
/// The database fails.
pub async fn resign(
    conn: &mut Conn,
    idempotency_key: &str,
    answer: &str,
    key_id: &str,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE activations SET answer = $2, key_id = $3 WHERE idempotency_key = $1")
        .bind(idempotency_key)
        .bind(answer)
        .bind(key_id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Marks an answer as one that will never be installed.
///
/// # Errors
/// The database fails.
pub async fn supersede(conn: &mut Conn, idempotency_key: &str) -> Result<(), StoreError> {
    sqlx::query("UPDATE activations SET outcome = 'superseded' WHERE idempotency_key = $1")
        .bind(idempotency_key)
        .execute(conn)
        .await?;
    Ok(())
}

fn read(found: &AnyRow) -> Result<Activation, StoreError> {
    let outcome: String = row::get(found, "outcome")?;
    Ok(Activation {
        idempotency_key: row::get(found, "idempotency_key")?,
        cluster_id: row::parse(found, "cluster_id")?,
        nonce: row::parse(found, "nonce")?,
        support_id: row::parse(found, "support_id")?,
        order_id: row::parse_opt(found, "order_id")?,
        activation_key_last5: row::get(found, "key_last5")?,
        kind: row::parse(found, "kind")?,
        tenant: row::parse(found, "tenant")?,
        request_digest: digest(found, "request_digest")?,
        content_digest: digest(found, "content_digest")?,
        request: row::get(found, "request")?,
        answer: row::get(found, "answer")?,
        serial: Serial(row::number(found, "serial")?),
        fence: Fence(row::number(found, "fence")?),
        outcome: match outcome.as_str() {
            "issued" => Outcome::Issued,
            "superseded" => Outcome::Superseded,
            _ => return Err(StoreError::Unreadable { what: "outcome", value: outcome }),
        },
        at: row::time(found, "at")?,
        key_id: row::get(found, "key_id")?,
    })
}

fn digest(found: &AnyRow, column: &'static str) -> Result<[u8; 32], StoreError> {
    let bytes: Vec<u8> = row::get(found, column)?;
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| StoreError::Unreadable { what: column, value: format!("{length} bytes instead of 32") })
}
