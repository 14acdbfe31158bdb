//! `quorate cluster`: whether it can decide, and who leads it.

use clap::Subcommand;
use quorate_license::Timestamp;
use quorate_proto::v1::{ClusterHealthRequest, ClusterHealthResponse, TransferLeaderRequest};
use serde::Serialize;

use super::{
    Context, Exit,
    client::{DEADLINE, LONG_DEADLINE, call, within},
    error::CliError,
    node,
    output::{Page, Present, or_dash, yes_no},
    status, time,
};

/// Commands about the cluster itself.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show whether the cluster can decide; the exit code is 5 if anything is wrong.
    Health,
    /// Show the cluster's time, by which licenses are judged, and every node's clock.
    Time,
    /// Confirm that so much time has passed as the clocks say, when a jump of theirs is held.
    ConfirmTime {
        /// Do it without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Hand leadership to another Management Server.
    TransferLeader {
        /// The name or id of the node that shall lead; by default the one that is furthest along.
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
    },
}

#[derive(Serialize)]
pub(super) struct Health {
    healthy: bool,
    leader: Option<u64>,
    term: u64,
    voters: u32,
    voters_online: u32,
    quorum: u32,
    linearizable: bool,
    problems: Vec<String>,
    failure_tolerance: u32,
    membership_changing: bool,
    warnings: Vec<String>,
    nodes: Vec<NodeHealth>,
}

/// How one node is.
#[derive(Serialize)]
struct NodeHealth {
    id: u64,
    name: String,
    role: String,
    voter: bool,
    condition: String,
    lag_entries: Option<u64>,
    since: Option<Timestamp>,
}

#[derive(Serialize)]
struct Transferred {
    leader: u64,
    #[serde(skip)]
    name: Option<String>,
}

pub(super) async fn run(context: &Context, command: ClusterCommand) -> Result<Exit, CliError> {
    match command {
        ClusterCommand::Health => health(context).await,
        ClusterCommand::Time => time::show(context).await,
        ClusterCommand::ConfirmTime { yes } => time::confirm(context, yes).await,
        ClusterCommand::TransferLeader { to } => transfer_leader(context, to).await,
    }
}

async fn health(context: &Context) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let answer = call(DEADLINE, admin.cluster_health(within(DEADLINE, ClusterHealthRequest {}))).await?;
    let health = Health::from(answer);
    context.output.print(&health)?;
    Ok(if health.healthy { Exit::Ok } else { Exit::Unhealthy })
}

async fn transfer_leader(context: &Context, to: Option<String>) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let nodes = status::ask(&mut admin).await?.nodes;
    let to = to.map(|given| node::find(&nodes, given)).transpose()?.map_or(0, |node| node.id);
    let request = within(LONG_DEADLINE, TransferLeaderRequest { to });
    let leader = call(LONG_DEADLINE, admin.transfer_leader(request)).await?.leader;
    let name = nodes.into_iter().find(|node| node.id == leader).map(|node| node.name);
    context.output.print(&Transferred { leader, name })?;
    Ok(Exit::Ok)
}

impl From<ClusterHealthResponse> for Health {
    fn from(answer: ClusterHealthResponse) -> Self {
        Health {
            healthy: answer.healthy,
            leader: answer.leader,
            term: answer.term,
            voters: answer.voters,
            voters_online: answer.voters_online,
            quorum: answer.quorum,
            linearizable: answer.linearizable,
            problems: answer.problems,
            failure_tolerance: answer.failure_tolerance,
            membership_changing: answer.membership_changing,
            warnings: answer.warnings,
            nodes: answer.nodes.into_iter().map(NodeHealth::from).collect(),
        }
    }
}

impl From<quorate_proto::v1::NodeHealth> for NodeHealth {
    fn from(node: quorate_proto::v1::NodeHealth) -> Self {
        NodeHealth {
            id: node.id,
            name: node.name,
            role: node.role,
            voter: node.voter,
            condition: node.condition,
            lag_entries: node.lag_entries,
            since: node.since_ms.map(Timestamp::from_unix_ms),
        }
    }
}

impl Present for Health {
    fn page(&self, page: &mut Page) {
        page.fields(&[
            ("Healthy", yes_no(self.healthy).to_owned()),
            ("Leader", or_dash(self.leader)),
            ("Term", self.term.to_string()),
            (
                "Management Servers",
                format!("{} of {} online, {} needed", self.voters_online, self.voters, self.quorum),
            ),
            ("Failure tolerance", tolerance(self.failure_tolerance)),
            ("Linearizable read", yes_no(self.linearizable).to_owned()),
            ("Membership changing", yes_no(self.membership_changing).to_owned()),
        ]);
        for problem in &self.problems {
            page.line(format!("- {problem}"));
        }
        for warning in &self.warnings {
            page.line(format!("- Note: {warning}"));
        }
        if self.nodes.is_empty() {
            return;
        }
        page.gap();
        let row = |node: &NodeHealth| {
            vec![
                node.name.clone(),
                node.role.clone(),
                yes_no(node.voter).to_owned(),
                node.condition.clone(),
                or_dash(node.lag_entries),
                or_dash(node.since),
            ]
        };
        let header = ["NAME", "ROLE", "VOTER", "CONDITION", "LAG", "SINCE"];
        page.table(&header, self.nodes.iter().map(row).collect(), "");
    }
}

fn tolerance(more: u32) -> String {
    match more {
        0 => "no more voter can be lost".to_owned(),
        1 => "1 more voter can be lost".to_owned(),
        more => format!("{more} more voters can be lost"),
    }
}

impl Present for Transferred {
    fn page(&self, page: &mut Page) {
        match &self.name {
            Some(name) => page.line(format!("{name} leads the cluster now.")),
            None => page.line(format!("Node {} leads the cluster now.", self.leader)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    fn node(
        index: u64,
        condition: &str,
        lag_entries: Option<u64>,
        since_ms: Option<i64>,
    ) -> quorate_proto::v1::NodeHealth {
        quorate_proto::v1::NodeHealth {
            id: (1 << 40) + index,
            name: format!("ms-{index}"),
            role: "management".to_owned(),
            voter: true,
            condition: condition.to_owned(),
            lag_entries,
            since_ms,
        }
    }

    #[test]
    fn health_is_shown_in_every_form() {
        let healthy = ClusterHealthResponse {
            healthy: true,
            leader: Some((1 << 40) + 1),
            term: 7,
            voters: 3,
            voters_online: 3,
            quorum: 2,
            problems: Vec::new(),
            linearizable: true,
            failure_tolerance: 1,
            membership_changing: false,
            warnings: Vec::new(),
            nodes: vec![node(1, "healthy", Some(0), None), node(2, "healthy", Some(3), None)],
        };
        let ill = ClusterHealthResponse {
            healthy: false,
            leader: None,
            voters_online: 1,
            problems: vec!["no leader is known".to_owned(), "ms-2 and ms-3 are offline".to_owned()],
            linearizable: false,
            failure_tolerance: 0,
            membership_changing: true,
            warnings: vec!["2 Management Servers vote, an even number".to_owned()],
            nodes: vec![
                node(1, "unknown", None, None),
                node(2, "offline", Some(900), Some(1_763_750_000_000)),
            ],
            ..healthy.clone()
        };
        insta::assert_snapshot!(all_forms(&Health::from(healthy)));
        insta::assert_snapshot!(all_forms(&Health::from(ill)));
    }

    #[test]
    fn the_new_leader_is_named() {
        insta::assert_snapshot!(all_forms(&Transferred { leader: 7, name: Some("ms-2".to_owned()) }));
    }
}
