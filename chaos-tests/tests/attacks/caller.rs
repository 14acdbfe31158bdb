//! Whoever calls a node port by its own code: with a stolen certificate, a self-made one, or none.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use quorate_chaos_tests::{
    Node,
    client::{request, runtime, stable_code},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Uri},
};

const DEADLINE: Duration = Duration::from_secs(10);

/// What is shown in the handshake.
pub(crate) struct Papers {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Papers {
    /// A node's own, as they lie in its data directory: who is root there has them.
    pub(crate) fn of(node: &Node) -> Self {
        Self::from_file(&node.data_dir.join("tls/node.pem"))
    }

    pub(crate) fn from_file(file: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(file).unwrap().map(Result::unwrap).collect();
        Papers { chain, key: PrivateKeyDer::from_pem_file(file).unwrap() }
    }

    /// Made by a CA of one's own, with the names that a node of the cluster has.
    pub(crate) fn self_made(identity: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(SanType::URI(identity.try_into().unwrap()));
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Papers { chain: vec![certificate.der().clone()], key }
    }
}

/// TLS that trusts a node's CA, and the one of what it brings, and shows these papers if there are some.
fn tls(node: &Node, papers: Option<Papers>, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let brought = node.config.with_file_name("brought").join("ca.crt");
    for file in [node.data_dir.join("tls/ca.crt"), brought].iter().filter(|file| file.exists()) {
        for ca in CertificateDer::pem_file_iter(file).unwrap() {
            roots.add(ca.unwrap()).unwrap();
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match papers {
        Some(Papers { chain, key }) => config.with_client_auth_cert(chain, key).unwrap(),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

/// A channel to a node port.
pub(crate) fn channel(to: &Node, papers: Option<Papers>) -> Channel {
    let (connector, address) = (TlsConnector::from(tls(to, papers, b"h2")), to.raft);
    let _context = runtime().enter();
    let endpoint = Endpoint::from_static("http://node.quorate.local").connect_timeout(DEADLINE);
    endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            connector.connect(ServerName::from(address.ip()), stream).await.map(TokioIo::new)
        }
    }))
}

/// A request with these words in its metadata.
pub(crate) fn saying<T>(message: T, words: &[(&'static str, &str)]) -> Request<T> {
    let mut request = request(message, DEADLINE);
    for (key, value) in words {
        request.metadata_mut().insert(*key, value.parse().unwrap());
    }
    request
}

/// What came of a call.
pub(crate) fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    let limited = async {
        let late = || Status::deadline_exceeded("no answer in time");
        tokio::time::timeout(DEADLINE * 2, call).await.unwrap_or_else(|_| Err(late()))
    };
    runtime().block_on(limited).map(Response::into_inner)
}

/// The stable code of a refusal, or else the words of its gRPC code.
pub(crate) fn refusal<T>(answer: Result<T, Status>) -> String {
    let status = answer.err().expect("the call is refused");
    stable_code(&status).unwrap_or_else(|| format!("{:?}", status.code()))
}

/// GET on a management port: status and body.
pub(crate) fn https_get(node: &Node, path: &str, token: &str) -> (u16, String) {
    let connector = TlsConnector::from(tls(node, None, b"http/1.1"));
    let address: SocketAddr = node.http;
    let question = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    let exchange = async move {
        let stream = TcpStream::connect(address).await?;
        let mut stream = connector.connect(ServerName::from(address.ip()), stream).await?;
        stream.write_all(question.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let limited = async { tokio::time::timeout(DEADLINE, exchange).await };
    let answer = runtime().block_on(limited).unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
