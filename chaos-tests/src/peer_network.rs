//! The network between the nodes of a cluster, in the hands of the test: a relay stands before each node's port for
//! the others, and one node can be cut off. As behind a broken switch, nobody is told: connections stay open, and what
//! is said in them waits.
//!
//! Whose a connection is, the operating system says: `/proc` knows which process has which port.

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::{Failure, Node, Result};

/// The relays. They serve until the process ends.
#[derive(Debug, Clone)]
pub struct PeerNetwork {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    cut_off: Option<CutOff>,
    /// How often that has changed.
    changes: u64,
}

/// The node that nobody reaches and that reaches nobody.
#[derive(Debug, Clone, Copy)]
struct CutOff {
    raft: SocketAddr,
    pid: u32,
}

/// One connection: who is called, and from where.
#[derive(Debug, Clone, Copy)]
struct Call {
    to: SocketAddr,
    from: SocketAddr,
}

impl PeerNetwork {
    /// Puts a relay before each of these nodes, which must not have been started yet: the others are given its address.
    ///
    /// # Errors
    /// The operating system refuses, or a configuration can't be written.
    pub fn between(nodes: &mut [Node]) -> Result<Self> {
        let network = PeerNetwork { shared: Arc::default() };
        for node in nodes {
            let relay = network.relay(node.raft)?;
            node.set("advertise", "raft", relay.to_string());
            node.write_config()?;
        }
        Ok(network)
    }

    /// Cuts a running node off from all others.
    ///
    /// # Errors
    /// It does not run.
    pub fn cut_off(&self, node: &Node) -> Result<()> {
        let pid = node.pid().ok_or_else(|| Failure::wrong(format!("{} does not run", node.name)))?;
        self.set(Some(CutOff { raft: node.raft, pid }));
        Ok(())
    }

    /// All reach each other again, and hear what was said meanwhile.
    pub fn heal(&self) {
        self.set(None);
    }

    fn set(&self, cut_off: Option<CutOff>) {
        let mut state = self.shared.state();
        *state = State { cut_off, changes: state.changes + 1 };
        drop(state);
        self.shared.changed.notify_all();
    }

    fn relay(&self, to: SocketAddr) -> Result<SocketAddr> {
        let failed = |cause: std::io::Error| Failure::OwnServer {
            address: format!("a relay before {to}"),
            reason: cause.to_string(),
        };
        let listener = TcpListener::bind((to.ip(), 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.carry(stream, to));
            }
        });
        Ok(address)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection. Whatever goes wrong with it closes it.
    fn carry(&self, client: TcpStream, to: SocketAddr) -> Option<()> {
        let call = Call { to, from: client.peer_addr().ok()? };
        self.wait_for_a_way(call, &mut None);
        let server = TcpStream::connect(to).ok()?;
        let (back, forth) = (server.try_clone().ok()?, client.try_clone().ok()?);
        thread::scope(|scope| {
            scope.spawn(|| self.pump(forth, server, call));
            self.pump(back, client, call);
        });
        Some(())
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, call: Call) {
        let mut bytes = [0; 16 * 1024];
        let mut judged = None;
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            self.wait_for_a_way(call, &mut judged);
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        // Both ends are told: half a connection is of no use to a node.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// Waits while one of the two is cut off. `judged` remembers what was found after which change.
    fn wait_for_a_way(&self, call: Call, judged: &mut Option<u64>) {
        let mut state = self.state();
        while *judged != Some(state.changes) {
            if state.cut_off.is_some_and(|node| call.to == node.raft || owns(node.pid, call.from)) {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                *judged = Some(state.changes);
            }
        }
    }
}

/// Whether a process has the connection that begins at this address.
fn owns(pid: u32, address: SocketAddr) -> bool {
    let IpAddr::V4(ip) = address.ip() else { return false };
    // As the kernel writes it: the address as a number of this machine.
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let sockets: Vec<String> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(1) == Some(&local.as_str()))
        .filter_map(|fields| fields.get(9).map(|inode| format!("socket:[{inode}]")))
        .collect();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_its_processs() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let address = client.local_addr().unwrap();
        assert!(owns(std::process::id(), address));
        assert!(!owns(1, address));
        drop(client);
        assert!(!owns(std::process::id(), address));
    }
}
