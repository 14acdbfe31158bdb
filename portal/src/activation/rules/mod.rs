//! The rules that need the records: whose order is it, is the cluster known, does the fence agree.
//! One file for each kind; what they share is in `bound.rs` and `order.rs`.
//!
//! The only caller is in a serializable transaction, so what is read here still holds at the commit.

mod activate;
mod bound;
mod order;
mod reactivate;
mod trial;
mod upgrade;

use quorate_license::{ActivationKind, ClusterId, Fence, IntegrityKey, Timestamp};

use super::{Refusal, service::ActivationError};
use crate::{
    config::Policy,
    store::{
        Conn,
        activations::Activation,
        installations::{self, Installation},
        orders::Order,
        restores,
        trials::Trial,
    },
};

/// What may be issued.
#[derive(Debug)]
pub(super) struct Permit {
    /// To whom.
    pub ground: Ground,
    /// What it brings, beside what is there.
    pub brings: Brings,
}

/// Whose activation it is.
#[derive(Debug)]
pub(super) enum Ground {
    /// Nobody's yet: the installation is to be made.
    New,
    /// An installation's that is there, as it is now.
    Known {
        /// The installation.
        installation: Installation,
        /// The answers that its cluster will never install.
        superseded: Vec<Activation>,
    },
    /// An installation's that lost all its data, and comes back on the same computers as another cluster.
    Restored {
        /// The installation.
        installation: Installation,
        /// The cluster that it was.
        former: ClusterId,
    },
}

/// What an activation brings.
#[derive(Debug)]
pub(super) enum Brings {
    /// An order; it may be on the installation already.
    Order(Box<Order>),
    /// A trial that begins now, under the Support ID of the installation that is to be made.
    NewTrial(Trial),
    /// Nothing: the orders, or the trial, that are there count again.
    Nothing,
}

impl Permit {
    fn again(installation: Installation, superseded: Vec<Activation>, brings: Brings) -> Self {
        Permit { ground: Ground::Known { installation, superseded }, brings }
    }

    fn order(order: Order) -> Brings {
        Brings::Order(Box::new(order))
    }
}

/// Judges a request whose signatures were verified.
///
/// # Errors
/// The refusal, or the database fails.
pub(super) async fn judge(
    conn: &mut Conn,
    key: &IntegrityKey,
    policy: &Policy,
    now: Timestamp,
) -> Result<Permit, ActivationError> {
    let installation = installations::find_by_cluster(conn, key.cluster_id).await?;
    match &installation {
        Some(Installation { support_id, blocked_at: Some(_), .. }) => {
            return Err(Refusal::InstallationBlocked { support_id: support_id.clone() }.into());
        }
        Some(_) => {}
        None => {
            if let Some(former) = restores::former(conn, key.cluster_id).await? {
                return Err(Refusal::ClusterReplaced {
                    support_id: former.support_id,
                    replaced_by: former.replaced_by,
                    replaced_at: former.replaced_at,
                }
                .into());
            }
        }
    }
    match key.kind {
        ActivationKind::Activate => activate::judge(conn, key, installation, now).await,
        ActivationKind::Upgrade => upgrade::judge(conn, key, installation, now).await,
        ActivationKind::Trial => trial::judge(conn, key, installation, policy, now).await,
        ActivationKind::Reactivate => reactivate::judge(conn, key, installation, policy, now).await,
        ActivationKind::Transfer => Err(Refusal::KindNotSupported { kind: key.kind }.into()),
    }
}

/// A cluster that the portal does not know has installed nothing of it.
fn shows_no_fence(key: &IntegrityKey) -> Result<(), Refusal> {
    if key.fence == Fence(0) {
        return Ok(());
    }
    Err(Refusal::FenceMismatch { support_id: None, shown: key.fence, current: Fence(0) })
}
