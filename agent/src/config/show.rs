//! The effective configuration with where each value comes from, as `quorate config show` tells it.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{
    Config, ConfigError, Source,
    keys::KEYS,
    layers::{self, Layers},
    raw::RawConfig,
};

/// A checked configuration, and the account of its values.
#[derive(Debug, Clone)]
pub struct Effective {
    /// What the node runs with.
    pub config: Config,
    /// Every key, in the order of the example file. Credentials are redacted.
    pub values: Vec<EffectiveValue>,
}

/// One key with its effective value.
#[derive(Debug, Clone, Serialize)]
pub struct EffectiveValue {
    /// `section.key`.
    pub key: String,
    /// Its value; `null` where there is none.
    pub value: Value,
    /// Where it comes from.
    pub source: Source,
}

impl Effective {
    /// Reads the file, and the environment on top of it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: the file can't be read, or a key, variable or value is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = layers::read_file(path)?;
        Self::parse(path, &text, layers::environment()?)
    }

    /// The configuration in `text`, with `variables` on top of it, as if it had been read from `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: a key, variable or value is wrong.
    pub fn parse(
        path: &Path,
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let layers = Layers::strict(path, text, variables)?;
        let config = RawConfig::from_layers(&layers)?.check(&layers)?;
        // A value that can't be shown is shown as none; serializing these plain types doesn't fail.
        let shown = serde_json::to_value(&config).unwrap_or_default();
        let values = KEYS
            .into_iter()
            .map(|key| EffectiveValue {
                key: key.dotted(),
                value: shown
                    .get(key.section)
                    .and_then(|section| section.get(key.name))
                    .cloned()
                    .unwrap_or_default(),
                source: layers.source(key),
            })
            .collect();
        Ok(Effective { config, values })
    }
}
