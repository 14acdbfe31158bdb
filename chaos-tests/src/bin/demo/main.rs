//! `make demo`: a License Portal and four nodes on this machine, activated, for as long as you like to look.
//!
//! ```text
//! folder (locked, leftovers ended) -> portal -> first node -> three more join -> activation -> status
//!   -> --once: check every node, stop, exit 0   |   otherwise: stay until Ctrl-C, stop
//! ```
//!
//! Everything of a demo is in one folder, `target/demo` or the one that `DEMO_DIR` names.

mod check;
mod folder;
mod installation;
mod leftovers;
mod report;
mod stay;

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use quorate_chaos_tests::{Binaries, Failure, Network, Result, interrupt};

use crate::{folder::DemoFolder, installation::Installation, report::Report};

/// Start a License Portal and four nodes on this machine, activate, and stay until Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Arguments {
    /// Check that every node shows the same license, stop everything and exit: 0 if all is well.
    #[arg(long)]
    once: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let report = Report::new();
    match run(&arguments, &report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Interrupted) => {
            report.line("Stopped.");
            ExitCode::from(130)
        }
        Err(failure) => {
            report.failed(&failure);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, report: &Report) -> Result<()> {
    interrupt::watch()?;
    let binaries = Binaries::find()?;
    let folder = DemoFolder::take(report)?;
    let network = Arc::new(Network::reserve()?);
    report.title(&folder, &network);
    let mut installation = Installation::new(&binaries, &network, &folder)?;
    let outcome = show(arguments, report, &folder, &mut installation);
    // Also after a failure: nothing that was started here is left running.
    let stopped = report.step("Stopping the nodes, then the portal", || {
        installation.stop()?;
        leftovers::end(folder.path()).map(|_| ())
    });
    if outcome.is_err() {
        report.line(&format!("The logs are in {}", folder.path().display()));
    }
    outcome.and(stopped)
}

fn show(
    arguments: &Arguments,
    report: &Report,
    folder: &DemoFolder,
    installation: &mut Installation,
) -> Result<()> {
    installation.start(report)?;
    let file = installation.cluster_file()?;
    report.status(installation)?;
    // Last: who finds the file finds a demo that is ready.
    file.write(&folder.cluster_file())?;
    report.addresses(&file, folder)?;
    if arguments.once {
        report.step("Checking that every node shows the same license", || check::all_agree(installation))?;
        report.line("All four nodes show the same serial and Support ID.");
        return Ok(());
    }
    report.what_to_try(&file, installation)?;
    stay::until_interrupted(report, installation)
}
