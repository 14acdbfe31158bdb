//! A small HTTPS server of the test's own: it shows what really arrives, and answers what the test wants.
//!
//! One request a connection, HTTP/1.1, a certificate under a CA made for this server.

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::{Failure, Result, files};

const IO_DEADLINE: Duration = Duration::from_secs(30);

/// No integrity key with its armour is larger.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Request line and headers, as they came over the wire.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A status and a JSON body.
    Json(u16, String),
    /// The connection is closed without an answer.
    Nothing,
}

/// The server. It ends when it is dropped.
#[derive(Debug)]
pub struct TlsServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its certificate is checked against.
    pub ca_file: PathBuf,
    ending: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl TlsServer {
    /// Listens, and answers each request by `answer`, each on a thread of its own.
    ///
    /// # Errors
    /// No certificate can be made, or the address is in use.
    pub fn start(
        address: SocketAddr,
        folder: &Path,
        answer: impl Fn(Asked) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let failed = |reason: String| Failure::OwnServer { address: address.to_string(), reason };
        let (config, ca) = certificate(address.ip()).map_err(failed)?;
        files::make_folder(folder)?;
        let ca_file = folder.join("ca.pem");
        files::write(&ca_file, ca)?;
        let listener = TcpListener::bind(address).map_err(|cause| failed(cause.to_string()))?;
        let address = listener.local_addr().map_err(|cause| failed(cause.to_string()))?;
        let ending = Arc::new(AtomicBool::new(false));
        let (config, answer, seen) = (Arc::new(config), Arc::new(answer), Arc::clone(&ending));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if seen.load(Ordering::SeqCst) {
                    break;
                }
                let (config, answer) = (Arc::clone(&config), Arc::clone(&answer));
                thread::spawn(move || {
                    // A caller that goes away is part of many tests.
                    let _ = exchange(stream, config, &*answer);
                });
            }
        });
        Ok(TlsServer { address, ca_file, ending, accepting: Some(accepting) })
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn certificate(ip: IpAddr) -> std::result::Result<(ServerConfig, String), String> {
    let said = |cause: rcgen::Error| cause.to_string();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(said)?).map_err(said)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names.push(SanType::IpAddress(ip));
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(said)?;
    let certificate = params.signed_by(&key, &authority).map_err(said)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().and_then(
            |builder| builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key),
        );
    let mut config = config.map_err(|cause| cause.to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((config, authority.pem()))
}

fn exchange(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    answer: &(dyn Fn(Asked) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IO_DEADLINE))?;
    stream.set_write_timeout(Some(IO_DEADLINE))?;
    let session = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(session, stream);
    let asked = read_request(&mut stream)?;
    if let Reply::Json(status, body) = answer(asked) {
        write!(
            stream,
            "HTTP/1.1 {status} Answer\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )?;
        stream.conn.send_close_notify();
        stream.flush()?;
    }
    Ok(())
}

fn read_request(stream: &mut impl Read) -> std::io::Result<Asked> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = content_length(&head)?;
            let body = &bytes[end + 4..];
            if body.len() >= length {
                return Ok(Asked { head, body: body[..length].to_vec() });
            }
        }
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(std::io::Error::new(ErrorKind::InvalidData, "too large"));
        }
        match stream.read(&mut chunk)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}

fn content_length(head: &str) -> std::io::Result<usize> {
    let lower = head.to_ascii_lowercase();
    match lower.lines().find_map(|line| line.strip_prefix("content-length:")) {
        None => Ok(0),
        Some(value) => {
            value.trim().parse().map_err(|cause| std::io::Error::new(ErrorKind::InvalidData, cause))
        }
    }
}

/// Where `wanted` begins in `bytes`.
pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_its_head_and_body() {
        let mut bytes: &[u8] = b"POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcd";
        let asked = read_request(&mut bytes).unwrap();
        assert_eq!(
            (asked.head.as_str(), asked.body.as_slice()),
            ("POST /x HTTP/1.1\r\nContent-Length: 3", &b"abc"[..])
        );
        let mut cut: &[u8] = b"POST /x HTTP/1.1\r\nContent-Length: 30\r\n\r\nabcd";
        assert_eq!(read_request(&mut cut).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
