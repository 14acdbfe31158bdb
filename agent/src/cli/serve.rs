//! `quorate serve`: runs the node until SIGTERM or SIGINT.

use super::{Context, Exit, error::CliError, logging};
use crate::{app, config::Config};

/// More workers don't make a node faster: its disk has threads of their own.
const MAX_WORKERS: usize = 4;

pub(super) fn run(context: &Context) -> Result<Exit, CliError> {
    let config = Config::load(&context.global.config)?;
    logging::start(&config.log);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(1, MAX_WORKERS))
        .enable_all()
        .build()
        .map_err(|cause| CliError::System { what: "the node can't start its runtime", cause })?
        .block_on(app::run(config))?;
    Ok(Exit::Ok)
}
