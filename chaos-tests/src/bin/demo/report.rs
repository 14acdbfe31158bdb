//! What the demo says: each step while it runs, the status table, the addresses, what to try next.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the demo's output to people is here and nowhere else"
)]

use std::{
    cell::Cell,
    io::{IsTerminal as _, Write as _},
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use comfy_table::{Table, presets};
use quorate_chaos_tests::{
    Failure, Network, Result,
    cluster_file::ClusterFile,
    portal::{COUNTED_FEATURE, DEVICES},
};

use crate::{folder::DemoFolder, installation::Installation};

/// Counts and prints the steps.
pub(crate) struct Report {
    steps: Cell<u32>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Report { steps: Cell::new(0) }
    }

    /// One line.
    pub(crate) fn line(&self, text: &str) {
        println!("{text}");
    }

    /// Why the demo ends with an error.
    pub(crate) fn failed(&self, failure: &Failure) {
        eprintln!("The demo failed: {failure}");
    }

    pub(crate) fn title(&self, folder: &DemoFolder, network: &Network) {
        println!("Quorate demo: one License Portal, three Management Servers, one Spooler Controller.");
        println!("All on this machine, on {network}, in {}\n", folder.path().display());
    }

    /// Does a step; shows that it goes on while it takes long.
    pub(crate) fn step<T>(&self, text: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.steps.set(self.steps.get() + 1);
        print!("{:>3}. {text} ", self.steps.get());
        let _ = std::io::stdout().flush();
        let started = Instant::now();
        let (done, finished) = sync_channel::<()>(1);
        let outcome = thread::scope(|scope| {
            scope.spawn(move || {
                while finished.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                    print!(".");
                    let _ = std::io::stdout().flush();
                }
            });
            let outcome = work();
            drop(done);
            outcome
        });
        let word = match &outcome {
            Ok(_) => "done",
            Err(Failure::Interrupted) => "interrupted",
            Err(_) => "failed",
        };
        println!(" {word} ({:.1} s)", started.elapsed().as_secs_f64());
        outcome
    }

    /// The status of all nodes, and the Support ID.
    pub(crate) fn status(&self, installation: &Installation) -> Result<()> {
        let status = installation.cluster.status()?;
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["NODE", "ROLE", "IN RAFT", "ONLINE", "SERIAL", "COMPUTER ID"]);
        for node in &status.nodes {
            let leads = status.leader == Some(node.id);
            let part = if leads {
                "leader"
            } else if node.voter {
                "voter"
            } else {
                "learner"
            };
            let first = if status.first_license_node == node.id { " (first license node)" } else { "" };
            table.add_row([
                node.name.clone(),
                format!("{}{first}", node.role),
                part.to_owned(),
                node.online.map_or("?", |online| if online { "yes" } else { "no" }).to_owned(),
                node.license_serial.map_or("?".to_owned(), |serial| serial.to_string()),
                node.computer_id.clone(),
            ]);
        }
        println!("\n{}", trimmed(&table));
        let summary = status.license.unwrap_or_default();
        let days = summary.days_left.map(|days| format!(", {days} days left")).unwrap_or_default();
        println!("\nLicense: {}{days}, serial {}", summary.status, summary.serial.unwrap_or_default());
        println!("Support ID: {}", summary.support_id.unwrap_or_default());
        Ok(())
    }

    /// Where everything listens.
    pub(crate) fn addresses(&self, file: &ClusterFile, folder: &DemoFolder) -> Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([
            "NODE",
            "PROCESS",
            "NODE TO NODE",
            "PRODUCT GRPC",
            "MANAGEMENT HTTPS",
            "OPERATIONS",
        ]);
        for node in &file.nodes {
            table.add_row([
                &node.name,
                &node.pid.to_string(),
                &node.raft,
                &node.grpc,
                &node.http,
                &format!("http://{}", node.ops),
            ]);
        }
        println!("\n{}", trimmed(&table));
        println!("\nLicense Portal: {} (process {})", file.portal.url, file.portal.pid);
        println!("For programs: {}\n", folder.cluster_file().display());
        Ok(())
    }

    /// Commands to go on with.
    pub(crate) fn what_to_try(&self, file: &ClusterFile, installation: &Installation) -> Result<()> {
        let leader = &file.nodes[installation.cluster.leader()?];
        let other = file.nodes.iter().find(|node| node.pid != leader.pid).unwrap_or(leader);
        let spooler = file.nodes.last().unwrap_or(leader);
        let quorate = file.quorate.display();
        let command = |config: &std::path::Path| format!("{quorate} --config {}", config.display());
        println!("What to try next, in another terminal:");
        println!("  # The cluster, and the license with its {DEVICES} {COUNTED_FEATURE}");
        println!("  {} status", command(&other.config));
        println!("  {} license show", command(&spooler.config));
        println!("  # Kill the leader, {}: the license stays readable everywhere", leader.name);
        println!("  kill -9 {}", leader.pid);
        println!("  {} license entitlements", command(&other.config));
        println!("  # Bring it back");
        println!("  {} serve", command(&leader.config));
        println!("  # A license file proves itself, without any agent");
        println!(
            "  {} license inspect {}/licenses/default.lic --trust {}",
            command(&spooler.config),
            spooler.data_dir.display(),
            file.portal.root_key
        );
        if std::io::stdout().is_terminal() {
            println!("\nCtrl-C stops everything.");
        } else {
            println!("\nSIGINT or SIGTERM stops everything.");
        }
        Ok(())
    }
}

fn trimmed(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
