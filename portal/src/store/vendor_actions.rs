//! What the vendor's staff changed after the fact: orders extended or blocked, restores approved.

use quorate_license::Timestamp;
use serde::Serialize;

use super::{Conn, StoreError, row};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VendorAction {
    /// When.
    pub at: Timestamp,
    /// The order's number or the Support ID.
    pub subject: String,
    /// What was done, one word.
    pub action: String,
    /// What it changed, in words.
    pub detail: String,
}

/// Remembers a change.
///
/// # Errors
/// The database fails.
pub async fn add(conn: &mut Conn, action: &VendorAction) -> Result<(), StoreError> {
    let number: i64 = sqlx::query_scalar(
        "UPDATE counters SET value = value + 1 WHERE name = 'vendor_action' RETURNING value",
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query(
        "INSERT INTO vendor_actions (number, at, subject, action, detail) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(number)
    .bind(action.at.as_unix_ms())
    .bind(action.subject.as_str())
    .bind(action.action.as_str())
    .bind(action.detail.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// The changes of one order or installation, the oldest first.
///
/// # Errors
/// The database fails.
pub async fn of(conn: &mut Conn, subject: &str) -> Result<Vec<VendorAction>, StoreError> {
    let rows = sqlx::query(
        "SELECT at, subject, action, detail FROM vendor_actions WHERE subject = $1 ORDER BY number",
    )
    .bind(subject)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|found| {
            Ok(VendorAction {
                at: row::time(found, "at")?,
                subject: row::get(found, "subject")?,
                action: row::get(found, "action")?,
                detail: row::get(found, "detail")?,
            })
        })
        .collect()
}
