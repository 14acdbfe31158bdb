//! What commands print: tables for people, JSON and YAML for scripts. Nothing else writes to the terminal.
//!
//! ```text
//! answer -> a type of the command's own (Serialize + Present) -> Output -> standard output
//! error  -> ErrorReport                                       -> Output -> standard error
//! ```

use std::{
    fmt::Write as _,
    io::{self, ErrorKind, IsTerminal, Write},
};

use clap::ValueEnum;
use comfy_table::{Attribute, Cell, ContentArrangement, Table, presets};
use serde::Serialize;

use super::error::{CliError, ErrorReport};

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For scripts; its shape is stable.
    Json,
    /// The same as YAML.
    Yaml,
}

/// What can be printed: as itself in JSON and YAML, and as a page for people.
pub(crate) trait Present: Serialize {
    /// Writes the page.
    fn page(&self, page: &mut Page);
}

/// Prints in one form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    styled: bool,
}

impl Output {
    /// Prints in this form; with emphasis only on a terminal, and not if `NO_COLOR` is set.
    pub(crate) fn new(format: Format) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Output { format, styled: io::stdout().is_terminal() && !no_color }
    }

    /// The form.
    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// Prints what a command has found or done.
    pub(crate) fn print(self, value: &impl Present) -> Result<(), CliError> {
        let text = render(self.format, self.styled, value)?;
        self.write(&text)
    }

    /// Prints text as it is, whatever the form.
    pub(crate) fn write(self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // The reader has seen enough, as `head` does.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            result => result.map_err(|cause| CliError::System { what: "the result can't be written", cause }),
        }
    }

    /// Prints a page to standard error: what a question is about, while standard output is a script's.
    pub(crate) fn aside(self, value: &impl Present) {
        let mut page = Page::new(false);
        value.page(&mut page);
        to_stderr(&page.text);
    }

    /// Prints why a command was not done.
    pub(crate) fn error(self, report: &ErrorReport) {
        to_stderr(&render_error(self.format, report));
    }
}

/// A result as text.
fn render(format: Format, styled: bool, value: &impl Present) -> Result<String, CliError> {
    match format {
        Format::Table => {
            let mut page = Page::new(styled);
            value.page(&mut page);
            Ok(page.text)
        }
        Format::Json => {
            let unwritable = |error: serde_json::Error| CliError::System {
                what: "the result can't be written as JSON",
                cause: error.into(),
            };
            Ok(serde_json::to_string_pretty(value).map_err(unwritable)? + "\n")
        }
        Format::Yaml => yaml(value),
    }
}

fn yaml(value: &impl Serialize) -> Result<String, CliError> {
    let mut text = serde_saphyr::to_string(value).map_err(|error| CliError::System {
        what: "the result can't be written as YAML",
        cause: io::Error::other(error.to_string()),
    })?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// An error as text.
fn render_error(format: Format, report: &ErrorReport) -> String {
    let structured = match format {
        Format::Table => None,
        Format::Json => serde_json::to_string_pretty(report).ok().map(|text| text + "\n"),
        Format::Yaml => yaml(report).ok(),
    };
    structured.unwrap_or_else(|| {
        let mut text = format!("error: {}\n", clean(&report.message));
        if let Some(hint) = &report.hint {
            text.push_str(&format!("hint: {}\n", clean(hint)));
        }
        text
    })
}

/// Writes to standard error. If nobody reads it, there is nobody left to tell.
pub(crate) fn to_stderr(text: &str) {
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A page for people, written from top to bottom.
#[derive(Debug)]
pub(crate) struct Page {
    text: String,
    styled: bool,
}

impl Page {
    fn new(styled: bool) -> Self {
        Page { text: String::new(), styled }
    }

    /// A line of text.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) {
        self.text.push_str(&clean(text.as_ref()));
        self.text.push('\n');
    }

    /// An empty line.
    pub(crate) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// Names with their values, the values below each other.
    pub(crate) fn fields(&mut self, fields: &[(&str, String)]) {
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 2;
        for (name, value) in fields {
            let name = format!("{name}:");
            let line = format!("{name:width$}{}", clean(value));
            // Writing to a string doesn't fail.
            let _ = writeln!(self.text, "{}", line.trim_end());
        }
    }

    /// A table. Without rows, `empty` stands instead.
    pub(crate) fn table(&mut self, header: &[&str], rows: Vec<Vec<String>>, empty: &str) {
        if rows.is_empty() {
            return self.line(empty);
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if self.styled {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let styled = self.styled;
        table.set_header(header.iter().map(|name| match styled {
            true => Cell::new(name).add_attribute(Attribute::Bold),
            false => Cell::new(name),
        }));
        for row in rows {
            table.add_row(row.iter().map(|cell| clean(cell)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        }
    }
}

/// Text from elsewhere with control characters taken out, so that it can't speak to the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A value, or a dash where there is none.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Yes or no.
pub(crate) fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a command prints in each form, for snapshots.
    pub(crate) fn all_forms(value: &impl Present) -> String {
        [Format::Table, Format::Json, Format::Yaml]
            .map(|format| format!("--- {format:?}\n{}", render(format, false, value).unwrap()))
            .join("\n")
    }

    #[derive(Serialize)]
    struct Sample {
        name: &'static str,
        serial: Option<u64>,
    }

    impl Present for Sample {
        fn page(&self, page: &mut Page) {
            page.fields(&[("Name", self.name.to_owned()), ("Serial number", or_dash(self.serial))]);
            page.gap();
            page.table(&["NAME", "SERIAL"], vec![vec![self.name.to_owned(), or_dash(self.serial)]], "none");
            page.table(&["NAME"], Vec::new(), "No others.");
        }
    }

    #[test]
    fn results_are_printed_in_every_form() {
        insta::assert_snapshot!(all_forms(&Sample { name: "ms-1", serial: Some(1 << 40) }));
        insta::assert_snapshot!(all_forms(&Sample { name: "ms-2", serial: None }));
    }

    #[test]
    fn errors_are_printed_in_every_form() {
        let report = ErrorReport {
            code: "nodes_offline".to_owned(),
            message: "the node sc-1 is offline".to_owned(),
            hint: Some("Start it, then activate again.".to_owned()),
        };
        let without = ErrorReport { hint: None, ..report.clone() };
        let forms = [Format::Table, Format::Json, Format::Yaml];
        let text = |report: &ErrorReport| forms.map(|format| render_error(format, report)).join("\n");
        insta::assert_snapshot!(format!("{}\n{}", text(&report), text(&without)));
    }

    #[test]
    fn text_from_elsewhere_cannot_speak_to_the_terminal() {
        let text = render(Format::Table, false, &Sample { name: "a\x1b[2Jb\nc", serial: None }).unwrap();
        assert!(!text.contains('\x1b') && text.contains("a [2Jb c"), "{text:?}");
    }

    #[test]
    fn emphasis_is_for_terminals_only() {
        let sample = Sample { name: "ms-1", serial: None };
        assert!(render(Format::Table, true, &sample).unwrap().contains("\x1b[1m"));
        assert!(!render(Format::Table, false, &sample).unwrap().contains('\x1b'));
    }
}
