//! The operations port: one GET without TLS, as a probe of an orchestrator makes it.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{Failure, Result};

const DEADLINE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Asks for a path. HTTP/1.0 is spoken, so the body ends where the connection ends.
///
/// # Errors
/// There was no answer, or it is not HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<Reply> {
    let failed =
        |reason: String| Failure::Http { address: address.to_string(), path: path.to_owned(), reason };
    let exchange = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: */*\r\n\r\n")?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = exchange().map_err(|cause| failed(cause.to_string()))?;
    parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| failed("the answer is not HTTP".to_owned()))
}

fn parse(text: &str) -> Option<Reply> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_read() {
        let reply = parse("HTTP/1.0 503 Service Unavailable\r\na: b\r\n\r\nno leader\n").unwrap();
        assert_eq!(reply, Reply { status: 503, body: "no leader\n".to_owned() });
        assert_eq!(parse("SSH-2.0\r\n\r\n"), None);
    }
}
