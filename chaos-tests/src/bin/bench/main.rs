//! `make bench`: three Management Servers beside a three-node etcd, on the same machine in the same run.
//!
//! ```text
//! changes  AdminService.CreateToken on the leader's socket   beside   etcd Put at its leader     1, 16, 64, 256 writers
//! reads    Check over the Unix socket                        beside   etcd serializable Range    1, 64 readers
//! ```
//!
//! Both write to the same disk with real syncs, and take turns: what slows the machine down for a while slows
//! both. The result is a table, and `target/bench.json`. Other measurements have names of their own: see
//! [`Measurement`].

mod catch_up;
mod etcd;
mod failover;
mod growth;
mod idle;
mod load;
mod ours;
mod promises;
mod report;
mod strace;
mod syncs;

use std::{path::Path, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use quorate_chaos_tests::{Failure, Result, Stage, binaries, interrupt};

use crate::{
    etcd::Etcd,
    load::Sample,
    report::{Pair, Report},
    syncs::{Syncs, Written},
};

/// How many writers at a time.
const WRITERS: [usize; 4] = [1, 16, 64, 256];

/// How many readers at a time.
const READERS: [usize; 2] = [1, 64];

/// Measure Quorate beside etcd.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Arguments {
    /// What to measure; changes and reads if nothing is named.
    #[command(subcommand)]
    measurement: Option<Measurement>,
    /// How long each measurement takes.
    #[arg(long, global = true, default_value_t = 3)]
    seconds: u64,
    /// How often each measurement is taken; the median counts.
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// Changes and reads in a second, and how long they take
    Changes,
    /// How long changes stand still when the leader is killed, and when it is stopped
    Failover {
        /// How often the leader is killed; the median counts.
        #[arg(long, default_value_t = 20)]
        kills: usize,
        /// How often the leader is asked to stop.
        #[arg(long, default_value_t = 3)]
        stops: usize,
    },
    /// What a change costs with more and more Spooler Controllers
    Growth {
        /// How many at most.
        #[arg(long, default_value_t = 300)]
        learners: usize,
    },
    /// A Spooler Controller joins a cluster with a long history
    CatchUp {
        /// Entries that were written before.
        #[arg(long, default_value_t = 1_000_000)]
        entries: u64,
        /// Objects that there are.
        #[arg(long, default_value_t = 100_000)]
        objects: u64,
    },
    /// What a node has synced before it answers, for appends and votes, seen by `strace`
    Promises {
        /// Changes, one after the other.
        #[arg(long, default_value_t = 200)]
        changes: usize,
    },
    /// Memory, processor and disk of a node that nobody asks anything
    Idle {
        /// Objects that there are the second time.
        #[arg(long, default_value_t = 100_000)]
        objects: u64,
    },
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
    let profile = binaries::profile_folder()?;
    let folder = profile.parent().unwrap_or(&profile);
    match arguments.measurement.as_ref().unwrap_or(&Measurement::Changes) {
        Measurement::Changes => changes_and_reads(arguments, folder),
        Measurement::Failover { kills, stops } => failover(*kills, *stops, folder),
        Measurement::Growth { learners } => {
            growth::measure(*learners, Duration::from_secs(arguments.seconds), folder)
        }
        Measurement::CatchUp { entries, objects } => catch_up::measure(*entries, *objects, folder),
        Measurement::Promises { changes } => promises::measure(*changes, folder),
        Measurement::Idle { objects } => idle::measure(*objects, folder),
    }
}

/// Both clusters, side by side.
fn start_both() -> Result<(Stage, Etcd)> {
    report::progress("Starting three Management Servers, and activating them");
    let (stage, _) = Stage::activated(|plan| {
        plan.spoolers = 0;
        plan.own_group = true;
    })?;
    report::progress("Starting three etcd nodes");
    let etcd = Etcd::start(&stage.plan.network, &stage.folder.path().join("etcd"))?;
    Ok((stage, etcd))
}

fn failover(kills: usize, stops: usize, folder: &Path) -> Result<()> {
    let (mut stage, mut etcd) = start_both()?;
    let both = failover::measure(&mut stage, &mut etcd, kills, stops)?;
    stage.cluster.stop()?;
    report::print_failover(&both);
    report::write_failover(&folder.join("bench-failover.json"), &both)
}

fn changes_and_reads(arguments: &Arguments, folder: &Path) -> Result<()> {
    let (mut stage, etcd) = start_both()?;
    let duration = Duration::from_secs(arguments.seconds);
    let mut changes = Vec::new();
    let mut syncs = Vec::new();
    for writers in WRITERS {
        let leader = stage.cluster.leader()?;
        let written =
            [leader, (leader + 1) % stage.cluster.nodes.len()].map(|index| &stage.cluster.nodes[index]);
        let before = written.map(Written::so_far);
        changes.push(alternate(
            &format!("{writers} writers"),
            arguments.rounds,
            writers,
            || ours::changes(&stage.cluster.nodes[leader].admin_socket, writers, duration, arguments.rounds),
            || etcd.puts(writers, duration),
        )?);
        let after = written.map(Written::so_far);
        let [of_leader, of_follower] =
            [0, 1].map(|node| Written::syncs_per_entry(&before[node], &after[node]));
        syncs.push(Syncs { writers, leader: of_leader?, follower: of_follower? });
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
    let report = Report { seconds: arguments.seconds, rounds: arguments.rounds, changes, syncs, reads };
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
