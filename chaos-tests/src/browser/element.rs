//! Something on a page, as a person or a screen reader meets it.

use serde_json::{Value, json};

use super::{Browser, text};
use crate::{Failure, Result};

/// The name under which WebDriver gives elements.
const REFERENCE: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Something on the page that is open. It is gone when the page is.
#[derive(Debug)]
pub struct Element<'a> {
    browser: &'a Browser,
    reference: Value,
}

impl<'a> Element<'a> {
    pub(super) fn of(browser: &'a Browser, value: &Value) -> Option<Self> {
        value.get(REFERENCE)?.as_str()?;
        Some(Element { browser, reference: value.clone() })
    }

    /// Its role, as the browser tells it to a screen reader.
    ///
    /// # Errors
    /// It is gone.
    pub fn role(&self) -> Result<String> {
        self.get("computedrole")
    }

    /// Its name, as the browser tells it to a screen reader.
    ///
    /// # Errors
    /// It is gone.
    pub fn name(&self) -> Result<String> {
        self.get("computedlabel")
    }

    /// Its text, as it is shown.
    ///
    /// # Errors
    /// It is gone.
    pub fn shown(&self) -> Result<String> {
        self.get("text")
    }

    /// What stands in a field.
    ///
    /// # Errors
    /// It is gone.
    pub fn value(&self) -> Result<String> {
        self.get("property/value")
    }

    /// An attribute, as the page has it.
    ///
    /// # Errors
    /// It is gone.
    pub fn attribute(&self, name: &str) -> Result<String> {
        self.get(&format!("attribute/{name}"))
    }

    /// Whether it can be seen.
    ///
    /// # Errors
    /// It is gone.
    pub fn displayed(&self) -> Result<bool> {
        self.get("displayed").map(|answer| answer == "true")
    }

    /// Moves the mouse there and clicks.
    ///
    /// # Errors
    /// It is gone, or can't be scrolled into sight.
    pub fn click(&self) -> Result<()> {
        let into_sight = json!({
            "script": "arguments[0].scrollIntoView({block: 'center'})",
            "args": [self.reference],
        });
        self.browser.post("/execute/sync", &into_sight)?;
        self.browser.click(&self.reference)
    }

    /// Types a text into it; for a field that takes a file, the path.
    ///
    /// # Errors
    /// It is gone, or takes no text.
    pub fn enter(&self, text: &str) -> Result<()> {
        let path = self.path("value")?;
        self.browser.post(&path, &json!({ "text": text })).map(|_| ())
    }

    fn get(&self, what: &str) -> Result<String> {
        self.browser.get(&self.path(what)?).map(text)
    }

    fn path(&self, what: &str) -> Result<String> {
        let id = self.reference.get(REFERENCE).and_then(Value::as_str);
        id.map(|id| format!("/element/{id}/{what}")).ok_or_else(|| Failure::wrong("this is no element"))
    }
}
