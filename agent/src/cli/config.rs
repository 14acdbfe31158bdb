//! `quorate config`: whether this node's configuration is right, and what holds in the end.

use clap::Subcommand;
use serde::Serialize;
use serde_json::Value;

use super::{
    Context, Exit,
    error::CliError,
    output::{Page, Present},
};
use crate::{
    app::AppError,
    config::{Config, Effective, EffectiveValue, Source},
    data_dir::DataDir,
    pki::{Brought, FileCertificate, Material as _},
};

/// Commands about the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration file and the environment.
    Check,
    /// Print every value with where it comes from. Credentials are redacted.
    Show,
}

#[derive(Serialize)]
struct Checked {
    file: String,
    ok: bool,
}

#[derive(Serialize)]
struct Shown {
    file: String,
    values: Vec<EffectiveValue>,
}

pub(super) fn run(context: &Context, command: &ConfigCommand) -> Result<Exit, CliError> {
    let effective = Effective::load(&context.global.config)?;
    let file = context.global.config.display().to_string();
    match command {
        ConfigCommand::Check => {
            check_files(&effective.config)?;
            context.output.print(&Checked { file, ok: true })?;
        }
        ConfigCommand::Show => context.output.print(&Shown { file, values: effective.values })?,
    }
    Ok(Exit::Ok)
}

/// The certificates that the configuration names, as a start would read them. A node may have another name by now than
/// its configuration says, so one that names another node is no error of the configuration, unless there is no node yet.
fn check_files(config: &Config) -> Result<(), AppError> {
    if let Some((files, _)) = config.tls.brought() {
        let brought = Brought::read(&files)?;
        if DataDir::new(&config.node.data_dir).check_unprepared().is_ok() {
            brought.check_name(None, &config.node.name)?;
        }
    }
    config.tls.http().map(FileCertificate::read).transpose()?;
    Ok(())
}

impl Present for Checked {
    fn page(&self, page: &mut Page) {
        page.line(format!("The configuration {} is in order.", self.file));
    }
}

impl Present for Shown {
    fn page(&self, page: &mut Page) {
        page.fields(&[("File", self.file.clone())]);
        page.gap();
        let row = |value: &EffectiveValue| vec![value.key.clone(), shown(&value.value), place(&value.source)];
        page.table(&["KEY", "VALUE", "FROM"], self.values.iter().map(row).collect(), "");
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(entries) if entries.is_empty() => "-".to_owned(),
        Value::Array(entries) => entries.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn place(source: &Source) -> String {
    match source {
        Source::File { line } => format!("line {line}"),
        Source::Environment { variable } => variable.clone(),
        Source::Default => "default".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::output::tests::all_forms;

    const FILE: &str = "/etc/quorate/quorate.toml";

    #[test]
    fn effective_values_are_shown_with_their_places() {
        let text = "[node]\nname = \"ms-1\"\n\
                    [advertise]\nraft = \"ms-1.example.com:7400\"\nhttp = \"ms-1.example.com:7443\"\n\
                    [portal]\nurl = \"https://portal.example.com\"\nproxy = \"http://me:s3cret@proxy:3128\"\n\
                    [license]\ntrust_roots = [\"k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI\"]\n";
        let variables = [("QUORATE_LOG_FORMAT".to_owned(), "json".to_owned())];
        let effective = Effective::parse(Path::new(FILE), text, variables).unwrap();
        let text = all_forms(&Shown { file: FILE.to_owned(), values: effective.values });
        assert!(!text.contains("s3cret"), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_good_configuration_is_called_so() {
        insta::assert_snapshot!(all_forms(&Checked { file: FILE.to_owned(), ok: true }));
    }
}
