//! Wrong command lines: told as people or scripts expect it, before anything else is known.

use std::ffi::OsString;

use clap::{Error, error::ErrorKind};

use super::{
    Exit,
    error::ErrorReport,
    output::{Format, Output},
};

/// Tells what is wrong with the command line, or prints the help that was asked for.
pub(crate) fn tell(error: &Error, words: &[OsString]) -> Exit {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let format = wanted_format(words, std::env::var("QUORATE_OUTPUT").ok().as_deref());
    if asked_for || format == Format::Table {
        // If nobody reads it, there is nobody left to tell.
        let _ = error.print();
    } else {
        Output::new(format).error(&report(error));
    }
    if asked_for { Exit::Ok } else { Exit::Usage }
}

fn report(error: &Error) -> ErrorReport {
    let message = match error.kind() {
        // Its text is the whole help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "a command is missing".to_owned(),
        _ => message(error),
    };
    ErrorReport {
        code: "usage".to_owned(),
        message,
        hint: Some("'quorate help' and 'quorate COMMAND --help' show what there is.".to_owned()),
    }
}

/// What is wrong, in one line.
fn message(error: &Error) -> String {
    let text = error.render().to_string();
    let text = text.trim_start_matches("error: ");
    // The message ends where usage and advice begin.
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ")
}

/// The form that was asked for, as far as it can be told from a command line that can't be parsed.
fn wanted_format(words: &[OsString], variable: Option<&str>) -> Format {
    let mut wanted = variable;
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    for (index, word) in words.iter().enumerate() {
        match *word {
            "-o" | "--output" => wanted = words.get(index + 1).copied().or(wanted),
            "--" => break,
            word => {
                let attached = word.strip_prefix("--output=").or_else(|| match word.strip_prefix("-o") {
                    Some("") | None => None,
                    Some(rest) => Some(rest.trim_start_matches('=')),
                });
                wanted = attached.or(wanted);
            }
        }
    }
    match wanted {
        Some("json") => Format::Json,
        Some("yaml") => Format::Yaml,
        _ => Format::Table,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn the_wanted_form_is_found_in_any_command_line() {
        for (line, variable, expected) in [
            ("status", None, Format::Table),
            ("status", Some("json"), Format::Json),
            ("status -o yaml", Some("json"), Format::Yaml),
            ("-ojson wrong", None, Format::Json),
            ("wrong --output=json", None, Format::Json),
            ("wrong --output", Some("yaml"), Format::Yaml),
            ("x -- -o json", None, Format::Table),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(wanted_format(&words, variable), expected, "{line}");
        }
    }

    #[test]
    fn scripts_are_told_in_one_sentence() {
        let error = Cli::try_parse_from(["quorate", "token", "create", "--role", "printer"]).unwrap_err();
        let report = report(&error);
        assert_eq!(report.code, "usage");
        assert!(
            report.message.contains("'printer'") && !report.message.contains("Usage"),
            "{}",
            report.message
        );
        let error = Cli::try_parse_from(["quorate", "license"]).unwrap_err();
        assert_eq!(super::report(&error).message, "a command is missing");
        let error = Cli::try_parse_from(["quorate", "stats"]).unwrap_err();
        assert!(super::report(&error).message.contains("'stats'"));
    }
}
