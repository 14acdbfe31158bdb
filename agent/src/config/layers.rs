//! The file with the environment laid over it, as text still, each value with where it comes from.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use toml::{
    Spanned, Value,
    de::{DeTable, DeValue},
};

use super::{
    ConfigError, Source,
    keys::{self, FLAG_VARIABLES, KEYS, Key, Kind, LOG_VARIABLE, PREFIX},
    nearest::nearest,
};

/// Present in every container of Kubernetes.
const KUBERNETES_MARK: &str = "KUBERNETES_SERVICE_HOST";

/// What was given, under keys that exist and with values of their types.
pub(super) struct Layers {
    path: PathBuf,
    values: BTreeMap<(&'static str, &'static str), (Value, Source)>,
}

/// Reads the configuration file.
pub(super) fn read_file(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => ConfigError::NoFile { path: path.to_owned() },
        _ => ConfigError::Unreadable { path: path.to_owned(), cause },
    })
}

/// Quorate's variables of this process, and the mark by which Kubernetes is recognized.
pub(super) fn environment() -> Result<Vec<(String, String)>, ConfigError> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        if name.starts_with(PREFIX) || name == KUBERNETES_MARK {
            let value =
                value.into_string().map_err(|_| ConfigError::VariableNotText { variable: name.clone() })?;
            variables.push((name, value));
        }
    }
    Ok(variables)
}

impl Layers {
    /// The values of `text`, with `variables` on top. An unknown key or variable is an error.
    pub(super) fn strict(
        path: &Path,
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::read(path, text, variables, true)
    }

    /// The same, with unknown keys and variables and values of the wrong type passed over.
    pub(super) fn lenient(
        path: &Path,
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        Self::read(path, text, variables, false)
    }

    fn read(
        path: &Path,
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
        strict: bool,
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers { path: path.to_owned(), values: BTreeMap::new() };
        layers.take_file(text, strict)?;
        layers.take_variables(variables.into_iter().collect(), strict)?;
        Ok(layers)
    }

    /// The file, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the value of a key comes from.
    pub(super) fn source(&self, key: Key) -> Source {
        self.values.get(&(key.section, key.name)).map_or(Source::Default, |(_, source)| source.clone())
    }

    /// Everything given, as one table.
    pub(super) fn table(&self) -> toml::Table {
        let mut table = toml::Table::new();
        for ((section, name), (value, _)) in &self.values {
            let section = table.entry(*section).or_insert_with(|| Value::Table(toml::Table::new()));
            if let Value::Table(section) = section {
                section.insert((*name).to_owned(), value.clone());
            }
        }
        table
    }

    fn take_file(&mut self, text: &str, strict: bool) -> Result<(), ConfigError> {
        let document = DeTable::parse(text).map_err(|error| ConfigError::NotToml {
            path: self.path.clone(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            reason: error.message().to_owned(),
        })?;
        for (section, content) in document.get_ref() {
            let line = line_of(text, section.span().start);
            match content.get_ref() {
                DeValue::Table(entries) => {
                    self.take_section(text, section.get_ref(), line, entries, strict)?
                }
                _ if strict => return Err(self.outside_section(section.get_ref(), line)),
                _ => {}
            }
        }
        Ok(())
    }

    fn take_section(
        &mut self,
        text: &str,
        section: &str,
        line: usize,
        entries: &DeTable<'_>,
        strict: bool,
    ) -> Result<(), ConfigError> {
        if strict && !keys::sections().contains(&section) {
            return Err(ConfigError::UnknownSection {
                path: self.path.clone(),
                line,
                section: section.to_owned(),
                nearest: nearest(section, keys::sections()).map(str::to_owned),
            });
        }
        for (name, value) in entries {
            let line = line_of(text, name.span().start);
            let Some(key) = keys::find(section, name.get_ref()) else {
                if strict {
                    return Err(self.unknown_key(section, name.get_ref(), line));
                }
                continue;
            };
            match (value_of(key.kind, value), strict) {
                (Some(value), _) => {
                    self.values.insert((key.section, key.name), (value, Source::File { line }));
                }
                (None, true) => return Err(self.wrong_type(key, Source::File { line })),
                (None, false) => {}
            }
        }
        Ok(())
    }

    fn take_variables(&mut self, variables: Vec<(String, String)>, strict: bool) -> Result<(), ConfigError> {
        let kubernetes = variables.iter().any(|(name, _)| name == KUBERNETES_MARK);
        let filter = |name: &str| name == LOG_VARIABLE;
        // The short name of the log's filter goes first, so that the long one is laid over it.
        let (short, others): (Vec<_>, Vec<_>) = variables.into_iter().partition(|(name, _)| filter(name));
        for (variable, value) in short.into_iter().chain(others) {
            let key = if filter(&variable) {
                keys::find("log", "filter")
            } else {
                KEYS.into_iter().find(|key| key.variable() == variable)
            };
            let Some(key) = key else {
                let other = FLAG_VARIABLES.contains(&variable.as_str())
                    || (kubernetes && is_service_link(&variable))
                    || !variable.starts_with(PREFIX);
                if strict && !other {
                    return Err(unknown_variable(variable));
                }
                continue;
            };
            // An empty variable counts as one that is not set.
            if value.is_empty() {
                continue;
            }
            let source = Source::Environment { variable };
            match (value_from_text(key.kind, &value), strict) {
                (Some(value), _) => {
                    self.values.insert((key.section, key.name), (value, source));
                }
                (None, true) => return Err(self.wrong_type(key, source)),
                (None, false) => {}
            }
        }
        Ok(())
    }

    fn outside_section(&self, key: &str, line: usize) -> ConfigError {
        let nearest = match nearest(key, KEYS.iter().map(|known| known.name)) {
            Some(name) => KEYS.iter().find(|known| known.name == name).map(|known| known.dotted()),
            None => None,
        };
        ConfigError::OutsideSection { path: self.path.clone(), line, key: key.to_owned(), nearest }
    }

    fn unknown_key(&self, section: &str, name: &str, line: usize) -> ConfigError {
        let here = KEYS.iter().filter(|key| key.section == section).map(|key| key.name);
        let elsewhere = KEYS.iter().find(|key| key.name == name).map(|key| key.dotted());
        let nearest = nearest(name, here).map(|near| format!("{section}.{near}"));
        ConfigError::UnknownKey {
            path: self.path.clone(),
            line,
            section: section.to_owned(),
            key: name.to_owned(),
            nearest: elsewhere.or(nearest),
        }
    }

    fn wrong_type(&self, key: Key, given: Source) -> ConfigError {
        ConfigError::WrongType {
            key: key.dotted(),
            given,
            path: self.path.clone(),
            expected: key.kind.words(),
        }
    }
}

fn unknown_variable(variable: String) -> ConfigError {
    let names: Vec<String> = KEYS.iter().map(|key| key.variable()).collect();
    let candidates = names.iter().map(String::as_str).chain(FLAG_VARIABLES).chain([LOG_VARIABLE]);
    let nearest = nearest(&variable, candidates).map(str::to_owned);
    ConfigError::UnknownVariable { variable, nearest }
}

/// Whether Kubernetes set the variable for a service whose name begins with `quorate`, as
/// `QUORATE_SERVICE_HOST` and `QUORATE_PORT_7400_TCP_ADDR`.
fn is_service_link(variable: &str) -> bool {
    variable.ends_with("_SERVICE_HOST")
        || variable.ends_with("_PORT")
        || variable.contains("_SERVICE_PORT")
        || variable
            .split_once("_PORT_")
            .is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The value in the file, if it is of the key's type.
fn value_of(kind: Kind, value: &Spanned<DeValue<'_>>) -> Option<Value> {
    match (kind, value.get_ref()) {
        (Kind::Text, DeValue::String(text)) => Some(Value::String(text.to_string())),
        (Kind::Number, DeValue::Integer(number)) => {
            let digits = number.as_str().replace('_', "");
            i64::from_str_radix(&digits, number.radix()).ok().and_then(whole_number)
        }
        (Kind::List, DeValue::Array(entries)) => entries
            .iter()
            .map(|entry| entry.get_ref().as_str().map(|text| Value::String(text.to_owned())))
            .collect::<Option<Vec<Value>>>()
            .map(Value::Array),
        _ => None,
    }
}

/// The value of a variable, if it can be read as the key's type.
fn value_from_text(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Text => Some(Value::String(text.to_owned())),
        Kind::Number => text.trim().parse().ok().and_then(whole_number),
        Kind::List => {
            let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
            Some(Value::Array(entries.map(|entry| Value::String(entry.to_owned())).collect()))
        }
    }
}

fn whole_number(number: i64) -> Option<Value> {
    (number >= 0).then_some(Value::Integer(number))
}

/// The line, from 1, that holds the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
