//! `quorate serve`: runs the node until SIGTERM or SIGINT.

use clap::Args;

use super::{Context, Exit, error::CliError, logging};
use crate::{
    app::{self, ServeOptions},
    config::Config,
};

/// More workers don't make a node faster: its disk has threads of their own.
const MAX_WORKERS: usize = 4;

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// This host's computer ID has changed (its machine id was set up anew) and the node is still the
    /// same: the new one becomes the registered one. Until then activations are refused. Never use it
    /// on a copy of another node's data directory.
    #[arg(long)]
    accept_computer_id: bool,
}

pub(super) fn run(context: &Context, args: &ServeArgs) -> Result<Exit, CliError> {
    let config = Config::load(&context.global.config)?;
    logging::start(&config.log);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(1, MAX_WORKERS))
        .enable_all()
        .build()
        .map_err(|cause| CliError::System { what: "the node can't start its runtime", cause })?
        .block_on(app::run(config, ServeOptions { accept_computer_id: args.accept_computer_id }))?;
    Ok(Exit::Ok)
}
