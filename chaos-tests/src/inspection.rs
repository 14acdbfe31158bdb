//! A gateway as organisations have it: a proxy with a password that breaks up TLS. It shows a certificate of the
//! organisation's own CA instead of the portal's, reads everything, and asks the real portal itself.
//!
//! ```text
//! agent ── CONNECT, password ──> WireProxy ── TLS under our CA ──> Inspection ── TLS under its CA ──> portal
//! ```

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{
    Failure, Network, Result,
    network::PORTAL_HOST,
    portal::PortalLink,
    tls_client,
    tls_server::{Asked, Reply, TlsServer},
    wire::WireProxy,
};

/// The gateway. It ends when it is dropped.
#[derive(Debug)]
pub struct Inspection {
    /// The proxy that agents are configured with.
    pub proxy: WireProxy,
    /// The organisation's CA.
    pub ca_file: PathBuf,
    asked: Arc<Mutex<Vec<Asked>>>,
    changes: Arc<AtomicBool>,
    _server: TlsServer,
}

impl Inspection {
    /// A gateway between the agents of this network and the portal.
    ///
    /// # Errors
    /// The operating system refuses, or the portal's CA can't be read.
    pub fn start(network: &Network, folder: &Path, portal: &PortalLink) -> Result<Self> {
        let unreadable = || Failure::wrong(format!("{} names no address", portal.url));
        let address = portal.url.strip_prefix("https://").ok_or_else(unreadable)?;
        let address: SocketAddr = address.parse().map_err(|_| unreadable())?;
        let mut tls = (*tls_client::trusting(&portal.ca_file)?).clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = Arc::new(tls);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let changes = Arc::new(AtomicBool::new(false));
        let (seen, changing) = (Arc::clone(&asked), Arc::clone(&changes));
        let listen = SocketAddr::from((network.host(PORTAL_HOST), 0));
        let server = TlsServer::start(listen, folder, move |request| {
            let reply = forward(&request, address, Arc::clone(&tls));
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            match reply {
                Some((status, body)) if changing.load(Ordering::SeqCst) => {
                    Reply::Json(status, with_another_license(&body))
                }
                Some((status, body)) => Reply::Json(status, body),
                None => Reply::Nothing,
            }
        })?;
        let proxy = WireProxy::leading_to(network, server.address)?;
        Ok(Inspection { proxy, ca_file: server.ca_file.clone(), asked, changes, _server: server })
    }

    /// Whether it changes the license keys that it passes on.
    pub fn change_license_keys(&self, on: bool) {
        self.changes.store(on, Ordering::SeqCst);
    }

    /// What it has read so far.
    pub fn read(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The portal's answer to the same request.
fn forward(request: &Asked, portal: SocketAddr, tls: Arc<rustls::ClientConfig>) -> Option<(u16, String)> {
    let connection = ClientConnection::new(tls, ServerName::from(portal.ip())).ok()?;
    let mut stream = StreamOwned::new(connection, TcpStream::connect(portal).ok()?);
    // One request a connection, and an answer that can be read.
    let dropped = ["connection", "accept-encoding"];
    let kept = request.head.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !dropped.contains(&name.as_str())
    });
    let head: String = kept.flat_map(|line| [line, "\r\n"]).collect();
    write!(stream, "{head}connection: close\r\n\r\n").ok()?;
    stream.write_all(&request.body).ok()?;
    stream.flush().ok()?;
    let mut answer = Vec::new();
    // How the portal ends the connection doesn't matter: the length is in the head.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The same license key with one character of a signature changed, under a checksum that fits.
fn with_another_license(body: &str) -> String {
    let changed = || {
        let mut answer: serde_json::Value = serde_json::from_str(body).ok()?;
        let text = answer.get("license_key")?.as_str()?;
        let mut key = quorate_license::LicenseKey::from_text(text).ok()?;
        // The signature ends before the footer.
        let at = key.binding.rfind('.')?.checked_sub(2)?;
        let other = if key.binding.as_bytes().get(at) == Some(&b'A') { "B" } else { "A" };
        key.binding.replace_range(at..=at, other);
        answer["license_key"] = key.to_text().ok()?.into();
        Some(answer.to_string())
    };
    changed().unwrap_or_else(|| body.to_owned())
}
