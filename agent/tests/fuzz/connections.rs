//! Bytes on a connection: our listener, hyper and the routes behind it are given what is no request, or half of one.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{Arc, OnceLock},
    time::Duration,
};

use quorate::{
    api::ops::{OpsState, router},
    metrics::Metrics,
    net::{Limits, Listener},
    service::licensing::Licensing,
};
use quorate_license::NodeId;
use quorate_raft_store::{View, Views};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Longer than the server needs to close a connection whose other end has nothing more to say.
const PATIENCE: Duration = Duration::from_secs(15);
/// What a page of metrics has at most.
const MOST_ANSWER_BYTES: u64 = 4 << 20;

/// A listener of its own, with the operations port's routes. It lives as long as the process.
struct Server {
    address: SocketAddr,
    _runtime: Runtime,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = runtime.block_on(async {
            let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = port.local_addr().unwrap();
            let views = Arc::new(Views::new(View::default()));
            let metrics = Arc::new(Metrics::new().unwrap());
            let routes = router(OpsState {
                metrics: metrics.clone(),
                licensing: Licensing::new(views, NodeId::new(1, 1), Arc::default()),
                ready: Arc::new(|| Ok(())),
            });
            let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
            Listener::new("operations", routes, Limits::OPERATIONS, &metrics, &tracker, &stop)
                .serve_tcp(port, None);
            address
        });
        Server { address, _runtime: runtime }
    })
}

/// Sends the bytes, says that there are no more, and reads whatever is answered.
pub(crate) fn http(bytes: &[u8]) {
    let mut stream = TcpStream::connect(server().address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    // The server may have closed the connection by then, which is its right.
    let _ = stream.write_all(first).and_then(|()| stream.write_all(second));
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let ended = stream.take(MOST_ANSWER_BYTES).read_to_end(&mut answer);
    if let Err(error) = ended {
        let closed = matches!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(closed, "the connection was kept for {PATIENCE:?}: {error}");
    }
}
