//! WebDriver's wire: JSON over HTTP/1.1 on the loopback interface, one connection for each command.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use crate::{Failure, Result};

/// Starting Chromium on a busy machine takes the longest.
const DEADLINE: Duration = Duration::from_secs(90);

pub(super) fn get(driver: SocketAddr, path: &str) -> Result<Value> {
    command(driver, "GET", path, "")
}

pub(super) fn post(driver: SocketAddr, path: &str, body: &Value) -> Result<Value> {
    command(driver, "POST", path, &body.to_string())
}

pub(super) fn delete(driver: SocketAddr, path: &str) -> Result<Value> {
    command(driver, "DELETE", path, "")
}

/// The field `value` of the answer.
fn command(driver: SocketAddr, method: &str, path: &str, body: &str) -> Result<Value> {
    let failed =
        |reason: String| Failure::Http { address: driver.to_string(), path: path.to_owned(), reason };
    let exchange = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&driver, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {driver}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        read_reply(&mut stream)
    };
    let body = exchange().map_err(|cause| failed(cause.to_string()))?;
    let mut answer: Value =
        serde_json::from_str(&body).map_err(|cause| failed(format!("{cause}: {body}")))?;
    match answer["value"].take() {
        Value::Object(refusal) if refusal.contains_key("error") => {
            let said = |field: &str| refusal.get(field).and_then(Value::as_str).unwrap_or_default();
            // What follows the first line is a stack trace.
            let message = said("message").lines().next().unwrap_or_default();
            Err(failed(format!("{}: {message}", said("error"))))
        }
        value => Ok(value),
    }
}

/// The body, by its announced length: the driver may keep the connection open.
fn read_reply(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        if let Some(body) = complete(&bytes) {
            return Ok(String::from_utf8_lossy(body).into_owned());
        }
        match stream.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

/// The body of a reply of which all is there.
fn complete(bytes: &[u8]) -> Option<&[u8]> {
    let head_bytes = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..head_bytes]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    let from = head_bytes + 4;
    bytes.get(from..from + length.trim().parse::<usize>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_complete_when_its_length_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"value\":null}";
        assert_eq!(complete(whole), Some(&b"{\"value\":null}"[..]));
        assert_eq!(complete(&whole[..whole.len() - 1]), None);
        assert_eq!(complete(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n"), None);
    }
}
