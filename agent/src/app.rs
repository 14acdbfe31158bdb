//! The composition root of `serve`: builds every part, starts it, waits, and stops it in order.
//!
//! Stopping: leadership is handed over, listeners drain, tasks end, Raft stops, RocksDB closes.

mod background;
mod identity;
mod ports;
mod prepared;

use std::{path::PathBuf, sync::Arc, time::Duration};

use quorate_license::{NodeName, NodeRole, TrustRoots};
use quorate_raft_store::{
    Command, Refusal, codec,
    disk::{OpenError, noted_damage},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use self::{
    background::{keep_group, watch_itself},
    identity::Identity,
    ports::Ports,
    prepared::{Prepared, expelled_error, prepare},
};
use crate::{
    announce,
    api::{
        AdminApi, ClusterApi, NodeGate, Throttle,
        access::{Door, Gate, guarded},
        http,
        license::LicenseApi,
        ops,
    },
    clock::{self, ClusterClock},
    cluster::{
        Cluster, ClusterOptions, OwnIdentity, ProposeError, RaftReceiver, RaftRuntime, RaftStopped,
        ask_others, watch_closed_connections,
    },
    config::Config,
    data_dir::{DataDir, DataDirError, Lock, NodeFile},
    failpoint,
    host::{self, BuildWatcher, IdentityError},
    license_files,
    metrics::Metrics,
    net::{Limits, Listener, Members},
    pki::{FilesError, PkiError, install_crypto_provider},
    service::{
        Activations, Admission, OwnReport, Signing, Telemetry, licensing::Licensing, report_node,
        watch_computer,
    },
    setup,
};

/// How long handing over may take before this node stops anyway.
const HAND_OVER: Duration = Duration::from_secs(3);
/// How long tasks may take to end.
const DRAIN: Duration = Duration::from_secs(8);

/// Why a node could not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// This host has no usable machine id.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Certificates can't be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The files of a brought certificate can't be used.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The node was taken out of the cluster.
    #[error(
        "{message}. It serves no more; its data is kept in {}. To join this computer again as a new node, move that \
         directory away and run `quorate join` with a new token",
        path.display()
    )]
    Removed {
        /// When and why, in words.
        message: String,
        /// The data directory.
        path: PathBuf,
    },
    /// The store of a node that has served is gone.
    #[error(
        "the store of node {name} is gone: {} holds no database, though the agent has started on this data directory \
         before. What the node has promised the cluster is lost, so it can't come back as the same node. Nothing was \
         changed. Move {} away and run `quorate join --replace {name}` with a new token",
        store.display(), path.display()
    )]
    StoreLost {
        /// The node.
        name: NodeName,
        /// Where the store was.
        store: PathBuf,
        /// The data directory.
        path: PathBuf,
    },
    /// The cluster knows a later start of this node, or another one that lives: the data directory is a copy, or was
    /// rolled back.
    #[error(
        "the cluster refuses this node: {message}. What its log holds can't be trusted. If another copy of the node \
         runs, leave it and never start this one; otherwise move {} away and run `quorate join --replace {name}` with a \
         new token",
        path.display()
    )]
    Outdated {
        /// Stable code.
        code: String,
        /// What the cluster says.
        message: String,
        /// The node.
        name: NodeName,
        /// The data directory.
        path: PathBuf,
    },
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store is damaged, and in quarantine.
    #[error("{source}")]
    StoreDamaged {
        /// What is wrong, and in which files.
        source: Box<OpenError>,
        /// The node.
        name: NodeName,
        /// Its data directory.
        data_dir: PathBuf,
    },
    /// The key of snapshots can't be used.
    #[error("the snapshot key in {} (raft.snapshot_key_file) can't be used: {reason}", path.display())]
    SnapshotKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Raft did not start, or has stopped.
    #[error(transparent)]
    Raft(#[from] RaftStopped),
    /// An address can't be listened on.
    #[error("can't listen on {address} ({what}): {source}")]
    Listen {
        /// Which listener.
        what: &'static str,
        /// Its address or path.
        address: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The cluster's first command was not committed.
    #[error("the new cluster could not be set up: {0}")]
    Bootstrap(String),
    /// Metrics can't be registered.
    #[error("metrics can't be set up: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Randomness(String),
    /// Raft's threads can't be started.
    #[error("the threads for consensus can't be started: {0}")]
    Threads(std::io::Error),
    /// Signals can't be listened to.
    #[error("signals can't be listened to: {0}")]
    Signals(std::io::Error),
    /// A background thread ended early.
    #[error("a step of the start was broken off: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// What the administrator says at the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServeOptions {
    /// This host's computer ID has changed, and the node is the same: the new one becomes the registered one.
    pub accept_computer_id: bool,
}

/// Runs a node until SIGTERM or SIGINT.
///
/// # Errors
/// [`AppError`], if it can't start or stops by itself.
pub async fn run(config: Config, options: ServeOptions) -> Result<(), AppError> {
    failpoint::arm();
    host::open_many_files();
    install_crypto_provider();
    let metrics = Arc::new(Metrics::new()?);
    let prepared = {
        let (config, metrics) = (config.clone(), metrics.clone());
        tokio::task::spawn_blocking(move || prepare(&config, options, &metrics)).await??
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Signals)?;

    let (dir, own) = (prepared.dir.clone(), prepared.own.clone());
    let node = Node::start(config, prepared, metrics).await?;
    let stopped: Option<AppError> = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        stopped = node.cluster.failed() => Some(failure(stopped, &dir, &own)),
        expelled = node.cluster.outdated() => Some(expelled_error(&expelled, &dir, &own)),
    };
    node.stop().await;
    match stopped {
        Some(stopped) => Err(stopped),
        None => Ok(()),
    }
}

/// Why a node has stopped by itself. Damage that it met is told as at a start, with the way out.
fn failure(stopped: RaftStopped, dir: &DataDir, own: &NodeFile) -> AppError {
    match noted_damage(&dir.store()) {
        Some(source) => AppError::StoreDamaged {
            source: Box::new(source),
            name: own.name.clone(),
            data_dir: dir.path().to_owned(),
        },
        None => stopped.into(),
    }
}

/// A running node.
struct Node {
    cluster: Arc<Cluster>,
    runtime: RaftRuntime,
    tracker: TaskTracker,
    stop: CancellationToken,
    sockets: Vec<PathBuf>,
    _lock: Lock,
}

impl Node {
    async fn start(config: Config, prepared: Prepared, metrics: Arc<Metrics>) -> Result<Node, AppError> {
        let Prepared { dir, own, computer, host_report, start, store, _lock } = prepared;
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        metrics.set_role(own.role);
        Metrics::advance(&metrics.server_starts, start.counter);

        let roots = Arc::new(TrustRoots(config.license.trust_roots.clone()));

        // Consensus.
        let runtime = RaftRuntime::start().map_err(AppError::Threads)?;
        let raft_handle = runtime.handle().clone();
        let clock = ClusterClock::going_on(store.views.clone(), dir.reckoned_time());
        let times = (&store.views, &clock);
        let identity = Identity::load(&config, &dir, &own, times, &metrics, raft_handle.clone()).await?;
        let web_tls = identity.web(&metrics, &tracker, &stop)?;
        let Identity { tls, node_key, management_key, peers, certificates, .. } = identity;
        // A removed node, or a copy, is told so before it can take part in anything.
        let state = store.views.current().state.clone();
        if let Some(expelled) = ask_others(&peers, &state, own.node_id, store.last_log_index()).await {
            return Err(expelled_error(&expelled, &dir, &own));
        }
        let listen = &config.listen;
        let ports = Ports::open(listen, &raft_handle).await?;
        let addresses = setup::addresses(&config);
        let identity = OwnIdentity {
            key: node_key.public(),
            computer: computer.clone(),
            address: addresses.raft.clone(),
            start,
            started_at: clock::now(),
        };
        let options = ClusterOptions {
            node: own.node_id,
            role: own.role,
            identity,
            clock: clock.clone(),
            settings: &config.raft,
            peers: peers.clone(),
            metrics: metrics.clone(),
            runtime: &runtime,
            tracker: &tracker,
            stop: &stop,
        };
        let cluster = Cluster::start(store, options).await?;
        let views = cluster.views().clone();
        let gate =
            NodeGate::new(own.clone(), views.clone(), clock.clone()).watching(cluster.clones().clone());

        // Services.
        let build = BuildWatcher::start(&config.build, dir.path(), &tracker, stop.clone()).await;
        let signing = Arc::new(Signing::new(
            cluster.clone(),
            own.clone(),
            node_key.clone(),
            computer.clone(),
            build.clone(),
        ));
        let admission = Arc::new(Admission::new(cluster.clone(), own.clone(), certificates.signer().clone()));
        let licensing = Licensing::on_computer(views, clock, own.node_id, roots.clone(), computer.clone());
        licensing.listen(cluster.watch_expelled());
        let activations = Arc::new(Activations::new(
            cluster.clone(),
            signing.clone(),
            management_key,
            roots,
            config.portal.clone(),
            metrics.clone(),
        ));
        let telemetry = Arc::new(Telemetry::new(cluster.clone(), config.portal.clone(), metrics.clone()));

        // Faces.
        let admin = AdminApi {
            cluster: cluster.clone(),
            own: own.clone(),
            activations: activations.clone(),
            licensing: licensing.clone(),
            telemetry: telemetry.clone(),
            certificates: certificates.clone(),
            tracker: tracker.clone(),
        };
        let cluster_api = ClusterApi::service(
            cluster.clone(),
            gate.clone(),
            admission,
            signing,
            certificates.clone(),
            dir.path().to_owned(),
        );
        let access = Gate::new(own.clone(), gate.clone(), metrics.clone());
        let node_routes = Routes::new(RaftReceiver::service(cluster.clone(), gate))
            .add_service(cluster_api)
            .add_service(admin.clone().service());
        let license_api = LicenseApi::new(licensing.clone(), build.clone(), metrics.clone(), stop.clone());
        let (health_reporter, health_service) = tonic_health::server::health_reporter();
        health_reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(quorate_proto::FILE_DESCRIPTORS)
            .build_v1()
            .map_err(|error| AppError::Bootstrap(error.to_string()))?;
        let product_routes =
            Routes::new(license_api.service()).add_service(health_service).add_service(reflection);
        let ready = readiness(&cluster);
        let ops_state = ops::OpsState { metrics: metrics.clone(), licensing: licensing.clone(), ready };
        let http_state = http::HttpState { cluster: cluster.clone(), licensing: licensing.clone() };

        let throttle = Throttle::new(&metrics);
        let listener = |door: Door, router, limits| {
            let mut router = guarded(door, router, &access);
            if matches!(door, Door::Node | Door::Management) {
                router = throttle.guard(router);
            }
            Listener::new(door.as_str(), router, limits, &metrics, &tracker, &stop)
        };
        let (closed, closed_connections) = mpsc::channel(16);
        listener(Door::Node, node_routes.into_axum_router(), Limits::NODE_TO_NODE)
            .for_members(raft_handle.clone(), Members { tls: tls.clone(), peers, closed })
            .serve_tcp(ports.raft, Some(tls.server));
        tracker.spawn_on(
            watch_closed_connections(cluster.clone(), closed_connections, stop.clone()),
            &raft_handle,
        );
        listener(Door::Management, http::router(http_state), Limits::MANAGEMENT)
            .serve_tcp(ports.http, Some(web_tls));
        let product_router = product_routes.into_axum_router();
        listener(Door::Product, product_router.clone(), Limits::PRODUCT).serve_tcp(ports.product, None);
        listener(Door::Product, product_router, Limits::PRODUCT_SOCKET).serve_unix(ports.product_socket);
        listener(Door::Admin, Routes::new(admin.service()).into_axum_router(), Limits::ADMINISTRATION)
            .serve_unix(ports.admin_socket);
        listener(Door::Operations, ops::router(ops_state), Limits::OPERATIONS).serve_tcp(ports.ops, None);
        tracing::info!(
            name = %own.name, node = %own.node_id, role = %own.role, raft = %listen.raft, http = %listen.http,
            grpc = %listen.grpc, ops = %listen.ops, "this node serves"
        );

        // Background work.
        let report = OwnReport { computer: computer.clone(), addresses, host: host_report, start };
        tracker.spawn(report_node(cluster.clone(), report, build, stop.clone()));
        let files = license_files::Options {
            node: own.node_id,
            key: node_key,
            computer_id: computer.found(),
            folder: dir.licenses(),
        };
        tracker.spawn(watch_computer(cluster.clone(), computer, stop.clone()));
        tracker.spawn(license_files::run(licensing.clone(), files, metrics.clone(), stop.clone()));
        tracker.spawn(announce::run(licensing.clone(), stop.clone()));
        watch_itself(&cluster, &dir, &metrics, &tracker, &stop);
        keep_group(&cluster, own.role, &tracker, &stop);
        tracker.spawn(certificates.clone().watch_brought(stop.clone()));
        tracker.spawn(certificates.run(cluster.clone(), stop.clone()));
        if own.role == NodeRole::Management {
            tracker.spawn(telemetry.run(stop.clone()));
            let (finishing, stop) = (activations, stop.clone());
            tracker.spawn(async move { finishing.finish_left_open(stop).await });
        }

        let sockets = vec![listen.socket.clone(), listen.admin_socket.clone()];
        let node = Node { cluster, runtime, tracker, stop, sockets, _lock };
        if let Err(error) = bootstrap(&node.cluster, &dir, &own).await {
            node.stop().await;
            return Err(error);
        }
        Ok(node)
    }

    async fn stop(mut self) {
        if self.cluster.leads() && self.cluster.voters().len() > 1 {
            match self.cluster.hand_over(None, HAND_OVER).await {
                Ok(to) => tracing::info!(%to, "leadership handed over"),
                Err(reason) => tracing::info!(reason, "leadership was not handed over"),
            }
        }
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(DRAIN, self.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = self.tracker.len(), "tasks did not end in time");
        }
        self.cluster.stop().await;
        self.runtime.stop();
        for socket in &self.sockets {
            // Only tidiness: a socket that is left over is replaced at the next start.
            let _ = std::fs::remove_file(socket);
        }
        tracing::info!("stopped");
    }
}

/// Commits the cluster's first command, if `init` has left it here.
async fn bootstrap(cluster: &Cluster, dir: &DataDir, own: &NodeFile) -> Result<(), AppError> {
    let Some(record) = dir.bootstrap()? else { return Ok(()) };
    let failed = |error: &dyn std::fmt::Display| AppError::Bootstrap(error.to_string());
    let command: Command = codec::decode(&record).map_err(|error| failed(&error))?;
    match &command {
        Command::InitCluster(init)
            if init.first_node.id == own.node_id && init.cluster_id == own.cluster_id => {}
        _ => return Err(failed(&"the file 'bootstrap' in the data directory belongs to another node")),
    }
    cluster.begin().await?;
    match cluster.propose(command, &cluster.itself()).await {
        Ok(answer) => match answer.result {
            // A crash between commit and removal: it is done already.
            Ok(_) | Err(Refusal::AlreadyInitialized) => Ok(dir.remove_bootstrap()?),
            Err(refusal) => Err(failed(&refusal)),
        },
        Err(error @ (ProposeError::NoLeader { .. } | ProposeError::Unknown { .. })) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

/// Ready means: a member that has the cluster's state and knows a leader.
fn readiness(cluster: &Arc<Cluster>) -> ops::Ready {
    let cluster = cluster.clone();
    Arc::new(move || {
        if let Some(expelled) = cluster.expelled() {
            Err(format!("{}: {}", expelled.code, expelled.message))
        } else if cluster.view().state.cluster().is_none() {
            Err("this node has not received the cluster's state yet".to_owned())
        } else if cluster.live_leader().is_none() {
            Err("no leader is known; what is licensed stays licensed".to_owned())
        } else {
            Ok(())
        }
    })
}
