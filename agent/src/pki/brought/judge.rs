//! Who shows itself in a handshake, by both of its certificates.

use std::sync::Arc;

use quorate_license::{NodeName, NodeRole, Timestamp};
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{BroughtName, BroughtTrust, listed, unix_time};
use crate::pki::{PeerIdentity, tls::reason};

/// Which certificates other nodes have to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BroughtPolicy {
    /// The cluster's, and one of the administrator's.
    Required,
    /// The cluster's; a brought one has to be right where there is one. While a cluster is changed over.
    Accepted,
}

/// What is wrong with how a node of the cluster shows itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It shows the cluster's certificate alone.
    #[error("it shows no certificate of the organisation's CA (tls.ca_file) beside the cluster's own")]
    NotBrought,
    /// The brought certificate is of another CA, or has ended.
    #[error("its certificate is not of a CA in this node's tls.ca_file: {0}")]
    OtherCa(String),
    /// The brought certificate names no node.
    #[error("its certificate names no node: the URI quorate://DOMAIN/{role}/NAME is missing")]
    Nameless {
        /// The role that the cluster knows.
        role: NodeRole,
    },
    /// The brought certificate names another node, or another role.
    #[error("its certificate names {names}, and the cluster knows it as {known}, {role}")]
    OtherName {
        /// Whom it names.
        names: String,
        /// The name by which the cluster knows it, or for which it has certified the key.
        known: String,
        /// The role that the cluster knows.
        role: NodeRole,
    },
}

impl Flaw {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Flaw::NotBrought => "certificate_not_brought",
            Flaw::OtherCa(_) => "certificate_of_other_ca",
            Flaw::Nameless { .. } => "certificate_names_no_node",
            Flaw::OtherName { .. } => "certificate_names_other_node",
        }
    }

    /// What to do.
    pub const fn hint(&self) -> &'static str {
        match self {
            Flaw::NotBrought => {
                "give that node tls.certificate_file, tls.key_file and tls.ca_file; while a cluster is changed over, \
                 tls.node_certificates = \"any\" lets nodes without them in"
            }
            Flaw::OtherCa(_) => {
                "have the certificate made by a CA in tls.ca_file, or add its CA there on every node"
            }
            Flaw::Nameless { .. } | Flaw::OtherName { .. } => {
                "have a certificate made with the URI quorate://DOMAIN/ROLE/NAME of the node itself"
            }
        }
    }
}

/// Who is at the other end of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// The node, by the cluster's certificate.
    pub identity: PeerIdentity,
    /// What is wrong with its brought one, by this node's policy.
    pub flaw: Option<Flaw>,
}

/// The cluster's certificate in what is shown: the first one itself, or another one for the same key. Whoever has
/// proved to have that key has proved both. Verifiers verify this one, and readers read it.
pub(in crate::pki) fn cluster_certificate<'c, 'd>(
    leaf: &'c CertificateDer<'d>,
    others: &'c [CertificateDer<'d>],
) -> Option<&'c CertificateDer<'d>> {
    if PeerIdentity::from_certificate(leaf).is_some() {
        return Some(leaf);
    }
    let (_, shown) = X509Certificate::from_der(leaf).ok()?;
    let same_key = |other: &&CertificateDer<'d>| {
        X509Certificate::from_der(other)
            .is_ok_and(|(_, other)| other.public_key().raw == shown.public_key().raw)
    };
    others.iter().filter(same_key).find(|other| PeerIdentity::from_certificate(other).is_some())
}

/// The name for which the cluster has certified a key, if it has for one.
pub(in crate::pki) fn certified_name(certificate: &[u8], identity: &PeerIdentity) -> Option<NodeName> {
    let domain = identity.cluster_id.to_string();
    let mut names = BroughtName::all(certificate).into_iter();
    names.find(|name| name.domain == domain && name.role == identity.role).map(|name| name.name)
}

/// By this machine's clock, or by the cluster's time: a clock that is set wrong cuts nobody off. What the first finds wrong
/// is told.
fn by_either<E>(times: [Timestamp; 2], check: impl Fn(UnixTime) -> Result<(), E>) -> Result<(), E> {
    let [here, cluster] = times.map(unix_time);
    check(here).or_else(|wrong| check(cluster).map_err(|_| wrong))
}

/// What is wrong with a brought certificate of a node that is no member yet. `times` are this machine's and the cluster's.
pub(in crate::pki) fn check_brought(
    chain: &[CertificateDer<'_>],
    (role, name): (NodeRole, &NodeName),
    policy: Option<(BroughtPolicy, &Arc<BroughtTrust>)>,
    times: [Timestamp; 2],
) -> Result<(), Flaw> {
    let Some((leaf, others)) = chain.split_first() else {
        return match policy {
            Some((BroughtPolicy::Required, _)) => Err(Flaw::NotBrought),
            _ => Ok(()),
        };
    };
    if let Some((_, trust)) = policy {
        let both =
            |now| trust.check_server(leaf, others, now).and_then(|()| trust.check_client(leaf, others, now));
        by_either(times, both).map_err(|error| Flaw::OtherCa(reason(&error)))?;
    }
    let names = BroughtName::all(leaf);
    if names.is_empty() {
        return Err(Flaw::Nameless { role });
    }
    if names.iter().any(|one| one.is(role, name)) {
        return Ok(());
    }
    Err(Flaw::OtherName { names: listed(&names), known: name.to_string(), role })
}

/// At which end of a connection a node shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It was called.
    Server,
    /// It calls.
    Client,
}

/// Judges what was shown in a handshake. The verifiers have let it through: the cluster's certificate is right, and the
/// key is there. Whether the brought one is, is looked at here, so that a node hears why it is refused. `times` are this
/// machine's and the cluster's.
pub(in crate::pki) fn judge(
    chain: &[CertificateDer<'_>],
    side: Side,
    policy: Option<(BroughtPolicy, &Arc<BroughtTrust>)>,
    times: [Timestamp; 2],
) -> Option<Presented> {
    let (leaf, others) = chain.split_first()?;
    let cluster = cluster_certificate(leaf, others)?;
    let identity = PeerIdentity::from_certificate(cluster)?;
    let flaw = policy.and_then(|(policy, trust)| {
        if cluster == leaf {
            return (policy == BroughtPolicy::Required).then_some(Flaw::NotBrought);
        }
        let check = |now| match side {
            Side::Server => trust.check_server(leaf, others, now),
            Side::Client => trust.check_client(leaf, others, now),
        };
        if let Err(error) = by_either(times, check) {
            return Some(Flaw::OtherCa(reason(&error)));
        }
        let names = BroughtName::all(leaf);
        if names.is_empty() {
            return Some(Flaw::Nameless { role: identity.role });
        }
        let known = certified_name(cluster, &identity);
        let right =
            known.as_ref().is_some_and(|known| names.iter().any(|name| name.is(identity.role, known)));
        (!right).then(|| Flaw::OtherName {
            names: listed(&names),
            known: known.map_or_else(|| format!("node {}", identity.node), |name| name.to_string()),
            role: identity.role,
        })
    });
    Some(Presented { identity, flaw })
}
