//! The command `quorate`: from the command line to an exit code.
//!
//! ```text
//! words -> args -> one file per command -> client -> a node's AdminService, or files of this host
//!                            └-> output (table, JSON, YAML), or error with code and hint
//! ```

mod args;
mod audit;
mod bundle;
mod ca;
mod cert;
mod client;
mod cluster;
mod completion;
mod config;
mod debug;
mod duration;
mod error;
mod exit;
mod init;
mod input;
mod join;
mod license;
mod logging;
mod node;
mod output;
mod pending;
mod progress;
#[cfg(test)]
mod refusals;
mod serve;
mod status;
mod support_id;
mod telemetry;
mod time;
mod token;
mod usage;
mod wire;

use std::ffi::OsString;

use clap::Parser;

use args::{Cli, Command, Global};
use client::Admin;
use error::CliError;
use output::Output;

pub use exit::Exit;

/// What every command is given.
struct Context {
    global: Global,
    output: Output,
}

impl Context {
    /// Connects to the node that the flags name.
    async fn connect(&self) -> Result<Admin, CliError> {
        client::connect(&self.global).await
    }
}

/// Carries out the command line of this process.
pub fn run() -> Exit {
    let words: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => return usage::tell(&error, &words[1.min(words.len())..]),
    };
    // Every command may come to hold a secret.
    crate::host::without_core_dumps();
    let output = Output::new(cli.global.output);
    let context = Context { global: cli.global, output };
    match dispatch(&context, cli.command) {
        Ok(exit) => exit,
        Err(error) => {
            output.error(&error.report());
            error.exit()
        }
    }
}

fn dispatch(context: &Context, command: Command) -> Result<Exit, CliError> {
    match command {
        Command::Serve(args) => serve::run(context, &args),
        Command::Init(args) => init::run(context, &args),
        Command::Join(args) => block_on(join::run(context, args)),
        Command::Status => block_on(status::run(context)),
        Command::License(command) => license::run(context, command),
        Command::Telemetry(command) => telemetry::run(context, &command),
        Command::SupportId => block_on(support_id::run(context)),
        Command::Node(command) => node::run(context, command),
        Command::Token(command) => block_on(token::run(context, command)),
        Command::Audit(command) => block_on(audit::run(context, command)),
        Command::Cluster(command) => block_on(cluster::run(context, command)),
        Command::Cert(command) => block_on(cert::run(context, command)),
        Command::Ca(command) => block_on(ca::run(context, command)),
        Command::Config(command) => config::run(context, &command),
        Command::Completion(args) => completion::run(context, &args),
        Command::Debug(command) => debug::run(context, &command),
    }
}

/// Runs a command that asks a node. One thread is enough for one question.
fn block_on(command: impl Future<Output = Result<Exit, CliError>>) -> Result<Exit, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| CliError::System { what: "the program can't start its runtime", cause })?
        .block_on(command)
}
