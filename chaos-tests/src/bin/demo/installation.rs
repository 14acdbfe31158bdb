//! The demo's servers: a portal, three Management Servers and a Spooler Controller, and for a moment another
//! installation, which uses up an activation key of its own.

use std::{path::PathBuf, sync::Arc};

use quorate_chaos_tests::{
    Binaries, Cluster, Failure, Network, Plan, Portal, Result,
    cluster::Activated,
    cluster_file::{ClusterFile, NodeEntry, PortalEntry},
};

use crate::{folder::DemoFolder, report::Report};

/// The other installation's only node; the demo's own have 1 to 4.
const OTHER_HOST: u8 = 201;

/// Everything that the demo starts.
pub(crate) struct Installation {
    /// The License Portal, once started.
    portal: Option<Portal>,
    /// The nodes, once prepared.
    pub(crate) cluster: Cluster,
    /// What the activation gave.
    pub(crate) activated: Option<Activated>,
    spare_keys: Vec<String>,
    foreign_key: String,
    binaries: Binaries,
    network: Arc<Network>,
    folder: PathBuf,
}

impl Installation {
    pub(crate) fn new(binaries: &Binaries, network: &Arc<Network>, folder: &DemoFolder) -> Result<Self> {
        Ok(Installation {
            portal: None,
            cluster: Cluster { nodes: Vec::new() },
            activated: None,
            spare_keys: Vec::new(),
            foreign_key: String::new(),
            binaries: binaries.clone(),
            network: Arc::clone(network),
            folder: folder.path().to_owned(),
        })
    }

    /// Starts everything and activates, and tells each step.
    pub(crate) fn start(&mut self, report: &Report) -> Result<()> {
        report.step("License Portal: signing keys, product, customer, TLS", || {
            self.portal =
                Some(Portal::start(&self.binaries, &self.network, &self.folder.join("portal"), true)?);
            Ok(())
        })?;
        let key = report.step("Four orders at the portal: four activation keys", || {
            let order = || self.portal()?.order().map(|order| order.activation_key);
            let (first, second, foreign, ours) = (order()?, order()?, order()?, order()?);
            self.spare_keys = vec![first, second];
            self.foreign_key = foreign;
            Ok(ours)
        })?;
        report.step("Another customer's cluster of one node uses one of the keys, and stops", || {
            self.activate_elsewhere()
        })?;
        report.step("Management Server management-1: a new cluster with a CA of its own", || {
            self.cluster = self.plan()?.prepare()?;
            self.cluster.found()
        })?;
        for index in 1..self.cluster.nodes.len() {
            let node = &self.cluster.nodes[index];
            let what = if node.role == quorate_chaos_tests::Role::Management {
                "Management Server"
            } else {
                "Spooler Controller"
            };
            let text = format!("{what} {}: joins with a token, mutual TLS from the start", node.name);
            report.step(&text, || {
                self.cluster.join(index)?;
                self.cluster.nodes[index].serve()
            })?;
        }
        report.step("Waiting until all four are members and three of them vote", || {
            self.cluster.wait_for_members(4)
        })?;
        let activated = report.step(
            "Activation: every node signs its statement, the portal answers, the license is committed",
            || self.cluster.activate(0, &key),
        )?;
        let text = format!("Waiting until every node has the license with serial {}", activated.serial);
        report.step(&text, || self.cluster.wait_for_serial(activated.serial))?;
        self.activated = Some(activated);
        Ok(())
    }

    /// What others may know of the running demo.
    pub(crate) fn cluster_file(&self) -> Result<ClusterFile> {
        let portal = self.portal()?;
        Ok(ClusterFile {
            nodes: self.cluster.nodes.iter().map(NodeEntry::of).collect::<Result<_>>()?,
            portal: PortalEntry {
                url: portal.link.url.clone(),
                pid: portal.pid().ok_or_else(|| Failure::wrong("the License Portal does not run"))?,
                root_key: portal.link.root_key.clone(),
                config: portal.config.clone(),
                ca_file: portal.link.ca_file.clone(),
            },
            quorate: self.binaries.quorate.clone(),
            quorate_portal: self.binaries.portal.clone(),
            spare_keys: self.spare_keys.clone(),
            foreign_key: self.foreign_key.clone(),
        })
    }

    /// The portal that was started.
    pub(crate) fn portal(&self) -> Result<&Portal> {
        self.portal.as_ref().ok_or_else(|| Failure::wrong("the License Portal was not started"))
    }

    /// The same, to look after its process.
    pub(crate) fn portal_mut(&mut self) -> Option<&mut Portal> {
        self.portal.as_mut()
    }

    /// Stops the nodes, then the portal.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let nodes = self.cluster.stop();
        let portal = self.portal.as_mut().map_or(Ok(()), Portal::stop);
        nodes.and(portal)
    }

    fn plan(&self) -> Result<Plan> {
        let folder = self.folder.join("nodes");
        let link = self.portal()?.link.clone();
        let mut plan = Plan::new(self.binaries.clone(), Arc::clone(&self.network), &folder, link);
        plan.expected_nodes = Some(4);
        plan.own_group = true;
        Ok(plan)
    }

    fn activate_elsewhere(&self) -> Result<()> {
        let mut plan = self.plan()?;
        plan.folder = self.folder.join("other-installation");
        plan.first_host = OTHER_HOST;
        plan.management = 1;
        plan.spoolers = 0;
        plan.expected_nodes = Some(1);
        let mut other = plan.prepare()?;
        other.start()?;
        other.activate(0, &self.foreign_key)?;
        other.stop()
    }
}
