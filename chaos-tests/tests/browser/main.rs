//! The portal's pages in a real Chromium: once with the mouse, once with the keyboard alone; what a screen reader
//! hears, what is downloaded and copied, what is said to a wrong key. No request leaves the portal.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod qr;

use quorate_chaos_tests::{
    Browser, Stage,
    browser::Key,
    files,
    wait::{self, PATIENCE, Seen},
};
use serde_json::Value;

const KEY_FIELD: &str = "Paste the whole integrity key, from its BEGIN line to its END line:";
const ORDER_FIELD: &str = "Any activation key that was used on the installation:";
const ANSWER: &str = "License key:";

/// A cluster of so many Management Servers, its portal, and a browser.
fn stage(management: usize) -> (Stage, Browser) {
    let stage = Stage::start(|plan| (plan.management, plan.spoolers) = (management, 0)).unwrap();
    let browser = Browser::start(&stage.folder.path().join("browser")).unwrap();
    (stage, browser)
}

/// The integrity key of an activation by hand, and the page that the agent names for it.
fn begin(stage: &Stage, activation_key: &str) -> (String, String) {
    let words = ["license", "activate", "--offline", "--yes", "--key-file", "-"];
    let open: Value = stage.cluster.nodes[0].cli(words).stdin(activation_key).json().unwrap();
    let text = |field: &str| open[field].as_str().unwrap().to_owned();
    (text("integrity_key"), text("portal_page"))
}

/// Gives the license key to the cluster; gives Support ID and serial.
fn install(stage: &mut Stage, license_key: &str) -> (String, u64) {
    let command = stage.cluster.nodes[0].cli(["license", "install", "-"]).stdin(license_key);
    let done: Value = command.json().unwrap();
    let serial = done["serial"].as_u64().unwrap();
    stage.cluster.wait_for_serial(serial).unwrap();
    (done["support_id"].as_str().unwrap().to_owned(), serial)
}

/// Waits for a refusal; what is read aloud at once: the text of whatever has the role `alert`.
fn refused(browser: &Browser) -> String {
    wait::until("the refusal", PATIENCE, || {
        Ok(Seen::when(!browser.all("[role=alert]")?.is_empty(), || "none yet".to_owned()))
    })
    .unwrap();
    let alerts = browser.all("[role=alert]").unwrap();
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0].displayed().unwrap());
    alerts[0].shown().unwrap()
}

fn wait_for_copied(browser: &Browser) {
    wait::until("the word that it was copied", PATIENCE, || {
        let said = browser.all("[role=status]")?.first().map(|status| status.shown()).transpose()?;
        Ok(Seen::when(said.as_deref() == Some("Copied."), || format!("{said:?}")))
    })
    .unwrap();
}

/// Everything that was asked for belongs to the portal.
fn nothing_left_the_portal(stage: &Stage, browser: &Browser) {
    let requested = browser.requested().unwrap();
    assert!(requested.iter().any(|url| url.ends_with("/page.js")), "{requested:?}");
    let portal = format!("{}/", stage.portal.link.url);
    for url in requested {
        assert!(url.starts_with(&portal), "{url}");
    }
}

#[test]
fn the_pages_lead_from_an_integrity_key_to_a_license_with_the_mouse() {
    let (mut stage, browser) = stage(1);
    let order = stage.portal.order().unwrap();
    let (integrity_key, page) = begin(&stage, &order.activation_key);

    // From the first page to the form, by its link.
    browser.open(&stage.portal.link.url).unwrap();
    browser.find("heading", "License Portal").unwrap();
    browser.find("link", "Activate with an integrity key").unwrap().click().unwrap();
    browser.find("heading", "Activate with an integrity key").unwrap();
    assert_eq!(browser.address().unwrap(), page, "the agent names the page where the link leads");

    // A damaged key: said in words, with the place, at the field, which still holds what was pasted.
    let damaged = integrity_key.replacen("QUORATE INTEGRITY KEY-----\n", "QUORATE INTEGRITY KEY-----\n%", 1);
    let field = browser.find("textbox", KEY_FIELD).unwrap();
    field.click().unwrap();
    field.enter(&damaged).unwrap();
    browser.find("button", "Get license key").unwrap().click().unwrap();
    let said = refused(&browser);
    assert!(said.contains("Line 2, column 1") && said.contains("integrity_key_malformed"), "{said}");
    assert!(browser.title().unwrap().starts_with("Refused"), "{}", browser.title().unwrap());
    let field = browser.find("textbox", KEY_FIELD).unwrap();
    assert_eq!(field.attribute("aria-invalid").unwrap(), "true");
    assert_eq!(field.attribute("aria-describedby").unwrap(), "integrity_key-problem");
    assert_eq!(field.value().unwrap(), damaged);
    assert_eq!(browser.focused().unwrap().name().unwrap(), KEY_FIELD);
    assert_eq!(stage.portal.activations().unwrap(), []);

    // The right one, chosen as a file.
    let file = stage.folder.path().join("integrity.key");
    files::write(&file, &integrity_key).unwrap();
    let choice = browser.all("input[type=file]").unwrap().remove(0);
    assert_eq!(choice.name().unwrap(), "Or choose its file:");
    choice.enter(file.to_str().unwrap()).unwrap();
    wait::until("the file's text in the field", PATIENCE, || {
        Ok(Seen::when(field.value()? == integrity_key, || "another text".to_owned()))
    })
    .unwrap();
    browser.find("button", "Get license key").unwrap().click().unwrap();
    browser.find("heading", "Your license key").unwrap();
    let shown = browser.find("textbox", ANSWER).unwrap().value().unwrap();
    assert!(shown.starts_with("-----BEGIN QUORATE LICENSE KEY-----"), "{shown}");

    // Copied, downloaded, installed: three times the same.
    browser.find("button", "Copy license key").unwrap().click().unwrap();
    wait_for_copied(&browser);
    browser.find("button", "Download license key").unwrap().click().unwrap();
    let (support_id, serial) = install(&mut stage, &shown);
    assert_eq!(browser.downloaded(&format!("{support_id}-{serial}.licensekey")).unwrap(), shown);
    browser.find("link", "Activate").unwrap().click().unwrap();
    let empty = browser.find("textbox", KEY_FIELD).unwrap();
    empty.click().unwrap();
    browser.press(&[Key::Control, Key::Character('v')]).unwrap();
    assert_eq!(empty.value().unwrap(), shown, "what the button copied");

    // The activation key brings the current license again, as the node has it.
    browser.find("link", "Current license").unwrap().click().unwrap();
    let field = browser.find("textbox", ORDER_FIELD).unwrap();
    field.click().unwrap();
    field.enter(&order.activation_key).unwrap();
    browser.find("button", "Get current license").unwrap().click().unwrap();
    browser.find("heading", "The current license").unwrap();
    assert_eq!(browser.find("textbox", ANSWER).unwrap().value().unwrap(), shown);
    browser.find("button", "Download license file").unwrap().click().unwrap();
    let on_the_node = files::read(&stage.cluster.nodes[0].license_file()).unwrap();
    assert_eq!(browser.downloaded("default.lic").unwrap(), on_the_node);
    assert_eq!(stage.portal.installations().unwrap(), [support_id]);
    nothing_left_the_portal(&stage, &browser);
}

#[test]
fn the_pages_lead_from_an_integrity_key_to_a_license_with_the_keyboard_alone() {
    let (mut stage, browser) = stage(1);
    let order = stage.portal.order().unwrap();
    let (integrity_key, _) = begin(&stage, &order.activation_key);

    browser.open(&stage.portal.link.url).unwrap();
    browser.tab_to("link", "Activate with an integrity key").unwrap();
    browser.press(&[Key::Enter]).unwrap();
    browser.find("heading", "Activate with an integrity key").unwrap();
    for role in ["navigation", "main"] {
        let found = browser.all(if role == "main" { "main" } else { "nav" }).unwrap();
        assert_eq!((found.len(), found[0].role().unwrap().as_str()), (1, role));
    }
    assert_eq!(browser.find("navigation", "Pages").unwrap().role().unwrap(), "navigation");
    browser.tab_to("textbox", KEY_FIELD).unwrap().enter(&integrity_key).unwrap();
    browser.tab_to("button", "Get license key").unwrap();
    browser.press(&[Key::Enter]).unwrap();
    browser.find("heading", "Your license key").unwrap();
    let shown = browser.tab_to("textbox", ANSWER).unwrap().value().unwrap();

    browser.tab_to("button", "Copy license key").unwrap();
    browser.press(&[Key::Space]).unwrap();
    wait_for_copied(&browser);
    browser.tab_to("button", "Download license key").unwrap();
    browser.press(&[Key::Enter]).unwrap();
    let (support_id, serial) = install(&mut stage, &shown);
    assert_eq!(browser.downloaded(&format!("{support_id}-{serial}.licensekey")).unwrap(), shown);

    // An activation key with a mistake is refused in words; the focus is where it is corrected.
    browser.open(&format!("{}/license", stage.portal.link.url)).unwrap();
    browser.tab_to("textbox", ORDER_FIELD).unwrap().enter("QK-NOT-A-KEY").unwrap();
    browser.press(&[Key::Enter]).unwrap();
    let said = refused(&browser);
    assert!(
        said.contains("activation_key_malformed") && said.contains("Compare the activation key"),
        "{said}"
    );
    assert_eq!(browser.focused().unwrap().name().unwrap(), ORDER_FIELD);
    browser.press(&[Key::Control, Key::Character('a')]).unwrap();
    browser.focused().unwrap().enter(&order.activation_key).unwrap();
    browser.press(&[Key::Enter]).unwrap();
    browser.find("heading", "The current license").unwrap();
    browser.tab_to("button", "Download license file").unwrap();
    browser.press(&[Key::Space]).unwrap();
    let on_the_node = files::read(&stage.cluster.nodes[0].license_file()).unwrap();
    assert_eq!(browser.downloaded("default.lic").unwrap(), on_the_node);
    nothing_left_the_portal(&stage, &browser);
}
