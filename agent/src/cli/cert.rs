//! `quorate cert`: the nodes' certificates.

use clap::Subcommand;
use quorate_license::Timestamp;
use quorate_proto::v1::{
    ListCertificatesRequest, NodeCertificate, RotateCertificateRequest, RotateCertificateResponse,
};
use serde::Serialize;

use super::{
    Context, Exit,
    client::{Admin, DEADLINE, LONG_DEADLINE, call, within},
    error::CliError,
    node,
    output::{Page, Present, or_dash},
    status,
};

/// Commands about the nodes' certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// List the certificates of all nodes.
    List,
    /// Have a node get a new certificate now. Nothing is restarted, and connections stay. Nodes do this by
    /// themselves when two thirds of a certificate's life are over.
    Rotate {
        /// The node's name or id; by default the node that is asked.
        #[arg(conflicts_with = "all")]
        node: Option<String>,
        /// All nodes, one after the other.
        #[arg(long)]
        all: bool,
    },
}

/// A node's certificate; what it has not told is null.
#[derive(Serialize)]
struct Certificate {
    node: u64,
    name: String,
    role: String,
    issuer: Option<String>,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    days_left: Option<i64>,
    serial: Option<String>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Certificates(Vec<Certificate>);

/// What became of one node's certificate.
#[derive(Serialize)]
struct Rotated {
    node: u64,
    name: String,
    serial: Option<String>,
    not_after: Option<Timestamp>,
    error: Option<String>,
}

#[derive(Serialize)]
#[serde(transparent)]
struct AllRotated(Vec<Rotated>);

pub(super) async fn run(context: &Context, command: CertCommand) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    match command {
        CertCommand::List => {
            let answer =
                call(DEADLINE, admin.list_certificates(within(DEADLINE, ListCertificatesRequest {})));
            let answer = answer.await?;
            let now = Timestamp::from_unix_ms(answer.now_ms);
            let certificates = answer.certificates.into_iter().map(|told| Certificate::new(told, now));
            context.output.print(&Certificates(certificates.collect()))?;
            Ok(Exit::Ok)
        }
        CertCommand::Rotate { all: true, .. } => rotate_all(context, &mut admin).await,
        CertCommand::Rotate { node: given, all: false } => {
            let nodes = status::ask(&mut admin).await?.nodes;
            let node = given.map(|given| node::find(&nodes, given)).transpose()?.map_or(0, |node| node.id);
            let rotated = Rotated::from(rotate(&mut admin, node).await?);
            context.output.print(&AllRotated(vec![rotated]))?;
            Ok(Exit::Ok)
        }
    }
}

async fn rotate(admin: &mut Admin, node: u64) -> Result<RotateCertificateResponse, CliError> {
    call(LONG_DEADLINE, admin.rotate_certificate(within(LONG_DEADLINE, RotateCertificateRequest { node })))
        .await
}

/// One node after the other; one that can't is named, and the others go on.
async fn rotate_all(context: &Context, admin: &mut Admin) -> Result<Exit, CliError> {
    let nodes = status::ask(admin).await?.nodes;
    let mut all = Vec::new();
    for node in nodes {
        all.push(match rotate(admin, node.id).await {
            Ok(rotated) => rotated.into(),
            Err(error) => Rotated {
                node: node.id,
                name: node.name,
                serial: None,
                not_after: None,
                error: Some(error.report().message),
            },
        });
    }
    let failed = all.iter().any(|one| one.error.is_some());
    context.output.print(&AllRotated(all))?;
    Ok(if failed { Exit::Failed } else { Exit::Ok })
}

impl Certificate {
    fn new(told: NodeCertificate, now: Timestamp) -> Self {
        let not_after = told.not_after_ms.map(Timestamp::from_unix_ms);
        Certificate {
            node: told.node,
            name: told.name,
            role: told.role,
            issuer: told.issuer,
            not_before: told.not_before_ms.map(Timestamp::from_unix_ms),
            not_after,
            days_left: not_after.map(|end| end.ms_since(now).div_euclid(quorate_license::DAY_MS)),
            serial: told.serial,
        }
    }
}

impl From<RotateCertificateResponse> for Rotated {
    fn from(answer: RotateCertificateResponse) -> Self {
        Rotated {
            node: answer.node,
            name: answer.name,
            serial: Some(answer.serial),
            not_after: Some(Timestamp::from_unix_ms(answer.not_after_ms)),
            error: None,
        }
    }
}

impl Present for Certificates {
    fn page(&self, page: &mut Page) {
        let row = |one: &Certificate| {
            vec![
                one.name.clone(),
                one.role.clone(),
                short(one.issuer.as_deref()),
                or_dash(one.not_before),
                or_dash(one.not_after),
                or_dash(one.days_left),
                short(one.serial.as_deref()),
            ]
        };
        let header = ["NODE", "ROLE", "ISSUER", "NOT BEFORE", "NOT AFTER", "DAYS LEFT", "SERIAL"];
        page.table(&header, self.0.iter().map(row).collect(), "No node has told about its certificate.");
    }
}

impl Present for AllRotated {
    fn page(&self, page: &mut Page) {
        for one in &self.0 {
            page.line(match (&one.error, one.not_after) {
                (Some(error), _) => format!("{}: not rotated: {error}", one.name),
                (None, end) => {
                    let serial = short(one.serial.as_deref());
                    format!("{}: new certificate {serial}, valid until {}", one.name, or_dash(end))
                }
            });
        }
    }
}

/// The beginning of a long hexadecimal number, enough to tell it from others.
pub(super) fn short(text: Option<&str>) -> String {
    or_dash(text.map(|text| text.get(..16).unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    #[test]
    fn certificates_are_listed_in_every_form() {
        let told = |index: u64, role: &str| NodeCertificate {
            node: (1 << 40) + index,
            name: format!("node-{index}"),
            role: role.to_owned(),
            serial: Some("5f".repeat(20)),
            issuer: Some("ca".repeat(32)),
            not_before_ms: Some(1_763_750_000_000),
            not_after_ms: Some(1_771_526_000_000),
            trusts: 1,
        };
        let silent = NodeCertificate {
            serial: None,
            issuer: None,
            not_before_ms: None,
            not_after_ms: None,
            ..told(2, "spooler")
        };
        let now = Timestamp::from_unix_ms(1_763_800_000_000);
        let all = [told(1, "management"), silent].map(|told| Certificate::new(told, now));
        insta::assert_snapshot!(all_forms(&Certificates(all.into())));
    }

    #[test]
    fn what_became_of_each_certificate_is_shown_in_every_form() {
        let rotated = RotateCertificateResponse {
            node: (1 << 40) + 1,
            name: "ms-1".to_owned(),
            serial: "5f".repeat(20),
            not_after_ms: 1_771_526_000_000,
        };
        let failed = Rotated {
            node: (1 << 40) + 2,
            name: "sc-1".to_owned(),
            serial: None,
            not_after: None,
            error: Some("sc-1 does not answer: no answer in time".to_owned()),
        };
        insta::assert_snapshot!(all_forms(&AllRotated(vec![rotated.into(), failed])));
    }
}
