//! `admin installation find`: which installation a customer's words are about.

use std::collections::BTreeSet;

use quorate_license::{ClusterId, ComputerId, OrderId, SupportId};

use super::AdminError;
use crate::store::{
    Conn, StoreError,
    installations::{self, Installation},
    orders, restores, trials,
};

/// The installations that have what was given: a computer ID that is bound or was in a trial, the id of the
/// cluster that they are or were, or an order's number.
pub(super) async fn find(conn: &mut Conn, what: &str) -> Result<Vec<Installation>, AdminError> {
    let found = if let Ok(computer_id) = what.parse::<ComputerId>() {
        by_computer(conn, computer_id).await?
    } else if let Ok(cluster) = what.parse::<ClusterId>() {
        by_cluster(conn, cluster).await?
    } else if let Ok(order_id) = what.parse::<OrderId>() {
        let usage = orders::find(conn, &order_id).await?.and_then(|order| order.usage);
        of(conn, usage.map(|usage| usage.support_id)).await?
    } else {
        Vec::new()
    };
    if found.is_empty() { Err(AdminError::NothingFound(what.to_owned())) } else { Ok(found) }
}

async fn by_computer(conn: &mut Conn, computer_id: ComputerId) -> Result<Vec<Installation>, StoreError> {
    let bound = installations::on_computers(conn, &[computer_id]).await?;
    let mut names: BTreeSet<SupportId> =
        bound.into_iter().map(|installation| installation.support_id).collect();
    names.extend(trials::of_computer(conn, computer_id).await?);
    of(conn, names).await
}

async fn by_cluster(conn: &mut Conn, cluster: ClusterId) -> Result<Vec<Installation>, StoreError> {
    if let Some(installation) = installations::find_by_cluster(conn, cluster).await? {
        return Ok(vec![installation]);
    }
    let former = restores::former(conn, cluster).await?;
    of(conn, former.map(|former| former.support_id)).await
}

async fn of(
    conn: &mut Conn,
    names: impl IntoIterator<Item = SupportId>,
) -> Result<Vec<Installation>, StoreError> {
    let mut found = Vec::new();
    for support_id in names {
        found.extend(installations::find(conn, &support_id).await?);
    }
    Ok(found)
}
