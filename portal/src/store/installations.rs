//! Installations: one row per Support ID, with the fence, and the nodes that the last activation bound.

use std::collections::BTreeSet;

use quorate_license::{
    BoundNode, ClusterId, ComputerId, Epoch, EpochId, Fence, NodeId, Serial, SupportId, Timestamp,
};
use serde::Serialize;
use sqlx::any::AnyRow;

use super::{Conn, StoreError, row};

/// All that [`read`] needs.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT support_id, cluster_id, epoch_number, epoch_id, fence, serial, home_computer_id, ",
            "created_at, updated_at, blocked_at FROM installations ",
            $rest
        )
    };
}

/// One customer's cluster, as the portal knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Installation {
    /// Its unique name.
    pub support_id: SupportId,
    /// The cluster that it is now.
    pub cluster_id: ClusterId,
    /// The life of that cluster's history in which it last activated.
    pub epoch: Epoch,
    /// The counter that moves at every activation.
    pub fence: Fence,
    /// The serial that was issued last.
    pub serial: Serial,
    /// The computer ID of the first license node: the home of the Support ID.
    pub home_computer_id: ComputerId,
    /// The first activation.
    pub created_at: Timestamp,
    /// The last activation.
    pub updated_at: Timestamp,
    /// Since when the vendor gives it no answers.
    pub blocked_at: Option<Timestamp>,
}

/// The installation that this cluster is.
///
/// # Errors
/// The database fails.
pub async fn find_by_cluster(
    conn: &mut Conn,
    cluster: ClusterId,
) -> Result<Option<Installation>, StoreError> {
    let found =
        sqlx::query(select!("WHERE cluster_id = $1")).bind(cluster.to_string()).fetch_optional(conn).await?;
    found.as_ref().map(read).transpose()
}

/// The installation of this name.
///
/// # Errors
/// The database fails.
pub async fn find(conn: &mut Conn, support_id: &SupportId) -> Result<Option<Installation>, StoreError> {
    let found =
        sqlx::query(select!("WHERE support_id = $1")).bind(support_id.as_str()).fetch_optional(conn).await?;
    found.as_ref().map(read).transpose()
}

/// The installations that have one of these computers bound, by Support ID.
///
/// # Errors
/// The database fails.
pub async fn on_computers(
    conn: &mut Conn,
    computer_ids: &[ComputerId],
) -> Result<Vec<Installation>, StoreError> {
    let mut found = BTreeSet::new();
    for computer_id in computer_ids {
        let rows = sqlx::query("SELECT support_id FROM pinned_nodes WHERE computer_id = $1")
            .bind(computer_id.to_string())
            .fetch_all(&mut *conn)
            .await?;
        for row in &rows {
            found.insert(row::parse::<SupportId>(row, "support_id")?);
        }
    }
    let mut installations = Vec::with_capacity(found.len());
    for support_id in &found {
        installations.extend(find(conn, support_id).await?);
    }
    Ok(installations)
}

/// Blocks the installation from `at` on, or with `None` no longer.
///
/// # Errors
/// The database fails.
pub async fn block(conn: &mut Conn, support_id: &SupportId, at: Option<Timestamp>) -> Result<(), StoreError> {
    sqlx::query("UPDATE installations SET blocked_at = $2 WHERE support_id = $1")
        .bind(support_id.as_str())
        .bind(at.map(Timestamp::as_unix_ms))
        .execute(conn)
        .await?;
    Ok(())
}

/// All installations, the oldest first.
///
/// # Errors
/// The database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Installation>, StoreError> {
    let rows = sqlx::query(select!("ORDER BY created_at, support_id")).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

/// Adds an installation.
///
/// # Errors
/// [`StoreError::AlreadyThere`] if the Support ID or the cluster is taken.
pub async fn add(conn: &mut Conn, installation: &Installation) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO installations (support_id, cluster_id, epoch_number, epoch_id, fence, serial, \
         home_computer_id, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(installation.support_id.as_str())
    .bind(installation.cluster_id.to_string())
    .bind(i64::from(installation.epoch.number))
    .bind(installation.epoch.id.to_string())
    .bind(row::stored(installation.fence.0, "fence")?)
    .bind(row::stored(installation.serial.0, "serial")?)
    .bind(installation.home_computer_id.to_string())
    .bind(installation.created_at.as_unix_ms())
    .bind(installation.updated_at.as_unix_ms())
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces the row of `next.support_id`, if its fence is still `from`. Leaves alone whether it is blocked.
///
/// # Errors
/// [`StoreError::Busy`] if the fence has moved meanwhile.
pub async fn advance(conn: &mut Conn, from: Fence, next: &Installation) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE installations SET epoch_number = $3, epoch_id = $4, fence = $5, serial = $6, \
         home_computer_id = $7, updated_at = $8, cluster_id = $9 WHERE support_id = $1 AND fence = $2",
    )
    .bind(next.support_id.as_str())
    .bind(row::stored(from.0, "fence")?)
    .bind(i64::from(next.epoch.number))
    .bind(next.epoch.id.to_string())
    .bind(row::stored(next.fence.0, "fence")?)
    .bind(row::stored(next.serial.0, "serial")?)
    .bind(next.home_computer_id.to_string())
    .bind(next.updated_at.as_unix_ms())
    .bind(next.cluster_id.to_string())
    .execute(conn)
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Busy) }
}

/// Pins these nodes in place of those pinned before.
///
/// # Errors
/// [`StoreError::AlreadyThere`] if two of them have one computer ID or one key.
pub async fn pin(conn: &mut Conn, support_id: &SupportId, nodes: &[BoundNode]) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM pinned_nodes WHERE support_id = $1")
        .bind(support_id.as_str())
        .execute(&mut *conn)
        .await?;
    for node in nodes {
        sqlx::query(
            "INSERT INTO pinned_nodes (support_id, node_id, role, computer_id, build, node_key) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(support_id.as_str())
        .bind(row::stored(node.id.0, "node id")?)
        .bind(node.role.as_str())
        .bind(node.computer_id.to_string())
        .bind(node.build.as_ref().map(|build| build.as_str().to_owned()))
        .bind(node.key.to_string())
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// The nodes that the last activation bound, by id.
///
/// # Errors
/// The database fails.
pub async fn pinned(conn: &mut Conn, support_id: &SupportId) -> Result<Vec<BoundNode>, StoreError> {
    let rows = sqlx::query(
        "SELECT node_id, role, computer_id, build, node_key FROM pinned_nodes \
         WHERE support_id = $1 ORDER BY node_id",
    )
    .bind(support_id.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|found| {
            Ok(BoundNode {
                id: NodeId(row::number(found, "node_id")?),
                role: row::parse(found, "role")?,
                computer_id: row::parse(found, "computer_id")?,
                build: row::parse_opt(found, "build")?,
                key: row::parse(found, "node_key")?,
            })
        })
        .collect()
}

fn read(found: &AnyRow) -> Result<Installation, StoreError> {
    Ok(Installation {
        support_id: row::parse(found, "support_id")?,
        cluster_id: row::parse(found, "cluster_id")?,
        epoch: Epoch {
            number: row::number(found, "epoch_number")?,
            id: row::parse::<EpochId>(found, "epoch_id")?,
        },
        fence: Fence(row::number(found, "fence")?),
        serial: Serial(row::number(found, "serial")?),
        home_computer_id: row::parse(found, "home_computer_id")?,
        created_at: row::time(found, "created_at")?,
        updated_at: row::time(found, "updated_at")?,
        blocked_at: row::time_opt(found, "blocked_at")?,
    })
}
