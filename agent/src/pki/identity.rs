//! Who a certificate says its holder is.
//!
//! A node certificate has two names of ours beside the addresses: a DNS name that callers check
//! (`node-<id>.<cluster>.quorate.internal`), and a URI that receivers read
//! (`quorate://<cluster>/<epoch>/<role>/<node>`).

use std::fmt;

use quorate_license::{ClusterId, NodeId, NodeRole};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use super::PkiError;

/// Who a node certificate was issued to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// Number of the epoch in which it was issued.
    pub epoch_number: u32,
    /// The node's role.
    pub role: NodeRole,
    /// The node.
    pub node: NodeId,
}

impl PeerIdentity {
    /// Reads the identity from a certificate that was verified before.
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => Self::from_uri(uri),
            _ => None,
        })
    }

    /// Reads the identity from a PEM certificate.
    ///
    /// # Errors
    /// [`PkiError::Pem`] if the text is no certificate.
    pub fn from_pem(pem: &str) -> Result<Option<Self>, PkiError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|error| PkiError::Pem { what: "node certificate", reason: error.to_string() })?;
        Ok(Self::from_certificate(&der))
    }

    fn from_uri(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix("quorate://")?.split('/');
        let identity = PeerIdentity {
            cluster_id: parts.next()?.parse().ok()?,
            epoch_number: parts.next()?.parse().ok()?,
            role: parts.next()?.parse().ok()?,
            node: NodeId(parts.next()?.parse().ok()?),
        };
        parts.next().is_none().then_some(identity)
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "quorate://{}/{}/{}/{}", self.cluster_id, self.epoch_number, self.role, self.node)
    }
}

/// The DNS name by which callers know a node, wherever it is.
pub fn internal_name(cluster_id: &ClusterId, node: NodeId) -> String {
    format!("node-{node}.{cluster_id}.quorate.internal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_comes_back_from_its_uri() {
        let identity = PeerIdentity {
            cluster_id: ClusterId([3; 16]),
            epoch_number: 1,
            role: NodeRole::Spooler,
            node: NodeId::new(1, 4),
        };
        assert_eq!(PeerIdentity::from_uri(&identity.to_string()), Some(identity));
        for wrong in ["", "quorate://", "https://x", &format!("{identity}/more"), "quorate://zz/1/spooler/4"]
        {
            assert_eq!(PeerIdentity::from_uri(wrong), None, "{wrong}");
        }
    }
}
