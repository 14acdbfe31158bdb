//! Signing certificates: what only Management Servers can.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use quorate_license::{DAY_MS, NodeId, NodeName, NodeRole, NodeSignature, SignatureDomain, Timestamp};
use quorate_limits::RateLimit;
use quorate_raft_store::{
    Refusal, State, Views,
    seal::{ManagementKey, Purpose},
};
use zeroize::Zeroizing;

use crate::{
    api::{ApiError, ErrorKind, removed},
    clock::{self, ClusterClock},
    data_dir::{NodeFile, Trusted},
    pki::{Authority, Beside, CertificateFacts, CertificateSubject, NodeTls, PeerIdentity},
    setup,
};

/// The longest certificate request that is read.
const MAX_REQUEST_BYTES: usize = 8192;
/// The longest chain of brought certificates that is read.
pub(crate) const MAX_CHAIN_BYTES: usize = 64 << 10;

/// Certificates a minute for one node. A node that renews as it should asks for far fewer in its life.
const CERTIFICATES_PER_MINUTE: u32 = 60;

/// Signs node certificates with the CA's key, which lies sealed in the replicated state.
pub struct Signer {
    views: Arc<Views>,
    own: Arc<NodeFile>,
    management_key: Option<ManagementKey>,
    lifetime: Duration,
    clock: ClusterClock,
    tls: NodeTls,
    issued: RateLimit<NodeId>,
}

/// A machine's clock that is further from the cluster's time makes no certificate valid for longer.
const CLOCKS_APART_MS: i64 = 3 * 365 * DAY_MS;

/// Whether certificates are made valid by this clock, beside the cluster's time.
pub(super) fn clocks_are_near(cluster_time: Timestamp, clock: Timestamp) -> bool {
    clock.ms_since(cluster_time).abs() <= CLOCKS_APART_MS
}

/// What a node signs with its identity key when it asks for a certificate.
pub(super) fn message(node: NodeId, request: &str) -> Vec<u8> {
    format!("{node}\n{request}").into_bytes()
}

/// Whom nodes trust by this state.
pub fn trusted(state: &State) -> Trusted {
    Trusted { version: state.trust_version(), certificates: state.trusted_cas().concat() }
}

impl Signer {
    /// The signer of this node. New certificates are valid for `lifetime`; `tls` judges what nodes bring.
    pub fn new(
        views: Arc<Views>,
        own: Arc<NodeFile>,
        management_key: Option<ManagementKey>,
        lifetime: Duration,
        (clock, tls): (ClusterClock, NodeTls),
    ) -> Self {
        let issued = RateLimit::new(CERTIFICATES_PER_MINUTE);
        Signer { views, own, management_key, lifetime, clock, tls, issued }
    }

    /// The management key.
    ///
    /// # Errors
    /// Refused: `not_a_management_server`.
    pub fn management_key(&self) -> Result<&ManagementKey, ApiError> {
        self.management_key.as_ref().ok_or_else(|| {
            ApiError::new(
                ErrorKind::Refused,
                "not_a_management_server",
                format!("{} is a Spooler Controller and holds no key of the cluster", self.own.name),
                "ask a Management Server",
            )
        })
    }

    /// The CA that issues, with its key.
    ///
    /// # Errors
    /// Refused on a Spooler Controller, and before the cluster's state is here.
    pub fn authority(&self, state: &State) -> Result<Authority, ApiError> {
        let cluster = state.cluster().ok_or(Refusal::NotInitialized)?;
        let key = self.management_key()?.open(Purpose::CaKey, &cluster.sealed_ca_key);
        let internal = |error: &dyn std::fmt::Display| {
            ApiError::new(
                ErrorKind::Internal,
                "internal",
                error.to_string(),
                "see the log of this Management Server",
            )
        };
        let key = key.map_err(|error| internal(&error))?;
        let key = String::from_utf8(key.to_vec()).map_err(|error| internal(&error))?;
        Ok(Authority::from_pem(cluster.ca_certificate.clone(), Zeroizing::new(key)))
    }

    /// Issues a certificate to this subject: valid by the cluster's time and, if the two are not too far apart, by this
    /// machine's clock.
    ///
    /// # Errors
    /// A request or a host name that no certificate can have.
    pub fn issue(
        &self,
        authority: &Authority,
        request: &str,
        subject: &CertificateSubject,
    ) -> Result<String, crate::pki::PkiError> {
        let now = self.clock.now();
        let other = clock::now();
        let other = if clocks_are_near(now, other) { other } else { now };
        authority.issue_between(request, subject, self.lifetime, (now.min(other), now.max(other)))
    }

    /// Judges the certificate that a node brings, PEM, or that it brings none.
    ///
    /// # Errors
    /// Refused: `certificate_not_brought`, `certificate_of_other_ca`, `certificate_names_no_node`,
    /// `certificate_names_other_node`.
    pub fn check_brought(&self, brought: &str, role: NodeRole, name: &NodeName) -> Result<(), ApiError> {
        self.tls.check_brought(brought, role, name).map_err(|flaw| {
            let message = format!("{} can't let {name} in: {flaw}", self.own.name);
            ApiError::new(ErrorKind::Refused, flaw.code(), message, flaw.hint())
        })
    }

    /// What a certificate has to say that is shown beside a brought one, PEM, and whose request is this.
    ///
    /// # Errors
    /// As [`Signer::check_brought`], and `certificate_request_malformed`.
    pub fn beside(
        &self,
        brought: &str,
        request: &str,
        role: NodeRole,
        name: &NodeName,
    ) -> Result<Beside, ApiError> {
        self.check_brought(brought, role, name)?;
        let facts = CertificateFacts::from_pem(brought, "brought certificate")?;
        if facts.is_for_request(request) {
            return Ok(Beside { name: name.clone(), not_after: facts.not_after });
        }
        Err(ApiError::new(
            ErrorKind::Invalid,
            "certificate_request_malformed",
            format!(
                "the certificate request of {name} is for another key than the certificate that it brings"
            ),
            "see the log of that node",
        ))
    }

    /// Issues a new certificate, PEM, to a member that proves with its identity key that it asks. If it brings one of its
    /// own, PEM, which has to name it by the name that it has now, the new one is for being shown beside that.
    ///
    /// # Errors
    /// `node_removed`, `node_unknown`, `signature_invalid`, `too_many_requests`, `certificate_request_malformed`; and as
    /// [`Signer::authority`] and [`Signer::check_brought`].
    pub fn renew(
        &self,
        node: NodeId,
        request: &str,
        signature: &NodeSignature,
        brought: &str,
    ) -> Result<String, ApiError> {
        let view = self.views.current();
        let state = &view.state;
        if state.is_gone(node) {
            return Err(removed(state, node));
        }
        let row = state.nodes().get(&node).ok_or(Refusal::NodeUnknown(node))?;
        let malformed = |reason: &dyn std::fmt::Display| {
            ApiError::new(
                ErrorKind::Invalid,
                "certificate_request_malformed",
                format!("the certificate request of {} can't be used: {reason}", row.name),
                "see the log of that node",
            )
        };
        if brought.len() > MAX_CHAIN_BYTES {
            return Err(malformed(&format!("what it brings is longer than {MAX_CHAIN_BYTES} bytes")));
        }
        if request.len() > MAX_REQUEST_BYTES {
            return Err(malformed(&format!("it is longer than {MAX_REQUEST_BYTES} bytes")));
        }
        row.key.verify(SignatureDomain::Certificate, &message(node, request), signature).map_err(|_| {
            ApiError::new(
                ErrorKind::Denied,
                "signature_invalid",
                format!("the certificate request is not signed by the node key of {}", row.name),
                "a copy or an older state of its data directory can't be used: join the computer anew",
            )
        })?;
        self.issued.count(node, Instant::now()).map_err(|wait| {
            ApiError::new(
                ErrorKind::Busy,
                "too_many_requests",
                format!(
                    "{} has asked for more than {CERTIFICATES_PER_MINUTE} certificates in a minute",
                    row.name
                ),
                format!("wait {} seconds", wait.as_secs() + 1),
            )
        })?;
        let beside = match brought {
            "" => None,
            brought => Some(self.beside(brought, request, row.role, &row.name)?),
        };
        let authority = self.authority(state)?;
        let subject = CertificateSubject {
            identity: PeerIdentity {
                cluster_id: self.own.cluster_id,
                epoch_number: self.own.epoch.number,
                role: row.role,
                node,
            },
            hosts: setup::certified_hosts(state, row.role, &row.addresses),
            beside,
        };
        self.issue(&authority, request, &subject).map_err(|error| malformed(&error))
    }
}
