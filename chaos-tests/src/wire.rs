//! The wire between a node and the portal, in the hands of the test: an HTTP proxy (CONNECT) that lets everything
//! through, holds the portal's answer back, or loses it.
//!
//! What goes through is encrypted. A request is told from a handshake by its size: an integrity key is larger than all
//! that a client says before.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{Failure, Network, Result};

/// More than a client says before its first request, less than a request with an integrity key, which is compressed.
const REQUEST_BYTES: usize = 1000;

/// More than a server says of TLS and HTTP/2 at a time, less than an answer with a license.
const ANSWER_BYTES: usize = 250;

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Everything goes through.
    Open,
    /// Requests go through; what the portal answers stays here until the wire is open again.
    Holding,
    /// Requests go through; when the portal answers, the connection is closed and the answer lost.
    LosingAnswers,
    /// Nobody gets through.
    Cut,
}

/// The proxy. It serves until the process ends.
#[derive(Debug, Clone)]
pub struct WireProxy {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    wire: Mutex<Wire>,
    changed: Condvar,
    answered: AtomicUsize,
}

impl WireProxy {
    /// Listens at a free port of the network's portal host.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn start(network: &Network) -> Result<Self> {
        let failed = |cause: std::io::Error| Failure::OwnServer {
            address: "the wire to the portal".to_owned(),
            reason: cause.to_string(),
        };
        let listener = TcpListener::bind((network.host(crate::network::PORTAL_HOST), 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            wire: Mutex::new(Wire::Open),
            changed: Condvar::new(),
            answered: AtomicUsize::new(0),
        });
        let its = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&its);
                thread::spawn(move || shared.tunnel(stream));
            }
        });
        Ok(WireProxy { address, shared })
    }

    /// From now on the wire does this.
    pub fn set(&self, wire: Wire) {
        *self.shared.wire() = wire;
        self.shared.changed.notify_all();
    }

    /// How many requests the portal has answered so far, whether the answer went through or not.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection. Whatever goes wrong with it closes it, as a network does.
    fn tunnel(&self, mut client: TcpStream) -> Option<()> {
        let target = connect_target(&mut client)?;
        if *self.wire() == Wire::Cut {
            return None;
        }
        let mut server = TcpStream::connect(target).ok()?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
        let sent = AtomicUsize::new(0);
        let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut bytes = [0; 16 * 1024];
                while let Ok(count @ 1..) = from_client.read(&mut bytes) {
                    sent.fetch_add(count, Ordering::SeqCst);
                    if to_server.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                let _ = to_server.shutdown(Shutdown::Write);
            });
            let mut bytes = [0; 16 * 1024];
            let mut counted = false;
            while let Ok(count @ 1..) = server.read(&mut bytes) {
                let is_answer = sent.load(Ordering::SeqCst) > REQUEST_BYTES && count > ANSWER_BYTES;
                if is_answer && !counted {
                    counted = true;
                    self.answered.fetch_add(1, Ordering::SeqCst);
                }
                if is_answer && !self.lets_through() || client.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        });
        Some(())
    }

    /// Whether an answer goes through; waits while it is held back.
    fn lets_through(&self) -> bool {
        let mut wire = self.wire();
        while *wire == Wire::Holding {
            let waited = self.changed.wait_timeout(wire, Duration::from_secs(120));
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return false;
            }
            wire = guard;
        }
        *wire == Wire::Open
    }
}

/// The address that a client names by `CONNECT host:port`.
fn connect_target(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 4096 {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    head.strip_prefix("CONNECT ")?.split(' ').next().map(str::to_owned)
}
