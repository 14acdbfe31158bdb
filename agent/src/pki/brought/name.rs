//! The name that a brought certificate gives a node: a URI among its alternative names.
//!
//! ```text
//! quorate://DOMAIN/ROLE/NAME    quorate://corp.example.com/management/ms-1
//! ```
//!
//! DOMAIN is the organisation's word for whom its CA certifies; the cluster does not judge it. A certificate may hold
//! several such names, so that a node can be renamed without a moment at which its certificate names it wrongly.

use std::{fmt, str::FromStr};

use quorate_license::{NodeName, NodeRole};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

const SCHEME: &str = "quorate://";
/// What a DNS name may have.
const LONGEST_DOMAIN: usize = 253;

/// A node by role and name, as a certificate names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtName {
    /// The trust domain.
    pub domain: String,
    /// The role.
    pub role: NodeRole,
    /// The node's name.
    pub name: NodeName,
}

/// The text is no name of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not quorate://DOMAIN/management/NAME or quorate://DOMAIN/spooler/NAME")]
pub struct ParseBroughtNameError;

impl FromStr for BroughtName {
    type Err = ParseBroughtNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.strip_prefix(SCHEME).ok_or(ParseBroughtNameError)?.split('/').collect();
        let [domain, role, name] = parts[..] else { return Err(ParseBroughtNameError) };
        let label = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
        if domain.is_empty() || domain.len() > LONGEST_DOMAIN || !domain.bytes().all(label) {
            return Err(ParseBroughtNameError);
        }
        Ok(BroughtName {
            domain: domain.to_owned(),
            role: role.parse().map_err(|_| ParseBroughtNameError)?,
            name: name.parse().map_err(|_| ParseBroughtNameError)?,
        })
    }
}

impl fmt::Display for BroughtName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.domain, self.role, self.name)
    }
}

impl BroughtName {
    /// The names that a certificate gives, DER; none if it is no certificate. Nothing of it is verified here.
    pub fn all(der: &[u8]) -> Vec<Self> {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
        let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
        let uri = |name: &GeneralName<'_>| match name {
            GeneralName::URI(uri) => uri.parse().ok(),
            _ => None,
        };
        names.value.general_names.iter().filter_map(uri).collect()
    }

    /// Whether it is this node's, whatever the domain.
    pub fn is(&self, role: NodeRole, name: &NodeName) -> bool {
        self.role == role && self.name == *name
    }
}

/// Names for a message.
pub fn listed(names: &[BroughtName]) -> String {
    if names.is_empty() {
        return "no node".to_owned();
    }
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_from_its_uri_and_nothing_else_is_one() {
        let name: BroughtName = "quorate://corp.example.com/spooler/sc-1".parse().unwrap();
        assert_eq!((name.domain.as_str(), name.role), ("corp.example.com", NodeRole::Spooler));
        assert_eq!(name.to_string().parse::<BroughtName>().unwrap(), name);
        assert!(name.is(NodeRole::Spooler, &"sc-1".parse().unwrap()));
        assert!(!name.is(NodeRole::Management, &"sc-1".parse().unwrap()));
        for wrong in [
            "",
            "quorate://",
            "quorate://corp/management",
            "quorate:///management/ms-1",
            "quorate://corp/voter/ms-1",
            "quorate://corp/management/",
            "quorate://corp/management/ms-1/more",
            "quorate://corp/management/ms 1",
            "quorate://co rp/management/ms-1",
            "QUORATE://corp/management/ms-1",
            "spiffe://corp/management/ms-1",
            // The cluster's own: cluster, epoch, role, id.
            "quorate://03030303030303030303030303030303/1/management/4",
        ] {
            assert_eq!(wrong.parse::<BroughtName>(), Err(ParseBroughtNameError), "{wrong}");
        }
        let long = format!("quorate://{}/management/ms-1", "a".repeat(254));
        assert!(long.parse::<BroughtName>().is_err());
    }

    #[test]
    fn every_name_of_a_certificate_is_found_beside_others() {
        let mut params = rcgen::CertificateParams::new(["ms-1.example.com".to_owned()]).unwrap();
        for uri in
            ["https://example.com", "quorate://corp/management/ms-1", "quorate://corp/management/alpha"]
        {
            params.subject_alt_names.push(rcgen::SanType::URI(uri.try_into().unwrap()));
        }
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let names = BroughtName::all(certificate.der());
        assert_eq!(listed(&names), "quorate://corp/management/ms-1 and quorate://corp/management/alpha");
        assert!(BroughtName::all(b"no certificate").is_empty());
    }
}
