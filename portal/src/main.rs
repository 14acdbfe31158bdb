//! `quorate-portal`: reads the command line, runs the command, turns its outcome into an exit code.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong command line.

use std::process::ExitCode;

use clap::{Parser, error::ErrorKind};
use quorate_portal::{
    admin,
    cli::{Cli, Command, Format},
    config::{Config, LogConfig, LogFormat},
    console, failpoints, server,
};
use serde_json::json;
use tracing_subscriber::EnvFilter;

/// What is printed of a failure.
struct Failure {
    code: &'static str,
    message: String,
    hint: &'static str,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_command_line(&error),
    };
    let format = cli.output;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print(&failure, format);
            ExitCode::from(if failure.code == "usage" { 2 } else { 1 })
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let config = Config::load(&cli.config).map_err(|error| Failure {
        code: "config_invalid",
        message: error.to_string(),
        hint: "Correct the configuration; --config names another file.",
    })?;
    // The only provider in the process: whoever comes first sets it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|cause| Failure {
            code: "start_failed",
            message: format!("the runtime can't start: {cause}"),
            hint: "Check the limits of the process.",
        })?;
    match cli.command {
        Command::Serve => {
            start_log(&config.log);
            let _armed = failpoints::arm();
            runtime.block_on(server::serve(config)).map_err(|error| Failure {
                code: error.code(),
                message: error.to_string(),
                hint: error.hint(),
            })
        }
        Command::Admin(command) => runtime
            .block_on(admin::run(command, &config, cli.output))
            .map_err(|error| Failure { code: error.code(), message: error.to_string(), hint: error.hint() }),
    }
}

fn start_log(log: &LogConfig) {
    let builder =
        tracing_subscriber::fmt().with_env_filter(EnvFilter::new(&log.filter)).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Help and version are results, not failures. With `-o json` a failure is JSON here too.
fn wrong_command_line(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if wants_json() {
        let message = error.render().to_string();
        let message = message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        print(&Failure { code: "usage", message, hint: "See --help." }, Format::Json);
    } else {
        let _ = error.print();
    }
    ExitCode::from(2)
}

fn wants_json() -> bool {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    arguments.iter().any(|argument| matches!(argument.as_str(), "-ojson" | "-o=json" | "--output=json"))
        || arguments.windows(2).any(|pair| matches!(pair[0].as_str(), "-o" | "--output") && pair[1] == "json")
}

fn print(failure: &Failure, format: Format) {
    let Failure { code, message, hint } = failure;
    match format {
        Format::Table => console::complain(&format!("quorate-portal: {message}\n{hint}")),
        Format::Json => {
            console::complain(&json!({ "code": code, "message": message, "hint": hint }).to_string());
        }
    }
}
