//! Issuing keys that must not be believed any more.

use quorate_license::Timestamp;
use serde::Serialize;

use super::{Conn, StoreError, row};

/// A revoked issuing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RevokedKey {
    /// Its id, PASERK `k4.pid.`.
    pub key_id: String,
    /// Since when.
    pub revoked_at: Timestamp,
}

/// Revokes an issuing key. The first time stays.
///
/// # Errors
/// The database fails.
pub async fn revoke(conn: &mut Conn, key_id: &str, at: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO revoked_issuing_keys (key_id, revoked_at) VALUES ($1, $2) ON CONFLICT (key_id) DO NOTHING",
    )
    .bind(key_id)
    .bind(at.as_unix_ms())
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether an issuing key is revoked.
///
/// # Errors
/// The database fails.
pub async fn is_revoked(conn: &mut Conn, key_id: &str) -> Result<bool, StoreError> {
    let found = sqlx::query("SELECT key_id FROM revoked_issuing_keys WHERE key_id = $1")
        .bind(key_id)
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some())
}

/// All revoked issuing keys, the oldest first.
///
/// # Errors
/// The database fails.
pub async fn revoked(conn: &mut Conn) -> Result<Vec<RevokedKey>, StoreError> {
    let rows = sqlx::query("SELECT key_id, revoked_at FROM revoked_issuing_keys ORDER BY revoked_at, key_id")
        .fetch_all(conn)
        .await?;
    let read = |found| {
        Ok(RevokedKey { key_id: row::get(found, "key_id")?, revoked_at: row::time(found, "revoked_at")? })
    };
    rows.iter().map(read).collect()
}
