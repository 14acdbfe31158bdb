//! What a person does in an activation without a connection: brings an integrity key to the portal, and a license key
//! back.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use quorate_license::IntegrityKey;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    time_provider::TimeProvider,
};
use serde::Deserialize;

use crate::{Failure, FakeTime, Result, portal::PortalLink};

const DEADLINE: Duration = Duration::from_secs(30);

/// What the portal answers: a license key, or a refusal.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Brought {
    /// A license key.
    Issued {
        /// Its text.
        license_key: String,
        /// Whether the same had been issued before.
        replayed: bool,
    },
    /// A refusal.
    Refused {
        /// The stable code.
        code: String,
        /// In words.
        message: String,
    },
}

impl Brought {
    /// The license key.
    ///
    /// # Errors
    /// It was refused.
    pub fn license_key(self) -> Result<String> {
        match self {
            Brought::Issued { license_key, .. } => Ok(license_key),
            Brought::Refused { code, message } => Err(Failure::wrong(format!("{code}: {message}"))),
        }
    }
}

impl PortalLink {
    /// Brings an integrity key to the portal, with the bytes that a cluster would send.
    ///
    /// # Errors
    /// There was no answer that can be read.
    pub fn bring(&self, integrity_key: &str) -> Result<Brought> {
        self.bring_ahead(integrity_key, 0)
    }

    /// The same by somebody who lives in another time: whose clock says that the portal's certificate is valid now.
    ///
    /// # Errors
    /// There was no answer that can be read.
    pub fn bring_in(&self, time: &FakeTime, integrity_key: &str) -> Result<Brought> {
        self.bring_ahead(integrity_key, time.ahead_ms())
    }

    fn bring_ahead(&self, integrity_key: &str, ahead_ms: i64) -> Result<Brought> {
        let failed = |reason: String| Failure::Http {
            address: self.url.clone(),
            path: "/api/v1/activations".to_owned(),
            reason,
        };
        let key = IntegrityKey::from_text(integrity_key).map_err(|cause| failed(cause.to_string()))?;
        let name = format!("{}/{}/{}", key.cluster_id, key.epoch.id, key.nonce);
        let body = self.post(&name, integrity_key, ahead_ms).map_err(failed)?;
        serde_json::from_str(&body).map_err(|cause| failed(format!("{cause}: {body}")))
    }

    fn post(&self, idempotency_key: &str, text: &str, ahead_ms: i64) -> std::result::Result<String, String> {
        let said = |cause: &dyn std::fmt::Display| cause.to_string();
        let address = self.url.trim_start_matches("https://");
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&self.ca_file).map_err(|cause| said(&cause))? {
            roots.add(certificate.map_err(|cause| said(&cause))?).map_err(|cause| said(&cause))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_details(provider, Arc::new(Ahead(ahead_ms)))
            .with_safe_default_protocol_versions()
            .map_err(|cause| said(&cause))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerName::try_from(host.to_owned()).map_err(|cause| said(&cause))?;
        let connection = ClientConnection::new(Arc::new(config), server).map_err(|cause| said(&cause))?;
        let stream = TcpStream::connect(address).map_err(|cause| said(&cause))?;
        stream.set_read_timeout(Some(DEADLINE)).map_err(|cause| said(&cause))?;
        let mut stream = StreamOwned::new(connection, stream);
        write!(
            stream,
            "POST /api/v1/activations HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Type: text/plain\r\nIdempotency-Key: {idempotency_key}\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
        .and_then(|()| stream.flush())
        .map_err(|cause| said(&cause))?;
        let mut answer = Vec::new();
        // Servers that close without TLS's farewell are no failure: the body has a length.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("the answer is not HTTP")?;
        Ok(body.to_owned())
    }
}

/// A clock that is ahead of this machine's by so many milliseconds.
#[derive(Debug)]
struct Ahead(i64);

impl TimeProvider for Ahead {
    fn current_time(&self) -> Option<UnixTime> {
        let now = i64::try_from(UnixTime::now().as_secs()).ok()?;
        let there = u64::try_from(now + self.0 / 1000).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(there)))
    }
}
