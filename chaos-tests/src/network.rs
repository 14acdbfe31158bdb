//! A loopback network for each cluster, so that all of them can use the default ports at the same time.

use std::{
    fs::{self, File, TryLockError},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{Failure, Result};

const TRIES: u32 = 200;

/// Addresses whose default ports must be free before a network is taken.
const PROBED: [(u8, u16); 3] = [(1, 7400), (2, 7400), (PORTAL_HOST, 7600)];

/// Where the portal of a network listens.
pub const PORTAL_HOST: u8 = 100;

/// A random network 127.a.b.0/24, reserved until it is dropped.
#[derive(Debug)]
pub struct Network {
    a: u8,
    b: u8,
    lock: PathBuf,
    _locked: File,
}

impl Network {
    /// Takes a network that nobody else holds.
    ///
    /// # Errors
    /// None could be had.
    pub fn reserve() -> Result<Self> {
        let mut reason = String::new();
        for _ in 0..TRIES {
            let (a, b) = (rand::random_range(64..=254), rand::random_range(64..=254));
            match Self::take(a, b) {
                Ok(network) => return Ok(network),
                Err(refusal) => reason = refusal,
            }
        }
        Err(Failure::NoNetwork { tried: TRIES, reason })
    }

    /// The address of a host in it.
    pub fn host(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.a, self.b, number)
    }

    fn take(a: u8, b: u8) -> std::result::Result<Self, String> {
        let lock = std::env::temp_dir().join(format!("quorate-network-127.{a}.{b}.lock"));
        let file = lock_file(&lock)?;
        let network = Network { a, b, lock, _locked: file };
        for (host, port) in PROBED {
            let address = (network.host(host), port);
            TcpListener::bind(address).map_err(|cause| format!("{}:{port}: {cause}", address.0))?;
        }
        Ok(network)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "127.{}.{}.0/24", self.a, self.b)
    }
}

impl Drop for Network {
    /// Removes the lock file while it is still locked. Whoever waits for it sees that it is another one then.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.lock);
    }
}

/// The locked file; a lock ends with its process, so a killed one leaves nothing behind that blocks.
fn lock_file(path: &Path) -> std::result::Result<File, String> {
    let said = |cause: std::io::Error| format!("{}: {cause}", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(said)?;
    file.try_lock().map_err(|refusal| match refusal {
        TryLockError::WouldBlock => format!("{} is locked", path.display()),
        TryLockError::Error(cause) => said(cause),
    })?;
    let same =
        fs::metadata(path).is_ok_and(|on_disk| file.metadata().is_ok_and(|ours| ours.ino() == on_disk.ino()));
    if same { Ok(file) } else { Err(format!("{} was just given back", path.display())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_network_is_not_given_out_again_until_it_is_dropped() {
        let network = Network::reserve().unwrap();
        let (a, b) = (network.a, network.b);
        assert!(Network::take(a, b).unwrap_err().contains("locked"));
        drop(network);
        Network::take(a, b).unwrap();
    }

    #[test]
    fn a_network_with_a_used_port_is_not_taken() {
        let network = Network::reserve().unwrap();
        let (a, b, host) = (network.a, network.b, network.host(1));
        drop(network);
        let _used = TcpListener::bind((host, 7400)).unwrap();
        assert!(Network::take(a, b).unwrap_err().contains(":7400"));
    }
}
