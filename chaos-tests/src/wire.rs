//! The wire between a node and the portal, in the hands of the test: an HTTP proxy (CONNECT) that lets everything of
//! those who show its password through, holds back what the portal says once it was asked, or cuts everybody off.
//!
//! What goes through is encrypted, so the proxy doesn't tell an answer from whatever else a server says. It tells only
//! that a connection carries a request, by its size: an integrity key is larger than all that a client says before.
//! Whether the portal has answered is asked of the portal.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{Failure, Network, Result};

/// More than a client says before its first request, less than a request with an integrity key, which is compressed.
const REQUEST_BYTES: usize = 1000;

/// Who may use the proxy, and how that is shown.
const CREDENTIALS: (&str, &str) = ("anna:secret", "Basic YW5uYTpzZWNyZXQ=");

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Everything goes through.
    Open,
    /// Requests go through; what the portal says after one stays here until the wire is set to something else.
    Holding,
    /// Nobody gets through, and the connections that are open end.
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
    state: Mutex<State>,
    changed: Condvar,
    asked: AtomicUsize,
    /// Where every connection leads, if not to where the client wants.
    gateway: Option<SocketAddr>,
}

#[derive(Debug)]
struct State {
    wire: Wire,
    /// How often it was cut: a connection of before a cut is lost, however soon the wire is open again.
    cuts: u64,
}

impl WireProxy {
    /// Listens at a free port of the network's portal host.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn start(network: &Network) -> Result<Self> {
        Self::listen(network, None)
    }

    /// The same, but whatever a client asks for, it gets there.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn leading_to(network: &Network, gateway: SocketAddr) -> Result<Self> {
        Self::listen(network, Some(gateway))
    }

    fn listen(network: &Network, gateway: Option<SocketAddr>) -> Result<Self> {
        let failed = |cause: std::io::Error| Failure::OwnServer {
            address: "the wire to the portal".to_owned(),
            reason: cause.to_string(),
        };
        let listener = TcpListener::bind((network.host(crate::network::PORTAL_HOST), 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State { wire: Wire::Open, cuts: 0 }),
            changed: Condvar::new(),
            asked: AtomicUsize::new(0),
            gateway,
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

    /// What a node has to be configured with.
    pub fn url(&self) -> String {
        format!("http://{}@{}", CREDENTIALS.0, self.address)
    }

    /// From now on the wire does this.
    pub fn set(&self, wire: Wire) {
        let mut state = self.shared.state();
        state.wire = wire;
        state.cuts += u64::from(wire == Wire::Cut);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// How many connections have carried a request so far, whether its answer went through or not.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection. Whatever goes wrong with it closes it, as a network does.
    fn tunnel(&self, mut client: TcpStream) -> Option<()> {
        let target = connect_target(&mut client)?;
        let opened_after = {
            let state = self.state();
            if state.wire == Wire::Cut {
                return None;
            }
            state.cuts
        };
        let mut server = match self.gateway {
            Some(gateway) => TcpStream::connect(gateway),
            None => TcpStream::connect(target),
        }
        .ok()?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
        let has_asked = AtomicBool::new(false);
        let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut bytes = [0; 16 * 1024];
                let mut sent = 0;
                while let Ok(count @ 1..) = from_client.read(&mut bytes) {
                    sent += count;
                    if sent > REQUEST_BYTES && !has_asked.swap(true, Ordering::SeqCst) {
                        self.asked.fetch_add(1, Ordering::SeqCst);
                    }
                    if self.state().cuts != opened_after || to_server.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                let _ = to_server.shutdown(Shutdown::Write);
            });
            let mut bytes = [0; 16 * 1024];
            while let Ok(count @ 1..) = server.read(&mut bytes) {
                let is_lost = !self.lets_through(opened_after, has_asked.load(Ordering::SeqCst));
                if is_lost || client.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        });
        Some(())
    }

    /// Whether what the portal says goes through on a connection that was opened after so many cuts; waits while it is
    /// held back.
    fn lets_through(&self, opened_after: u64, has_asked: bool) -> bool {
        let mut state = self.state();
        while has_asked && state.wire == Wire::Holding && state.cuts == opened_after {
            let waited = self.changed.wait_timeout(state, Duration::from_secs(120));
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return false;
            }
            state = guard;
        }
        state.cuts == opened_after
    }
}

/// The address that a client names by `CONNECT host:port`, if it shows the password.
fn connect_target(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 4096 {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let shown = |line: &str| {
        line.split_once(": ").is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("proxy-authorization") && value == CREDENTIALS.1
        })
    };
    if !head.lines().any(shown) {
        let refusal =
            "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"x\"\r\n\r\n";
        client.write_all(refusal.as_bytes()).ok()?;
        return None;
    }
    head.strip_prefix("CONNECT ")?.split(' ').next().map(str::to_owned)
}
