//! The cluster's public-key infrastructure: its CA, the nodes' certificates, tokens, TLS settings.

mod authority;
mod brought;
mod facts;
mod identity;
mod joining;
mod shown;
mod tls;
mod token;
mod web;

pub use authority::{Authority, Beside, CertificateSubject, NodeTlsKey, PkiError, ca_fingerprint};
pub use brought::{
    Brought, BroughtFiles, BroughtName, BroughtPolicy, CertificateFiles, FilesError, Flaw, Material, Pair,
    Presented, Side, Watched, listed,
};
pub use facts::CertificateFacts;
pub use identity::{PeerIdentity, internal_name};
pub use joining::{NotManagement, pinned_client};
pub use tls::{NodeTls, ca_certificates, install_crypto_provider, trusting_client};
pub use token::{AdminToken, JoinToken, ParseTokenError, secret_hash};
pub use web::FileCertificate;
