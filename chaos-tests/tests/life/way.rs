//! The two ways to a license key: the first license node asks the portal, or a person does it in a browser.

use quorate_chaos_tests::{
    Browser, Stage,
    browser::Key,
    cluster::Activated,
    wait::{self, PATIENCE, Seen},
};
use serde::Deserialize;

const FIELD: &str = "Paste the whole integrity key, from its BEGIN line to its END line:";
const SUBMIT: &str = "Get license key";
const ANSWER: &str = "License key:";

/// How the portal is asked.
pub(crate) enum Way {
    /// By the cluster.
    Online,
    /// By somebody who carries integrity keys out and license keys back.
    ByHand(Box<Browser>),
}

/// What an offline activation prints.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Open {
    pub(crate) portal_page: String,
    pub(crate) integrity_key: String,
}

impl Way {
    /// By hand, with a browser that keeps its files beside the stage's.
    pub(crate) fn by_hand(stage: &Stage) -> Self {
        Way::ByHand(Box::new(Browser::start(&stage.folder.path().join("browser")).unwrap()))
    }

    /// Goes this way: `kind` is the command, `activation_key` what it is given. `between` is done while an integrity
    /// key is on its way to the portal; over the network, before anything is asked.
    pub(crate) fn go(
        &self,
        stage: &mut Stage,
        kind: &str,
        activation_key: Option<&str>,
        between: impl FnOnce(&mut Stage),
    ) -> Activated {
        let Way::ByHand(browser) = self else {
            between(stage);
            let mut command = stage.cluster.nodes[0].cli(["license", kind, "--yes", "-o", "json"]);
            if let Some(key) = activation_key {
                command = command.args(["--key-file", "-"]).stdin(key);
            }
            return command.run().unwrap().success().unwrap().parse().unwrap();
        };
        // Begun on one node, installed on another one.
        let open = begin(stage, 1, kind, activation_key);
        between(stage);
        let license_key = paste(browser, &open);
        stage.cluster.nodes[2].cli(["license", "install", "-"]).stdin(license_key).json().unwrap()
    }
}

/// Begins an activation by hand.
pub(crate) fn begin(stage: &Stage, node: usize, kind: &str, activation_key: Option<&str>) -> Open {
    let mut command = stage.cluster.nodes[node].cli(["license", kind, "--offline", "--yes"]);
    if let Some(key) = activation_key {
        command = command.args(["--key-file", "-"]).stdin(key);
    }
    command.json().unwrap()
}

/// Gives the integrity key to the portal's page and takes the license key from it.
fn paste(browser: &Browser, open: &Open) -> String {
    submit(browser, open);
    browser.find("heading", "Your license key").unwrap();
    browser.find("textbox", ANSWER).unwrap().value().unwrap()
}

/// The same for an integrity key that the portal refuses; gives what is read aloud.
pub(crate) fn paste_refused(browser: &Browser, open: &Open) -> String {
    submit(browser, open);
    wait::until("the refusal", PATIENCE, || {
        let title = browser.title()?;
        Ok(match browser.all("[role=alert]")?.first() {
            Some(alert) => Seen::Done(alert.shown()?),
            None => Seen::NotYet(title),
        })
    })
    .unwrap()
}

fn submit(browser: &Browser, open: &Open) {
    browser.open(&open.portal_page).unwrap();
    let field = browser.find("textbox", FIELD).unwrap();
    field.click().unwrap();
    field.enter(&open.integrity_key).unwrap();
    browser.tab_to("button", SUBMIT).unwrap();
    browser.press(&[Key::Enter]).unwrap();
}
