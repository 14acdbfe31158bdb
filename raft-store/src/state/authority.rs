//! The rotation of the cluster's CA, and what every node has told about its certificate.
//!
//! ```text
//! Settled ── RotateCa ──> Trusting ── every node trusts both ──> Issuing ── every node has a certificate
//!    ^                    the old CA issues                      the new CA issues      of the new one ──┐
//!    └────────────────────────── the old CA is forgotten, and trusted by nobody ────────────────────────┘
//! ```

use std::fmt;

use quorate_license::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Node, State};
use crate::seal::Sealed;

/// SHA-256 of a CA's certificate: what join tokens carry, and how nodes tell CAs apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CaFingerprint(pub [u8; 32]);

impl fmt::Display for CaFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CaFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaFingerprint({self})")
    }
}

/// How far the rotation of the CA is. The CA that issues stands in the cluster's own row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaRotation {
    /// Counts every change of whom nodes trust. It never goes back, so a node that replays an older log is not
    /// led back to an older CA.
    pub version: u64,
    /// The CA in the cluster's row.
    pub current: CaFingerprint,
    /// Where it stands.
    pub phase: CaPhase,
    /// When this phase began.
    pub changed_at: Timestamp,
    /// When the last rotation began.
    pub started_at: Timestamp,
    /// Who asked for it, in words.
    pub requested_by: String,
}

/// Where a rotation stands. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CaPhase {
    /// There is one CA, and all nodes have certificates of it.
    Settled {
        /// The CA before it.
        previous: CaFingerprint,
    },
    /// The new CA is trusted beside the old one, which issues.
    Trusting(NextCa),
    /// The new CA issues; the old one is still trusted.
    Issuing(PreviousCa),
}

/// The CA that is to issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextCa {
    /// Its certificate, PEM.
    pub certificate: String,
    /// The hash of it.
    pub fingerprint: CaFingerprint,
    /// Its private key, PEM, sealed to the management key.
    pub sealed_key: Sealed,
    /// Certificates of each CA by the other one, PEM: whoever trusts one of them believes the other.
    pub bridges: Vec<String>,
}

/// The CA that has issued before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousCa {
    /// Its certificate, PEM.
    pub certificate: String,
    /// The hash of it.
    pub fingerprint: CaFingerprint,
    /// See [`NextCa::bridges`].
    pub bridges: Vec<String>,
}

/// What a node has told about the certificate that it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCertificate {
    /// Its serial number, hexadecimal.
    pub serial: String,
    /// The CA that issued it; none if it is none of the cluster's.
    pub issuer: Option<CaFingerprint>,
    /// From then on it is valid.
    pub not_before: Timestamp,
    /// Until then.
    pub not_after: Timestamp,
    /// The cluster's CAs that the node trusts.
    pub trusts: Vec<CaFingerprint>,
    /// When it was told.
    pub reported_at: Timestamp,
}

impl CaRotation {
    /// Whether a rotation is under way.
    pub fn is_under_way(&self) -> bool {
        !matches!(self.phase, CaPhase::Settled { .. })
    }

    /// Whether a node that shows this certificate, and trusts these CAs, is as far as this phase asks for.
    fn is_done_by(&self, certificate: &NodeCertificate) -> bool {
        match &self.phase {
            CaPhase::Settled { .. } => true,
            CaPhase::Trusting(next) => certificate.trusts.contains(&next.fingerprint),
            CaPhase::Issuing(_) => certificate.issuer.is_none_or(|issuer| issuer == self.current),
        }
    }
}

impl State {
    /// The last rotation of the CA; none if there never was one.
    pub fn ca_rotation(&self) -> Option<&CaRotation> {
        self.ca_rotation.get(&super::Only)
    }

    /// Counts the changes of whom nodes trust; 0 with the CA that the cluster began with.
    pub fn trust_version(&self) -> u64 {
        self.ca_rotation().map_or(0, |rotation| rotation.version)
    }

    /// The certificates of the CAs that nodes trust, PEM, the one that issues first.
    pub fn trusted_cas(&self) -> Vec<&str> {
        let issuing = self.cluster().map(|cluster| cluster.ca_certificate.as_str());
        let other = self.ca_rotation().and_then(|rotation| match &rotation.phase {
            CaPhase::Settled { .. } => None,
            CaPhase::Trusting(next) => Some(next.certificate.as_str()),
            CaPhase::Issuing(previous) => Some(previous.certificate.as_str()),
        });
        issuing.into_iter().chain(other).collect()
    }

    /// Certificates of each CA by the other one, while a rotation is under way.
    pub fn ca_bridges(&self) -> &[String] {
        match self.ca_rotation().map(|rotation| &rotation.phase) {
            Some(CaPhase::Trusting(next)) => &next.bridges,
            Some(CaPhase::Issuing(previous)) => &previous.bridges,
            _ => &[],
        }
    }

    /// What each member has told about its certificate.
    pub fn certificates(&self) -> &super::Table<NodeId, NodeCertificate> {
        &self.certificates
    }

    /// The members for which the rotation of the CA waits.
    pub fn rotation_waits_for(&self) -> Vec<&Node> {
        let Some(rotation) = self.ca_rotation() else { return Vec::new() };
        let is_done = |node: &&Node| {
            let told = self.certificates.get(&node.id);
            told.is_some_and(|certificate| rotation.is_done_by(certificate))
        };
        self.nodes.values().filter(|node| rotation.is_under_way() && !is_done(node)).collect()
    }
}
