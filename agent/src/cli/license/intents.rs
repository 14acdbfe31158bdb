//! `quorate license intents`: the activations that were begun, and how far each came.

use quorate_license::Timestamp;
use quorate_proto::v1::{ActivationSummary, ListActivationsRequest};
use serde::Serialize;

use super::super::{
    Context, Exit,
    client::{DEADLINE, call, within},
    error::CliError,
    output::{Page, Present, or_dash},
    wire,
};

#[derive(Serialize)]
#[serde(transparent)]
struct Intents(Vec<Intent>);

#[derive(Serialize)]
struct Intent {
    nonce: String,
    kind: String,
    tenant: String,
    method: String,
    state: String,
    opened_at: Option<Timestamp>,
    requested_by: Option<String>,
    key_last5: Option<String>,
    detail: Option<String>,
}

pub(super) async fn run(context: &Context) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let answer = call(DEADLINE, admin.list_activations(within(DEADLINE, ListActivationsRequest {}))).await?;
    context.output.print(&Intents::new(answer.activations))?;
    Ok(Exit::Ok)
}

impl Intents {
    /// Open ones first, then the latest first.
    fn new(activations: Vec<ActivationSummary>) -> Self {
        let mut intents: Vec<Intent> = activations.into_iter().map(Intent::from).collect();
        intents.sort_by_key(|intent| (!intent.is_open(), std::cmp::Reverse(intent.opened_at)));
        Intents(intents)
    }
}

impl Intent {
    fn is_open(&self) -> bool {
        matches!(self.state.as_str(), "opened" | "requested")
    }
}

impl From<ActivationSummary> for Intent {
    fn from(activation: ActivationSummary) -> Self {
        Intent {
            nonce: activation.nonce,
            kind: activation.kind,
            tenant: activation.tenant,
            method: activation.method,
            state: activation.state,
            opened_at: wire::time(activation.opened_at_ms),
            requested_by: wire::text(activation.requested_by),
            key_last5: wire::text(activation.key_last5),
            detail: wire::text(activation.detail),
        }
    }
}

impl Present for Intents {
    fn page(&self, page: &mut Page) {
        let row = |intent: &Intent| {
            vec![
                intent.nonce.clone(),
                intent.kind.clone(),
                intent.tenant.clone(),
                intent.method.clone(),
                intent.state.clone(),
                or_dash(intent.opened_at),
                intent.key_last5.as_ref().map_or_else(|| "-".to_owned(), |last| format!("…{last}")),
                or_dash(intent.requested_by.as_ref()),
                or_dash(intent.detail.as_ref()),
            ]
        };
        let header =
            ["NONCE", "KIND", "TENANT", "METHOD", "STATE", "OPENED", "KEY", "REQUESTED BY", "DETAIL"];
        page.table(&header, self.0.iter().map(row).collect(), "No activation was begun so far.");
        let open: Vec<&Intent> = self.0.iter().filter(|intent| intent.is_open()).collect();
        if open.is_empty() {
            return;
        }
        page.gap();
        if open.iter().any(|intent| intent.method == "offline") {
            page.line("An open offline activation waits for its license key: 'quorate license install FILE'. The same");
            page.line("command that began it shows its integrity key again.");
        }
        if open.iter().any(|intent| intent.method != "offline") {
            page.line("An open activation is finished by the command that began it, with the same key.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    #[test]
    fn open_activations_come_first_in_every_form() {
        let activation = |index: u8, state: &str, detail: &str| ActivationSummary {
            nonce: format!("{index:02x}").repeat(16),
            kind: "activate".to_owned(),
            tenant: "default".to_owned(),
            state: state.to_owned(),
            opened_at_ms: 1_763_750_000_000 + i64::from(index) * 60_000,
            requested_by: "local administrator on ms-1".to_owned(),
            key_last5: "4QKZ7".to_owned(),
            detail: detail.to_owned(),
            method: if index == 4 { "offline" } else { "online" }.to_owned(),
        };
        let activations = vec![
            activation(1, "refused", "the activation key is not known to the portal"),
            activation(2, "requested", ""),
            activation(3, "installed", ""),
            activation(4, "requested", "waits for its license key"),
        ];
        insta::assert_snapshot!(all_forms(&Intents::new(activations)));
        insta::assert_snapshot!(all_forms(&Intents::new(Vec::new())));
    }
}
