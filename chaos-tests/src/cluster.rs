//! A cluster of real nodes: set up, joined, asked, stopped.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use quorate_proto::v1::{NodeStatus, StatusResponse};
use serde::Deserialize;

use crate::{
    Binaries, Failure, Network, Node, Result, Role,
    cli::Answer,
    node::NodePlan,
    portal::PortalLink,
    wait::{self, PATIENCE, Seen},
};

/// The addresses of so many nodes are in one network.
pub const NODES_PER_NETWORK: usize = 200;

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The programs.
    pub binaries: Binaries,
    /// The folder that holds a folder for each node.
    pub folder: PathBuf,
    /// Its addresses.
    pub network: Arc<Network>,
    /// The host part of the first node's address.
    pub first_host: u8,
    /// What each node asks for a license.
    pub portal: PortalLink,
    /// How many Management Servers.
    pub management: usize,
    /// How many Spooler Controllers.
    pub spoolers: usize,
    /// `cluster.expected_nodes`.
    pub expected_nodes: Option<u32>,
    /// `integrity.scope`.
    pub scope: &'static str,
    /// Short Raft times, for tests that wait for many elections: heartbeat, shortest and longest election.
    pub raft_times_ms: Option<[u32; 3]>,
    /// Ctrl-C at the terminal does not reach the nodes.
    pub own_group: bool,
    /// Variables of the environment of every node and its commands.
    pub environment: Vec<(String, OsString)>,
}

/// The nodes, in the order in which they join. The first is the first license node.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// What an activation gave.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Activated {
    /// The installation.
    pub support_id: String,
    /// The license's serial.
    pub serial: u64,
}

/// What a new token is.
#[derive(Debug, Clone, Deserialize)]
pub struct NewToken {
    /// Its name.
    pub id: String,
    /// The secret.
    pub token: String,
}

impl Plan {
    /// Three Management Servers and a Spooler Controller, all of them bound.
    pub fn new(binaries: Binaries, network: Arc<Network>, folder: &Path, portal: PortalLink) -> Self {
        Plan {
            binaries,
            folder: folder.to_owned(),
            network,
            first_host: 1,
            portal,
            management: 3,
            spoolers: 1,
            expected_nodes: None,
            scope: "all",
            raft_times_ms: None,
            own_group: false,
            environment: Vec::new(),
        }
    }

    /// How many nodes.
    pub fn size(&self) -> usize {
        self.management + self.spoolers
    }

    /// The nodes with their folders and configurations. Nothing runs yet.
    ///
    /// # Errors
    /// A folder can't be written.
    pub fn prepare(&self) -> Result<Cluster> {
        let nodes = (0..self.size()).map(|index| self.node(index)).collect::<Result<_>>()?;
        Ok(Cluster { nodes })
    }

    /// One node more, as the cluster's nodes are. `index` counts from 0 over all nodes.
    ///
    /// # Errors
    /// Its folder can't be written.
    pub fn node(&self, index: usize) -> Result<Node> {
        let (role, number) = if index < self.management {
            (Role::Management, index + 1)
        } else {
            (Role::Spooler, index - self.management + 1)
        };
        let name = format!("{}-{number}", role.as_str());
        // A plan for more nodes than a network has addresses takes another network for the next ones.
        let host = self.first_host.saturating_add(u8::try_from(index % NODES_PER_NETWORK).unwrap_or(u8::MAX));
        let mut node = Node::prepare(NodePlan {
            folder: self.folder.join(&name),
            name,
            role,
            address: self.network.host(host),
            quorate: self.binaries.quorate.clone(),
            own_group: self.own_group,
        })?;
        node.environment.clone_from(&self.environment);
        node.set("portal", "url", self.portal.url.clone());
        node.set("portal", "ca_file", self.portal.ca_file.to_string_lossy().into_owned());
        node.set("license", "trust_roots", vec![self.portal.root_key.clone()]);
        node.set("integrity", "scope", self.scope);
        if let Some(count) = self.expected_nodes {
            node.set("cluster", "expected_nodes", i64::from(count));
        }
        if let Some(times) = self.raft_times_ms {
            for (key, value) in ["heartbeat_ms", "election_min_ms", "election_max_ms"].into_iter().zip(times)
            {
                node.set("raft", key, i64::from(value));
            }
        }
        node.write_config()?;
        Ok(node)
    }
}

impl Cluster {
    /// Sets up the cluster on the first node, joins all others, starts them and waits until all are members, and
    /// all Management Servers vote.
    ///
    /// # Errors
    /// A command fails, a node ends, or it takes too long.
    pub fn start(&mut self) -> Result<()> {
        self.found()?;
        for index in 1..self.nodes.len() {
            self.join(index)?;
            self.nodes[index].serve()?;
        }
        self.wait_for_members(self.nodes.len())
    }

    /// Sets up the cluster on the first node, starts it and waits until it leads.
    ///
    /// # Errors
    /// A command fails, the node ends, or it takes too long.
    pub fn found(&mut self) -> Result<()> {
        self.nodes[0].cli(["init", "-o", "json"]).run()?.success()?;
        self.nodes[0].serve()?;
        self.wait_for_members(1)
    }

    /// Makes a token for a node and joins the node with it; the node does not run yet.
    ///
    /// # Errors
    /// A command fails.
    pub fn join(&mut self, index: usize) -> Result<()> {
        let node = &self.nodes[index];
        let token = self.token(node.role, Some(&node.name))?;
        node.join(&token.token, self.nodes[0].raft)?.success().map(|_| ())
    }

    /// A join token, made on the first node.
    ///
    /// # Errors
    /// The command fails.
    pub fn token(&self, role: Role, name: Option<&str>) -> Result<NewToken> {
        let mut cli = self.nodes[0].cli(["token", "create", "--role", role.as_str()]);
        if let Some(name) = name {
            cli = cli.args(["--name", name]);
        }
        cli.json()
    }

    /// An administrator's token, made on the first node.
    ///
    /// # Errors
    /// The command fails.
    pub fn admin_token(&self, label: &str) -> Result<NewToken> {
        self.nodes[0].cli(["token", "create", "--admin", label]).json()
    }

    /// Activates through a node, by its administrator socket.
    ///
    /// # Errors
    /// The activation is refused.
    pub fn activate(&self, node: usize, key: &str) -> Result<Activated> {
        self.try_activate(node, key)?.success()?.parse()
    }

    /// Asks a node for an activation and gives whatever it answers.
    ///
    /// # Errors
    /// The command can't be run.
    pub fn try_activate(&self, node: usize, key: &str) -> Result<Answer> {
        let cli = self.nodes[node].cli(["license", "activate", "--key-file", "-", "--yes", "-o", "json"]);
        cli.stdin(format!("{key}\n")).run()
    }

    /// That nobody has a license, and that no activation is open.
    ///
    /// # Errors
    /// A running node has a license, or an activation is open, or a node does not answer.
    pub fn nothing_changed(&self) -> Result<()> {
        for node in self.nodes.iter().filter(|node| node.pid().is_some()) {
            let shown = node.product().license()?;
            if shown.license.is_some() || shown.status != "unlicensed" || node.license_file().exists() {
                return Err(Failure::wrong(format!("{} is {}", node.name, shown.status)));
            }
            let open = |state: &str| !matches!(state, "refused" | "superseded");
            let activations = node.admin().activations()?;
            if let Some(activation) = activations.iter().find(|activation| open(&activation.state)) {
                return Err(Failure::wrong(format!("{}: the activation {activation:?}", node.name)));
            }
        }
        Ok(())
    }

    /// Waits until this many nodes are members and online, and all Management Servers among them vote, as seen
    /// by a running Management Server.
    ///
    /// # Errors
    /// A node ends, or it takes too long.
    pub fn wait_for_members(&mut self, count: usize) -> Result<()> {
        self.wait_for_status(&format!("{count} members, online and voting"), |status| {
            let ready = |node: &&NodeStatus| {
                node.online == Some(true)
                    && node.applied_index.is_some()
                    && (node.voter || node.role == "spooler")
            };
            status.leader.is_some() && status.nodes.iter().filter(ready).count() == count
        })
    }

    /// Waits until every running node has the license with this serial.
    ///
    /// # Errors
    /// A node ends, or it takes too long.
    pub fn wait_for_serial(&mut self, serial: u64) -> Result<()> {
        for node in self.nodes.iter_mut().filter(|node| node.pid().is_some()) {
            wait_for_serial(node, serial)?;
        }
        Ok(())
    }

    /// Waits until the status that a running Management Server gives is as wanted.
    ///
    /// # Errors
    /// A node that was started ends, or it takes too long.
    pub fn wait_for_status(&mut self, what: &str, wanted: impl Fn(&StatusResponse) -> bool) -> Result<()> {
        wait::until(what, PATIENCE, || {
            for node in self.nodes.iter_mut().filter(|node| node.pid().is_some()) {
                node.must_run()?;
            }
            Ok(match self.status() {
                Ok(status) => Seen::when(wanted(&status), || brief(&status)),
                Err(failure) => Seen::not_yet(failure.to_string()),
            })
        })
    }

    /// The status as the first running Management Server sees it.
    ///
    /// # Errors
    /// None runs, or it does not answer.
    pub fn status(&self) -> Result<StatusResponse> {
        let mut failure = Failure::wrong("no Management Server runs");
        for node in self.nodes.iter().filter(|node| node.role == Role::Management && node.pid().is_some()) {
            match node.admin().status() {
                Ok(status) => return Ok(status),
                Err(refusal) => failure = refusal,
            }
        }
        Err(failure)
    }

    /// Which node leads, as an index into [`Cluster::nodes`]; waits for an election to end.
    ///
    /// # Errors
    /// There is no leader for too long.
    pub fn leader(&self) -> Result<usize> {
        wait::until("a leader", PATIENCE, || {
            let status = match self.status() {
                Ok(status) => status,
                Err(failure) => return Ok(Seen::not_yet(failure.to_string())),
            };
            let name = status.leader.and_then(|id| status.nodes.iter().find(|node| node.id == id));
            let index = name.and_then(|leader| self.nodes.iter().position(|node| node.name == leader.name));
            Ok(match index {
                Some(index) if self.nodes[index].pid().is_some() => Seen::Done(index),
                _ => Seen::NotYet(brief(&status)),
            })
        })
    }

    /// The index of the node with this name.
    ///
    /// # Errors
    /// There is none.
    pub fn index_of(&self, name: &str) -> Result<usize> {
        let found = self.nodes.iter().position(|node| node.name == name);
        found.ok_or_else(|| Failure::wrong(format!("there is no node {name}")))
    }

    /// Asks all nodes to stop, at the same time, and kills those that don't.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn stop(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.ask_to_stop()?;
        }
        thread::scope(|scope| {
            let stopping: Vec<_> = self.nodes.iter_mut().map(|node| scope.spawn(|| node.stop())).collect();
            stopping.into_iter().try_for_each(|thread| match thread.join() {
                Ok(outcome) => outcome.map(|_| ()),
                Err(_) => Err(Failure::wrong("a thread that stops a node failed")),
            })
        })
    }

    /// Kills all nodes at the same time, as `kill -9` does.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill_all(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::kill)
    }
}

/// Waits until the node itself says that it has the license with this serial, and has written the license file.
///
/// # Errors
/// It ends, or it takes too long.
pub fn wait_for_serial(node: &mut Node, serial: u64) -> Result<()> {
    let what = format!("the license with serial {serial} on {}", node.name);
    let product = node.product();
    wait::until(&what, Duration::from_secs(90), || {
        node.must_run()?;
        let license = match product.license() {
            Ok(answer) => answer.license,
            Err(failure) => return Ok(Seen::not_yet(failure.to_string())),
        };
        let found = license.map_or(0, |license| license.serial);
        Ok(Seen::when(found == serial && node.license_file().exists(), || format!("serial {found}")))
    })
}

/// A status in one line, for messages.
pub fn brief(status: &StatusResponse) -> String {
    let nodes = status.nodes.iter().map(|node| {
        let online = node.online.map_or("?", |online| if online { "online" } else { "offline" });
        let voter = if node.voter { " voter" } else { "" };
        let applied = node.applied_index.map_or("?".to_owned(), |index| index.to_string());
        format!("{} {online}{voter} at {applied}", node.name)
    });
    let leader = status.leader.map_or("no leader".to_owned(), |id| format!("leader {id}"));
    format!("{leader}: {}", nodes.collect::<Vec<_>>().join(", "))
}
