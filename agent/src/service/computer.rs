//! Noticing that this node's host is another computer than the cluster has registered, or is so no more.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    cluster::Cluster,
    host::{HostComputer, Look},
};

/// Between two looks at the machine id.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// Looks at the host's machine id until `stop`.
pub async fn watch_computer(cluster: Arc<Cluster>, computer: Arc<HostComputer>, stop: CancellationToken) {
    let mut unreadable: Option<String> = None;
    loop {
        let view = cluster.view();
        let row = view.state.nodes().get(&cluster.node());
        if let Some((registered, name)) = row.map(|row| (row.computer_id, row.name.clone())) {
            let (looking, now) = (computer.clone(), cluster.clock().now());
            let look = tokio::task::spawn_blocking(move || looking.look(registered, now)).await;
            match look {
                Ok(Look::Changed(changed)) => tracing::error!(
                    registered = %changed.registered, found = %changed.found, since = %changed.since,
                    "the computer ID of {name} was {} and is {} now. What is licensed goes on for the time that a node \
                     has which is not bound; an activation is refused. If it is the same node on purpose, restart it \
                     once with `quorate serve --accept-computer-id`",
                    changed.registered, changed.found
                ),
                Ok(Look::Restored(found)) => {
                    tracing::info!(%found, "the computer ID of {name} is the registered one");
                }
                Ok(Look::Unreadable(reason)) if unreadable.as_ref() != Some(&reason) => {
                    tracing::warn!(reason, "the machine id can't be read any more; the last one counts");
                    unreadable = Some(reason);
                }
                Ok(Look::Unreadable(_)) => {}
                Ok(Look::Same) => unreadable = None,
                Err(error) => tracing::warn!(%error, "looking at the machine id was broken off"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}
