//! Nodes that wait to be accepted, on the administrators' face.

use quorate_proto::v1 as proto;
use quorate_raft_store::{
    Command, Outcome, State,
    command::DecideJoin,
    state::{JoinDecision, PendingJoin, TokenId},
};

use super::{ApiError, Caller, ErrorKind};
use crate::{cluster::Cluster, setup::key_fingerprint};

pub(super) fn list(state: &State) -> proto::ListPendingJoinsResponse {
    let mut joins: Vec<_> = state.pending_joins().iter().collect();
    // Those that wait come first, the longest waiting before the others.
    joins.sort_by_key(|(_, pending)| (!pending.is_waiting(), pending.requested_at));
    proto::ListPendingJoinsResponse {
        joins: joins.into_iter().map(|(token, pending)| pending_join(*token, pending)).collect(),
    }
}

fn pending_join(token: TokenId, pending: &PendingJoin) -> proto::PendingJoin {
    let (state, by, at) = match &pending.decision {
        JoinDecision::Waiting => ("waiting", "", None),
        JoinDecision::Accepted { by, at, .. } => ("accepted", by.as_str(), Some(*at)),
        JoinDecision::Refused { by, at } => ("refused", by.as_str(), Some(*at)),
    };
    let joiner = &pending.joiner;
    proto::PendingJoin {
        token: token.to_string(),
        name: joiner.name.to_string(),
        role: joiner.role.to_string(),
        computer_id: joiner.computer_id.to_string(),
        raft_address: joiner.addresses.raft.clone(),
        http_address: joiner.addresses.http.clone(),
        os: joiner.host.os.clone(),
        key_fingerprint: key_fingerprint(&joiner.key),
        requested_at_ms: pending.requested_at.as_unix_ms(),
        state: state.to_owned(),
        decided_by: by.to_owned(),
        decided_at_ms: at.map(quorate_license::Timestamp::as_unix_ms),
    }
}

/// What the status says of nodes that wait.
pub(super) fn warnings(state: &State) -> Vec<String> {
    let waiting = state.pending_joins().values().filter(|pending| pending.is_waiting());
    let says = |pending: &PendingJoin| {
        let name = &pending.joiner.name;
        format!(
            "{name} waits to be accepted: `quorate node pending` shows it, `quorate node accept {name}` lets it in"
        )
    };
    waiting.map(says).collect()
}

/// Accepts or refuses the node of this name, or with the token of this id.
pub(super) async fn decide(
    cluster: &Cluster,
    request: proto::DecideJoinRequest,
    caller: &Caller,
) -> Result<proto::DecideJoinResponse, ApiError> {
    let proto::DecideJoinRequest { node, accept } = request;
    let (token, name) = find(&cluster.view().state, &node)?;
    let decided_by = &caller.name;
    let command = DecideJoin { token, accept, decided_by: decided_by.clone() };
    let node = match cluster.propose(Command::DecideJoin(command), &caller.asked_by).await?.result? {
        Outcome::NodeAdmitted { node } => Some(node.0),
        Outcome::JoinRefused => None,
        other => {
            return Err(ApiError::new(
                ErrorKind::Internal,
                "internal",
                format!("the cluster answered another question: {other:?}"),
                "`quorate node list` and `quorate node pending` show what came of it",
            ));
        }
    };
    tracing::info!(name, accepted = accept, decided_by, "a node that waited was decided on");
    Ok(proto::DecideJoinResponse { name, node })
}

/// The request of this name; of those that wait first. Two may have one name: then the token's id tells them apart.
fn find(state: &State, given: &str) -> Result<(TokenId, String), ApiError> {
    let joins = || state.pending_joins().iter();
    let named = |(_, pending): &(&TokenId, &PendingJoin)| pending.joiner.name.to_string() == given;
    let waiting: Vec<_> = joins().filter(named).filter(|(_, pending)| pending.is_waiting()).collect();
    let refused = |code, message: String, hint: &str| ApiError::new(ErrorKind::Refused, code, message, hint);
    if waiting.len() > 1 {
        let tokens: Vec<String> = waiting.iter().map(|(token, _)| token.to_string()).collect();
        return Err(refused(
            "join_ambiguous",
            format!(
                "{} nodes wait under the name {given}, with the tokens {}",
                tokens.len(),
                tokens.join(", ")
            ),
            "give the token's id instead of the name; `quorate node pending` shows what is behind each",
        ));
    }
    let token: Option<TokenId> = given.parse().ok();
    let found = waiting
        .first()
        .copied()
        .or_else(|| joins().find(|(id, _)| Some(**id) == token))
        .or_else(|| joins().filter(named).max_by_key(|(_, pending)| pending.requested_at));
    let found = found.map(|(token, pending)| (*token, pending.joiner.name.to_string()));
    found.ok_or_else(|| {
        refused(
            "no_pending_join",
            format!("no node waits under the name {given}"),
            "`quorate node pending` shows who waits",
        )
    })
}
