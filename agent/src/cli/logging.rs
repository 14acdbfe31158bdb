//! The log on standard error, as the configuration says.

use std::io;

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Log, LogFormat};

/// Begins to log. A second start changes nothing.
pub(super) fn start(log: &Log) {
    // The consensus library tells every attempt at a node that is away; that is for whoever asks for it.
    let filter = match log.filter.contains("openraft") {
        true => log.filter.clone(),
        false => format!("{},openraft=error", log.filter),
    };
    // The filter was checked with the configuration.
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr).with_target(true);
    let started = match log.format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "the log was started before");
    }
}
