//! What installations tell of themselves, where their administrators agreed.

use quorate_license::{SupportId, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{Conn, StoreError, row};

/// Reports of one installation that are kept: more than a year of them.
const MOST_REPORTS: i64 = 400;

/// One report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// When it came, by the portal's clock.
    pub received_at: Timestamp,
    /// What it said.
    pub report: Value,
}

/// Keeps a report, and of all of the installation the newest ones.
///
/// # Errors
/// [`StoreError::AlreadyThere`] if there is one of this id.
pub async fn add(
    conn: &mut Conn,
    support_id: &SupportId,
    report_id: &str,
    at: Timestamp,
    report: &Value,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO telemetry_reports (support_id, report_id, received_at, payload) VALUES ($1, $2, $3, $4)",
    )
    .bind(support_id.as_str())
    .bind(report_id)
    .bind(at.as_unix_ms())
    .bind(report.to_string())
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "DELETE FROM telemetry_reports WHERE support_id = $1 AND report_id NOT IN \
         (SELECT report_id FROM telemetry_reports WHERE support_id = $1 \
         ORDER BY received_at DESC, report_id LIMIT $2)",
    )
    .bind(support_id.as_str())
    .bind(MOST_REPORTS)
    .execute(conn)
    .await?;
    Ok(())
}

/// The newest report of an installation, and how many are kept.
///
/// # Errors
/// The database fails.
pub async fn latest(conn: &mut Conn, support_id: &SupportId) -> Result<(Option<Report>, u64), StoreError> {
    let found = sqlx::query(
        "SELECT received_at, payload FROM telemetry_reports WHERE support_id = $1 \
         ORDER BY received_at DESC, report_id LIMIT 1",
    )
    .bind(support_id.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let kept: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM telemetry_reports WHERE support_id = $1")
        .bind(support_id.as_str())
        .fetch_one(conn)
        .await?;
    let report = found
        .map(|found| {
            let text: String = row::get(&found, "payload")?;
            let report = serde_json::from_str(&text)
                .map_err(|_| StoreError::Unreadable { what: "telemetry report", value: text })?;
            Ok::<_, StoreError>(Report { received_at: row::time(&found, "received_at")?, report })
        })
        .transpose()?;
    Ok((report, kept.unsigned_abs()))
}
