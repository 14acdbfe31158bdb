//! What most tests begin with: a portal and a cluster in a folder of their own, removed when all went well.

use std::{ffi::OsString, sync::Arc, thread};

use tempfile::TempDir;

use crate::{
    Binaries, Cluster, Failure, FakeTime, Network, Plan, Portal, Result,
    fake_portal::{FakePortal, Signer},
    portal::PortalLink,
    tls_server::Reply,
};

/// A License Portal and a cluster that asks it.
#[derive(Debug)]
pub struct Stage {
    /// The cluster.
    pub cluster: Cluster,
    /// The portal.
    pub portal: Portal,
    /// What the cluster was made of, for further nodes.
    pub plan: Plan,
    /// The folder of both.
    pub folder: Folder,
}

/// A cluster and a portal of the test's own.
pub struct FakeStage {
    /// The cluster.
    pub cluster: Cluster,
    /// The portal.
    pub portal: FakePortal,
    /// What signs its answers.
    pub signer: Arc<Signer>,
    /// What the cluster was made of.
    pub plan: Plan,
    /// The folder of both.
    pub folder: Folder,
}

/// A temporary folder that stays when the test that holds it fails, so that the logs in it can be read.
#[derive(Debug)]
pub struct Folder(Option<TempDir>);

impl Stage {
    /// A running portal, and a cluster whose nodes are prepared and not started. `change` may change the plan.
    ///
    /// # Errors
    /// The portal can't be started, or a folder not be written.
    pub fn prepare(change: impl FnOnce(&mut Plan)) -> Result<Self> {
        Self::prepare_in(Folder::new()?, Vec::new(), change)
    }

    /// The same in a time of its own, which starts as this machine's: portal, nodes and commands all have it.
    ///
    /// # Errors
    /// As above, or libfaketime is not installed.
    pub fn prepare_in_time(change: impl FnOnce(&mut Plan)) -> Result<(Self, FakeTime)> {
        let folder = Folder::new()?;
        let time = FakeTime::start(&folder.path().join("time"))?;
        let stage = Self::prepare_in(folder, time.environment(), change)?;
        Ok((stage, time))
    }

    /// The same with the cluster started and complete.
    ///
    /// # Errors
    /// Something does not start.
    pub fn start(change: impl FnOnce(&mut Plan)) -> Result<Self> {
        let mut stage = Self::prepare(change)?;
        stage.cluster.start()?;
        Ok(stage)
    }

    /// The same, activated; gives the stage and the license's serial.
    ///
    /// # Errors
    /// Something does not start, or the activation is refused.
    pub fn activated(change: impl FnOnce(&mut Plan)) -> Result<(Self, u64)> {
        let mut stage = Self::start(change)?;
        let key = stage.portal.order()?.activation_key;
        let serial = stage.cluster.activate(0, &key)?.serial;
        stage.cluster.wait_for_serial(serial)?;
        Ok((stage, serial))
    }

    fn prepare_in(
        folder: Folder,
        environment: Vec<(String, OsString)>,
        change: impl FnOnce(&mut Plan),
    ) -> Result<Self> {
        let (binaries, network) = (Binaries::find()?, Arc::new(Network::reserve()?));
        let portal_folder = folder.path().join("portal");
        let portal = Portal::start_in(&binaries, &network, &portal_folder, false, environment.clone())?;
        let plan = plan(binaries, network, &folder, portal.link.clone(), |plan| {
            plan.environment = environment;
            change(plan);
        });
        Ok(Stage { cluster: plan.prepare()?, portal, plan, folder })
    }
}

impl FakeStage {
    /// A running portal of the test's own, and a cluster whose nodes are prepared and not started.
    ///
    /// # Errors
    /// The portal can't be started, or a folder not be written.
    pub fn prepare(
        change: impl FnOnce(&mut Plan),
        answer: impl Fn(&Signer, &quorate_license::IntegrityKey) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let folder = Folder::new()?;
        let (binaries, network) = (Binaries::find()?, Arc::new(Network::reserve()?));
        let signer = Arc::new(Signer::new()?);
        let portal = FakePortal::start(&network, &folder.path().join("portal"), &signer, answer)?;
        let plan = plan(binaries, network, &folder, portal.link.clone(), change);
        Ok(FakeStage { cluster: plan.prepare()?, portal, signer, plan, folder })
    }
}

fn plan(
    binaries: Binaries,
    network: Arc<Network>,
    folder: &Folder,
    link: PortalLink,
    change: impl FnOnce(&mut Plan),
) -> Plan {
    let mut plan = Plan::new(binaries, network, &folder.path().join("nodes"), link);
    change(&mut plan);
    plan
}

impl Folder {
    /// A new one.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn new() -> Result<Self> {
        let made = tempfile::Builder::new().prefix("quorate-test-").tempdir();
        Ok(Folder(Some(made.map_err(Failure::file("make a folder in", std::env::temp_dir()))?)))
    }

    /// Where it is.
    pub fn path(&self) -> &std::path::Path {
        self.0.as_ref().map_or(std::path::Path::new("/nonexistent"), TempDir::path)
    }
}

impl Drop for Folder {
    #[allow(clippy::print_stderr, reason = "a failed test tells where its logs are")]
    fn drop(&mut self) {
        if let Some(folder) = self.0.take().filter(|_| thread::panicking()) {
            eprintln!("the logs of this test are kept in {}", folder.keep().display());
        }
    }
}
