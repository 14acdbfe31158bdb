//! `quorate license activate`, `trial` and `reactivate`: what would be bound, a yes, and every step until the
//! license is installed; offline, until the integrity key is there.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use quorate_license::{ActivationKey, ActivationKind, TenantId};
use quorate_proto::v1::{
    ActivateEvent, ActivateRequest, ActivateResult, OfflineRequest, PlanActivationRequest,
    PlanActivationResponse,
};
use serde::Serialize;
use tokio::time::timeout;
use tonic::Streaming;
use zeroize::Zeroizing;

use super::{
    super::{
        Context, Exit,
        client::{LONG_DEADLINE, call, within},
        error::{Answer, CliError, UsageError},
        input,
        output::{Format, Page, Present, or_dash},
        progress::Progress,
    },
    offline::{self, OfflineArgs},
};

/// How long one step may take: the portal is asked again for a while before it is given up.
const STEP_DEADLINE: Duration = Duration::from_secs(300);

/// Arguments of `license activate`.
#[derive(Debug, Args)]
pub(crate) struct ActivateArgs {
    /// A file with the activation key, - for standard input. Without it you are asked.
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    key_file: Option<PathBuf>,

    /// The activation key itself. Other users of this host can see it while the command runs: --key-file
    /// is the better way.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    #[command(flatten)]
    how: HowArgs,
}

/// How the portal is asked, for all kinds.
#[derive(Debug, Args)]
pub(crate) struct HowArgs {
    /// Whose license; an installation with one tenant needs none.
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: TenantId,

    /// Bind the nodes that there are without asking, for scripts.
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    offline: OfflineArgs,
}

#[derive(Serialize)]
struct Plan {
    nodes: Vec<PlannedNode>,
    expected_nodes: Option<u32>,
    first_license_node: String,
    portal: String,
    scope: String,
}

#[derive(Serialize)]
struct PlannedNode {
    id: u64,
    name: String,
    role: String,
    computer_id: String,
    build: Option<String>,
}

#[derive(Serialize)]
struct Activated {
    support_id: String,
    serial: u64,
    nonce: String,
}

/// With an activation key: the first one, or a further order's.
pub(super) async fn run(context: &Context, args: ActivateArgs) -> Result<Exit, CliError> {
    let key: ActivationKey = key_text(&args)?.parse()?;
    run_kind(context, ActivationKind::Activate, Some(key), args.how).await
}

/// Any kind.
pub(super) async fn run_kind(
    context: &Context,
    kind: ActivationKind,
    key: Option<ActivationKey>,
    how: HowArgs,
) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let plan = PlanActivationRequest { kind: kind.to_string(), tenant: how.tenant.to_string() };
    let plan = call(LONG_DEADLINE, admin.plan_activation(within(LONG_DEADLINE, plan))).await?;
    let nodes: Vec<u64> = plan.nodes.iter().map(|node| node.id).collect();
    confirm(context, kind, &Plan::from(plan), how.yes)?;

    let request = ActivateRequest {
        kind: kind.to_string(),
        tenant: how.tenant.to_string(),
        activation_key: key.map(|key| key.expose().to_string()).unwrap_or_default(),
        nodes,
        offline: how.offline.asked(),
        renew: how.offline.renew(),
    };
    let progress = Progress::start(context.output, waiting_for(kind));
    let steps = call(LONG_DEADLINE, admin.activate(request)).await?;
    let end = follow(steps, &progress).await?;
    drop(progress);
    match end {
        End::Installed(result) => context.output.print(&Activated {
            support_id: result.support_id,
            serial: result.serial,
            nonce: result.nonce,
        })?,
        End::Offline(request) => offline::show(context, request, &how.offline)?,
    }
    Ok(Exit::Ok)
}

const fn waiting_for(kind: ActivationKind) -> &'static str {
    match kind {
        ActivationKind::Trial => "Beginning the trial",
        ActivationKind::Reactivate => "Reactivating",
        _ => "Activating",
    }
}

fn key_text(args: &ActivateArgs) -> Result<Zeroizing<String>, CliError> {
    match (&args.key_file, &args.key) {
        (Some(file), _) => input::secret("activation key", file),
        (None, Some(key)) => Ok(Zeroizing::new(key.clone())),
        (None, None) if input::interactive() => input::prompt("Activation key: "),
        (None, None) => Err(UsageError::NoActivationKey.into()),
    }
}

/// Shows what would be bound, and asks. A script's standard output stays its own.
fn confirm(context: &Context, kind: ActivationKind, plan: &Plan, yes: bool) -> Result<(), CliError> {
    match (context.output.format(), yes) {
        (Format::Table, _) => context.output.print(plan)?,
        (_, false) => context.output.aside(plan),
        (_, true) => {}
    }
    let does = match kind {
        ActivationKind::Trial => "Begin the trial",
        ActivationKind::Reactivate => "Reactivate",
        _ => "Activate",
    };
    if yes { Ok(()) } else { input::confirm(&format!("{does} and bind {}?", counted(plan.nodes.len()))) }
}

/// How an activation ends for the one who asked.
enum End {
    /// A license is installed.
    Installed(ActivateResult),
    /// The portal is to be asked by hand.
    Offline(OfflineRequest),
}

/// Tells every step, until the one that holds the result.
async fn follow(mut steps: Streaming<ActivateEvent>, progress: &Progress) -> Result<End, CliError> {
    loop {
        let event = timeout(STEP_DEADLINE, steps.message())
            .await
            .map_err(|_| Answer::late(STEP_DEADLINE.as_secs()))?
            .map_err(Answer::from)?
            .ok_or(CliError::ActivationCutOff)?;
        if !event.step.is_empty() {
            progress.step(&event.step);
        }
        match (event.result, event.offline) {
            (Some(result), _) => return Ok(End::Installed(result)),
            (None, Some(request)) => return Ok(End::Offline(request)),
            (None, None) => {}
        }
    }
}

fn counted(nodes: usize) -> String {
    if nodes == 1 { "this one node".to_owned() } else { format!("these {nodes} nodes") }
}

impl From<PlanActivationResponse> for Plan {
    fn from(answer: PlanActivationResponse) -> Self {
        let node = |node: quorate_proto::v1::PlannedNode| PlannedNode {
            id: node.id,
            name: node.name,
            role: node.role,
            computer_id: node.computer_id,
            build: node.build,
        };
        Plan {
            nodes: answer.nodes.into_iter().map(node).collect(),
            expected_nodes: answer.expected_nodes,
            first_license_node: answer.leader,
            portal: answer.portal_url,
            scope: answer.scope,
        }
    }
}

impl Present for Plan {
    fn page(&self, page: &mut Page) {
        let bound = match self.scope.as_str() {
            "management" => "the Management Servers",
            _ => "all nodes",
        };
        page.line(format!(
            "The license will be bound to {bound}; {} leads the activation, at {}.",
            self.first_license_node, self.portal
        ));
        if let Some(expected) = self.expected_nodes {
            page.line(format!("{expected} nodes are expected."));
        }
        page.gap();
        let row = |node: &PlannedNode| {
            vec![node.name.clone(), node.role.clone(), node.computer_id.clone(), or_dash(node.build.as_ref())]
        };
        page.table(
            &["NAME", "ROLE", "COMPUTER ID", "BUILD"],
            self.nodes.iter().map(row).collect(),
            "There is no node to bind.",
        );
        page.gap();
    }
}

impl Present for Activated {
    fn page(&self, page: &mut Page) {
        page.line("The license is installed.");
        page.gap();
        page.fields(&[("Support ID", self.support_id.clone()), ("Serial", self.serial.to_string())]);
        page.gap();
        page.line("'quorate status' shows the license on every node.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    fn args(key_file: Option<PathBuf>, key: Option<&str>) -> ActivateArgs {
        let how = HowArgs { tenant: TenantId::default_tenant(), yes: true, offline: OfflineArgs::default() };
        ActivateArgs { key_file, key: key.map(str::to_owned), how }
    }

    #[test]
    fn a_mistyped_key_is_refused_before_anybody_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let key = ActivationKey::from_entropy([7; 15]).expose();
        std::fs::write(&file, format!("{}\n", key.as_str())).unwrap();
        assert_eq!(key_text(&args(Some(file), None)).unwrap(), key);
        let parsed: Result<ActivationKey, _> = key_text(&args(None, Some("QA-WRONG"))).unwrap().parse();
        let report = CliError::from(parsed.unwrap_err()).report();
        assert_eq!(report.code, "activation_key_malformed");
    }

    #[test]
    fn the_plan_and_the_result_are_shown_in_every_form() {
        let node = |id: u64, name: &str, role: &str| quorate_proto::v1::PlannedNode {
            id,
            name: name.to_owned(),
            role: role.to_owned(),
            computer_id: "0CJ5B-8N2VQ-2Q4VX-E0WPZ-K9PTD-1J0CQ-4S1T3".to_owned(),
            build: (id == 1).then(|| "6.0.84".to_owned()),
        };
        let plan = PlanActivationResponse {
            nodes: vec![node(1, "ms-1", "management"), node(2, "sc-1", "spooler")],
            expected_nodes: Some(2),
            leader: "ms-1".to_owned(),
            portal_url: "https://portal.example.com".to_owned(),
            scope: "all".to_owned(),
        };
        insta::assert_snapshot!(all_forms(&Plan::from(plan)));
        insta::assert_snapshot!(all_forms(&Activated {
            support_id: "QS-7F3K-29TQ".to_owned(),
            serial: 1,
            nonce: "ab".repeat(16),
        }));
        assert_eq!((counted(1), counted(4)), ("this one node".to_owned(), "these 4 nodes".to_owned()));
    }
}
