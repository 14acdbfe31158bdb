//! `quorate telemetry`: whether the vendor hears of this installation, and exactly what.

use clap::Subcommand;
use quorate_license::Timestamp;
use quorate_proto::v1::{SetTelemetryRequest, ShowTelemetryRequest, ShowTelemetryResponse};
use serde::Serialize;
use serde_json::Value;

use super::{
    Context, Exit, block_on,
    client::{DEADLINE, LONG_DEADLINE, call, within},
    error::CliError,
    output::{Page, Present, or_dash, yes_no},
    wire,
};

/// Commands about telemetry. It is off until somebody enables it.
#[derive(Debug, Subcommand)]
pub(crate) enum TelemetryCommand {
    /// Show whether it is sent, where, when, and exactly what.
    Show,
    /// Let it be sent: a first report soon, then one a day.
    Enable,
    /// Stop sending it. Nothing else changes.
    Disable,
}

#[derive(Serialize)]
struct Shown {
    enabled: bool,
    enabled_by_default: bool,
    address: Option<String>,
    sender: Option<String>,
    next_at: Option<Timestamp>,
    report: Value,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct Decided {
    enabled: bool,
}

pub(super) fn run(context: &Context, command: &TelemetryCommand) -> Result<Exit, CliError> {
    match command {
        TelemetryCommand::Show => block_on(show(context)),
        TelemetryCommand::Enable => block_on(set(context, true)),
        TelemetryCommand::Disable => block_on(set(context, false)),
    }
}

async fn show(context: &Context) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let answer = call(DEADLINE, admin.show_telemetry(within(DEADLINE, ShowTelemetryRequest {}))).await?;
    context.output.print(&Shown::new(answer)?)?;
    Ok(Exit::Ok)
}

async fn set(context: &Context, enabled: bool) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let request = SetTelemetryRequest { enabled };
    let answer = call(LONG_DEADLINE, admin.set_telemetry(within(LONG_DEADLINE, request))).await?;
    context.output.print(&Decided { enabled: answer.enabled })?;
    Ok(Exit::Ok)
}

impl Shown {
    fn new(answer: ShowTelemetryResponse) -> Result<Self, CliError> {
        let unreadable = |_| CliError::AnswerUnreadable { what: "the telemetry report is no JSON" };
        Ok(Shown {
            enabled: answer.enabled,
            enabled_by_default: false,
            address: wire::text(answer.address),
            sender: wire::text(answer.sender),
            next_at: answer.next_at_ms.and_then(wire::time),
            report: serde_json::from_str(&answer.report).map_err(unreadable)?,
            text: answer.report,
        })
    }
}

impl Present for Shown {
    fn page(&self, page: &mut Page) {
        page.fields(&[
            ("Sent", format!("{} (the default is no)", yes_no(self.enabled))),
            ("To", or_dash(self.address.as_ref())),
            ("By", or_dash(self.sender.as_ref())),
            ("Next", or_dash(self.next_at)),
        ]);
        page.gap();
        page.line(match self.enabled {
            true => "This is the whole report, as it is sent once a day:",
            false => "This would be the whole report, sent once a day:",
        });
        page.gap();
        for line in self.text.lines() {
            page.line(line);
        }
    }
}

impl Present for Decided {
    fn page(&self, page: &mut Page) {
        page.line(match self.enabled {
            true => {
                "Telemetry is sent: a first report soon, then one a day. 'quorate telemetry show' shows it."
            }
            false => "No telemetry is sent any more. Nothing else changes.",
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    #[test]
    fn what_is_sent_is_shown_as_it_is() {
        let answer = ShowTelemetryResponse {
            enabled: true,
            address: "https://portal.example.com/v1/telemetry".to_owned(),
            report: "{\n  \"version\": 1,\n  \"nodes\": {\n    \"management\": 3\n  }\n}".to_owned(),
            next_at_ms: Some(1_763_750_000_000),
            sender: "ms-1".to_owned(),
        };
        let off = ShowTelemetryResponse {
            enabled: false,
            address: String::new(),
            next_at_ms: None,
            ..answer.clone()
        };
        insta::assert_snapshot!(
            [answer, off].map(|answer| all_forms(&Shown::new(answer).unwrap())).join("\n")
        );
        insta::assert_snapshot!([true, false].map(|enabled| all_forms(&Decided { enabled })).join("\n"));
    }
}
