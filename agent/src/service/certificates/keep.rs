//! The node's own certificate: kept valid, renewed without a restart, reported.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use quorate_license::{NodeKey, NodeName, NodeRole, SignatureDomain};
use quorate_raft_store::{
    Command, State, Views,
    command::ReportCertificate,
    state::{CaFingerprint, CaPhase},
};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use super::{
    Signer,
    ask::ask_servers,
    sign::{clocks_are_near, message},
    trusted,
};
use crate::{
    api::{ApiError, ErrorKind},
    clock::{self, ClusterClock},
    cluster::Cluster,
    data_dir::{DataDir, DataDirError, NodeFile, TlsFiles, identity},
    metrics::Metrics,
    net::Peers,
    pki::{
        Brought, CertificateFacts, FilesError, NodeTls, NodeTlsKey, PkiError, Watched, ca_certificates,
        ca_fingerprint,
    },
};

/// Between two looks, at least; a change of the state wakes it earlier.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Between a change of the state and a look, so that a busy cluster is not looked at for each.
const AFTER_CHANGE: Duration = Duration::from_millis(100);
/// After a renewal that failed: doubled each time, up to the longest.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// The feature level from which on certificates are reported.
const REPORTED_FROM: u32 = 3;

/// What the keeping of a certificate needs.
pub struct CertificatesOptions {
    /// What was applied here.
    pub views: Arc<Views>,
    /// The ways to the other nodes.
    pub peers: Arc<Peers>,
    /// Whose node it is.
    pub own: Arc<NodeFile>,
    /// Where certificate and key are kept.
    pub dir: DataDir,
    /// Where they are shown.
    pub tls: NodeTls,
    /// What the administrator has brought for this node, if anything.
    pub brought: Option<Arc<Watched<Brought>>>,
    /// Proves who asks.
    pub node_key: Arc<NodeKey>,
    /// Signs, on a Management Server.
    pub signer: Arc<Signer>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// The cluster's time.
    pub clock: ClusterClock,
}

/// The node's certificate.
pub struct Certificates {
    options: CertificatesOptions,
    /// What is shown; one change at a time. Certificate and key are those of the disk, or a brought key and the
    /// cluster's certificate for it.
    files: Mutex<TlsFiles>,
    /// The certificate that is shown, and whose it is.
    current: ArcSwap<Current>,
    /// Told when the brought files have changed.
    brought_changed: Notify,
}

/// The certificate that is shown, and who is trusted.
#[derive(Debug, Clone)]
struct Current {
    facts: CertificateFacts,
    issuer: Option<CaFingerprint>,
    trusts: Vec<CaFingerprint>,
    trust_version: u64,
    /// What of the brought files is in force.
    brought: Option<Arc<Brought>>,
}

impl Current {
    fn of(files: &TlsFiles, brought: Option<Arc<Brought>>) -> Result<Self, PkiError> {
        let facts = CertificateFacts::from_pem(&files.identity, "node certificate")?;
        let (mut issuer, mut trusts) = (None, Vec::new());
        for ca in ca_certificates(&files.trusted.certificates)? {
            let fingerprint = ca_fingerprint(&ca)?;
            if facts.is_issued_by(&CertificateFacts::from_pem(&ca, "CA certificate")?) {
                issuer = Some(fingerprint);
            }
            trusts.push(fingerprint);
        }
        Ok(Current { facts, issuer, trusts, trust_version: files.trusted.version, brought })
    }
}

impl Certificates {
    /// The certificate of this node, as it is shown at the start.
    ///
    /// # Errors
    /// A file is missing or damaged.
    pub fn new(options: CertificatesOptions, files: TlsFiles) -> Result<Self, PkiError> {
        let current = Current::of(&files, options.brought.as_ref().map(|brought| brought.now()))?;
        let (files, current) = (Mutex::new(files), ArcSwap::from_pointee(current));
        let certificates = Certificates { options, files, current, brought_changed: Notify::new() };
        certificates.tell_metrics();
        Ok(certificates)
    }

    /// What the certificate says that is shown at this moment.
    pub fn facts(&self) -> CertificateFacts {
        self.current.load().facts.clone()
    }

    /// Who signs on this node.
    pub fn signer(&self) -> &Arc<Signer> {
        &self.options.signer
    }

    /// At the start: a certificate that ended while the node was off is renewed before anybody sees it.
    pub async fn renew_if_due(&self) {
        let state = self.options.views.current().state.clone();
        if self.is_due(&state)
            && let Err(error) = self.rotate().await
        {
            tracing::warn!(code = error.code, "this node's certificate is due and was not renewed: {error}");
        }
    }

    /// Gets a new certificate for a new key, and shows it from now on. Connections that are open stay.
    ///
    /// # Errors
    /// `certificate_not_issued`, or what a Management Server refuses; the old one is shown on.
    pub async fn rotate(&self) -> Result<CertificateFacts, ApiError> {
        let mut files = self.files.lock().await;
        let state = self.options.views.current().state.clone();
        let brought = self.options.brought.as_ref().map(|brought| brought.now());
        let key = brought.as_ref().map_or_else(NodeTlsKey::generate, |brought| brought.request())?;
        let chain = brought.as_ref().map_or("", |brought| &brought.pair.chain_pem);
        let certificate = self.signed(&state, &key.request, chain).await?;
        let renewed = TlsFiles { identity: identity(&certificate, &key.key), ..files.clone() };
        let current = Current::of(&renewed, brought.clone())?;
        self.check(&state, &current)?;
        let (dir, text) = (self.options.dir.clone(), renewed.identity.clone());
        let brings = brought.is_some();
        let save = move || if brings { dir.save_beside(&certificate) } else { dir.save_identity(&text) };
        written(tokio::task::spawn_blocking(save).await)?;
        self.options.tls.show(&renewed, bridges(&state, &renewed), brought.as_deref())?;
        *files = renewed;
        let facts = current.facts.clone();
        self.current.store(Arc::new(current));
        self.options.metrics.certificate_rotations.inc();
        self.tell_metrics();
        tracing::info!(serial = facts.serial, not_after = %facts.not_after, "this node's certificate was renewed");
        Ok(facts)
    }

    async fn signed(&self, state: &State, request: &str, brought: &str) -> Result<String, ApiError> {
        let CertificatesOptions { own, node_key, signer, peers, .. } = &self.options;
        let signature = node_key.sign(SignatureDomain::Certificate, &message(own.node_id, request));
        match signer.renew(own.node_id, request, &signature, brought) {
            Ok(signed) => Ok(signed),
            Err(_) => ask_servers(peers, state, own.node_id, (request, &signature), brought).await,
        }
    }

    /// That the new certificate is this node's, and of the CA that issues by its own state: a server that is behind
    /// may still sign with an older one.
    fn check(&self, state: &State, new: &Current) -> Result<(), ApiError> {
        let own = &self.options.own;
        let refused = |reason: &str| {
            ApiError::new(
                ErrorKind::Unavailable,
                "certificate_not_issued",
                format!("the certificate that was issued to {} can't be used: {reason}", own.name),
                "the node asks again by itself",
            )
        };
        if new.facts.identity.is_none_or(|identity| identity.node != own.node_id || identity.role != own.role)
        {
            return Err(refused("it names another node"));
        }
        if let Some(brought) = &new.brought {
            let name = new.facts.certified_name.as_ref();
            if !name.is_some_and(|name| brought.names(own.role, name)) {
                return Err(refused(
                    "it can't be shown beside the one that this node brings: the Management Server may be of an older \
                     version",
                ));
            }
        }
        match (new.issuer, issuing(state).filter(|_| state.trust_version() == new.trust_version)) {
            (None, _) => Err(refused("its CA is not one that this node trusts")),
            (Some(issuer), Some(expected)) if issuer != expected => Err(refused("it is of an older CA")),
            _ => Ok(()),
        }
    }

    /// Whether two thirds of its life are over by the cluster's time, or all of it by this machine's clock, which other
    /// tools go by; or another CA issues.
    fn is_due(&self, state: &State) -> bool {
        let current = self.current.load();
        let (now, here) = (self.options.clock.now(), clock::now());
        let ended_here = here >= current.facts.not_after && clocks_are_near(now, here);
        let other_ca = state.trust_version() == current.trust_version
            && issuing(state).is_some_and(|issuing| current.issuer != Some(issuing));
        if other_ca {
            return true;
        }
        let due = ended_here || now >= current.facts.renew_at();
        let Some(brought) = self.options.brought.as_ref().map(|brought| brought.now()) else {
            return due;
        };
        // One that ends with the brought one is not made longer by being made anew.
        let gains = current.facts.not_after < brought.pair.facts.not_after;
        let name = self.name(state);
        let fits = brought.pair.facts.has_key_of(&current.facts)
            && current.facts.certified_name.as_ref() == Some(&name);
        (!fits && brought.names(self.options.own.role, &name)) || (gains && due)
    }

    /// The name that the cluster has given this node.
    fn name(&self, state: &State) -> NodeName {
        let own = &self.options.own;
        state.nodes().get(&own.node_id).map_or_else(|| own.name.clone(), |row| row.name.clone())
    }

    /// Whether files that were replaced can be shown by this node.
    ///
    /// # Errors
    /// [`FilesError::OtherName`].
    fn fits(&self, brought: &Brought) -> Result<(), FilesError> {
        if stands_beside(brought, &self.current.load().facts, self.options.own.role) {
            return Ok(());
        }
        let name = self.name(&self.options.views.current().state);
        brought.check_name(Some(self.options.own.role), &name)
    }

    /// Follows the brought files until `stop`, if there are some.
    pub async fn watch_brought(self: Arc<Self>, stop: CancellationToken) {
        let Some(brought) = self.options.brought.clone() else { return };
        let (fits, told) = (self.clone(), self);
        let told = move |now: &Brought, trouble| {
            told.options.metrics.set_brought_certificate("brought", now.pair.facts.not_after, trouble);
            told.brought_changed.notify_one();
        };
        brought.watch("the node-to-node port", move |now| fits.fits(now), stop, told).await;
    }

    /// What is wrong with the brought files at this moment, in words; none if nothing is.
    pub fn trouble(&self) -> Option<String> {
        let brought = self.options.brought.as_ref()?;
        if let Some(trouble) = brought.trouble() {
            return Some(format!(
                "the files of {}'s certificate can't be used: {trouble}",
                self.options.own.name
            ));
        }
        let name = self.name(&self.options.views.current().state);
        let wrong = brought.now().check_name(Some(self.options.own.role), &name).err()?;
        Some(format!("{}'s certificate is outdated: {wrong}", self.options.own.name))
    }

    /// Shows what was brought anew, where the cluster's certificate fits it as it is: another certificate for the same
    /// key, or other CAs.
    async fn follow_brought(&self, state: &State) -> Result<(), ApiError> {
        let Some(brought) = self.options.brought.as_ref().map(|brought| brought.now()) else { return Ok(()) };
        let current = self.current.load_full();
        let known = current.brought.as_ref().is_some_and(|known| Arc::ptr_eq(known, &brought));
        if known || !stands_beside(&brought, &current.facts, self.options.own.role) {
            return Ok(());
        }
        let files = self.files.lock().await;
        self.options.tls.show(&files, bridges(state, &files), Some(&brought))?;
        let current = Current::of(&files, Some(brought))?;
        self.current.store(Arc::new(current));
        Ok(())
    }

    /// Trusts whom the state says, if that is newer than what lies on the disk.
    async fn follow_trust(&self, state: &State) -> Result<(), ApiError> {
        if state.cluster().is_none() || state.trust_version() <= self.current.load().trust_version {
            return Ok(());
        }
        let mut files = self.files.lock().await;
        let changed = TlsFiles { trusted: trusted(state), ..files.clone() };
        let brought = self.current.load().brought.clone();
        let current = Current::of(&changed, brought.clone())?;
        let (dir, text) = (self.options.dir.clone(), changed.trusted.clone());
        written(tokio::task::spawn_blocking(move || dir.save_trusted(&text)).await)?;
        self.options.tls.show(&changed, bridges(state, &changed), brought.as_deref())?;
        tracing::info!(
            version = current.trust_version,
            cas = current.trusts.len(),
            "this node follows the rotation of the CA"
        );
        *files = changed;
        self.current.store(Arc::new(current));
        self.tell_metrics();
        Ok(())
    }

    /// The report, if what the state knows is not what is shown.
    fn news(&self, state: &State) -> Option<Command> {
        let own = self.options.own.node_id;
        state.cluster().filter(|cluster| cluster.feature_level >= REPORTED_FROM)?;
        state.nodes().get(&own)?;
        let current = self.current.load();
        let Current { facts, issuer, trusts, .. } = current.as_ref();
        let known = state.certificates().get(&own).is_some_and(|known| {
            known.serial == facts.serial
                && known.issuer == *issuer
                && (known.not_before, known.not_after) == (facts.not_before, facts.not_after)
                && known.trusts == *trusts
        });
        (!known).then(|| {
            Command::ReportCertificate(ReportCertificate {
                node: own,
                serial: facts.serial.clone(),
                issuer: *issuer,
                not_before: facts.not_before,
                not_after: facts.not_after,
                trusts: trusts.clone(),
            })
        })
    }

    fn tell_metrics(&self) {
        let state = self.options.views.current().state.clone();
        let ca = state.cluster().map(|row| CertificateFacts::from_pem(&row.ca_certificate, "CA certificate"));
        let ca = ca.and_then(Result::ok).map(|facts| facts.not_after);
        self.options.metrics.set_certificate_ends(self.current.load().facts.not_after, ca);
    }

    /// Follows the state and the clock until `stop`.
    pub async fn run(self: Arc<Self>, cluster: Arc<Cluster>, stop: CancellationToken) {
        let mut applied = cluster.views().subscribe();
        let mut retry = RETRY_MIN;
        self.tell_metrics();
        loop {
            let done = tokio::select! {
                () = stop.cancelled() => return,
                done = self.step(&cluster) => done,
            };
            let again = match done {
                Ok(()) => tokio::select! {
                    () = stop.cancelled() => return,
                    reported = self.report(&cluster) => !reported,
                },
                Err(error) => {
                    tracing::warn!(code = error.code, "this node's certificate: {error}; trying again");
                    true
                }
            };
            retry = if again { (retry * 2).min(RETRY_MAX) } else { RETRY_MIN };
            let pause = if again { retry } else { self.until_due().min(LOOK_AGAIN) };
            let waited = async {
                tokio::select! {
                    _ = applied.changed() => tokio::time::sleep(AFTER_CHANGE).await,
                    () = self.brought_changed.notified() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = waited => {}
            }
        }
    }

    async fn step(&self, cluster: &Cluster) -> Result<(), ApiError> {
        let view = cluster.view();
        self.follow_trust(&view.state).await?;
        self.follow_brought(&view.state).await?;
        if self.is_due(&view.state) {
            self.rotate().await?;
        }
        Ok(())
    }

    /// Tells the cluster what is shown, if it does not know. Whether it knows now.
    async fn report(&self, cluster: &Cluster) -> bool {
        let Some(command) = self.news(&cluster.view().state) else { return true };
        let told = match cluster.propose(command, &cluster.itself()).await {
            Ok(answer) => answer.result.map_err(ApiError::from),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &told {
            tracing::debug!(
                code = error.code,
                "this node's certificate was not reported: {error}; trying again"
            );
        }
        told.is_ok()
    }

    fn until_due(&self) -> Duration {
        let ms = self.current.load().facts.renew_at().ms_since(self.options.clock.now());
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }
}

/// Whether the cluster's certificate can be shown beside a brought one: the same key, and the name for which the cluster
/// has certified it.
pub fn stands_beside(brought: &Brought, cluster: &CertificateFacts, role: NodeRole) -> bool {
    brought.pair.facts.has_key_of(cluster)
        && cluster.certified_name.as_ref().is_some_and(|name| brought.names(role, name))
}

/// The CA that issues by this state, if its hash is known.
fn issuing(state: &State) -> Option<CaFingerprint> {
    match state.ca_rotation() {
        Some(rotation) => Some(rotation.current),
        None => ca_fingerprint(&state.cluster()?.ca_certificate).ok(),
    }
}

/// What is shown for joiners that trust one CA only; nothing if the files are of another version than the state.
fn bridges<'s>(state: &'s State, files: &TlsFiles) -> &'s [String] {
    let under_way = state.ca_rotation().is_some_and(|it| !matches!(it.phase, CaPhase::Settled { .. }));
    if under_way && state.trust_version() == files.trusted.version { state.ca_bridges() } else { &[] }
}

fn written(result: Result<Result<(), DataDirError>, tokio::task::JoinError>) -> Result<(), ApiError> {
    let failed = |reason: &dyn std::fmt::Display| {
        ApiError::new(
            ErrorKind::Internal,
            "data_dir",
            format!("what the node shows could not be written: {reason}"),
            "see the data directory's disk and permissions",
        )
    };
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}
