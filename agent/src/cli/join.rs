//! `quorate join`: prepares this host as a further node of a cluster, by a token.

use std::time::Duration;

use clap::Args;
use quorate_license::{ClusterId, NodeId, NodeName, NodeRole};
use secrecy::SecretString;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    Context, Exit, duration,
    error::{CliError, UsageError},
    input,
    output::{Page, Present},
    progress::Progress,
};
use crate::{
    config::Config,
    setup::{self, JoinOptions, Waiting},
};

/// Arguments of `join`. The token's file and the server are global flags.
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// The join token itself. Other users of this host can see it while the command runs: --token-file
    /// is the better way.
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,

    /// What this node is to be: management or spooler. The token says it; a token for another role is
    /// refused.
    #[arg(long, value_name = "ROLE")]
    role: Option<NodeRole>,

    /// Take the place of this node, whose data is lost, on the same computer: the name and the computer ID
    /// stay, the node's id is a new one. The old node must be away. Needs a join token like any other join.
    #[arg(long, value_name = "NODE")]
    replace: Option<NodeName>,

    /// How long to wait where an administrator has to accept the node, as 30s, 15m or 8h. The same command
    /// again goes on waiting.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration::parse)]
    wait: Duration,
}

#[derive(Serialize)]
struct Joined {
    cluster_id: ClusterId,
    node_id: NodeId,
    name: String,
    role: NodeRole,
    #[serde(skip)]
    config: String,
}

pub(super) async fn run(context: &Context, args: JoinArgs) -> Result<Exit, CliError> {
    let config = Config::load(&context.global.config)?;
    let token = match (args.token.map(Zeroizing::new), &context.global.token_file) {
        (Some(token), _) => token,
        (None, Some(file)) => input::secret("join token", file)?,
        (None, None) => return Err(UsageError::NoJoinToken.into()),
    };
    if context.global.server.is_empty() {
        return Err(UsageError::NoServer.into());
    }
    if let Some(replaced) = args.replace.clone().filter(|replaced| *replaced != config.node.name) {
        return Err(UsageError::OtherNodeReplaced { replaced, configured: config.node.name }.into());
    }
    let options = JoinOptions {
        replace: args.replace.is_some(),
        token: SecretString::from(token.trim().to_owned()),
        servers: context.global.server.clone(),
        role: args.role,
        patience: args.wait,
    };
    let progress = Progress::start(context.output, "Asking the cluster");
    let report = setup::join(&config, options, |waiting| context.output.aside(waiting)).await?;
    drop(progress);
    context.output.print(&Joined {
        cluster_id: report.cluster_id,
        node_id: report.node_id,
        name: config.node.name.to_string(),
        role: report.role,
        config: context.global.config.display().to_string(),
    })?;
    Ok(Exit::Ok)
}

impl Present for Waiting {
    fn page(&self, page: &mut Page) {
        page.line(format!("{} waits to be accepted by an administrator, on a Management Server:", self.name));
        page.line(format!("  quorate node accept {}", self.name));
        page.line(format!("Its node key has the fingerprint {}.", self.key_fingerprint));
    }
}

impl Present for Joined {
    fn page(&self, page: &mut Page) {
        let what = match self.role {
            NodeRole::Management => "a Management Server",
            NodeRole::Spooler => "a Spooler Controller",
        };
        page.line(format!("This host is prepared as {}, {what} of the cluster.", self.name));
        page.gap();
        page.fields(&[("Cluster", self.cluster_id.to_string()), ("Node", self.node_id.to_string())]);
        page.gap();
        page.line(format!("Start it: quorate serve --config {}", self.config));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    #[test]
    fn a_node_that_waits_says_for_whom() {
        insta::assert_snapshot!(all_forms(&Waiting {
            name: "sc-1".to_owned(),
            key_fingerprint: "5f".repeat(32),
        }));
    }

    #[test]
    fn join_says_what_comes_next() {
        insta::assert_snapshot!(all_forms(&Joined {
            cluster_id: ClusterId([0xab; 16]),
            node_id: NodeId::new(1, 4),
            name: "sc-1".to_owned(),
            role: NodeRole::Spooler,
            config: "/etc/quorate/quorate.toml".to_owned(),
        }));
    }
}
