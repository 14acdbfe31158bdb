//! `quorate ca`: the cluster's CA, and its rotation.

use std::time::Duration;

use clap::Subcommand;
use quorate_license::Timestamp;
use quorate_proto::v1::{CaSummary, RotateCaRequest, ShowCaRequest, ShowCaResponse};
use serde::Serialize;

use super::{
    Context, Exit,
    client::{Admin, DEADLINE, LONG_DEADLINE, call, within},
    error::CliError,
    output::{Page, Present, or_dash},
    progress::Progress,
};

/// How long `rotate` waits for the end of a rotation.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Commands about the cluster's CA.
#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Show the CA, and how far its rotation is.
    Status,
    /// Put a new CA in the present one's place. Nothing is restarted, and connections stay. Every node has to take
    /// part: the rotation waits for those that are away, and goes on by itself when they are back.
    Rotate {
        /// Don't wait for the end.
        #[arg(long)]
        no_wait: bool,
    },
}

#[derive(Serialize)]
struct Status {
    ca: Option<Ca>,
    other: Option<Ca>,
    phase: String,
    version: u64,
    started_at: Option<Timestamp>,
    phase_since: Option<Timestamp>,
    requested_by: Option<String>,
    waits: Vec<Wait>,
}

#[derive(Serialize)]
struct Ca {
    name: String,
    fingerprint: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

#[derive(Serialize)]
struct Wait {
    node: u64,
    name: String,
    online: Option<bool>,
}

pub(super) async fn run(context: &Context, command: CaCommand) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let status = match command {
        CaCommand::Status => show(&mut admin).await?,
        CaCommand::Rotate { no_wait } => {
            call(LONG_DEADLINE, admin.rotate_ca(within(LONG_DEADLINE, RotateCaRequest {}))).await?;
            if no_wait { show(&mut admin).await? } else { settled(context, &mut admin).await? }
        }
    };
    context.output.print(&status)?;
    Ok(Exit::Ok)
}

async fn show(admin: &mut Admin) -> Result<Status, CliError> {
    Ok(call(DEADLINE, admin.show_ca(within(DEADLINE, ShowCaRequest {}))).await?.into())
}

/// The status at the end of the rotation, or when patience ends; it goes on by itself then.
async fn settled(context: &Context, admin: &mut Admin) -> Result<Status, CliError> {
    let progress = Progress::start(context.output, "Waiting for the nodes");
    let give_up = tokio::time::Instant::now() + PATIENCE;
    let status = loop {
        let status = show(admin).await?;
        if status.phase == "settled" || tokio::time::Instant::now() >= give_up {
            break status;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    drop(progress);
    Ok(status)
}

impl From<ShowCaResponse> for Status {
    fn from(answer: ShowCaResponse) -> Self {
        let time = |ms: Option<i64>| ms.map(Timestamp::from_unix_ms);
        let ca = |ca: CaSummary| Ca {
            name: ca.name,
            fingerprint: ca.fingerprint,
            not_before: Timestamp::from_unix_ms(ca.not_before_ms),
            not_after: Timestamp::from_unix_ms(ca.not_after_ms),
        };
        let waits = answer.waits.into_iter();
        Status {
            ca: answer.ca.map(ca),
            other: answer.other.map(ca),
            phase: answer.phase,
            version: answer.version,
            started_at: time(answer.started_at_ms),
            phase_since: time(answer.phase_since_ms),
            requested_by: Some(answer.requested_by).filter(|by| !by.is_empty()),
            waits: waits.map(|it| Wait { node: it.node, name: it.name, online: it.online }).collect(),
        }
    }
}

impl Present for Status {
    fn page(&self, page: &mut Page) {
        let ca = |ca: &Option<Ca>| or_dash(ca.as_ref().map(|ca| ca.name.clone()));
        let mut fields = vec![
            ("CA", ca(&self.ca)),
            ("Fingerprint", or_dash(self.ca.as_ref().map(|ca| ca.fingerprint.clone()))),
            ("Valid until", or_dash(self.ca.as_ref().map(|ca| ca.not_after))),
        ];
        let (phase, other) = match self.phase.as_str() {
            "trusting" => ("nodes learn to trust the new CA", "New CA"),
            "issuing" => ("nodes get certificates of the new CA", "Old CA"),
            _ => ("none under way", ""),
        };
        fields.push(("Rotation", phase.to_owned()));
        if self.other.is_some() {
            fields.push((other, ca(&self.other)));
        }
        if let Some(by) = &self.requested_by {
            fields.push(("Last begun", format!("{}, {by}", or_dash(self.started_at))));
        }
        page.fields(&fields);
        if self.waits.is_empty() {
            return;
        }
        page.gap();
        page.line("It waits for:");
        for wait in &self.waits {
            page.line(match wait.online {
                Some(false) => format!(
                    "- {}, which is away: start it; if its data is lost, `quorate join --replace {}`; if it has left for \
                     good, `quorate node remove {}`",
                    wait.name, wait.name, wait.name
                ),
                Some(true) => format!("- {}, which is online: see its log if this lasts", wait.name),
                None => format!("- {}; no leader could tell whether it is online", wait.name),
            });
        }
        page.line("It goes on by itself when they are there. Until then both CAs are trusted.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    fn ca(number: u32) -> CaSummary {
        CaSummary {
            name: format!("Quorate cluster {}, CA {number}", "ab".repeat(16)),
            fingerprint: format!("{number:02x}").repeat(32),
            not_before_ms: 1_763_750_000_000,
            not_after_ms: 2_394_470_000_000,
        }
    }

    #[test]
    fn a_rotation_names_the_nodes_that_it_waits_for() {
        let wait = |index: u64, online| quorate_proto::v1::CaWait {
            node: (1 << 40) + index,
            name: format!("sc-{index}"),
            online,
        };
        insta::assert_snapshot!(all_forms(&Status::from(ShowCaResponse {
            ca: Some(ca(1)),
            other: Some(ca(2)),
            phase: "trusting".to_owned(),
            version: 3,
            started_at_ms: Some(1_763_800_000_000),
            phase_since_ms: Some(1_763_800_000_000),
            requested_by: "local administrator on ms-1".to_owned(),
            waits: vec![wait(1, Some(false)), wait(2, Some(true)), wait(3, None)],
        })));
    }

    #[test]
    fn a_ca_that_was_never_rotated_is_shown() {
        let answer =
            ShowCaResponse { ca: Some(ca(1)), phase: "settled".to_owned(), ..ShowCaResponse::default() };
        insta::assert_snapshot!(all_forms(&Status::from(answer)));
    }
}
