//! `quorate cluster`: whether it can decide, and who leads it.

use clap::Subcommand;
use quorate_proto::v1::{ClusterHealthRequest, ClusterHealthResponse, TransferLeaderRequest};
use serde::Serialize;

use super::{
    Context, Exit,
    client::{DEADLINE, LONG_DEADLINE, call, within},
    error::CliError,
    node,
    output::{Page, Present, or_dash, yes_no},
    status,
};

/// Commands about the cluster itself.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show whether the cluster can decide; the exit code is 5 if anything is wrong.
    Health,
    /// Hand leadership to another Management Server.
    TransferLeader {
        /// The name or id of the node that shall lead; by default the one that is furthest along.
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
    },
}

#[derive(Serialize)]
struct Health {
    healthy: bool,
    leader: Option<u64>,
    term: u64,
    voters: u32,
    voters_online: u32,
    quorum: u32,
    linearizable: bool,
    problems: Vec<String>,
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
            ("Linearizable read", yes_no(self.linearizable).to_owned()),
        ]);
        for problem in &self.problems {
            page.line(format!("- {problem}"));
        }
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
        };
        let ill = ClusterHealthResponse {
            healthy: false,
            leader: None,
            voters_online: 1,
            problems: vec!["no leader is known".to_owned(), "ms-2 and ms-3 are offline".to_owned()],
            linearizable: false,
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
