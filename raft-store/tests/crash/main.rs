//! The store is killed, and loses its power, hundreds of times.
//!
//! ```text
//! main      the rounds: start a child, kill it, perhaps take the power away, check
//! child     drives the store as openraft does, and notes what it was told
//! syscalls  notes what the kernel has synced; fails calls
//! power     what a power loss leaves of what was not synced
//! model     what must be there, from the notes
//! entries   log entries as a function of seed, term and index
//! ```
//!
//! A killed process loses nothing that the page cache holds. So a power loss is made from outside: what
//! was written after the last completed sync is dropped, torn, zeroed or overwritten; what was synced
//! is never touched. Where synced bytes are cut, the floor must notice.
//!
//! ```sh
//! cargo test --workspace --test crash -- --kills 5000 --power-losses 2000 --seed 7
//! cargo test --workspace --features quorate-raft-store/mutants --test crash -- --mutant all
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test has done is said on the terminal")]
#![allow(unsafe_code, reason = "the functions of the C library are looked over, see `syscalls`")]

mod child;
mod entries;
mod model;
mod power;
mod random;
#[path = "../pure/sample.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod sample;
mod store;
mod supervisor;
mod syscalls;

use std::{process::ExitCode, time::Instant};

use quorate_raft_store::mutant::Mutant;

use crate::{
    child::Task,
    supervisor::{HARNESS, Supervisor},
};

/// What the command line asks for.
struct Arguments {
    kills: u64,
    power_losses: u64,
    cuts: u64,
    faults: u64,
    seed: u64,
    mutants: Vec<Mutant>,
}

impl Arguments {
    /// None if other tests are meant.
    fn parse() -> Option<Arguments> {
        let seed = u64::from(std::process::id());
        let mut arguments =
            Arguments { kills: 500, power_losses: 200, cuts: 60, faults: 24, seed, mutants: Vec::new() };
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            let mut number = || given.next().and_then(|text| text.parse().ok()).expect("a number");
            match argument.as_str() {
                "--kills" => arguments.kills = number(),
                "--power-losses" => arguments.power_losses = number(),
                "--cuts" => arguments.cuts = number(),
                "--faults" => arguments.faults = number(),
                "--seed" => arguments.seed = number(),
                "--mutant" => {
                    let name = given.next().expect("a mutant's name, or 'all'");
                    arguments.mutants.extend(
                        Mutant::ALL.into_iter().filter(|mutant| name == "all" || mutant.name() == name),
                    );
                    assert!(!arguments.mutants.is_empty(), "there is no mutant '{name}'");
                }
                "--list" => return None,
                // Flags of the usual harness say nothing here; a filter means other tests.
                flag if flag.starts_with('-') => {}
                filter if "crash".contains(filter) => {}
                _ => return None,
            }
        }
        Some(arguments)
    }
}

fn main() -> ExitCode {
    if let Some(task) = Task::from_environment() {
        child::run(&task);
        return ExitCode::SUCCESS;
    }
    let Some(arguments) = Arguments::parse() else { return ExitCode::SUCCESS };
    println!("crash tests of the store, seed {}", arguments.seed);
    let passed = match arguments.mutants.as_slice() {
        [] => must_hold(&arguments),
        mutants => mutants.iter().all(|mutant| must_be_caught(*mutant, &arguments)),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A case: its name, how often, and what it does.
type Case = (&'static str, u64, fn(&mut Supervisor, u64) -> Result<(), String>);

fn must_hold(arguments: &Arguments) -> bool {
    let cases: [Case; 4] = [
        ("kills", arguments.kills, Supervisor::kills),
        ("power losses", arguments.power_losses, Supervisor::power_losses),
        ("cuts of synced bytes", arguments.cuts, Supervisor::cuts),
        ("failed calls", arguments.faults, Supervisor::faults),
    ];
    for (name, count, case) in cases {
        let started = Instant::now();
        let mut supervisor = Supervisor::new(arguments.seed, None);
        match case(&mut supervisor, count) {
            Ok(()) => {
                println!("{name}: ok, {} ({:.1} s)", supervisor.told(), started.elapsed().as_secs_f64())
            }
            Err(violation) => {
                println!("{name}: VIOLATION after {}: {violation}", supervisor.told());
                println!("the store is kept in {}", supervisor.keep().display());
                println!("again: --seed {}", arguments.seed);
                return false;
            }
        }
    }
    true
}

fn must_be_caught(mutant: Mutant, arguments: &Arguments) -> bool {
    let mut supervisor = Supervisor::new(arguments.seed, Some(mutant));
    let found = match mutant {
        Mutant::SkipSync | Mutant::CallbackBeforeSync => supervisor.power_losses(arguments.power_losses),
        Mutant::ApplyInTwo => supervisor.kills(arguments.kills),
    };
    match found {
        Err(failure) if failure.starts_with(HARNESS) => {
            println!("{}: not judged: {failure}", mutant.name());
            false
        }
        Err(violation) => {
            println!("{}: caught after {}: {violation}", mutant.name(), supervisor.told());
            true
        }
        Ok(()) => {
            println!("{}: NOT caught, {}", mutant.name(), supervisor.told());
            false
        }
    }
}
