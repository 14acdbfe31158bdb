//! Bringing an administrator's request to the node that can carry it out.
//!
//! Changes go from a Spooler Controller to a Management Server, activations to the first license
//! node. The administrator's token goes along and is checked there again; a Management Server may
//! vouch for whoever uses its own admin socket.

use std::time::Duration;

use quorate_license::{NodeId, NodeRole};
use quorate_proto::v1::admin_service_client::AdminServiceClient;
use quorate_raft_store::{Refusal, View};
use tonic::{Code, Request, Status, transport::Channel};

use super::{
    ApiError, ErrorKind, addressed,
    auth::{Caller, carry},
    status_parts,
};
use crate::{cluster::Cluster, net::Use};

const DEADLINE: Duration = Duration::from_secs(20);

/// Where a request goes, and on whose behalf.
pub(super) struct Relay<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) caller: &'a Caller,
    pub(super) token: Option<&'a str>,
}

impl Relay<'_> {
    /// A client of another node's administrators' face.
    pub(super) fn client(&self, to: NodeId) -> Result<AdminServiceClient<Channel>, ApiError> {
        Ok(AdminServiceClient::new(self.cluster.peers().channel(to, Use::Service)?))
    }

    /// A request on the caller's behalf. Without `bounded` it may take as long as an activation.
    pub(super) fn request<T>(&self, to: NodeId, message: T, bounded: bool) -> Request<T> {
        let mut request = Request::new(message);
        if bounded {
            request.set_timeout(DEADLINE);
        }
        addressed(request.metadata_mut(), &self.cluster.view().state, self.cluster.node(), to);
        carry(self.caller, self.token, request.metadata_mut());
        request
    }

    /// A Management Server that can carry out a change: the leader if one is known.
    pub(super) fn management_server(&self) -> Result<NodeId, ApiError> {
        let view = self.cluster.view();
        let servers = view.state.nodes().values().filter(|node| node.role == NodeRole::Management);
        self.cluster.leader().or_else(|| servers.map(|node| node.id).next()).ok_or_else(|| {
            ApiError::new(
                ErrorKind::Unavailable,
                "no_leader",
                "this node knows no Management Server yet",
                "wait until it has caught up with the cluster",
            )
        })
    }

    /// The leader, if it is another node.
    pub(super) fn leader(&self) -> Result<NodeId, ApiError> {
        let leader = self.cluster.leader().filter(|leader| *leader != self.cluster.node());
        leader.ok_or_else(|| {
            ApiError::new(
                ErrorKind::Unavailable,
                "no_leader",
                "no leader is known at this moment",
                "ask again in a few seconds",
            )
        })
    }

    /// What became of a call to `to`: an error of its own is passed on, one of the way there names
    /// the node.
    pub(super) fn passed_on(&self, to: NodeId, status: Status) -> Status {
        if status_parts(&status).is_some() || status.code() == Code::Cancelled {
            return status;
        }
        let view = self.cluster.view();
        away(&view, to).into()
    }
}

/// The error that names a node that is away, and says what can be done.
fn away(view: &View, node: NodeId) -> ApiError {
    let name = view.state.nodes().get(&node).map_or_else(|| node.to_string(), |node| node.name.to_string());
    let first = view.state.cluster().is_some_and(|cluster| cluster.first_license_node == node);
    if first {
        ApiError::new(
            ErrorKind::Unavailable,
            "first_license_node_away",
            format!("{name}, the first license node, can't be reached; it leads every activation"),
            format!("start {name} and ask again; if it never comes back, it is replaced by a transfer"),
        )
    } else {
        ApiError::new(
            ErrorKind::Unavailable,
            "node_away",
            format!("{name} can't be reached"),
            format!("start {name}, or ask on another node"),
        )
    }
}

/// The first license node.
pub(super) fn first_license_node(view: &View) -> Result<NodeId, ApiError> {
    Ok(view.state.cluster().ok_or(Refusal::NotInitialized)?.first_license_node)
}
