//! Who a node is to others: its keys, its certificate, and the channels that show it.

use std::sync::Arc;

use quorate_license::NodeKey;
use quorate_raft_store::{Views, seal::ManagementKey};
use rustls::ServerConfig;
use tokio::runtime::Handle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::AppError;
use crate::{
    clock::ClusterClock,
    config::Config,
    data_dir::{DataDir, NodeFile},
    metrics::Metrics,
    net::Peers,
    pki::{CertificateFacts, CertificateFiles, FileCertificate, NodeTls},
    service::{Certificates, CertificatesOptions, Signer},
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
        let files = dir.tls()?;
        let tls = NodeTls::new(&files, own.cluster_id, clock.clone())?;
        let node_key = Arc::new(dir.node_key()?);
        let management_key = dir.management_key()?;
        let peers = Arc::new(Peers::new(tls.clone(), views.clone(), metrics.clone(), raft));
        let lifetime = config.tls.certificate_lifetime;
        let signer = Arc::new(Signer::new(
            views.clone(),
            own.clone(),
            management_key.clone(),
            lifetime,
            clock.clone(),
        ));
        let options = CertificatesOptions {
            views: views.clone(),
            peers: peers.clone(),
            own: own.clone(),
            dir: dir.clone(),
            tls: tls.clone(),
            node_key: node_key.clone(),
            signer,
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        let certificates = Arc::new(Certificates::new(options, files)?);
        certificates.renew_if_due().await;
        let web = match (&config.tls.http_certificate_file, &config.tls.http_key_file) {
            (Some(certificate), Some(key)) => {
                let (certificate, key) = (certificate.clone(), key.clone());
                Some(FileCertificate::read(CertificateFiles { certificate, key })?)
            }
            _ => None,
        };
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
        let renewed = move |facts: &CertificateFacts| metrics.set_http_certificate_end(facts.not_after);
        tracker.spawn(web.clone().watch(stop.clone(), renewed));
        Ok(web.config()?)
    }
}
