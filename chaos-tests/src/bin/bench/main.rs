//! `make bench`: three Management Servers beside a three-node etcd, on the same machine in the same run.
//!
//! ```text
//! changes  AdminService.CreateToken on the leader's socket   beside   etcd Put at its leader     1, 16, 64, 256 writers
//! reads    Check over the Unix socket                        beside   etcd serializable Range    1, 64 readers
//! ```
//!
//! Both write to the same disk with real syncs, and take turns: what slows the machine down for a while slows
//! both. The result is a table, and `target/bench.json`. With `--failover` it measures [`failover`] instead.

mod etcd;
mod failover;
mod load;
mod ours;
mod report;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use quorate_chaos_tests::{Failure, Result, Stage, binaries, interrupt};

use crate::{
    etcd::Etcd,
    load::Sample,
    report::{Pair, Report},
};

/// How many writers at a time.
const WRITERS: [usize; 4] = [1, 16, 64, 256];

/// How many readers at a time.
const READERS: [usize; 2] = [1, 64];

/// Measure changes and reads beside etcd.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// How long each measurement takes.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// How often each measurement is taken; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure instead how long changes stand still when the leader is killed, and when it is stopped.
    #[arg(long)]
    failover: bool,
    /// With --failover: how often the leader is killed; the median counts.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// With --failover: how often the leader is asked to stop.
    #[arg(long, default_value_t = 3)]
    stops: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::failed(&failure);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    interrupt::watch()?;
    report::progress("Starting three Management Servers, and activating them");
    let (mut stage, _) = Stage::activated(|plan| {
        plan.spoolers = 0;
        plan.own_group = true;
    })?;
    report::progress("Starting three etcd nodes");
    let mut etcd = Etcd::start(&stage.plan.network, &stage.folder.path().join("etcd"))?;
    let profile = binaries::profile_folder()?;
    let folder = profile.parent().unwrap_or(&profile).to_owned();
    if arguments.failover {
        let both = failover::measure(&mut stage, &mut etcd, arguments.kills, arguments.stops)?;
        stage.cluster.stop()?;
        report::print_failover(&both);
        return report::write_failover(&folder.join("bench-failover.json"), &both);
    }
    let duration = Duration::from_secs(arguments.seconds);

    let mut changes = Vec::new();
    for writers in WRITERS {
        let leader = stage.cluster.leader()?;
        changes.push(alternate(
            &format!("{writers} writers"),
            arguments.rounds,
            writers,
            || ours::changes(&stage.cluster.nodes[leader].admin_socket, writers, duration, arguments.rounds),
            || etcd.puts(writers, duration),
        )?);
    }
    let mut reads = Vec::new();
    for readers in READERS {
        let node = &stage.cluster.nodes[1];
        reads.push(alternate(
            &format!("{readers} readers"),
            arguments.rounds,
            readers,
            || ours::checks(&node.socket, readers, duration),
            || etcd.gets(readers, duration),
        )?);
    }
    stage.cluster.stop()?;
    let report = Report { seconds: arguments.seconds, rounds: arguments.rounds, changes, reads };
    report.print();
    report.write(&folder.join("bench.json"))
}

/// Takes turns, and keeps the run with the median rate of each.
fn alternate(
    what: &str,
    rounds: usize,
    clients: usize,
    ours: impl Fn() -> Result<Sample>,
    etcd: impl Fn() -> Result<Sample>,
) -> Result<Pair> {
    let (mut of_ours, mut of_etcd) = (Vec::new(), Vec::new());
    for round in 0..rounds.max(1) {
        if interrupt::requested() {
            return Err(Failure::Interrupted);
        }
        report::progress(&format!("{what}, round {} of {rounds}", round + 1));
        // Who is first changes, so that neither always finds a fresh machine.
        if round % 2 == 0 {
            of_ours.push(ours()?);
            of_etcd.push(etcd()?);
        } else {
            of_etcd.push(etcd()?);
            of_ours.push(ours()?);
        }
    }
    Ok(Pair { clients, ours: load::median(of_ours)?, etcd: load::median(of_etcd)? })
}
