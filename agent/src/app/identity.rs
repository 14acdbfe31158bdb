//! Who a node is to others: its keys, its certificate, and the channels that show it.

use std::sync::Arc;

use quorate_license::{NodeKey, NodeRole};
use quorate_raft_store::{Views, seal::ManagementKey};
use rustls::ServerConfig;
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::AppError;
use crate::{
    clock::{self, ClusterClock},
    config::Config,
    data_dir::{DataDir, NodeFile, identity},
    metrics::Metrics,
    net::Peers,
    pki::{Brought, CertificateFacts, FileCertificate, NodeTls, Watched},
    service::{Certificates, CertificatesOptions, Signer, stands_beside},
};

/// The parts that make a node known to others.
pub(super) struct Identity {
    pub(super) tls: NodeTls,
    pub(super) node_key: Arc<NodeKey>,
    pub(super) management_key: Option<ManagementKey>,
    pub(super) peers: Arc<Peers>,
    pub(super) certificates: Arc<Certificates>,
    /// What the administrator has brought for the management port.
    web: Option<Arc<FileCertificate>>,
}

impl Identity {
    /// Reads keys and certificate. A certificate that is due is renewed before anybody sees it. The connections of
    /// Raft are driven by `raft`.
    pub(super) async fn load(
        config: &Config,
        dir: &DataDir,
        own: &Arc<NodeFile>,
        (views, clock): (&Arc<Views>, &ClusterClock),
        metrics: &Arc<Metrics>,
        raft: Handle,
    ) -> Result<Self, AppError> {
        let mut files = dir.tls()?;
        let (brought, policy) = match config.tls.brought() {
            Some((files, policy)) => (Some(Watched::<Brought>::read(files)?), Some(policy)),
            None => (None, None),
        };
        let now = brought.as_ref().map(|brought| brought.now());
        if let Some(now) = &now {
            let beside = dir.beside()?.filter(|beside| is_shown_beside(beside, now, own.role));
            match beside {
                Some(beside) => files.identity = identity(&beside, &now.pair.key_pem),
                // The cluster has to certify the key first; until then this node shows what it has.
                None => now.check_name(Some(own.role), &own.name)?,
            }
        }
        let tls = NodeTls::new(&files, own.cluster_id, clock.clone(), now.as_deref(), policy)?;
        let node_key = Arc::new(dir.node_key()?);
        let management_key = dir.management_key()?;
        let peers = Arc::new(Peers::new(tls.clone(), views.clone(), metrics.clone(), raft));
        let lifetime = config.tls.certificate_lifetime;
        let signer = Arc::new(Signer::new(
            views.clone(),
            own.clone(),
            management_key.clone(),
            lifetime,
            (clock.clone(), tls.clone()),
        ));
        let options = CertificatesOptions {
            views: views.clone(),
            peers: peers.clone(),
            own: own.clone(),
            dir: dir.clone(),
            tls: tls.clone(),
            brought,
            node_key: node_key.clone(),
            signer,
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        let certificates = Arc::new(Certificates::new(options, files)?);
        certificates.renew_if_due().await;
        let web = config.tls.http().map(FileCertificate::read).transpose()?;
        Ok(Identity { tls, node_key, management_key, peers, certificates, web })
    }

    /// TLS for the management port. Files of the administrator's are watched by a task of `tracker` until `stop`.
    pub(super) fn web(
        &self,
        metrics: &Arc<Metrics>,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Arc<ServerConfig>, AppError> {
        let Some(web) = &self.web else { return Ok(self.tls.web.clone()) };
        let metrics = metrics.clone();
        let told = move |facts: &CertificateFacts, unusable| {
            metrics.set_brought_certificate("http", facts.not_after, unusable);
        };
        tracker.spawn(web.clone().watch(stop.clone(), told));
        Ok(web.config()?)
    }
}

/// Whether a certificate of the cluster's, PEM, can still be shown beside what was brought.
fn is_shown_beside(certificate: &str, brought: &Brought, role: NodeRole) -> bool {
    CertificateFacts::from_pem(certificate, "certificate beside the brought one")
        .is_ok_and(|facts| stands_beside(brought, &facts, role) && clock::now() < facts.not_after)
}
