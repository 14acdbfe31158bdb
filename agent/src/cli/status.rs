//! `quorate status`: the cluster, its nodes and the license. The JSON's shape is a promise.

use std::fmt;

use quorate_license::{EndingKind, Timestamp};
use quorate_proto::v1::{
    LicenseEnding, LicenseSummary, NodeStatus, RemovedNode, StatusRequest, StatusResponse,
};
use serde::Serialize;

use super::{
    Context, Exit,
    client::{Admin, DEADLINE, call, within},
    error::CliError,
    output::{Page, Present, or_dash, yes_no},
};

/// The cluster as one node sees it.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    cluster_id: String,
    epoch: Epoch,
    leader: Option<u64>,
    first_license_node: u64,
    pub(crate) nodes: Vec<Node>,
    license: Option<License>,
    warnings: Vec<String>,
    removed: Vec<Removed>,
}

/// A node that was taken out.
#[derive(Debug, Serialize)]
struct Removed {
    id: u64,
    name: String,
    role: String,
    computer_id: String,
    removed_at: Timestamp,
    reason: String,
    detail: String,
    replaced_by: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Epoch {
    number: u32,
    id: String,
}

/// One node in short.
#[derive(Debug, Serialize)]
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) name: String,
    role: String,
    voter: bool,
    online: Option<bool>,
    computer_id: String,
    build: Option<String>,
    applied_index: Option<u64>,
    license_serial: Option<u64>,
}

/// The default tenant's license in short.
#[derive(Debug, Serialize)]
pub(crate) struct License {
    status: String,
    kind: Option<String>,
    support_id: Option<String>,
    serial: Option<u64>,
    expires_at: Option<Timestamp>,
    days_left: Option<u32>,
    /// What ends within 30 days, the soonest first.
    endings: Vec<Ending>,
}

/// Something that is about to end.
#[derive(Debug, Serialize)]
pub(crate) struct Ending {
    what: String,
    node: Option<String>,
    ends_at: Timestamp,
    days_left: u32,
    within_days: u32,
}

pub(super) async fn run(context: &Context) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    context.output.print(&Status::from(ask(&mut admin).await?))?;
    Ok(Exit::Ok)
}

/// What the node says about the cluster.
pub(super) async fn ask(admin: &mut Admin) -> Result<StatusResponse, CliError> {
    call(DEADLINE, admin.status(within(DEADLINE, StatusRequest {}))).await
}

impl From<StatusResponse> for Status {
    fn from(answer: StatusResponse) -> Self {
        Status {
            cluster_id: answer.cluster_id,
            epoch: Epoch { number: answer.epoch_number, id: answer.epoch_id },
            leader: answer.leader,
            first_license_node: answer.first_license_node,
            nodes: answer.nodes.into_iter().map(Node::from).collect(),
            license: answer.license.and_then(License::installed),
            warnings: answer.warnings,
            removed: answer.removed.into_iter().map(Removed::from).collect(),
        }
    }
}

impl From<RemovedNode> for Removed {
    fn from(gone: RemovedNode) -> Self {
        Removed {
            id: gone.id,
            name: gone.name,
            role: gone.role,
            computer_id: gone.computer_id,
            removed_at: Timestamp::from_unix_ms(gone.removed_at_ms),
            reason: gone.reason,
            detail: gone.detail,
            replaced_by: gone.replaced_by,
        }
    }
}

impl From<NodeStatus> for Node {
    fn from(node: NodeStatus) -> Self {
        Node {
            id: node.id,
            name: node.name,
            role: node.role,
            voter: node.voter,
            online: node.online,
            computer_id: node.computer_id,
            build: node.build,
            applied_index: node.applied_index,
            license_serial: node.license_serial,
        }
    }
}

impl Node {
    /// The node's values below each other.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Name", self.name.clone()),
            ("ID", self.id.to_string()),
            ("Role", self.role.clone()),
            ("Voter", yes_no(self.voter).to_owned()),
            ("Online", self.online.map_or("unknown", yes_no).to_owned()),
            ("Computer ID", self.computer_id.clone()),
            ("Build", or_dash(self.build.as_ref())),
            ("Applied index", or_dash(self.applied_index)),
            ("License serial", or_dash(self.license_serial)),
        ]
    }
}

impl License {
    /// The license, unless there is none.
    fn installed(summary: LicenseSummary) -> Option<Self> {
        (summary.status != "unlicensed").then(|| License {
            status: summary.status,
            kind: summary.kind,
            support_id: summary.support_id,
            serial: summary.serial,
            expires_at: summary.expires_at_ms.map(Timestamp::from_unix_ms),
            days_left: summary.days_left,
            endings: summary.endings.into_iter().map(Ending::from).collect(),
        })
    }
}

impl From<LicenseEnding> for Ending {
    fn from(ending: LicenseEnding) -> Self {
        Ending {
            what: ending.what,
            node: ending.node,
            ends_at: Timestamp::from_unix_ms(ending.ends_at_ms),
            days_left: ending.days_left,
            within_days: ending.within_days,
        }
    }
}

impl fmt::Display for Ending {
    /// In words; a kind that a newer node tells of is shown by its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = EndingKind::ALL.into_iter().find(|kind| kind.as_str() == self.what);
        f.write_str(kind.map_or(self.what.as_str(), |kind| kind.text()))?;
        if let Some(node) = &self.node {
            write!(f, " on {node}")?;
        }
        let days = if self.days_left == 1 { "day" } else { "days" };
        write!(f, " ends in {} {days}, at {}", self.days_left, self.ends_at)
    }
}

impl Present for Status {
    fn page(&self, page: &mut Page) {
        let name = |id: u64| {
            let node = self.nodes.iter().find(|node| node.id == id);
            node.map_or_else(|| id.to_string(), |node| node.name.clone())
        };
        let license = self.license.as_ref();
        let mut fields = vec![
            ("Cluster", self.cluster_id.clone()),
            ("Epoch", format!("{} ({})", self.epoch.number, self.epoch.id)),
            ("Leader", self.leader.map_or_else(|| "none is known".to_owned(), name)),
            ("First license node", name(self.first_license_node)),
            ("License", license.map_or_else(|| "none is installed".to_owned(), ToString::to_string)),
        ];
        if let Some(support_id) = license.and_then(|license| license.support_id.clone()) {
            fields.push(("Support ID", support_id));
        }
        page.fields(&fields);
        for ending in license.iter().flat_map(|license| &license.endings) {
            page.line(format!("- Soon: {ending}"));
        }
        for warning in &self.warnings {
            page.line(format!("- Note: {warning}"));
        }
        page.gap();
        node_table(&self.nodes, page);
        if self.removed.is_empty() {
            return;
        }
        page.gap();
        let row = |gone: &Removed| {
            vec![gone.name.clone(), gone.id.to_string(), gone.removed_at.to_string(), gone.detail.clone()]
        };
        page.table(&["REMOVED", "ID", "ON", "WHY"], self.removed.iter().map(row).collect(), "");
    }
}

/// The nodes as a table.
pub(super) fn node_table(nodes: &[Node], page: &mut Page) {
    let header = ["NAME", "ID", "ROLE", "VOTER", "ONLINE", "COMPUTER ID", "BUILD", "APPLIED", "SERIAL"];
    let row = |node: &Node| {
        vec![
            node.name.clone(),
            node.id.to_string(),
            node.role.clone(),
            yes_no(node.voter).to_owned(),
            node.online.map_or("unknown", yes_no).to_owned(),
            node.computer_id.clone(),
            or_dash(node.build.as_ref()),
            or_dash(node.applied_index),
            or_dash(node.license_serial),
        ]
    };
    page.table(&header, nodes.iter().map(row).collect(), "No node has joined yet.");
}

impl fmt::Display for License {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.status)?;
        if let Some(kind) = &self.kind {
            write!(f, ", {kind}")?;
        }
        if let Some(serial) = self.serial {
            write!(f, ", serial {serial}")?;
        }
        if let Some(end) = self.expires_at {
            write!(f, ", until {end}")?;
        }
        match self.days_left {
            Some(1) => f.write_str(", 1 day left"),
            Some(days) => write!(f, ", {days} days left"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    /// Three Management Servers and a Spooler Controller with a license.
    pub(in crate::cli) fn answer() -> StatusResponse {
        let node = |index: u64, name: &str, role: &str| NodeStatus {
            id: (1 << 40) + index,
            name: name.to_owned(),
            role: role.to_owned(),
            voter: role == "management",
            online: Some(index != 3),
            computer_id: format!("0CJ5B-8N2VQ-2Q4VX-E0WPZ-K9PTD-1J0CQ-4S1T{index}"),
            build: (index != 4).then(|| "6.0.84".to_owned()),
            applied_index: (index != 3).then_some(42),
            license_serial: (index != 3).then_some(2),
            raft_address: format!("{name}.example.com:7400"),
            http_address: format!("{name}.example.com:7443"),
            agent_version: "0.1.0".to_owned(),
            os: "Debian GNU/Linux 13".to_owned(),
            kernel: "6.12.0".to_owned(),
            booted_at_ms: 1_763_700_000_000,
            free_disk_bytes: Some(5_368_709_120),
            start_counter: index,
            joined_at_ms: 1_763_750_000_000,
        };
        StatusResponse {
            cluster_id: "ab".repeat(16),
            epoch_number: 1,
            epoch_id: "cd".repeat(16),
            leader: Some((1 << 40) + 2),
            first_license_node: (1 << 40) + 1,
            nodes: vec![
                node(1, "ms-1", "management"),
                node(2, "ms-2", "management"),
                node(3, "ms-3", "management"),
                node(4, "sc-1", "spooler"),
            ],
            license: Some(LicenseSummary {
                status: "active".to_owned(),
                kind: Some("subscription".to_owned()),
                support_id: Some("QS-7F3K-29TQ".to_owned()),
                serial: Some(2),
                expires_at_ms: Some(1_795_286_400_000),
                days_left: Some(365),
                next_step: String::new(),
                reasons: Vec::new(),
                endings: Vec::new(),
                refused: Vec::new(),
            }),
            answered_by: (1 << 40) + 1,
            warnings: Vec::new(),
            removed: Vec::new(),
        }
    }

    #[test]
    fn a_licensed_cluster_is_shown_in_every_form() {
        insta::assert_snapshot!(all_forms(&Status::from(answer())));
    }

    #[test]
    fn warnings_and_removed_nodes_are_shown_in_every_form() {
        let gone = |index: u64, reason: &str, detail: &str, replaced_by| RemovedNode {
            id: (1 << 40) + index,
            name: format!("ms-{index}"),
            role: "management".to_owned(),
            computer_id: format!("0CJ5B-8N2VQ-2Q4VX-E0WPZ-K9PTD-1J0CQ-4S1T{index}"),
            removed_at_ms: 1_763_750_000_000,
            reason: reason.to_owned(),
            detail: detail.to_owned(),
            replaced_by,
        };
        let answer = StatusResponse {
            warnings: vec!["2 Management Servers vote, an even number".to_owned()],
            removed: vec![
                gone(5, "removed", "removed by anna", None),
                gone(
                    6,
                    "replaced",
                    "replaced by node 1099511627779 on the same computer",
                    Some((1 << 40) + 3),
                ),
            ],
            ..answer()
        };
        insta::assert_snapshot!(all_forms(&Status::from(answer)));
    }

    #[test]
    fn what_is_unknown_is_null_and_no_license_is_null() {
        let mut answer = answer();
        answer.leader = None;
        for node in &mut answer.nodes {
            node.online = None;
        }
        if let Some(license) = &mut answer.license {
            *license = LicenseSummary { status: "unlicensed".to_owned(), ..LicenseSummary::default() };
        }
        insta::assert_snapshot!(all_forms(&Status::from(answer)));
    }
}
