//! The rotation of the cluster's CA: beginning it, leading it through its phases, and what it waits for.

use std::{sync::Arc, time::Duration};

use quorate_license::{NodeId, NodeName, Timestamp};
use quorate_raft_store::{
    Command, Outcome, Refusal, State,
    command::{AdvanceCa, RotateCa},
    seal::Purpose,
    state::{CaFingerprint, CaPhase, NextCa},
};
use tokio_util::sync::CancellationToken;

use super::Signer;
use crate::{
    api::{ApiError, Caller, ErrorKind},
    cluster::Cluster,
    pki::{Authority, CertificateFacts, ca_fingerprint},
    service::admission::unexpected,
};

const LOOK_AGAIN: Duration = Duration::from_secs(1);
const AFTER_CHANGE: Duration = Duration::from_millis(50);

/// How far the rotation of the CA is.
#[derive(Debug, Clone)]
pub struct CaStatus {
    /// The CA that issues.
    pub issuing: CaSummary,
    /// While a rotation is under way: the other CA that is trusted.
    pub other: Option<CaSummary>,
    /// `settled`, `trusting` or `issuing`.
    pub phase: &'static str,
    /// Counts the changes of whom nodes trust.
    pub version: u64,
    /// When the last rotation began, when its phase did, and who asked for it.
    pub asked: Option<(Timestamp, Timestamp, String)>,
    /// Which nodes it waits for.
    pub waits: Vec<CaWait>,
}

/// One CA.
#[derive(Debug, Clone)]
pub struct CaSummary {
    /// Its name.
    pub name: String,
    /// The hash of its certificate.
    pub fingerprint: CaFingerprint,
    /// From then on it is valid.
    pub not_before: Timestamp,
    /// Until then.
    pub not_after: Timestamp,
}

/// A node for which a rotation waits.
#[derive(Debug, Clone)]
pub struct CaWait {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
}

/// Begins a rotation of the CA, on a Management Server. Gives the version of its first phase.
///
/// # Errors
/// The refusal by name: `ca_rotation_in_progress`, `ca_rotation_outdated`, `feature_level_too_low`.
pub async fn rotate_ca(cluster: &Cluster, signer: &Signer, caller: &Caller) -> Result<u64, ApiError> {
    let view = cluster.view();
    let state = &view.state;
    if let Some(running) = state.ca_rotation().filter(|rotation| rotation.is_under_way()) {
        let (started_at, requested_by) = (running.started_at, running.requested_by.clone());
        return Err(Refusal::CaRotationInProgress { started_at, requested_by }.into());
    }
    let present = signer.authority(state)?;
    let id = state.cluster().ok_or(Refusal::NotInitialized)?.id;
    let version = state.trust_version();
    let next = Authority::create(&id, version + 1, cluster.clock().now())?;
    let sealed_key = signer
        .management_key()?
        .seal(Purpose::CaKey, next.expose_key().as_bytes())
        .map_err(|error| ApiError::new(ErrorKind::Internal, "internal", error.to_string(), "ask again"))?;
    let command = RotateCa {
        version,
        current: ca_fingerprint(present.certificate())?,
        next: NextCa {
            certificate: next.certificate().to_owned(),
            fingerprint: ca_fingerprint(next.certificate())?,
            sealed_key,
            bridges: vec![present.bridge(&next)?, next.bridge(&present)?],
        },
        requested_by: caller.name.clone(),
    };
    match cluster.propose(Command::RotateCa(command), &caller.asked_by).await?.result? {
        Outcome::CaRotated { version } => {
            tracing::info!(
                version,
                requested_by = caller.name,
                "a rotation of the CA has begun: nodes trust the new one as well"
            );
            Ok(version)
        }
        other => Err(unexpected(&other)),
    }
}

/// Leads a rotation of the CA through its phases, on the leader, until `stop`.
pub async fn keep_rotation(cluster: Arc<Cluster>, stop: CancellationToken) {
    let mut applied = cluster.views().subscribe();
    loop {
        let step = async {
            if cluster.leads() {
                advance(&cluster).await;
            }
            tokio::select! {
                _ = applied.changed() => tokio::time::sleep(AFTER_CHANGE).await,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = step => {}
        }
    }
}

/// Enters the next phase if every node is as far as this one asks for.
async fn advance(cluster: &Cluster) {
    let view = cluster.view();
    let Some(rotation) = view.state.ca_rotation().filter(|rotation| rotation.is_under_way()) else { return };
    if !view.state.rotation_waits_for().is_empty() {
        return;
    }
    let next = match &rotation.phase {
        CaPhase::Trusting(_) => "the new CA issues; nodes get certificates of it",
        _ => "the old CA is trusted no more; the rotation is done",
    };
    let command = Command::AdvanceCa(AdvanceCa { version: rotation.version });
    match cluster.propose(command, &cluster.itself()).await {
        Ok(answer) => match answer.result {
            Ok(_) => tracing::info!(version = rotation.version + 1, "rotation of the CA: {next}"),
            Err(refusal) => tracing::debug!(%refusal, "the rotation of the CA was not advanced"),
        },
        Err(error) => tracing::debug!(%error, "the rotation of the CA was not advanced"),
    }
}

/// How far the rotation of the CA is, by this state.
///
/// # Errors
/// `not_initialized`, or a CA certificate that can't be read.
pub fn ca_status(state: &State) -> Result<CaStatus, ApiError> {
    let issuing = &state.cluster().ok_or(Refusal::NotInitialized)?.ca_certificate;
    let summary = |pem: &str| -> Result<CaSummary, ApiError> {
        let facts = CertificateFacts::from_pem(pem, "CA certificate")?;
        let fingerprint = ca_fingerprint(pem)?;
        let CertificateFacts { common_name: name, not_before, not_after, .. } = facts;
        Ok(CaSummary { name, fingerprint, not_before, not_after })
    };
    let rotation = state.ca_rotation();
    let (phase, other) = match rotation.map(|rotation| &rotation.phase) {
        None | Some(CaPhase::Settled { .. }) => ("settled", None),
        Some(CaPhase::Trusting(next)) => ("trusting", Some(&next.certificate)),
        Some(CaPhase::Issuing(previous)) => ("issuing", Some(&previous.certificate)),
    };
    let waits = state.rotation_waits_for().into_iter();
    Ok(CaStatus {
        issuing: summary(issuing)?,
        other: other.map(|pem| summary(pem)).transpose()?,
        phase,
        version: state.trust_version(),
        asked: rotation.map(|it| (it.started_at, it.changed_at, it.requested_by.clone())),
        waits: waits.map(|node| CaWait { node: node.id, name: node.name.clone() }).collect(),
    })
}
