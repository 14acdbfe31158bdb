//! The way to the portal: through a proxy that asks for a password, under a CA of one's own, with retries.

#![allow(
    clippy::disallowed_methods,
    reason = "the tasks of these servers end with the runtime of their test"
)]

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use data_encoding::BASE64;
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Reads a request's head, and its body if it has a length.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.unwrap_or(0);
        text.extend_from_slice(&buffer[..read]);
        let head = String::from_utf8_lossy(&text).into_owned();
        let length = head
            .to_lowercase()
            .split_once("content-length: ")
            .and_then(|(_, rest)| rest.split("\r\n").next()?.parse::<usize>().ok())
            .unwrap_or(0);
        let end = head.find("\r\n\r\n").map(|at| at + 4);
        if read == 0 || end.is_some_and(|end| text.len() >= end + length) {
            return head;
        }
    }
}

/// An HTTPS server that gives these answers, one after the other; the last one again and again.
struct Server {
    port: u16,
    ca_file: tempfile::NamedTempFile,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn serve(answers: &'static [&'static str]) -> Server {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let ca_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca_file.path(), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    tokio::spawn(async move {
        for count in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let request = read_request(&mut stream).await;
            seen.lock().unwrap().push(request);
            let answer = answers.get(count).or(answers.last()).copied().unwrap_or_default();
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    Server { port, ca_file, asked }
}

/// A proxy that opens tunnels for whoever shows `anna:secret`.
async fn proxy(tunnels: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let tunnels = tunnels.clone();
            tokio::spawn(async move {
                let request = read_request(&mut stream).await;
                let shown = format!("basic {}", BASE64.encode(b"anna:secret"));
                if !request.to_lowercase().contains(&shown.to_lowercase()) {
                    let refused = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
                    let _ = stream.write_all(refused.as_bytes()).await;
                    return;
                }
                let target = request.split(' ').nth(1).unwrap().replace("localhost", "127.0.0.1");
                let mut portal = TcpStream::connect(target).await.unwrap();
                tunnels.fetch_add(1, Ordering::SeqCst);
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut portal).await;
            });
        }
    });
    port
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const REFUSED: &str = "HTTP/1.1 422 Unprocessable Entity\r\ncontent-length: 46\r\nconnection: close\r\n\r\n{\"code\":\"no\",\"message\":\"no such thing\",\"a\":1}\n";

fn config(server: &Server, proxy: Option<String>, timeout: u64) -> config::Portal {
    config::Portal {
        url: format!("https://localhost:{}", server.port),
        ca_file: Some(server.ca_file.path().to_owned()),
        proxy: proxy.map(|proxy| proxy.parse().unwrap()),
        timeout: Duration::from_secs(timeout),
    }
}

async fn portal(config: &config::Portal) -> Portal {
    Portal::new(config, Arc::new(Metrics::new().unwrap())).await.unwrap()
}

#[tokio::test]
async fn a_proxy_with_a_password_leads_to_a_portal_under_a_ca_of_ones_own() {
    let server = serve(&[OK]).await;
    let tunnels = Arc::new(AtomicUsize::new(0));
    let proxy = proxy(tunnels.clone()).await;
    let with = |user: &str| config(&server, Some(format!("http://{user}127.0.0.1:{proxy}")), 5);

    portal(&with("anna:secret@")).await.report("{\"version\":1}".to_owned()).await.unwrap();
    assert_eq!(tunnels.load(Ordering::SeqCst), 1);
    let asked = server.asked.lock().unwrap().clone();
    assert!(asked[0].starts_with("POST /v1/telemetry "), "{}", asked[0]);
    assert!(asked[0].ends_with("{\"version\":1}") && !asked[0].contains("secret"), "{}", asked[0]);

    // Without the password nothing gets through, and the reason says whose fault it is.
    let error = portal(&with("")).await.report("{}".to_owned()).await.unwrap_err();
    assert!(matches!(&error, PortalError::Barred { by: Barrier::Proxy, .. }), "{error:?}");
    assert!(error.to_string().to_lowercase().contains("proxy"), "{error}");
    assert_eq!((tunnels.load(Ordering::SeqCst), server.asked.lock().unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_portal_under_another_ca_is_not_spoken_to() {
    let (server, other) = (serve(&[OK]).await, serve(&[OK]).await);
    let config =
        config::Portal { ca_file: Some(other.ca_file.path().to_owned()), ..config(&server, None, 5) };
    let error = portal(&config).await.report("{}".to_owned()).await.unwrap_err();
    assert!(matches!(&error, PortalError::Barred { by: Barrier::Certificate, .. }), "{error:?}");
    assert_eq!(server.asked.lock().unwrap().len(), 0);
    let said = ApiError::from(error);
    assert_eq!(said.code, "portal_unreachable");
    assert!(said.hint.contains("portal.ca_file"), "{said:?}");
}

#[tokio::test]
async fn a_busy_portal_is_asked_again_when_it_wants_to_be() {
    let server = serve(&[BUSY, OK]).await;
    let begun = tokio::time::Instant::now();
    portal(&config(&server, None, 20)).await.report("{}".to_owned()).await.unwrap();
    assert_eq!(server.asked.lock().unwrap().len(), 2);
    assert!(begun.elapsed() >= Duration::from_secs(1), "it asked for a second: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_refusal_is_final_and_a_report_is_given_up_in_the_end() {
    let server = serve(&[REFUSED]).await;
    let error = portal(&config(&server, None, 5)).await.report("{}".to_owned()).await.unwrap_err();
    assert!(matches!(&error, PortalError::Refused { code, .. } if code == "no"), "{error}");
    assert_eq!(server.asked.lock().unwrap().len(), 1);

    let server = serve(&["HTTP/1.1 500 Broken\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"]).await;
    portal(&config(&server, None, 5)).await.report("{}".to_owned()).await.unwrap_err();
    assert_eq!(server.asked.lock().unwrap().len(), REPORT_ATTEMPTS);
}

#[test]
fn a_portal_may_ask_for_a_longer_pause_within_reason() {
    let error = |seconds: Option<u64>| PortalError::Unreachable {
        url: String::new(),
        reason: String::new(),
        retry_after: seconds.map(Duration::from_secs),
    };
    let ours = Some(Duration::from_secs(2));
    for (asked, expected) in [(None, 2), (Some(1), 2), (Some(7), 7), (Some(86_400), 60)] {
        assert_eq!(error(asked).pause(ours), Some(Duration::from_secs(expected)), "{asked:?}");
    }
    assert_eq!(error(Some(7)).pause(None), None, "the last attempt was the last");
}
