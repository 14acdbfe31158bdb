//! Addresses: where the node listens, and where others reach it.

use std::net::SocketAddr;

use super::{ConfigError, Listen, raw::Given};

/// An address to listen on.
pub(super) fn listen(
    given: &Given<'_>,
    name: &'static str,
    text: Option<String>,
    default: &str,
) -> Result<SocketAddr, ConfigError> {
    let text = text.unwrap_or_else(|| default.to_owned());
    text.parse().map_err(|_| {
        let rule = format!("'{text}' is not an IP address with a port, like 0.0.0.0:7400 or [::]:7400");
        given.wrong("listen", name, rule)
    })
}

/// An address to listen on that only this host reaches.
pub(super) fn loopback(
    given: &Given<'_>,
    name: &'static str,
    text: Option<String>,
    default: &str,
) -> Result<SocketAddr, ConfigError> {
    let address = listen(given, name, text, default)?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    let rule = format!(
        "{address} can be reached from other hosts, and this port has no TLS; give a loopback address like 127.0.0.1:7401"
    );
    Err(given.wrong("listen", name, rule))
}

/// Refuses two listeners on one port.
pub(super) fn all_differ(given: &Given<'_>, listen: &Listen) -> Result<(), ConfigError> {
    let listeners =
        [("raft", listen.raft), ("grpc", listen.grpc), ("http", listen.http), ("ops", listen.ops)];
    for (index, (name, address)) in listeners.iter().enumerate() {
        for (other_name, other) in &listeners[..index] {
            if collide(*address, *other) {
                let rule = format!("{address} is taken by listen.{other_name} ({other}); give another port");
                return Err(given.wrong("listen", name, rule));
            }
        }
    }
    if listen.socket == listen.admin_socket {
        let rule = "listen.socket names the same file; give the two sockets different names";
        return Err(given.wrong("listen", "admin_socket", rule));
    }
    Ok(())
}

/// Where others reach a listener, as `host:port`.
pub(super) fn advertise(
    given: &Given<'_>,
    name: &'static str,
    text: Option<String>,
    listen: SocketAddr,
) -> Result<String, ConfigError> {
    match text {
        Some(text) => match host_and_port(&text) {
            Ok(()) => Ok(text),
            Err(rule) => Err(given.wrong("advertise", name, format!("'{text}' {rule}"))),
        },
        None if listen.ip().is_unspecified() || listen.port() == 0 => Err(given.wrong(
            "advertise",
            name,
            format!(
                "listen.{name} is {listen}, which is no address that other nodes can call; give the host's name or address with its port, like ms-1.example.com:{}",
                if listen.port() == 0 { 7400 } else { listen.port() }
            ),
        )),
        None => Ok(listen.to_string()),
    }
}

/// Port 0 takes a free one, so it never collides.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && (one.ip() == other.ip() || everywhere)
}

/// Checks a `host:port` that others are to call; the error is the rule it breaks.
fn host_and_port(text: &str) -> Result<(), String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match (address.ip().is_unspecified(), address.port()) {
            (true, _) => Err("is no address that others can call; give the host's own".to_owned()),
            (_, 0) => Err("has port 0; give the port that others call".to_owned()),
            _ => Ok(()),
        };
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("has no port; write host:port".to_owned());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || host.len() > 253 || !host.chars().all(plain) {
        return Err("has no usable host name; write host:port, an IPv6 address in brackets".to_owned());
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(()),
        _ => Err("has no usable port; it is 1 to 65535".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_from_what_only_looks_like_them() {
        for good in ["ms-1:7400", "ms-1.example.com:7400", "10.0.0.1:1", "[fd00::1]:7400"] {
            assert_eq!(host_and_port(good), Ok(()), "{good}");
        }
        for wrong in [
            "",
            "ms-1",
            ":7400",
            "ms-1:0",
            "ms-1:70000",
            "https://ms-1:7400",
            "0.0.0.0:7400",
            "[::]:1",
            "fd00::1:7400",
            "a b:1",
            "10.0.0.1:0",
        ] {
            assert!(host_and_port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_collide_on_one_port_of_one_interface() {
        for (one, other, expected) in [
            ("127.0.0.1:7400", "127.0.0.1:7400", true),
            ("0.0.0.0:7400", "127.0.0.1:7400", true),
            ("127.0.0.2:7400", "127.0.0.1:7400", false),
            ("127.0.0.1:7400", "127.0.0.1:7401", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(collide(one.parse().unwrap(), other.parse().unwrap()), expected, "{one} {other}");
        }
    }
}
