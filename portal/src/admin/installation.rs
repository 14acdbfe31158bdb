//! `admin installation`: the clusters that were activated.

use quorate_license::{BoundNode, SupportId};
use serde::Serialize;
use serde_json::Value;

use super::{
    AdminError,
    output::{Shown, card, or_none, table},
};
use crate::{
    cli,
    store::{
        Store,
        installations::{self, Installation},
        orders::{self, Order},
    },
};

pub(super) async fn run(command: cli::Installation, store: &Store) -> Result<Box<dyn Shown>, AdminError> {
    match command {
        cli::Installation::List => {
            let mut tx = store.begin_read().await?;
            Ok(Box::new(All(installations::list(&mut tx).await?)))
        }
        cli::Installation::Show { support_id } => Ok(Box::new(show(support_id, store).await?)),
    }
}

async fn show(support_id: SupportId, store: &Store) -> Result<View, AdminError> {
    let mut tx = store.begin_read().await?;
    let installation = installations::find(&mut tx, &support_id)
        .await?
        .ok_or_else(|| AdminError::NoInstallation(support_id.clone()))?;
    let nodes = installations::pinned(&mut tx, &support_id).await?;
    let orders = orders::of_installation(&mut tx, &support_id).await?;
    Ok(View { installation, nodes, orders })
}

#[derive(Serialize)]
struct View {
    #[serde(flatten)]
    installation: Installation,
    nodes: Vec<BoundNode>,
    orders: Vec<Order>,
}

struct All(Vec<Installation>);

impl Shown for View {
    fn text(&self) -> String {
        let Installation { support_id, cluster_id, epoch, fence, serial, home_computer_id, .. } =
            &self.installation;
        let orders = self.orders.iter().map(|order| order.order_id.as_str()).collect::<Vec<_>>();
        let card = card([
            ("Support ID", support_id.to_string()),
            ("Cluster", cluster_id.to_string()),
            ("Epoch", epoch.to_string()),
            ("Fence", fence.to_string()),
            ("Serial", serial.to_string()),
            ("Home computer ID", home_computer_id.to_string()),
            ("Orders", orders.join(", ")),
            ("First activated", self.installation.created_at.to_string()),
            ("Last activated", self.installation.updated_at.to_string()),
        ]);
        let rows = self.nodes.iter().map(|node| {
            [
                node.id.to_string(),
                node.role.to_string(),
                node.computer_id.to_string(),
                or_none(node.build.as_ref()),
            ]
        });
        format!("{card}\n\n{}", table(["NODE", "ROLE", "COMPUTER ID", "BUILD"], rows))
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

impl Shown for All {
    fn text(&self) -> String {
        let rows = self.0.iter().map(|installation| {
            [
                installation.support_id.to_string(),
                installation.cluster_id.to_string(),
                installation.serial.to_string(),
                installation.fence.to_string(),
                installation.created_at.to_string(),
                installation.updated_at.to_string(),
            ]
        });
        table(["SUPPORT ID", "CLUSTER", "SERIAL", "FENCE", "FIRST ACTIVATED", "LAST ACTIVATED"], rows)
    }

    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.0)
    }
}
