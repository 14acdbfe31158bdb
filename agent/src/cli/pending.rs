//! `quorate node pending`, `accept` and `refuse`: nodes that wait for an administrator.

use quorate_license::Timestamp;
use quorate_proto::v1::{DecideJoinRequest, ListPendingJoinsRequest, PendingJoin};
use serde::Serialize;

use super::{
    Context, Exit,
    client::{DEADLINE, call, within},
    error::CliError,
    output::{Page, Present, or_dash},
    wire,
};

#[derive(Serialize)]
#[serde(transparent)]
struct PendingList(Vec<Pending>);

/// A node that waits, or was decided on.
#[derive(Serialize)]
struct Pending {
    name: String,
    role: String,
    computer_id: String,
    raft_address: String,
    http_address: String,
    os: Option<String>,
    key_fingerprint: String,
    state: String,
    requested_at: Option<Timestamp>,
    decided_by: Option<String>,
    decided_at: Option<Timestamp>,
    token: String,
}

#[derive(Serialize)]
struct Decided {
    name: String,
    accepted: bool,
    node: Option<u64>,
}

pub(super) async fn list(context: &Context) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let asked = call(DEADLINE, admin.list_pending_joins(within(DEADLINE, ListPendingJoinsRequest {})));
    context.output.print(&PendingList(asked.await?.joins.into_iter().map(Pending::from).collect()))?;
    Ok(Exit::Ok)
}

pub(super) async fn decide(context: &Context, node: String, accept: bool) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let request = within(DEADLINE, DecideJoinRequest { node, accept });
    let answer = call(DEADLINE, admin.decide_join(request)).await?;
    context.output.print(&Decided { name: answer.name, accepted: accept, node: answer.node })?;
    Ok(Exit::Ok)
}

impl From<PendingJoin> for Pending {
    fn from(join: PendingJoin) -> Self {
        Pending {
            name: join.name,
            role: join.role,
            computer_id: join.computer_id,
            raft_address: join.raft_address,
            http_address: join.http_address,
            os: wire::text(join.os),
            key_fingerprint: join.key_fingerprint,
            state: join.state,
            requested_at: wire::time(join.requested_at_ms),
            decided_by: wire::text(join.decided_by),
            decided_at: join.decided_at_ms.map(Timestamp::from_unix_ms),
            token: join.token,
        }
    }
}

impl Present for PendingList {
    fn page(&self, page: &mut Page) {
        let header =
            ["NODE", "ROLE", "COMPUTER ID", "ADDRESS", "STATE", "SINCE", "DECIDED BY", "NODE KEY", "TOKEN"];
        let row = |join: &Pending| {
            vec![
                join.name.clone(),
                join.role.clone(),
                join.computer_id.clone(),
                join.raft_address.clone(),
                join.state.clone(),
                or_dash(join.requested_at),
                or_dash(join.decided_by.as_ref()),
                join.key_fingerprint.clone(),
                join.token.clone(),
            ]
        };
        page.table(&header, self.0.iter().map(row).collect(), "No node waits to be accepted.");
    }
}

impl Present for Decided {
    fn page(&self, page: &mut Page) {
        page.line(match self.node {
            Some(node) => format!("{} is accepted, as node {node}. Its `quorate join` ends now.", self.name),
            None => format!("{} is refused. Its token is good for nothing any more.", self.name),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    #[test]
    fn nodes_that_wait_are_shown_in_every_form() {
        let waiting = PendingJoin {
            token: "00000000000000a1".to_owned(),
            name: "sc-1".to_owned(),
            role: "spooler".to_owned(),
            computer_id: "0CJ5B-8N2VQ-2Q4VX-E0WPZ-K9PTD-1J0CQ-4S1T4".to_owned(),
            raft_address: "sc-1.example.com:7400".to_owned(),
            http_address: "sc-1.example.com:7443".to_owned(),
            os: "Debian GNU/Linux 13".to_owned(),
            key_fingerprint: "5f".repeat(32),
            requested_at_ms: 1_763_750_000_000,
            state: "waiting".to_owned(),
            decided_by: String::new(),
            decided_at_ms: None,
        };
        let refused = PendingJoin {
            token: "00000000000000a2".to_owned(),
            name: "sc-2".to_owned(),
            state: "refused".to_owned(),
            decided_by: "local administrator on ms-1".to_owned(),
            decided_at_ms: Some(1_763_750_060_000),
            ..waiting.clone()
        };
        let list = [waiting, refused].map(Pending::from);
        insta::assert_snapshot!(all_forms(&PendingList(list.into())));
        insta::assert_snapshot!(all_forms(&PendingList(Vec::new())));
    }

    #[test]
    fn a_decision_is_told_in_every_form() {
        let accepted = Decided { name: "sc-1".to_owned(), accepted: true, node: Some((1 << 40) + 5) };
        insta::assert_snapshot!(all_forms(&accepted));
        let refused = Decided { name: "sc-1".to_owned(), accepted: false, node: None };
        insta::assert_snapshot!(all_forms(&refused));
    }
}
