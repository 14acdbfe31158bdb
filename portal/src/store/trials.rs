//! Trials: one for each installation, and never a second one for any of its computers.

use quorate_license::{ComputerId, Entitlement, SupportId, TenantId, Timestamp};
use serde::Serialize;

use super::{Conn, StoreError, row};

/// An installation's trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// The installation.
    pub support_id: SupportId,
    /// The tenant that it licenses.
    pub tenant: TenantId,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ends.
    pub ends_at: Timestamp,
    /// What it licenses, sorted by feature.
    pub entitlements: Vec<Entitlement>,
}

/// Adds a trial.
///
/// # Errors
/// [`StoreError::AlreadyThere`] if the installation had one.
pub async fn add(conn: &mut Conn, trial: &Trial) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO trials (support_id, tenant, started_at, ends_at) VALUES ($1, $2, $3, $4)")
        .bind(trial.support_id.as_str())
        .bind(trial.tenant.as_str())
        .bind(trial.started_at.as_unix_ms())
        .bind(trial.ends_at.as_unix_ms())
        .execute(&mut *conn)
        .await?;
    for entitlement in &trial.entitlements {
        sqlx::query("INSERT INTO trial_entitlements (support_id, feature, quantity) VALUES ($1, $2, $3)")
            .bind(trial.support_id.as_str())
            .bind(entitlement.feature.as_str())
            .bind(row::quantity(entitlement.quantity)?)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// The trial of an installation.
///
/// # Errors
/// The database fails.
pub async fn find(conn: &mut Conn, support_id: &SupportId) -> Result<Option<Trial>, StoreError> {
    let found = sqlx::query("SELECT tenant, started_at, ends_at FROM trials WHERE support_id = $1")
        .bind(support_id.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    let Some(found) = found else { return Ok(None) };
    let rows = sqlx::query(
        "SELECT feature, quantity FROM trial_entitlements WHERE support_id = $1 ORDER BY feature",
    )
    .bind(support_id.as_str())
    .fetch_all(conn)
    .await?;
    Ok(Some(Trial {
        support_id: support_id.clone(),
        tenant: row::parse(&found, "tenant")?,
        started_at: row::time(&found, "started_at")?,
        ends_at: row::time(&found, "ends_at")?,
        entitlements: rows.iter().map(row::entitlement).collect::<Result<_, _>>()?,
    }))
}

/// Remembers, for ever, that this computer had its trial. The first one stays.
///
/// # Errors
/// The database fails.
pub async fn remember(
    conn: &mut Conn,
    computer_id: ComputerId,
    support_id: &SupportId,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO trial_computers (computer_id, support_id, at) VALUES ($1, $2, $3) \
         ON CONFLICT (computer_id) DO NOTHING",
    )
    .bind(computer_id.to_string())
    .bind(support_id.as_str())
    .bind(at.as_unix_ms())
    .execute(conn)
    .await?;
    Ok(())
}

/// When this computer had its trial, if it had one.
///
/// # Errors
/// The database fails.
pub async fn had(conn: &mut Conn, computer_id: ComputerId) -> Result<Option<Timestamp>, StoreError> {
    let found = sqlx::query("SELECT at FROM trial_computers WHERE computer_id = $1")
        .bind(computer_id.to_string())
        .fetch_optional(conn)
        .await?;
    found.as_ref().map(|found| row::time(found, "at")).transpose()
}

/// The installation in which this computer had its trial, if it had one.
///
/// # Errors
/// The database fails.
pub async fn of_computer(conn: &mut Conn, computer_id: ComputerId) -> Result<Option<SupportId>, StoreError> {
    let found = sqlx::query("SELECT support_id FROM trial_computers WHERE computer_id = $1")
        .bind(computer_id.to_string())
        .fetch_optional(conn)
        .await?;
    found.as_ref().map(|found| row::parse(found, "support_id")).transpose()
}
