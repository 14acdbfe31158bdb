//! `quorate cluster time` and `confirm-time`: the cluster's time, the nodes' clocks, and a jump that is held.

use quorate_license::Timestamp;
use quorate_proto::v1::{ConfirmTimeRequest, HeldJump, NodeClock, ShowTimeRequest, ShowTimeResponse};
use serde::Serialize;

use super::{
    Context, Exit,
    client::{Admin, DEADLINE, LONG_DEADLINE, call, within},
    error::CliError,
    input,
    output::{Page, Present, or_dash, yes_no},
};
use crate::cluster::span;

#[derive(Serialize)]
struct Shown {
    time: Timestamp,
    agreed_at: Option<Timestamp>,
    clocks_ahead_ms: i64,
    held: Option<Held>,
    nodes: Vec<Clock>,
}

#[derive(Serialize)]
struct Clock {
    id: u64,
    name: String,
    role: String,
    ahead_ms: Option<i64>,
    off: bool,
}

#[derive(Serialize)]
struct Held {
    from: Timestamp,
    to: Timestamp,
    since: Timestamp,
    until: Timestamp,
    reported_by: Vec<String>,
}

#[derive(Serialize)]
struct Confirmed {
    time: Timestamp,
}

pub(super) async fn show(context: &Context) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    context.output.print(&Shown::from(ask(&mut admin).await?))?;
    Ok(Exit::Ok)
}

pub(super) async fn confirm(context: &Context, yes: bool) -> Result<Exit, CliError> {
    let mut admin = context.connect().await?;
    let held = ask(&mut admin).await?.held;
    if let (Some(held), false) = (held.as_ref().map(|held| Held::from(held.clone())), yes) {
        input::confirm(&format!(
            "The cluster's time is {}, and the clocks of {} say {}. The cluster's time never goes back: what has ended by \
             then ends at once. Does it go on to {}?",
            held.from,
            held.reported_by.join(", "),
            held.to,
            held.to
        ))?;
    }
    // Without one the node says by its own refusal that there is nothing to confirm.
    let request = ConfirmTimeRequest { since_ms: held.map_or(0, |held| held.since_ms) };
    let answer = call(LONG_DEADLINE, admin.confirm_time(within(LONG_DEADLINE, request))).await?;
    context.output.print(&Confirmed { time: Timestamp::from_unix_ms(answer.now_ms) })?;
    Ok(Exit::Ok)
}

async fn ask(admin: &mut Admin) -> Result<ShowTimeResponse, CliError> {
    call(DEADLINE, admin.show_time(within(DEADLINE, ShowTimeRequest {}))).await
}

impl From<ShowTimeResponse> for Shown {
    fn from(answer: ShowTimeResponse) -> Self {
        Shown {
            time: Timestamp::from_unix_ms(answer.now_ms),
            agreed_at: answer.agreed_at_ms.map(Timestamp::from_unix_ms),
            clocks_ahead_ms: answer.ahead_ms,
            held: answer.held.map(Held::from),
            nodes: answer.clocks.into_iter().map(Clock::from).collect(),
        }
    }
}

impl From<NodeClock> for Clock {
    fn from(clock: NodeClock) -> Self {
        let NodeClock { node, name, role, ahead_ms, off } = clock;
        Clock { id: node, name, role, ahead_ms, off }
    }
}

impl From<HeldJump> for Held {
    fn from(held: HeldJump) -> Self {
        Held {
            from: Timestamp::from_unix_ms(held.from_ms),
            to: Timestamp::from_unix_ms(held.to_ms),
            since: Timestamp::from_unix_ms(held.since_ms),
            until: Timestamp::from_unix_ms(held.until_ms),
            reported_by: held.reported_by,
        }
    }
}

/// How far a clock is from the cluster's time, in words.
fn ahead(ms: i64) -> String {
    match ms {
        ms if ms.abs() < 1000 => "right".to_owned(),
        ms if ms > 0 => format!("{} ahead", span(ms)),
        ms => format!("{} behind", span(ms)),
    }
}

impl Present for Shown {
    fn page(&self, page: &mut Page) {
        let agreed = match self.agreed_at {
            Some(at) => format!("at {at}; the voters' clocks were {}", ahead(self.clocks_ahead_ms)),
            None => "not yet: it is the leader's clock".to_owned(),
        };
        page.fields(&[("Cluster time", self.time.to_string()), ("Agreed", agreed)]);
        if let Some(held) = &self.held {
            page.gap();
            page.line(format!(
                "A jump is held: from {} to {}, as the clocks of {} say since {} of the cluster's time.",
                held.from,
                held.to,
                held.reported_by.join(", "),
                held.since
            ));
            page.line(format!(
                "It counts when an administrator confirms it ('quorate cluster confirm-time'), when the License Portal \
                 has signed it, or on {} if the clocks stay so.",
                held.until
            ));
        }
        page.gap();
        let row = |clock: &Clock| {
            let shown = clock.ahead_ms.map(ahead);
            vec![clock.name.clone(), clock.role.clone(), or_dash(shown), yes_no(clock.off).to_owned()]
        };
        page.table(&["NAME", "ROLE", "CLOCK", "OFF"], self.nodes.iter().map(row).collect(), "");
    }
}

impl Present for Confirmed {
    fn page(&self, page: &mut Page) {
        page.line(format!("The cluster's time is {} now.", self.time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    fn clock(index: u64, role: &str, ahead_ms: Option<i64>, off: bool) -> NodeClock {
        NodeClock {
            node: (1 << 40) + index,
            name: format!("node-{index}"),
            role: role.to_owned(),
            ahead_ms,
            off,
        }
    }

    #[test]
    fn the_time_and_the_clocks_are_shown_in_every_form() {
        let day = 86_400_000;
        let now_ms = 1_763_750_000_000;
        let answer = ShowTimeResponse {
            now_ms,
            agreed_at_ms: Some(now_ms - 5000),
            ahead_ms: 365 * day,
            clocks: vec![
                clock(1, "management", Some(365 * day), false),
                clock(2, "management", Some(-400), true),
                clock(4, "spooler", None, false),
            ],
            held: Some(HeldJump {
                from_ms: now_ms,
                to_ms: now_ms + 365 * day,
                since_ms: now_ms - day,
                until_ms: now_ms + 2 * day,
                reported_by: vec!["node-1".to_owned(), "node-3".to_owned()],
            }),
        };
        insta::assert_snapshot!(all_forms(&Shown::from(answer.clone())));
        let before = ShowTimeResponse { agreed_at_ms: None, ahead_ms: 0, held: None, ..answer };
        insta::assert_snapshot!(all_forms(&Shown::from(before)));
        insta::assert_snapshot!(all_forms(&Confirmed { time: Timestamp::from_unix_ms(now_ms) }));
    }
}
