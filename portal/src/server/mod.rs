//! `quorate-portal serve`: the composition root.
//!
//! ```text
//! keys, database, certificate -> router -> listeners -> a signal -> drain -> database closed
//! ```

mod listener;
mod tls;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use axum::Router;
use quorate_limits::{RateLimit, Slots};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

pub use listener::Peer;
use listener::{Listener, Stop};
pub use tls::TlsError;

use crate::{
    activation::ActivationService,
    clock,
    config::Config,
    console, files,
    http::{self, App},
    keys::{self, KeyError, Signer},
    metrics::Metrics,
    store::{Store, StoreError},
};

/// From how many days before its end on the log warns of the issuing key's.
const ISSUING_KEY_WARNING_DAYS: u32 = 30;

/// The portal can't serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A signing key can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address can't be listened on.
    #[error("the portal can't listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// The process id can't be written.
    #[error("the pid file {path} can't be written: {cause}")]
    PidFile {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// Signals can't be received.
    #[error("signals can't be received: {0}")]
    Signal(io::Error),
    /// Metrics can't be registered.
    #[error("metrics can't be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl ServeError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            ServeError::Key(error) => error.code(),
            ServeError::Store(error) => error.code(),
            ServeError::Tls(_) => "certificate_unusable",
            ServeError::Listen { .. } => "address_unusable",
            ServeError::PidFile { .. } => "pid_file_unusable",
            ServeError::Signal(_) | ServeError::Metrics(_) => "start_failed",
        }
    }

    /// What to do now.
    pub fn hint(&self) -> &'static str {
        match self {
            ServeError::Key(error) => error.hint(),
            ServeError::Store(error) => error.hint(),
            ServeError::Tls(_) => "Check [tls] in the configuration and the files that it names.",
            ServeError::Listen { .. } => "Check whether another process uses the address.",
            ServeError::PidFile { .. } => "Check the folder of the pid file.",
            ServeError::Signal(_) | ServeError::Metrics(_) => "Tell the makers.",
        }
    }
}

/// Serves until SIGTERM or SIGINT, then lets requests in flight end.
///
/// # Errors
/// The portal can't start.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    let signer = keys::load_signer(&config.keys)?;
    let store = Store::open(&config.database).await?;
    let metrics = Arc::new(Metrics::new()?);
    watch_issuing_key(&signer, &metrics);

    let main = bind(config.listen).await?;
    let ops = match config.ops_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let tls = tls::server_config(&config.tls, main.1.ip(), &config.public_url)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;

    let app = Arc::new(App {
        service: ActivationService::new(store.clone(), signer, config.policy.clone()),
        metrics: Arc::clone(&metrics),
        rate: RateLimit::new(config.limits.requests_per_minute),
        page_rate: RateLimit::new(config.limits.page_submissions_per_minute),
        limits: config.limits.clone(),
        public_url: config.public_url.clone(),
    });
    let (stop, tasks) = (Stop::default(), TaskTracker::new());
    let listen = |socket: TcpListener, tls: Option<TlsAcceptor>, router: Router| {
        let listener = Listener {
            socket,
            tls,
            router,
            limits: config.limits.clone(),
            slots: Slots::new(config.limits.max_connections, config.limits.max_connections_per_address),
            metrics: Arc::clone(&metrics),
        };
        tasks.spawn(listener.run(stop.clone(), tasks.clone()));
    };
    let pid_file = PidFile::write(config.pid_file)?;
    let router = http::public_router(Arc::clone(&app), ops.is_none());
    listen(main.0, Some(TlsAcceptor::from(tls)), router);
    announce(&format!("listening on https://{}", main.1));
    if let Some((socket, address)) = ops {
        listen(socket, None, http::ops_router(app));
        announce(&format!("operations on http://{address}"));
    }

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("stopping: requests in flight are finished");
    stop.drain.cancel();
    tasks.close();
    if timeout(config.drain, tasks.wait()).await.is_err() {
        warn!("requests were still in flight after the drain time and are cut off");
        stop.abort.cancel();
        tasks.wait().await;
    }
    store.close().await;
    drop(pid_file);
    info!("stopped");
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |cause| ServeError::Listen { address, cause };
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok((socket, address))
}

/// One line on standard output for whoever started the process (port 0 is resolved in it).
fn announce(line: &str) {
    if let Err(cause) = console::result(line) {
        warn!(%cause, "standard output can't be written");
    }
    info!("{line}");
}

fn watch_issuing_key(signer: &Signer, metrics: &Metrics) {
    let expires_at = signer.expires_at();
    metrics.issuing_key_expiration.set(expires_at.as_unix_ms() / 1000);
    let days = clock::now().days_until(expires_at);
    if days <= ISSUING_KEY_WARNING_DAYS {
        warn!(%expires_at, days, "the issuing key ends soon; run quorate-portal admin key rotate-issuing");
    }
}

/// The pid file, removed when dropped.
struct PidFile(Option<PathBuf>);

impl PidFile {
    fn write(path: Option<PathBuf>) -> Result<Self, ServeError> {
        if let Some(path) = &path {
            files::write_public(path, &format!("{}\n", std::process::id()))
                .map_err(|cause| ServeError::PidFile { path: path.clone(), cause })?;
        }
        Ok(PidFile(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}
