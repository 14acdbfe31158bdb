//! Gathering what goes into the integrity key: every node's statement, asked of each directly, and
//! every Management Server's signature of the whole.

use std::time::Duration;

use futures::future::join_all;
use quorate_license::{
    IntegrityKey, ManagementSignature, NodeId, NodeRole, NodeSignature, NodeStatement, StatementContext,
};
use quorate_proto::node::v1::{
    SignIntegrityKeyRequest, SignStatementRequest, cluster_service_client::ClusterServiceClient,
};
use quorate_raft_store::state::Node;
use tonic::{Code, Request, Status, transport::Channel};

use crate::{
    api::{ApiError, ErrorKind, addressed},
    cluster::Cluster,
    net::Use,
    service::Signing,
};

/// How long one node may take.
const DEADLINE: Duration = Duration::from_secs(8);

/// Why one node gave nothing.
enum Missing {
    Offline,
    Refused(String),
}

/// Asks every node for its statement.
pub(super) async fn statements(
    cluster: &Cluster,
    signing: &Signing,
    context: &StatementContext,
    nodes: &[Node],
) -> Result<Vec<NodeStatement>, ApiError> {
    let asked = nodes.iter().map(|node| async move {
        if node.id == cluster.node() {
            return signing
                .statement(context.nonce, context.kind, &context.tenant)
                .await
                .map_err(|error| Missing::Refused(error.message));
        }
        let mut client = client(cluster, node.id)?;
        let request = request(
            cluster,
            node.id,
            SignStatementRequest {
                nonce: context.nonce.as_bytes().to_vec().into(),
                kind: context.kind.as_str().to_owned(),
                tenant: context.tenant.to_string(),
            },
        );
        let response = answer(client.sign_statement(request).await)?;
        let statement: NodeStatement = serde_json::from_str(&response.statement)
            .map_err(|error| Missing::Refused(format!("its statement can't be read: {error}")))?;
        check(&statement, context, node)?;
        Ok(statement)
    });
    complete(nodes.iter(), join_all(asked).await)
}

/// A statement must be signed by the key that was registered when the node was admitted, and name
/// the computer that is registered.
fn check(statement: &NodeStatement, context: &StatementContext, node: &Node) -> Result<(), Missing> {
    if statement.row.id != node.id || statement.row.key != node.key || statement.verify(context).is_err() {
        return Err(Missing::Refused("its statement is not signed by its registered node key".to_owned()));
    }
    if statement.row.computer_id != node.computer_id {
        return Err(Missing::Refused(format!(
            "its computer ID is {}, registered is {}",
            statement.row.computer_id, node.computer_id
        )));
    }
    Ok(())
}

/// Asks every Management Server among the nodes to sign the whole key.
pub(super) async fn signatures(
    cluster: &Cluster,
    signing: &Signing,
    key: &IntegrityKey,
    nodes: &[Node],
) -> Result<Vec<ManagementSignature>, ApiError> {
    let bytes = key.to_bytes();
    let management: Vec<&Node> = nodes.iter().filter(|node| node.role == NodeRole::Management).collect();
    let asked = management.iter().map(|node| {
        let bytes = bytes.to_vec();
        async move {
            if node.id == cluster.node() {
                return signing.integrity_key(key).await.map_err(|error| Missing::Refused(error.message));
            }
            let mut client = client(cluster, node.id)?;
            let request = request(cluster, node.id, SignIntegrityKeyRequest { integrity_key: bytes.into() });
            let response = answer(client.sign_integrity_key(request).await)?;
            let signature = <[u8; 64]>::try_from(response.signature.as_ref())
                .map_err(|_| Missing::Refused("its signature is not 64 bytes long".to_owned()))?;
            Ok(ManagementSignature { node: node.id, signature: NodeSignature(signature) })
        }
    });
    let answers = join_all(asked).await;
    complete(management.iter().copied(), answers)
}

fn client(cluster: &Cluster, node: NodeId) -> Result<ClusterServiceClient<Channel>, Missing> {
    let channel =
        cluster.peers().channel(node, Use::Service).map_err(|error| Missing::Refused(error.to_string()))?;
    Ok(ClusterServiceClient::new(channel))
}

fn request<T>(cluster: &Cluster, to: NodeId, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    addressed(request.metadata_mut(), &cluster.view().state, cluster.node(), to);
    request
}

fn answer<T>(response: Result<tonic::Response<T>, Status>) -> Result<T, Missing> {
    match response {
        Ok(response) => Ok(response.into_inner()),
        Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::PermissionDenied) => {
            Err(Missing::Refused(status.message().to_owned()))
        }
        Err(status) => {
            tracing::info!(%status, "a node gave no signature");
            Err(Missing::Offline)
        }
    }
}

/// All answers, or an error that names every node that gave none.
fn complete<'a, T>(
    nodes: impl Iterator<Item = &'a Node>,
    answers: Vec<Result<T, Missing>>,
) -> Result<Vec<T>, ApiError> {
    let mut given = Vec::new();
    let (mut offline, mut refused) = (Vec::new(), Vec::new());
    for (node, answer) in nodes.zip(answers) {
        match answer {
            Ok(answer) => given.push(answer),
            Err(Missing::Offline) => offline.push(node.name.to_string()),
            Err(Missing::Refused(reason)) => refused.push(format!("{}: {reason}", node.name)),
        }
    }
    if !offline.is_empty() {
        return Err(nodes_offline(&offline));
    }
    if !refused.is_empty() {
        return Err(ApiError::new(
            ErrorKind::Refused,
            "statement_refused",
            format!("not every node has signed: {}", refused.join("; ")),
            "look at the nodes that are named, then activate again",
        ));
    }
    Ok(given)
}

/// The refusal that names the nodes that are away.
pub(super) fn nodes_offline(names: &[String]) -> ApiError {
    let (verb, them) = if names.len() == 1 { ("is", "it") } else { ("are", "them") };
    ApiError::new(
        ErrorKind::Refused,
        "nodes_offline",
        format!(
            "{} {verb} offline: an activation needs every node online; the portal was not asked",
            names.join(", ")
        ),
        format!("start {them} and activate again; a node that never comes back is replaced by a transfer"),
    )
}
