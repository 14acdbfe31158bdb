//! The gate in front of every face: looks the call up in the table, finds out who calls, and lets it in or not.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{Extensions, HeaderMap},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use quorate_license::NodeRole;
use quorate_raft_store::audit;
use tonic::Status;

use super::table::{Door, Rule, Who, find};
use crate::{
    api::{
        ApiError, ErrorKind,
        auth::{self, Access, NodeGate},
        http::HttpError,
    },
    data_dir::NodeFile,
    metrics::Metrics,
    net::PeerInfo,
    now_and_then::NowAndThen,
};

/// Refused calls that are logged in ten seconds.
const TOLD: u64 = 20;

/// Lets callers in, by the table.
#[derive(Clone)]
pub struct Gate {
    /// Whose node it is.
    own: Arc<NodeFile>,
    /// Who is a node of the cluster.
    nodes: NodeGate,
    /// Where refused calls are counted.
    metrics: Arc<Metrics>,
    /// Keeps a flood of refused calls out of the log.
    told: Arc<NowAndThen>,
}

/// Puts the gate of a face in front of its routes.
pub fn guarded(door: Door, router: Router, gate: &Gate) -> Router {
    let at = At { door, gate: gate.clone() };
    router.layer(from_fn_with_state(at, pass))
}

#[derive(Clone)]
struct At {
    door: Door,
    gate: Gate,
}

/// Why a call was not let in.
enum Refused {
    Status(Status),
    Error(ApiError),
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Refused::Error(error)
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Refused::Status(status)
    }
}

async fn pass(State(At { door, gate }): State<At>, mut request: Request, next: Next) -> Response {
    let let_in = {
        let (path, headers) = (request.uri().path(), request.headers());
        match find(door, path) {
            Some(rule) => gate.look(door, rule, request.extensions(), headers),
            None => Err(unknown(door)),
        }
    };
    if let Err(Refused::Status(status)) = &let_in {
        gate.nodes.refused(status, request.extensions(), request.headers()).await;
    }
    match let_in {
        Ok(Found::Nobody) => {}
        Ok(Found::Node(caller)) => drop(request.extensions_mut().insert(caller)),
        Ok(Found::Caller(caller)) => drop(request.extensions_mut().insert(*caller)),
        Err(refused) => return gate.refuse(door, request.uri().path(), refused),
    }
    next.run(request).await
}

/// Who calls.
enum Found {
    Nobody,
    Node(auth::NodeCaller),
    Caller(Box<auth::Caller>),
}

fn unknown(door: Door) -> Refused {
    if door.speaks_grpc() {
        return Refused::Status(Status::unimplemented("there is no such method on this face"));
    }
    let there =
        if door == Door::Management { "see /api/v1/status" } else { "see /healthz, /readyz and /metrics" };
    ApiError::new(ErrorKind::Invalid, "not_found", "there is nothing at this address", there).into()
}

impl Gate {
    /// The gate of this node.
    pub fn new(own: Arc<NodeFile>, nodes: NodeGate, metrics: Arc<Metrics>) -> Self {
        Gate { own, nodes, metrics, told: Arc::new(NowAndThen::new(TOLD)) }
    }

    fn look(
        &self,
        door: Door,
        rule: &Rule,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) -> Result<Found, Refused> {
        match rule.who {
            Who::Anyone | Who::Joiner => Ok(Found::Nobody),
            Who::Member => Ok(Found::Node(self.nodes.identify(extensions, headers)?)),
            Who::NodeKey => match extensions.get::<PeerInfo>() {
                Some(PeerInfo::Tcp { identity: Some(_), flaw: None, .. }) => {
                    Ok(Found::Node(self.nodes.identify(extensions, headers)?))
                }
                _ => Ok(Found::Nobody),
            },
            Who::ManagementServer => {
                let caller = self.nodes.identify(extensions, headers)?;
                if caller.role == NodeRole::Management {
                    return Ok(Found::Node(caller));
                }
                let method = rule.path.rsplit('/').next().unwrap_or_default();
                let message =
                    format!("a Spooler Controller can't call {method}: it is for Management Servers");
                Err(Status::permission_denied(message).into())
            }
            Who::Viewer | Who::Administrator => {
                let face = match door {
                    Door::Admin => audit::Face::AdminSocket,
                    Door::Management => audit::Face::ManagementPort,
                    Door::Node | Door::Product | Door::Operations => audit::Face::NodePort,
                };
                let caller = auth::caller((extensions, headers), &self.own, &self.nodes, face)?;
                if rule.who == Who::Administrator && caller.access != Access::Administrator {
                    return Err(
                        auth::denied(&caller, rule.path.rsplit('/').next().unwrap_or_default()).into()
                    );
                }
                Ok(Found::Caller(Box::new(caller)))
            }
        }
    }

    fn refuse(&self, door: Door, path: &str, refused: Refused) -> Response {
        let (code, message) = match &refused {
            Refused::Status(status) => (format!("{:?}", status.code()), status.message().to_owned()),
            Refused::Error(error) => (error.code.clone(), error.message.clone()),
        };
        self.metrics.calls_denied.with_label_values(&[door.as_str()]).inc();
        let method: String = path.chars().take(96).collect();
        if let Some(others) = self.told.now() {
            tracing::info!(face = door.as_str(), method, code, message, others, "a call was refused");
        }
        match refused {
            Refused::Error(error) if !door.speaks_grpc() => HttpError(error).into_response(),
            Refused::Error(error) => Status::from(error).into_http::<axum::body::Body>().into_response(),
            Refused::Status(status) => status.into_http::<axum::body::Body>().into_response(),
        }
    }
}
