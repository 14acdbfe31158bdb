//! `admin installation`: the clusters that were activated, their history, and what the vendor decides of them.

use quorate_license::{BoundNode, ClusterId, SupportId};
use serde::Serialize;
use serde_json::Value;

use super::{
    AdminError, find,
    history::{self, Step},
    output::{Shown, card, or_none, table},
};
use crate::{
    cli, clock,
    config::Config,
    store::{
        Conn, Store, StoreError,
        installations::{self, Installation},
        orders::{self, Order},
        restores::{self, FormerCluster, RestoreRequest},
        telemetry::{self, Report},
        trials::{self, Trial},
        vendor_actions::{self, VendorAction},
    },
};

pub(super) async fn run(
    command: cli::Installation,
    config: &Config,
    store: &Store,
) -> Result<Box<dyn Shown>, AdminError> {
    let support_id = match command {
        cli::Installation::List => {
            let mut tx = store.begin_read().await?;
            return Ok(Box::new(All(installations::list(&mut tx).await?)));
        }
        cli::Installation::Find { what } => {
            let mut tx = store.begin_read().await?;
            return Ok(Box::new(All(find::find(&mut tx, &what).await?)));
        }
        cli::Installation::Show { support_id } => support_id,
        cli::Installation::Block { support_id } => {
            block(&support_id, true, store).await?;
            support_id
        }
        cli::Installation::Unblock { support_id } => {
            block(&support_id, false, store).await?;
            support_id
        }
        cli::Installation::ApproveRestore { support_id, cluster } => {
            approve(&support_id, cluster, store).await?;
            support_id
        }
    };
    Ok(Box::new(show(support_id, config, store).await?))
}

async fn named(conn: &mut Conn, support_id: &SupportId) -> Result<Installation, AdminError> {
    installations::find(conn, support_id).await?.ok_or_else(|| AdminError::NoInstallation(support_id.clone()))
}

async fn show(support_id: SupportId, config: &Config, store: &Store) -> Result<View, AdminError> {
    let mut tx = store.begin_read().await?;
    let installation = named(&mut tx, &support_id).await?;
    let orders = orders::of_installation(&mut tx, &support_id).await?;
    let mut vendor_actions = vendor_actions::of(&mut tx, support_id.as_str()).await?;
    for order in &orders {
        vendor_actions.extend(vendor_actions::of(&mut tx, order.order_id.as_str()).await?);
    }
    vendor_actions.sort_by_key(|action| action.at);
    let (telemetry, telemetry_reports) = telemetry::latest(&mut tx, &support_id).await?;
    Ok(View {
        nodes: installations::pinned(&mut tx, &support_id).await?,
        trial: trials::find(&mut tx, &support_id).await?,
        restores: restores::of_installation(&mut tx, &support_id).await?,
        restore_requests: restores::asked(&mut tx, &support_id).await?,
        history: history::of(&mut tx, &support_id, config).await?,
        installation,
        orders,
        vendor_actions,
        telemetry,
        telemetry_reports,
    })
}

async fn block(support_id: &SupportId, on: bool, store: &Store) -> Result<(), AdminError> {
    let now = clock::now();
    named(&mut *store.begin_read().await?, support_id).await?;
    store
        .retrying(async || {
            let mut tx = store.begin().await?;
            installations::block(&mut tx, support_id, on.then_some(now)).await?;
            let action = if on { "blocked" } else { "unblocked" };
            vendor_actions::add(&mut tx, &done(support_id, action, String::new())).await?;
            tx.commit().await.map_err(StoreError::from)
        })
        .await?;
    Ok(())
}

async fn approve(
    support_id: &SupportId,
    cluster: Option<ClusterId>,
    store: &Store,
) -> Result<(), AdminError> {
    let asked = {
        let mut tx = store.begin_read().await?;
        named(&mut tx, support_id).await?;
        restores::asked(&mut tx, support_id).await?
    };
    let mut waiting = asked
        .iter()
        .map(|request| request.cluster_id)
        .filter(|asked| cluster.is_none_or(|cluster| cluster == *asked));
    let cluster = match (waiting.next(), waiting.next()) {
        (Some(cluster), None) => cluster,
        (None, _) => return Err(AdminError::NoRestore(support_id.clone())),
        (Some(_), Some(_)) => return Err(AdminError::Usage("several clusters asked: name one by --cluster")),
    };
    store
        .retrying(async || {
            let mut tx = store.begin().await?;
            restores::approve(&mut tx, support_id, cluster, clock::now()).await?;
            let detail = format!("as the cluster {cluster}");
            vendor_actions::add(&mut tx, &done(support_id, "restore approved", detail)).await?;
            tx.commit().await.map_err(StoreError::from)
        })
        .await?;
    Ok(())
}

fn done(support_id: &SupportId, action: &str, detail: String) -> VendorAction {
    let subject = support_id.as_str().to_owned();
    VendorAction { at: clock::now(), subject, action: action.to_owned(), detail }
}

#[derive(Serialize)]
struct View {
    #[serde(flatten)]
    installation: Installation,
    nodes: Vec<BoundNode>,
    orders: Vec<Order>,
    trial: Option<Trial>,
    history: Vec<Step>,
    restores: Vec<FormerCluster>,
    restore_requests: Vec<RestoreRequest>,
    vendor_actions: Vec<VendorAction>,
    telemetry: Option<Report>,
    telemetry_reports: u64,
}

struct All(Vec<Installation>);

impl Shown for View {
    fn text(&self) -> String {
        let Installation { support_id, cluster_id, epoch, fence, serial, home_computer_id, .. } =
            &self.installation;
        let orders = self.orders.iter().map(|order| order.order_id.as_str()).collect::<Vec<_>>();
        let mut parts = vec![card([
            ("Support ID", support_id.to_string()),
            ("Cluster", cluster_id.to_string()),
            ("Epoch", epoch.to_string()),
            ("Fence", fence.to_string()),
            ("Serial", serial.to_string()),
            ("Home computer ID", home_computer_id.to_string()),
            ("Orders", orders.join(", ")),
            ("Trial until", or_none(self.trial.as_ref().map(|trial| trial.ends_at))),
            ("Blocked", or_none(self.installation.blocked_at)),
            ("Restores", self.restores.len().to_string()),
            ("Telemetry", or_none(self.telemetry.as_ref().map(|report| report.received_at))),
            ("First activated", self.installation.created_at.to_string()),
            ("Last activated", self.installation.updated_at.to_string()),
        ])];
        let rows = self.nodes.iter().map(|node| {
            [
                node.id.to_string(),
                node.role.to_string(),
                node.computer_id.to_string(),
                or_none(node.build.as_ref()),
            ]
        });
        parts.push(table(["NODE", "ROLE", "COMPUTER ID", "BUILD"], rows));
        let rows = self.history.iter().map(|step| {
            [
                step.at.to_string(),
                step.kind.to_string(),
                step.serial.to_string(),
                step.outcome.to_owned(),
                step.changes.join("; "),
            ]
        });
        parts.push(table(["ISSUED", "KIND", "SERIAL", "OUTCOME", "CHANGES"], rows));
        for request in self.restore_requests.iter().filter(|request| request.approved_at.is_none()) {
            parts.push(format!(
                "The cluster {} asked at {} to be this installation after a restore, and waits for: admin \
                 installation approve-restore {support_id}",
                request.cluster_id, request.asked_at
            ));
        }
        if !self.vendor_actions.is_empty() {
            let rows = self.vendor_actions.iter().map(|action| {
                [action.at.to_string(), action.subject.clone(), action.action.clone(), action.detail.clone()]
            });
            parts.push(table(["CHANGED", "WHAT", "HOW", "DETAIL"], rows));
        }
        if let Some(report) = &self.telemetry {
            parts.push(format!("{:#}", report.report));
        }
        parts.join("\n\n")
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
