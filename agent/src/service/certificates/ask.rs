//! Asking a Management Server for a new certificate.

use std::time::Duration;

use quorate_license::{NodeId, NodeRole, NodeSignature};
use quorate_proto::node::v1::{IssueCertificateRequest, cluster_service_client::ClusterServiceClient};
use quorate_raft_store::State;
use tonic::Request;

use crate::{
    api::{ApiError, ErrorKind, addressed},
    net::Peers,
};

/// How long one server may take.
const DEADLINE: Duration = Duration::from_secs(4);

/// A certificate, PEM. Asks one Management Server after the other, beginning with another one on each node.
///
/// # Errors
/// `certificate_not_issued`, with what each of them said.
pub(super) async fn ask_servers(
    peers: &Peers,
    state: &State,
    own: NodeId,
    (request, signature): (&str, &NodeSignature),
    brought: &str,
) -> Result<String, ApiError> {
    let mut servers: Vec<_> =
        state.nodes().values().filter(|node| node.role == NodeRole::Management && node.id != own).collect();
    let first = usize::try_from(own.index()).unwrap_or(0) % servers.len().max(1);
    servers.rotate_left(first);
    let mut failures = Vec::new();
    for server in servers {
        let mut request = Request::new(IssueCertificateRequest {
            node_id: own.0,
            certificate_request: request.to_owned(),
            signature: signature.as_bytes().to_vec().into(),
            brought_certificate: brought.to_owned(),
        });
        request.set_timeout(DEADLINE);
        addressed(request.metadata_mut(), state, own, server.id);
        // A connection of its own: it shows the certificate of this moment, or none if that has ended.
        let channel = peers.new_channel(server.id)?;
        let mut client = ClusterServiceClient::new(channel);
        match tokio::time::timeout(DEADLINE, client.issue_certificate(request)).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner().certificate),
            Ok(Err(status)) => failures.push(format!("{}: {}", server.name, status.message())),
            Err(_) => {
                failures.push(format!("{}: no answer within {} seconds", server.name, DEADLINE.as_secs()))
            }
        }
    }
    let said = if failures.is_empty() { "this node knows of none".to_owned() } else { failures.join("; ") };
    Err(ApiError::new(
        ErrorKind::Unavailable,
        "certificate_not_issued",
        format!("no Management Server has issued a certificate: {said}"),
        "bring a Management Server back; the node asks again by itself",
    ))
}
