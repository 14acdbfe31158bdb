//! The certificates and the CA on the administrators' face.

use quorate_license::{NodeId, Timestamp};
use quorate_proto::{
    node::v1::{RenewCertificateRequest, cluster_service_client::ClusterServiceClient},
    v1 as proto,
};
use quorate_raft_store::{Refusal, State};
use tonic::Request;

use super::{AdminApi, ApiError, ErrorKind, addressed, status_parts};
use crate::{
    net::Use,
    service::{CaStatus, ca_status, certificate_warnings},
};

/// How long a node may take for a new certificate.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(15);

pub(super) fn list(state: &State, now: Timestamp) -> proto::ListCertificatesResponse {
    let ms = |time: Timestamp| time.as_unix_ms();
    let row = |node: &quorate_raft_store::state::Node| {
        let told = state.certificates().get(&node.id);
        proto::NodeCertificate {
            node: node.id.0,
            name: node.name.to_string(),
            role: node.role.to_string(),
            serial: told.map(|it| it.serial.clone()),
            issuer: told.and_then(|it| it.issuer).map(|issuer| issuer.to_string()),
            not_before_ms: told.map(|it| ms(it.not_before)),
            not_after_ms: told.map(|it| ms(it.not_after)),
            trusts: told.map_or(0, |it| u32::try_from(it.trusts.len()).unwrap_or(u32::MAX)),
        }
    };
    proto::ListCertificatesResponse {
        certificates: state.nodes().values().map(row).collect(),
        now_ms: ms(now),
    }
}

/// What status and health say of certificates.
pub(super) fn warnings(state: &State, now: Timestamp) -> Vec<String> {
    certificate_warnings(state, now)
}

impl AdminApi {
    /// Has a node get a new certificate, on a Management Server.
    pub(super) async fn rotate(&self, node: NodeId) -> Result<proto::RotateCertificateResponse, ApiError> {
        let view = self.cluster.view();
        let state = &view.state;
        let row = state.nodes().get(&node).ok_or(Refusal::NodeUnknown(node))?;
        let name = row.name.to_string();
        if node == self.own.node_id {
            let facts = self.certificates.rotate().await?;
            let not_after_ms = facts.not_after.as_unix_ms();
            return Ok(proto::RotateCertificateResponse {
                node: node.0,
                name,
                serial: facts.serial,
                not_after_ms,
            });
        }
        let mut request = Request::new(RenewCertificateRequest {});
        request.set_timeout(DEADLINE);
        addressed(request.metadata_mut(), state, self.own.node_id, node);
        let mut client = ClusterServiceClient::new(self.cluster.peers().channel(node, Use::Service)?);
        let not_answering = |reason: &str| {
            ApiError::new(
                ErrorKind::Unavailable,
                "node_not_answering",
                format!("{name} does not answer: {reason}"),
                format!("start {name}; a node gets a new certificate by itself when it is due"),
            )
        };
        match tokio::time::timeout(DEADLINE, client.renew_certificate(request)).await {
            Ok(Ok(answer)) => {
                let answer = answer.into_inner();
                let (serial, not_after_ms) = (answer.serial, answer.not_after_ms);
                Ok(proto::RotateCertificateResponse { node: node.0, name, serial, not_after_ms })
            }
            Ok(Err(status)) => Err(match status_parts(&status) {
                Some(parts) => {
                    ApiError::new(ErrorKind::Unavailable, &parts.code, status.message(), parts.hint)
                }
                None => not_answering(status.message()),
            }),
            Err(_) => Err(not_answering("no answer in time")),
        }
    }

    /// The CA, and how far its rotation is.
    pub(super) async fn ca(&self) -> Result<proto::ShowCaResponse, ApiError> {
        let CaStatus { issuing, other, phase, version, asked, waits } =
            ca_status(&self.cluster.view().state)?;
        let presence = if waits.is_empty() { None } else { self.cluster.presence().await };
        let summary = |ca: crate::service::CaSummary| proto::CaSummary {
            name: ca.name,
            fingerprint: ca.fingerprint.to_string(),
            not_before_ms: ca.not_before.as_unix_ms(),
            not_after_ms: ca.not_after.as_unix_ms(),
        };
        let wait = |wait: crate::service::CaWait| proto::CaWait {
            node: wait.node.0,
            name: wait.name.to_string(),
            online: presence
                .as_ref()
                .and_then(|online| online.get(&wait.node).copied().unwrap_or(Some(false))),
        };
        Ok(proto::ShowCaResponse {
            ca: Some(summary(issuing)),
            other: other.map(summary),
            phase: phase.to_owned(),
            version,
            started_at_ms: asked.as_ref().map(|(started, ..)| started.as_unix_ms()),
            phase_since_ms: asked.as_ref().map(|(_, since, _)| since.as_unix_ms()),
            requested_by: asked.map(|(.., by)| by).unwrap_or_default(),
            waits: waits.into_iter().map(wait).collect(),
        })
    }
}
