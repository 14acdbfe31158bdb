//! `quorate node`: the nodes of the cluster, and this host's computer ID.

use clap::Subcommand;
use quorate_license::{ComputerId, ComputerIdSource, NodeName, Timestamp};
use quorate_proto::v1::{NodeStatus, RemoveNodeRequest, RenameNodeRequest};
use serde::Serialize;

use super::{
    Context, Exit, block_on,
    client::{DEADLINE, LONG_DEADLINE, call, within},
    error::CliError,
    input,
    output::{Page, Present, or_dash, yes_no},
    pending,
    status::{self, Node},
    wire,
};
use crate::{config::Config, host::identity};

/// Commands about nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes of the cluster.
    List,
    /// Show everything about one node.
    Show {
        /// The node's name or id.
        node: String,
    },
    /// Take a living node out of the cluster, for good. Its data is kept, and it serves no more.
    Remove {
        /// The node's name or id.
        node: String,
        /// Don't ask.
        #[arg(long)]
        yes: bool,
    },
    /// Give a node another name. It stays the same node, and nothing has to be restarted.
    Rename {
        /// The node's name or id.
        node: String,
        /// Its new name.
        name: NodeName,
    },
    /// List the nodes that wait to be accepted, and those that were decided on lately.
    Pending,
    /// Let a node in that waits to be accepted.
    Accept {
        /// The node's name, or the id of the token that it has shown.
        node: String,
    },
    /// Refuse a node that waits to be accepted. Its token is good for nothing then.
    Refuse {
        /// The node's name, or the id of the token that it has shown.
        node: String,
    },
    /// Print this host's computer ID. Needs the configuration, but no running node.
    Id,
}

#[derive(Serialize)]
#[serde(transparent)]
struct NodeList(Vec<Node>);

#[derive(Serialize)]
struct NodeDetails {
    #[serde(flatten)]
    short: Node,
    leader: bool,
    first_license_node: bool,
    raft_address: Option<String>,
    http_address: Option<String>,
    agent_version: Option<String>,
    os: Option<String>,
    kernel: Option<String>,
    booted_at: Option<Timestamp>,
    free_disk_bytes: Option<u64>,
    start_counter: u64,
    joined_at: Option<Timestamp>,
}

/// A node that is a member no more.
#[derive(Serialize)]
struct Removed {
    node: u64,
    name: String,
    left_group: bool,
}

/// A node that has another name.
#[derive(Serialize)]
struct Renamed {
    node: u64,
    name: String,
    before: String,
}

#[derive(Serialize)]
struct HostId {
    computer_id: ComputerId,
    source: ComputerIdSource,
}

pub(super) fn run(context: &Context, command: NodeCommand) -> Result<Exit, CliError> {
    match command {
        NodeCommand::List => block_on(list(context)),
        NodeCommand::Show { node } => block_on(show(context, node)),
        NodeCommand::Remove { node, yes } => block_on(remove(context, node, yes)),
        NodeCommand::Rename { node, name } => block_on(rename(context, node, name)),
        NodeCommand::Pending => block_on(pending::list(context)),
        NodeCommand::Accept { node } => block_on(pending::decide(context, node, true)),
        NodeCommand::Refuse { node } => block_on(pending::decide(context, node, false)),
        NodeCommand::Id => id(context),
    }
}

async fn list(context: &Context) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let nodes = status::ask(&mut admin).await?.nodes;
    context.output.print(&NodeList(nodes.into_iter().map(Node::from).collect()))?;
    Ok(Exit::Ok)
}

async fn show(context: &Context, given: String) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let answer = status::ask(&mut admin).await?;
    let node = find(&answer.nodes, given)?.clone();
    let leader = answer.leader == Some(node.id);
    let first_license_node = answer.first_license_node == node.id;
    context.output.print(&NodeDetails::new(node, leader, first_license_node))?;
    Ok(Exit::Ok)
}

async fn remove(context: &Context, given: String, yes: bool) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let answer = status::ask(&mut admin).await?;
    let node = find(&answer.nodes, given)?;
    if !yes {
        let question = format!(
            "{} ({}, computer ID {}) leaves the cluster for good. Type its name to go on: ",
            node.name, node.role, node.computer_id
        );
        input::confirm_name(&question, &node.name)?;
    }
    let request = within(LONG_DEADLINE, RemoveNodeRequest { node: node.id });
    let removed = call(LONG_DEADLINE, admin.remove_node(request)).await?;
    context.output.print(&Removed {
        node: removed.node,
        name: removed.name,
        left_group: removed.left_group,
    })?;
    Ok(Exit::Ok)
}

async fn rename(context: &Context, given: String, name: NodeName) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let answer = status::ask(&mut admin).await?;
    let node = find(&answer.nodes, given)?;
    let request = within(DEADLINE, RenameNodeRequest { node: node.id, name: name.to_string() });
    call(DEADLINE, admin.rename_node(request)).await?;
    context.output.print(&Renamed { node: node.id, name: name.to_string(), before: node.name.clone() })?;
    Ok(Exit::Ok)
}

fn id(context: &Context) -> Result<Exit, CliError> {
    let config = Config::load(&context.global.config)?;
    let computer_id = identity::computer_id(&config.identity)?;
    context.output.print(&HostId { computer_id, source: config.identity.source })?;
    Ok(Exit::Ok)
}

/// The node with this name or id.
pub(super) fn find(nodes: &[NodeStatus], given: String) -> Result<&NodeStatus, CliError> {
    let id: Option<u64> = given.parse().ok();
    // A name may be made of digits; it is looked for first.
    let by_name = nodes.iter().find(|node| node.name == given);
    by_name.or_else(|| nodes.iter().find(|node| Some(node.id) == id)).ok_or_else(|| CliError::NodeUnknown {
        given,
        known: nodes.iter().map(|node| node.name.clone()).collect(),
    })
}

impl NodeDetails {
    fn new(node: NodeStatus, leader: bool, first_license_node: bool) -> Self {
        NodeDetails {
            leader,
            first_license_node,
            raft_address: wire::text(node.raft_address.clone()),
            http_address: wire::text(node.http_address.clone()),
            agent_version: wire::text(node.agent_version.clone()),
            os: wire::text(node.os.clone()),
            kernel: wire::text(node.kernel.clone()),
            booted_at: wire::time(node.booted_at_ms),
            free_disk_bytes: node.free_disk_bytes,
            start_counter: node.start_counter,
            joined_at: wire::time(node.joined_at_ms),
            short: node.into(),
        }
    }
}

impl Present for NodeList {
    fn page(&self, page: &mut Page) {
        status::node_table(&self.0, page);
    }
}

impl Present for NodeDetails {
    fn page(&self, page: &mut Page) {
        let mut fields = self.short.fields();
        fields.extend([
            ("Leader", yes_no(self.leader).to_owned()),
            ("First license node", yes_no(self.first_license_node).to_owned()),
            ("Node address", or_dash(self.raft_address.as_ref())),
            ("Management address", or_dash(self.http_address.as_ref())),
            ("Agent version", or_dash(self.agent_version.as_ref())),
            ("Operating system", or_dash(self.os.as_ref())),
            ("Kernel", or_dash(self.kernel.as_ref())),
            ("Booted", or_dash(self.booted_at)),
            ("Free disk", self.free_disk_bytes.map_or_else(|| "-".to_owned(), mebibytes)),
            ("Starts", self.start_counter.to_string()),
            ("Joined", or_dash(self.joined_at)),
        ]);
        page.fields(&fields);
    }
}

impl Present for Removed {
    fn page(&self, page: &mut Page) {
        page.line(format!("{} was removed from the cluster.", self.name));
        if !self.left_group {
            page.line("The leader goes on taking it out of the group; 'quorate cluster health' shows when it is done.");
        }
        page.line(
            "Stop its agent; its data is kept. 'quorate license show' tells what it means for the license.",
        );
    }
}

impl Present for Renamed {
    fn page(&self, page: &mut Page) {
        page.line(format!("{} is called {} now.", self.before, self.name));
        page.line("Set node.name in its configuration when you come by; it also starts under the old name.");
    }
}

impl Present for HostId {
    fn page(&self, page: &mut Page) {
        page.line(self.computer_id.to_string());
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use quorate_license::MachineId;

    use super::*;
    use crate::cli::output::tests::all_forms;

    #[test]
    fn a_node_is_found_by_name_or_id() {
        let nodes = status::tests::answer().nodes;
        assert_eq!(find(&nodes, "ms-2".to_owned()).unwrap().id, (1 << 40) + 2);
        assert_eq!(find(&nodes, ((1u64 << 40) + 4).to_string()).unwrap().name, "sc-1");
        let report = find(&nodes, "ms-9".to_owned()).unwrap_err().report();
        assert_eq!(report.code, "node_unknown");
        assert_eq!(report.hint.unwrap(), "The nodes are: ms-1, ms-2, ms-3, sc-1.");
    }

    #[test]
    fn nodes_are_shown_in_every_form() {
        let nodes = status::tests::answer().nodes;
        insta::assert_snapshot!(all_forms(&NodeDetails::new(nodes[0].clone(), false, true)));
        insta::assert_snapshot!(all_forms(&NodeDetails::new(NodeStatus::default(), false, false)));
        insta::assert_snapshot!(all_forms(&NodeList(nodes.into_iter().map(Node::from).collect())));
    }

    #[test]
    fn a_removal_says_what_comes_next() {
        let removed = |left_group| Removed { node: (1 << 40) + 3, name: "ms-3".to_owned(), left_group };
        insta::assert_snapshot!(all_forms(&removed(true)));
        insta::assert_snapshot!(all_forms(&removed(false)));
    }

    #[test]
    fn a_new_name_is_told_with_what_is_left_to_do() {
        let (name, before) = ("west".to_owned(), "ms-3".to_owned());
        insta::assert_snapshot!(all_forms(&Renamed { node: (1 << 40) + 3, name, before }));
    }

    #[test]
    fn the_computer_id_alone_is_printed() {
        let machine_id = MachineId::parse("0123456789abcdef0123456789abcdef").unwrap();
        let computer_id = ComputerId::derive(&machine_id, ComputerIdSource::Host);
        insta::assert_snapshot!(all_forms(&HostId { computer_id, source: ComputerIdSource::Host }));
    }
}
