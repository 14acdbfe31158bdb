//! `quorate init`: prepares this host as the first node of a new cluster.

use clap::Args;
use quorate_license::{ClusterId, IntegrityScope, NodeId};
use serde::Serialize;

use super::{
    Context, Exit,
    error::CliError,
    output::{Page, Present},
};
use crate::{
    config::Config,
    setup::{self, InitOptions},
};

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// How many nodes the cluster will have: an activation with fewer is refused. By default as
    /// cluster.expected_nodes in the configuration says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    expected_nodes: Option<u32>,

    /// Which nodes an activation binds, and which must be online then: all or management. By default as
    /// integrity.scope in the configuration says.
    #[arg(long, value_name = "SCOPE")]
    scope: Option<IntegrityScope>,
}

#[derive(Serialize)]
struct Initialized {
    cluster_id: ClusterId,
    node_id: NodeId,
    name: String,
    admin_token_file: String,
    #[serde(skip)]
    config: String,
}

pub(super) fn run(context: &Context, args: &InitArgs) -> Result<Exit, CliError> {
    let config = Config::load(&context.global.config)?;
    let options = InitOptions { expected_nodes: args.expected_nodes, scope: args.scope };
    let report = setup::init(&config, options)?;
    context.output.print(&Initialized {
        cluster_id: report.cluster_id,
        node_id: report.node_id,
        name: config.node.name.to_string(),
        admin_token_file: report.admin_token_file.display().to_string(),
        config: context.global.config.display().to_string(),
    })?;
    Ok(Exit::Ok)
}

impl Present for Initialized {
    fn page(&self, page: &mut Page) {
        page.line(format!("This host is prepared as {}, the first node of a new cluster.", self.name));
        page.gap();
        page.fields(&[
            ("Cluster", self.cluster_id.to_string()),
            ("Node", self.node_id.to_string()),
            ("Administrator's token", self.admin_token_file.clone()),
        ]);
        page.gap();
        page.line("What comes next:");
        page.line(format!("1. Start this node:               quorate serve --config {}", self.config));
        page.line("2. For each further node, here:   quorate token create --role management|spooler");
        page.line("3. On each further node:          quorate join --token-file FILE --server HOST:PORT");
        page.line("4. When all nodes run, activate:  quorate license activate --key-file FILE");
        page.line("Keep the administrator's token in a safe place: who has it may administer the cluster.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    #[test]
    fn init_says_what_comes_next() {
        insta::assert_snapshot!(all_forms(&Initialized {
            cluster_id: ClusterId([0xab; 16]),
            node_id: NodeId::new(1, 1),
            name: "ms-1".to_owned(),
            admin_token_file: "/var/lib/quorate/admin.token".to_owned(),
            config: "/etc/quorate/quorate.toml".to_owned(),
        }));
    }
}
