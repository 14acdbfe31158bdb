//! A real browser: Chromium without a window, driven through chromedriver as a person with a mouse or a keyboard
//! would drive it.
//!
//! ```text
//! Browser ── wire (JSON over HTTP/1.1) ──> chromedriver ──> Chromium, with an empty profile of its own
//!   ├─ Element   what is found on a page: its role and name as a screen reader has them, its text, a click
//!   └─ press     keys that go to whatever has the focus
//! ```
//!
//! The interface is the W3C's WebDriver (<https://www.w3.org/TR/webdriver2/>). What Chromium asks the network for is
//! kept from the start, so a test can tell that nothing left the portal ([`Browser::requested`]).

mod element;
mod keys;
mod wire;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

pub use element::Element;
pub use keys::Key;

use crate::{
    Failure, Result, files,
    process::{Process, Start},
    wait::{self, PATIENCE, Seen},
};

/// What chromedriver prints when it listens.
const LISTENS: &str = "started successfully on port ";

/// Addresses that are in Chromium itself or on the page, and that it asks nobody for.
const OWN_SCHEMES: [&str; 4] = ["chrome:", "about:", "data:", "blob:"];

/// No sandbox, which root and containers lack; nothing that asks the network unasked.
const SWITCHES: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A running Chromium. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    driver: SocketAddr,
    session: String,
    /// Where downloads go.
    downloads: PathBuf,
    process: Process,
}

impl Browser {
    /// Starts one with an empty profile in `folder`. Certificates that no system root signed are accepted.
    ///
    /// # Errors
    /// Chromium or chromedriver is not installed (`scripts/setup test` does it), or does not start.
    pub fn start(folder: &Path) -> Result<Self> {
        let (profile, downloads) = (folder.join("profile"), folder.join("downloads"));
        files::make_folder(&profile)?;
        files::make_folder(&downloads)?;
        let log = folder.join("chromedriver.log");
        let mut process = Process::start(&Start {
            name: "chromedriver".to_owned(),
            program: "chromedriver".into(),
            arguments: vec!["--port=0".into()],
            log: log.clone(),
            ..Default::default()
        })?;
        let port = wait::until("chromedriver to listen", PATIENCE, || {
            process.must_run()?;
            let said = files::read(&log)?;
            Ok(port(&said).map_or_else(|| Seen::not_yet(said.clone()), Seen::Done))
        })?;
        let driver = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut switches: Vec<String> = SWITCHES.map(str::to_owned).into();
        switches.push(format!("--user-data-dir={}", profile.display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": switches },
            "goog:loggingPrefs": { "performance": "ALL" },
        } } });
        let made = wire::post(driver, "/session", &wanted)?;
        let session = made["sessionId"].as_str().unwrap_or_default().to_owned();
        let browser = Browser { driver, session, downloads, process };
        browser.chromium(
            "Browser.setDownloadBehavior",
            json!({ "behavior": "allow", "downloadPath": browser.downloads }),
        )?;
        Ok(browser)
    }

    /// Opens an address.
    ///
    /// # Errors
    /// It does not answer.
    pub fn open(&self, address: &str) -> Result<()> {
        self.post("/url", &json!({ "url": address })).map(|_| ())
    }

    /// The address that is open.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn address(&self) -> Result<String> {
        self.get("/url").map(text)
    }

    /// The title of the page.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn title(&self) -> Result<String> {
        self.get("/title").map(text)
    }

    /// Everything on the page that a CSS selector finds, in the page's order.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn all(&self, selector: &str) -> Result<Vec<Element<'_>>> {
        let found = self.post("/elements", &json!({ "using": "css selector", "value": selector }))?;
        Ok(found.as_array().into_iter().flatten().filter_map(|value| Element::of(self, value)).collect())
    }

    /// What a person finds by its role and its name, as a screen reader tells them; waits for it.
    ///
    /// # Errors
    /// It does not come; the failure says which ones are there.
    pub fn find(&self, role: &str, name: &str) -> Result<Element<'_>> {
        wait::until(&format!("a {role} named \"{name}\""), PATIENCE, || {
            let mut others = Vec::new();
            for element in self.all("a, button, input, textarea, h1, h2, [role], nav, main")? {
                // A page that is just being replaced takes its elements along.
                let Ok((found_role, found_name)) = element.role().and_then(|r| Ok((r, element.name()?)))
                else {
                    continue;
                };
                if found_role == role && found_name == name {
                    return Ok(Seen::Done(element));
                }
                others.push(format!("{found_role} \"{found_name}\""));
            }
            Ok(Seen::NotYet(others.join(", ")))
        })
    }

    /// What has the focus.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn focused(&self) -> Result<Element<'_>> {
        let found = self.get("/element/active")?;
        Element::of(self, &found).ok_or_else(|| Failure::wrong("nothing has the focus"))
    }

    /// Goes from one thing to the next with the tabulator, until this one has the focus.
    ///
    /// # Errors
    /// The keyboard does not get there.
    pub fn tab_to(&self, role: &str, name: &str) -> Result<Element<'_>> {
        let mut passed = Vec::new();
        while passed.len() < 40 {
            self.press(&[Key::Tab])?;
            let focused = self.focused()?;
            let found = (focused.role()?, focused.name()?);
            if (found.0.as_str(), found.1.as_str()) == (role, name) {
                return Ok(focused);
            }
            passed.push(format!("{} \"{}\"", found.0, found.1));
        }
        Err(Failure::wrong(format!(
            "the tabulator does not get to {role} \"{name}\", but to: {}",
            passed.join(", ")
        )))
    }

    /// Presses these keys together and lets them go, wherever the focus is.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn press(&self, keys: &[Key]) -> Result<()> {
        let actions: Vec<Value> = keys::chord(keys);
        self.actions(&json!({ "type": "key", "id": "keyboard", "actions": actions }))
    }

    /// Moves the mouse onto something and clicks.
    pub(crate) fn click(&self, element: &Value) -> Result<()> {
        let button = |kind: &str| json!({ "type": kind, "button": 0 });
        let there = json!({ "type": "pointerMove", "origin": element, "x": 0, "y": 0, "duration": 20 });
        self.actions(&json!({
            "type": "pointer",
            "id": "mouse",
            "parameters": { "pointerType": "mouse" },
            "actions": [there, button("pointerDown"), button("pointerUp")],
        }))
    }

    /// Waits for a download with this name, and gives its text.
    ///
    /// # Errors
    /// It does not come; the failure says which files are there.
    pub fn downloaded(&self, name: &str) -> Result<String> {
        let path = self.downloads.join(name);
        wait::until(&format!("the download {name}"), PATIENCE, || {
            // Chromium writes under another name until it is complete.
            if path.is_file() {
                return files::read(&path).map(Seen::Done);
            }
            let there = fs::read_dir(&self.downloads).into_iter().flatten().flatten();
            let names: Vec<String> =
                there.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            Ok(Seen::NotYet(names.join(", ")))
        })
    }

    /// Every address that was asked for since the last look, by pages and by Chromium for them; without those that
    /// Chromium answers itself, such as its page of a new tab.
    ///
    /// # Errors
    /// The browser does not answer.
    pub fn requested(&self) -> Result<Vec<String>> {
        let log = self.post("/se/log", &json!({ "type": "performance" }))?;
        let messages = log.as_array().into_iter().flatten().filter_map(|entry| entry["message"].as_str());
        let events = messages.filter_map(|message| serde_json::from_str::<Value>(message).ok());
        Ok(events
            .filter(|event| event["message"]["method"] == "Network.requestWillBeSent")
            .map(|event| text(event["message"]["params"]["request"]["url"].clone()))
            .filter(|address| !OWN_SCHEMES.iter().any(|scheme| address.starts_with(scheme)))
            .collect())
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        wire::get(self.driver, &format!("/session/{}{path}", self.session))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        wire::post(self.driver, &format!("/session/{}{path}", self.session), body)
    }

    fn actions(&self, source: &Value) -> Result<()> {
        self.post("/actions", &json!({ "actions": [source] })).map(|_| ())
    }

    /// A command of Chromium's own protocol, for what WebDriver has no word for.
    fn chromium(&self, command: &str, parameters: Value) -> Result<Value> {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // chromedriver ends Chromium with the session; killed alone, it would leave it behind.
        let _ = wire::delete(self.driver, &format!("/session/{}", self.session));
        let _ = self.process.stop(Duration::from_secs(5));
    }
}

fn port(said: &str) -> Option<u16> {
    let (_, rest) = said.split_once(LISTENS)?;
    rest.split_once('.')?.0.parse().ok()
}

pub(crate) fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_when_its_line_is_complete() {
        assert_eq!(port("ChromeDriver was started successfully on port 44515.\n"), Some(44515));
        assert_eq!(port("ChromeDriver was started successfully on port 445"), None);
        assert_eq!(port("Starting ChromeDriver 156.0 on port 0\n"), None);
    }
}
