//! Where the License Portal is, and how it is reached.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use hyper::Uri;
use serde::{Serialize, Serializer};

use super::{
    ConfigError,
    raw::{Given, RawPortal},
};

const DEFAULT_TIMEOUT_SECONDS: u64 = 30;

/// The License Portal.
#[derive(Debug, Clone, Serialize)]
pub struct Portal {
    /// Its address: `https`, without a slash at its end.
    pub url: String,
    /// The CA that signed its certificate; `None`: the public ones.
    pub ca_file: Option<PathBuf>,
    /// The proxy on the way to it.
    pub proxy: Option<ProxyUrl>,
    /// How long one request may take.
    #[serde(rename = "timeout_seconds", serialize_with = "as_seconds")]
    pub timeout: Duration,
}

/// A proxy's address. It may hold a user's name and password, which are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(String);

/// The text is no proxy's address. Doesn't quote it, because it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a proxy is http://, https://, socks5:// or socks5h://, then host:port")]
pub struct ParseProxyUrlError;

impl ProxyUrl {
    /// The whole address, credentials included. For the client that connects; never for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProxyUrl {
    type Err = ParseProxyUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: Uri = text.parse().map_err(|_| ParseProxyUrlError)?;
        let known = matches!(uri.scheme_str(), Some("http" | "https" | "socks5" | "socks5h"));
        let host = uri.host().is_some_and(|host| !host.is_empty());
        if known && host && matches!(uri.path(), "" | "/") && uri.query().is_none() {
            Ok(ProxyUrl(text.to_owned()))
        } else {
            Err(ParseProxyUrlError)
        }
    }
}

impl fmt::Display for ProxyUrl {
    /// The address with credentials taken out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.split_once("://"), self.0.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => write!(f, "{scheme}://redacted@{host}"),
            _ => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

impl Serialize for ProxyUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Applies the rules of `[portal]`.
pub(super) fn check(raw: RawPortal, given: &Given<'_>) -> Result<Option<Portal>, ConfigError> {
    let Some(url) = raw.url else {
        let others = [raw.ca_file.is_some(), raw.proxy.is_some(), raw.timeout_seconds.is_some()];
        return if others.contains(&true) {
            Err(given.missing("portal", "url", "url = \"https://portal.example.com\""))
        } else {
            Ok(None)
        };
    };
    let timeout =
        given.number("portal", "timeout_seconds", raw.timeout_seconds, DEFAULT_TIMEOUT_SECONDS, 1..=600)?;
    Ok(Some(Portal {
        url: portal_url(&url).map_err(|rule| given.wrong("portal", "url", rule))?,
        ca_file: raw.ca_file.map(|file| given.path(file)),
        proxy: given.parsed("portal", "proxy", raw.proxy)?,
        timeout: Duration::from_secs(timeout),
    }))
}

fn portal_url(text: &str) -> Result<String, &'static str> {
    const RULE: &str = "it is https://, then a host, with a port if it is not 443";
    let uri: Uri = text.parse().map_err(|_| RULE)?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("it must not hold a user's name or password");
    }
    if uri.scheme_str() == Some("http") {
        return Err("it begins with http://, but activation keys are only sent over TLS; write https://");
    }
    let host = uri.host().is_some_and(|host| !host.is_empty());
    if uri.scheme_str() != Some("https") || !host || uri.query().is_some() || text.contains('#') {
        return Err(RULE);
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn as_seconds<S: Serializer>(timeout: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(timeout.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portal_addresses_are_https_without_credentials() {
        assert_eq!(
            portal_url("https://portal.example.com:7600/"),
            Ok("https://portal.example.com:7600".into())
        );
        assert_eq!(portal_url("https://example.com/licensing"), Ok("https://example.com/licensing".into()));
        for wrong in [
            "",
            "portal",
            "http://portal.example.com",
            "https://",
            "https://u:p@portal",
            "https://p?x=1",
            "ftp://p",
        ] {
            assert!(portal_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn credentials_of_a_proxy_are_never_printed() {
        let proxy: ProxyUrl = "http://user:s3cret@proxy.example.com:3128".parse().unwrap();
        assert_eq!(proxy.to_string(), "http://redacted@proxy.example.com:3128");
        assert!(!format!("{proxy:?}").contains("s3cret"));
        assert_eq!(serde_json::to_string(&proxy).unwrap(), "\"http://redacted@proxy.example.com:3128\"");
        assert!(proxy.expose().contains("s3cret"));
        let plain: ProxyUrl = "socks5h://127.0.0.1:1080".parse().unwrap();
        assert_eq!(plain.to_string(), "socks5h://127.0.0.1:1080");
        for wrong in ["", "proxy:3128", "ftp://proxy", "http://", "http://proxy/path"] {
            assert_eq!(wrong.parse::<ProxyUrl>(), Err(ParseProxyUrlError), "{wrong}");
        }
    }
}
