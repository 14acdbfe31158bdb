//! Connections that only cost: silent ones, slow ones, such that send too much, and such that send anything.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_chaos_tests::{Node, tls_client};
use rand::Rng as _;
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream, UnixStream},
    runtime::Runtime,
    time::{sleep, timeout},
};

/// After a connection was closed, before the next one.
const PAUSE: Duration = Duration::from_secs(2);
/// A slow sender's next byte comes after this.
const SLOW: Duration = Duration::from_millis(500);
/// More than any listener takes in one piece.
const OVERSIZE: usize = 4 << 20;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Something to connect to.
#[derive(Clone)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    /// The TLS handshake is made as it should be, and what comes then is not.
    Tls(SocketAddr, Arc<ClientConfig>),
    Unix(PathBuf),
}

/// What a connection does.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Silent,
    /// A request, one byte at a time.
    Slow,
    /// A header, a path or a body that does not end.
    OversizeHeader,
    OversizePath,
    OversizeBody,
    Random,
    /// An HTTP/2 connection that opens requests and says no more.
    HalfOpenStreams,
}

const DEEDS: [Deed; 7] = [
    Deed::Silent,
    Deed::Slow,
    Deed::OversizeHeader,
    Deed::OversizePath,
    Deed::OversizeBody,
    Deed::Random,
    Deed::HalfOpenStreams,
];

/// An attack that goes on until it is dropped.
pub(crate) struct Attack {
    counts: Arc<Counts>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Counts {
    opened: AtomicU64,
    closed: AtomicU64,
    failed: AtomicU64,
}

impl Target {
    /// Every face of a node that others can reach.
    pub(crate) fn of_node(node: &Node) -> Vec<Target> {
        let tls = tls_client::trusting(&node.data_dir.join("tls/ca.crt")).unwrap();
        vec![
            Target::Tcp(node.raft),
            Target::Tls(node.raft, tls.clone()),
            Target::Tcp(node.http),
            Target::Tls(node.http, tls),
            Target::Tcp(node.grpc),
            Target::Tcp(node.ops),
            Target::Unix(node.socket.clone()),
        ]
    }
}

impl Attack {
    /// So many connections at a time, from these addresses.
    pub(crate) fn start(connections: usize, targets: &[Target], sources: &[Ipv4Addr]) -> Attack {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let counts = Arc::new(Counts::default());
        for number in 0..connections {
            let target = targets[number % targets.len()].clone();
            let deed = DEEDS[(number / targets.len()) % DEEDS.len()];
            let source = sources[number % sources.len()];
            let counts = counts.clone();
            runtime.spawn(async move {
                loop {
                    match connect_and(&target, source, deed, &counts).await {
                        Ok(()) => counts.closed.fetch_add(1, Ordering::Relaxed),
                        Err(_) => counts.failed.fetch_add(1, Ordering::Relaxed),
                    };
                    sleep(PAUSE.mul_f64(rand::random_range(0.5..1.5))).await;
                }
            });
        }
        Attack { counts, _runtime: runtime }
    }

    /// What has been done so far, in words.
    pub(crate) fn done(&self) -> String {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (opened, closed, failed) =
            (get(&self.counts.opened), get(&self.counts.closed), get(&self.counts.failed));
        assert!(opened > 1_000, "hardly an attack: {opened} connections");
        format!("{opened} connections opened, {closed} closed by the node, {failed} reset or refused")
    }
}

async fn connect_and(target: &Target, source: Ipv4Addr, deed: Deed, counts: &Counts) -> io::Result<()> {
    match target {
        Target::Tcp(address) => {
            let stream = connect(*address, source).await?;
            counts.opened.fetch_add(1, Ordering::Relaxed);
            misbehave(stream, deed).await
        }
        Target::Tls(address, tls) => {
            let stream = connect(*address, source).await?;
            counts.opened.fetch_add(1, Ordering::Relaxed);
            misbehave(tls_client::handshake(tls, stream, *address).await?, deed).await
        }
        Target::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            counts.opened.fetch_add(1, Ordering::Relaxed);
            misbehave(stream, deed).await
        }
    }
}

async fn connect(address: SocketAddr, source: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((source, 0).into())?;
    timeout(Duration::from_secs(10), socket.connect(address)).await?
}

/// Does it until the other side closes the connection.
async fn misbehave<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, deed: Deed) -> io::Result<()> {
    match deed {
        Deed::Silent => {}
        Deed::Slow => {
            for byte in b"POST /api/v1/status HTTP/1.1\r\nHost: node\r\nContent-Length: 100000\r\nX-Slow: "
                .iter()
                .chain(std::iter::repeat_n(&b'x', 10_000))
            {
                stream.write_all(&[*byte]).await?;
                sleep(SLOW).await;
            }
        }
        Deed::OversizeHeader => {
            stream.write_all(b"GET / HTTP/1.1\r\nHost: node\r\nX-Large: ").await?;
            stream.write_all(&vec![b'x'; OVERSIZE]).await?;
        }
        Deed::OversizePath => {
            stream.write_all(b"GET /").await?;
            stream.write_all(&vec![b'a'; OVERSIZE]).await?;
        }
        Deed::OversizeBody => {
            let head = "POST /api/v1/status HTTP/1.1\r\nHost: node\r\nContent-Length: 9999999999\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(&vec![b'b'; 64 << 10]).await?;
                sleep(SLOW).await;
            }
        }
        Deed::Random => {
            let mut bytes = vec![0; 64 << 10];
            rand::rng().fill_bytes(&mut bytes);
            stream.write_all(&bytes).await?;
        }
        Deed::HalfOpenStreams => {
            // Empty settings, then requests without an end: HEADERS with END_HEADERS, `:method POST` and `:path /`.
            stream.write_all(&[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await?;
            for stream_id in (1..2_000u32).step_by(2) {
                let [a, b, c, d] = stream_id.to_be_bytes();
                stream.write_all(&[0, 0, 3, 1, 4, a, b, c, d, 0x83, 0x84, 0x86]).await?;
            }
        }
    }
    let mut answers = [0; 4096];
    while stream.read(&mut answers).await? > 0 {}
    Ok(())
}
