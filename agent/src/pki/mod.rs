//! The cluster's public-key infrastructure: its CA, the nodes' certificates, tokens, TLS settings.

mod authority;
mod identity;
mod tls;
mod token;

pub use authority::{Authority, CertificateSubject, NodeTlsKey, PkiError, ca_fingerprint};
pub use identity::{PeerIdentity, internal_name};
pub use tls::{NodeTls, install_crypto_provider, pinned_client, server_config, trusting_client};
pub use token::{AdminToken, JoinToken, ParseTokenError, secret_hash};
