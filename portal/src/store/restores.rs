//! Restores: installations that came back under another cluster id, and those that wait for the vendor.

use quorate_license::{ClusterId, SupportId, Timestamp};
use serde::Serialize;
use sqlx::any::AnyRow;

use super::{Conn, StoreError, row};

/// Restores of one installation that may wait at a time. Of more, the oldest are forgotten: whoever
/// asked can ask again.
const MOST_WAITING: i64 = 20;

/// A cluster that was an installation until it was restored as another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FormerCluster {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The installation that it was.
    pub support_id: SupportId,
    /// The cluster that it is since.
    pub replaced_by: ClusterId,
    /// Since when.
    pub replaced_at: Timestamp,
}

/// A restore that the vendor has to approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreRequest {
    /// The installation.
    pub support_id: SupportId,
    /// The cluster that it wants to be.
    pub cluster_id: ClusterId,
    /// When it last asked.
    pub asked_at: Timestamp,
    /// When the vendor said yes.
    pub approved_at: Option<Timestamp>,
}

/// Remembers a cluster as replaced: it gets no answer any more.
///
/// # Errors
/// [`StoreError::AlreadyThere`] if it was replaced before.
pub async fn replace(conn: &mut Conn, former: &FormerCluster) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO former_clusters (cluster_id, support_id, replaced_by, replaced_at) \
         VALUES ($1, $2, $3, $4)",
    )
    .bind(former.cluster_id.to_string())
    .bind(former.support_id.as_str())
    .bind(former.replaced_by.to_string())
    .bind(former.replaced_at.as_unix_ms())
    .execute(conn)
    .await?;
    Ok(())
}

/// What this cluster was, if it was replaced.
///
/// # Errors
/// The database fails.
pub async fn former(conn: &mut Conn, cluster: ClusterId) -> Result<Option<FormerCluster>, StoreError> {
    let found = sqlx::query(
        "SELECT cluster_id, support_id, replaced_by, replaced_at FROM former_clusters WHERE cluster_id = $1",
    )
    .bind(cluster.to_string())
    .fetch_optional(conn)
    .await?;
    found.as_ref().map(read_former).transpose()
}

/// The clusters that an installation was, the oldest first: its restores.
///
/// # Errors
/// The database fails.
pub async fn of_installation(
    conn: &mut Conn,
    support_id: &SupportId,
) -> Result<Vec<FormerCluster>, StoreError> {
    let rows = sqlx::query(
        "SELECT cluster_id, support_id, replaced_by, replaced_at FROM former_clusters \
         WHERE support_id = $1 ORDER BY replaced_at, cluster_id",
    )
    .bind(support_id.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(read_former).collect()
}

/// Notes that this cluster asked to be the installation.
///
/// # Errors
/// The database fails.
pub async fn ask(
    conn: &mut Conn,
    support_id: &SupportId,
    cluster: ClusterId,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO restore_requests (support_id, cluster_id, asked_at) VALUES ($1, $2, $3) \
         ON CONFLICT (support_id, cluster_id) DO UPDATE SET asked_at = $3",
    )
    .bind(support_id.as_str())
    .bind(cluster.to_string())
    .bind(at.as_unix_ms())
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "DELETE FROM restore_requests WHERE support_id = $1 AND approved_at IS NULL AND cluster_id NOT IN \
         (SELECT cluster_id FROM restore_requests WHERE support_id = $1 ORDER BY asked_at DESC LIMIT $2)",
    )
    .bind(support_id.as_str())
    .bind(MOST_WAITING)
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets this cluster be the installation, once.
///
/// # Errors
/// The database fails.
pub async fn approve(
    conn: &mut Conn,
    support_id: &SupportId,
    cluster: ClusterId,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE restore_requests SET approved_at = $3 WHERE support_id = $1 AND cluster_id = $2")
        .bind(support_id.as_str())
        .bind(cluster.to_string())
        .bind(at.as_unix_ms())
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets that this cluster asked.
///
/// # Errors
/// The database fails.
pub async fn settle(conn: &mut Conn, support_id: &SupportId, cluster: ClusterId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM restore_requests WHERE support_id = $1 AND cluster_id = $2")
        .bind(support_id.as_str())
        .bind(cluster.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

/// The restores of an installation that wait or were approved, the newest first.
///
/// # Errors
/// The database fails.
pub async fn asked(conn: &mut Conn, support_id: &SupportId) -> Result<Vec<RestoreRequest>, StoreError> {
    let rows = sqlx::query(
        "SELECT support_id, cluster_id, asked_at, approved_at FROM restore_requests \
         WHERE support_id = $1 ORDER BY asked_at DESC, cluster_id",
    )
    .bind(support_id.as_str())
    .fetch_all(conn)
    .await?;
    let read = |found: &AnyRow| {
        Ok(RestoreRequest {
            support_id: row::parse(found, "support_id")?,
            cluster_id: row::parse(found, "cluster_id")?,
            asked_at: row::time(found, "asked_at")?,
            approved_at: row::time_opt(found, "approved_at")?,
        })
    };
    rows.iter().map(read).collect()
}

fn read_former(found: &AnyRow) -> Result<FormerCluster, StoreError> {
    Ok(FormerCluster {
        cluster_id: row::parse(found, "cluster_id")?,
        support_id: row::parse(found, "support_id")?,
        replaced_by: row::parse(found, "replaced_by")?,
        replaced_at: row::time(found, "replaced_at")?,
    })
}
