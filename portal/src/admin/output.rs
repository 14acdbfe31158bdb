//! Results on standard output: tables for people, JSON for programs.

use comfy_table::{Table, presets};
use serde_json::Value;

use super::AdminError;
use crate::{cli::Format, console};

/// A command's result in both forms.
pub(super) trait Shown {
    /// For people, without a line end.
    fn text(&self) -> String;
    /// For programs.
    fn json(&self) -> Result<Value, serde_json::Error>;
}

pub(super) fn print(shown: &dyn Shown, format: Format) -> Result<(), AdminError> {
    let text = match format {
        Format::Table => shown.text(),
        Format::Json => serde_json::to_string_pretty(&shown.json()?)?,
    };
    console::result(&text).map_err(AdminError::Output)
}

/// Rows under a heading, columns apart by blanks.
pub(super) fn table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heading);
    for row in rows {
        table.add_row(row);
    }
    trimmed(&table)
}

/// Names and values below each other.
pub(super) fn card(lines: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in lines {
        table.add_row([name.to_owned(), value]);
    }
    trimmed(&table)
}

/// `value`, or a hyphen.
pub(super) fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn trimmed(table: &Table) -> String {
    table
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}
