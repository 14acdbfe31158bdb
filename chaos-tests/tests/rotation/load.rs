//! What goes on while certificates are rotated: checks, changes and statuses at every node, watches and a TLS
//! connection that stay open.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use quorate_chaos_tests::{
    Node, Result,
    changes::Changes,
    client::{channel, request, runtime},
    tls_client,
};
use quorate_proto::v1::{
    CheckRequest, GetLicenseResponse, StatusRequest, WatchRequest, admin_service_client::AdminServiceClient,
    license_service_client::LicenseServiceClient,
};
use rustls::ClientConfig;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::client::TlsStream;
use tonic::{
    Request,
    transport::{Channel, Endpoint, Uri},
};

const DEADLINE: Duration = Duration::from_secs(10);
/// Between two calls of one client: a stream, not a flood.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls that go on until they are told to stop.
pub(crate) struct Load {
    end: Arc<AtomicBool>,
    failed: Arc<Mutex<Vec<String>>>,
    calls: Arc<AtomicU64>,
    clients: Vec<JoinHandle<()>>,
    changes: Changes,
}

/// What the calls came to.
pub(crate) struct Done {
    pub(crate) calls: u64,
    pub(crate) changes: usize,
    pub(crate) failed: Vec<String>,
    pub(crate) longest_gap: Duration,
}

impl Load {
    /// Checks and statuses at every node, changes at every Management Server, and statuses over one TLS connection.
    pub(crate) fn start(nodes: &[Node], over_tls: AdminServiceClient<Channel>, token: String) -> Self {
        let management = nodes.iter().filter(|node| node.role == quorate_chaos_tests::Role::Management);
        let mut load = Load {
            end: Arc::default(),
            failed: Arc::default(),
            calls: Arc::default(),
            clients: Vec::new(),
            changes: Changes::start(management),
        };
        for node in nodes {
            let product = LicenseServiceClient::new(channel(&node.socket));
            load.repeat(format!("Check at {}", node.name), move || {
                let mut product = product.clone();
                async move {
                    let message =
                        CheckRequest { feature: "devices".to_owned(), quantity: 1, ..Default::default() };
                    let answer = product.check(request(message, DEADLINE)).await;
                    answer.map(|answer| answer.into_inner().allowed)
                }
            });
            let admin = AdminServiceClient::new(channel(&node.admin_socket));
            load.repeat(format!("Status at {}", node.name), move || {
                let mut admin = admin.clone();
                async move {
                    let answer = admin.status(request(StatusRequest {}, DEADLINE)).await;
                    answer.map(|answer| answer.into_inner().leader.is_some())
                }
            });
        }
        load.repeat("Status over one TLS connection".to_owned(), move || {
            let (mut admin, request) = (over_tls.clone(), with_token(StatusRequest {}, &token));
            async move { admin.status(request).await.map(|answer| answer.into_inner().leader.is_some()) }
        });
        load
    }

    /// Calls again and again; an error, and an answer that is not as good as it should be, are failures.
    fn repeat<F, A>(&mut self, what: String, mut call: F)
    where
        F: FnMut() -> A + Send + 'static,
        A: Future<Output = std::result::Result<bool, tonic::Status>> + Send,
    {
        let (end, failed, calls) = (self.end.clone(), self.failed.clone(), self.calls.clone());
        self.clients.push(runtime().spawn(async move {
            while !end.load(Ordering::Relaxed) {
                match call().await {
                    Ok(true) => {}
                    Ok(false) => failed.lock().unwrap().push(format!("{what}: refused")),
                    Err(status) => failed.lock().unwrap().push(format!("{what}: {status}")),
                }
                calls.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
        }));
    }

    /// Ends all of them.
    pub(crate) fn finish(self) -> Result<Done> {
        self.end.store(true, Ordering::Relaxed);
        for client in self.clients {
            runtime().block_on(client).unwrap();
        }
        let made = self.changes.finish()?;
        let mut failed = self.failed.lock().unwrap().clone();
        failed.extend(made.failed.clone());
        let longest_gap = made.longest_gap();
        let calls = self.calls.load(Ordering::Relaxed);
        Ok(Done { calls, changes: made.acknowledged.len(), failed, longest_gap })
    }
}

/// A request with an administrator's token.
fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = request(message, DEADLINE);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// An open watch of the product, and how it goes on.
pub(crate) struct Watch {
    seen: Arc<Mutex<Vec<GetLicenseResponse>>>,
    ended: Arc<AtomicBool>,
}

impl Watch {
    pub(crate) fn open(node: &Node) -> Self {
        let mut client = LicenseServiceClient::new(channel(&node.socket));
        let watch = Watch { seen: Arc::default(), ended: Arc::default() };
        let (seen, ended) = (watch.seen.clone(), watch.ended.clone());
        runtime().spawn(async move {
            if let Ok(answer) = client.watch(WatchRequest::default()).await {
                let mut stream = answer.into_inner();
                while let Ok(Some(license)) = stream.message().await {
                    seen.lock().unwrap().push(license);
                }
            }
            ended.store(true, Ordering::Relaxed);
        });
        watch
    }

    /// The serial that it told last; none if it has ended.
    pub(crate) fn serial(&self) -> Option<u64> {
        let seen = self.seen.lock().unwrap();
        let last = seen.last().and_then(|answer| answer.license.as_ref()).map(|license| license.serial);
        last.filter(|_| !self.ended.load(Ordering::Relaxed))
    }
}

/// TLS that trusts the CAs of this file.
pub(crate) fn trusting(ca_file: &Path) -> Arc<ClientConfig> {
    tls_client::trusting(ca_file).unwrap()
}

/// A TLS connection to a node's node port.
pub(crate) fn connect(tls: &Arc<ClientConfig>, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    runtime().block_on(tls_client::connect(tls, address))
}

/// The certificate that a node shows in a new handshake.
pub(crate) fn shown(tls: &Arc<ClientConfig>, node: &Node) -> Vec<u8> {
    let stream = connect(tls, node.raft).unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// An administrator's client over exactly one connection: if that ends, every further call fails.
pub(crate) fn over_one_connection(stream: TlsStream<TcpStream>) -> AdminServiceClient<Channel> {
    let stream = Arc::new(Mutex::new(Some(stream)));
    let channel =
        runtime().block_on(Endpoint::from_static("http://node.quorate.local").connect_with_connector(
            tower::service_fn(move |_: Uri| {
                let stream = stream.lock().unwrap().take();
                async move {
                    stream.map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset))
                }
            }),
        ));
    AdminServiceClient::new(channel.unwrap())
}
