//! What can be wrong with a configuration, told so that the place is found at once.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "from")]
pub enum Source {
    /// The file.
    File {
        /// The line of the key, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment {
        /// Its name.
        variable: String,
    },
    /// Nobody set it.
    Default,
}

/// The configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error("the configuration file {path} doesn't exist")]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// The file is there, but can't be read.
    #[error("the configuration file {path} can't be read: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// The file is not TOML.
    #[error("line {line} of {path} is not TOML: {reason}")]
    NotToml {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A section that no node has.
    #[error("the section [{section}] on line {line} of {path} is not known")]
    UnknownSection {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The section.
        section: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A key that the section doesn't have.
    #[error("the key '{key}' in section [{section}] on line {line} of {path} is not known")]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The section that it stands in.
        section: String,
        /// The key.
        key: String,
        /// What was probably meant, as `section.key`.
        nearest: Option<String>,
    },
    /// A key before the first section.
    #[error("the key '{key}' on line {line} of {path} stands in no section")]
    OutsideSection {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key.
        key: String,
        /// What was probably meant, as `section.key`.
        nearest: Option<String>,
    },
    /// A variable of Quorate that names no key.
    #[error("the variable {variable} of the environment is not known")]
    UnknownVariable {
        /// Its name.
        variable: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A variable whose value is no text.
    #[error("the variable {variable} of the environment is not UTF-8 text")]
    VariableNotText {
        /// Its name.
        variable: String,
    },
    /// A value of another type than its key has.
    #[error("the value of {key} ({place}) is not {expected}", place = place(.given, .path))]
    WrongType {
        /// The key, as `section.key`.
        key: String,
        /// Where it was given.
        given: Source,
        /// The file.
        path: PathBuf,
        /// What it has to be, in words.
        expected: &'static str,
    },
    /// A key that every node needs was not given.
    #[error("{key} is missing: neither {path} nor the variable {variable} gives it")]
    Missing {
        /// The key, as `section.key`.
        key: String,
        /// The file.
        path: PathBuf,
        /// The variable that would give it.
        variable: String,
        /// What it could be, as a line of the file.
        example: &'static str,
    },
    /// A value breaks a rule. Never quotes a secret.
    #[error("the value of {key} ({place}) is wrong: {rule}", place = place(.given, .path))]
    Invalid {
        /// The key, as `section.key`.
        key: String,
        /// Where it was given.
        given: Source,
        /// The file.
        path: PathBuf,
        /// The rule that it breaks, in words.
        rule: String,
    },
}

impl ConfigError {
    /// The stable code of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            ConfigError::NoFile { .. } => "config_not_found",
            ConfigError::Unreadable { .. } => "config_unreadable",
            ConfigError::NotToml { .. } => "config_not_toml",
            ConfigError::UnknownSection { .. } => "config_unknown_section",
            ConfigError::UnknownKey { .. } | ConfigError::OutsideSection { .. } => "config_unknown_key",
            ConfigError::UnknownVariable { .. } => "config_unknown_variable",
            ConfigError::VariableNotText { .. } => "config_variable_not_text",
            ConfigError::WrongType { .. } => "config_wrong_type",
            ConfigError::Missing { .. } => "config_missing_key",
            ConfigError::Invalid { .. } => "config_invalid_value",
        }
    }

    /// What to do now.
    pub fn hint(&self) -> String {
        match self {
            ConfigError::NoFile { .. } => {
                "Create it, with quorate.example.toml as a pattern, or name another one by --config.".to_owned()
            }
            ConfigError::Unreadable { .. } => {
                "Check the permissions of the file and its folder, or run the command as a user who may read it."
                    .to_owned()
            }
            ConfigError::NotToml { .. } => "Correct the line; texts stand in double quotes.".to_owned(),
            ConfigError::UnknownSection { nearest: Some(nearest), .. } => {
                format!("Did you mean [{nearest}]? Otherwise take the section out.")
            }
            ConfigError::UnknownKey { nearest: Some(nearest), .. } => {
                format!("Did you mean {nearest}? Otherwise take the line out.")
            }
            ConfigError::OutsideSection { nearest: Some(nearest), .. } => {
                format!("Did you mean {nearest}? Put it below its section.")
            }
            ConfigError::UnknownSection { .. }
            | ConfigError::UnknownKey { .. }
            | ConfigError::OutsideSection { .. } => {
                "Take it out; quorate.example.toml names every section and key.".to_owned()
            }
            ConfigError::UnknownVariable { nearest: Some(nearest), .. } => {
                format!("Did you mean {nearest}? Otherwise unset it.")
            }
            ConfigError::UnknownVariable { variable, .. } => {
                format!("Unset it: a variable is QUORATE_SECTION_KEY, and {variable} names no key.")
            }
            ConfigError::VariableNotText { variable } => format!("Set {variable} again, or unset it."),
            ConfigError::Missing { key, example, .. } => {
                let section = key.split('.').next().unwrap_or_default();
                format!("Add it to section [{section}], for example: {example}")
            }
            ConfigError::WrongType { .. } | ConfigError::Invalid { .. } => {
                "Correct it; quorate.example.toml shows every key with its meaning.".to_owned()
            }
        }
    }
}

fn place(given: &Source, path: &Path) -> String {
    match given {
        Source::File { line } => format!("line {line} of {}", path.display()),
        Source::Environment { variable } => format!("variable {variable}"),
        Source::Default => "not set, so the default holds".to_owned(),
    }
}
