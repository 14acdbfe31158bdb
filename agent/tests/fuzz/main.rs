//! Bytes from strangers: every parser is given seeds that were changed at random, for a while.
//!
//! ```text
//! seeds (golden files, corpus) ─> mutate ─> target ─> no panic, no memory over the target's bound
//! ```
//!
//! It runs with the stable toolchain, and the same seed gives the same inputs. An input that fails is written into
//! the corpus, where every later run begins with it. Each target runs in a process of its own, whose memory is counted.
//!
//! ```sh
//! cargo test --workspace --test fuzz                                        # 30 seconds for each target
//! cargo test --workspace --test fuzz -- --seconds 600 --target tokens --seed 7
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test has done is said on the terminal")]

mod connections;
mod mutate;
#[path = "../../../raft-store/tests/crash/random.rs"]
#[allow(dead_code, reason = "the crash tests use more of it")]
mod random;
mod seeds;
mod targets;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    process::{Command, ExitCode},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use peak_alloc::PeakAlloc;

use crate::{random::Random, targets::Target};

/// Counts what is allocated, and the most that was.
#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Panics of all threads: a server catches those of its tasks.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// What the command line asks for.
struct Arguments {
    seconds: u64,
    seed: u64,
    target: Option<String>,
}

impl Arguments {
    /// None if other tests are meant.
    fn parse() -> Option<Arguments> {
        let mut arguments = Arguments { seconds: 30, seed: u64::from(std::process::id()), target: None };
        let mut given = std::env::args().skip(1);
        while let Some(argument) = given.next() {
            let mut value = || given.next().unwrap_or_else(|| panic!("{argument} needs a value"));
            match argument.as_str() {
                "--seconds" => arguments.seconds = value().parse().expect("a number of seconds"),
                "--seed" => arguments.seed = value().parse().expect("a seed"),
                "--target" => arguments.target = Some(value()),
                "--list" => return None,
                // A filter that names another test.
                other if !other.starts_with('-') && !"fuzz".contains(other) => return None,
                _ => {}
            }
        }
        Some(arguments)
    }
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::parse() else { return ExitCode::SUCCESS };
    let tell = take_hook();
    set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        tell(panic);
    }));
    let targets = targets::all();
    let all_hold = match &arguments.target {
        Some(name) => {
            let target = targets.iter().find(|target| target.name == name);
            holds(target.unwrap_or_else(|| panic!("no target has the name {name}")), &arguments)
        }
        None => each_in_a_process(&targets, &arguments),
    };
    if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the targets, as many at a time as there are processors. False if one of them fails.
fn each_in_a_process(targets: &[Target], arguments: &Arguments) -> bool {
    let queue = Mutex::new(targets.iter());
    let next = || queue.lock().unwrap().next();
    let runs = |target: &Target| {
        let program = std::env::current_exe().expect("this program has a path");
        let (seconds, seed) = (arguments.seconds.to_string(), arguments.seed.to_string());
        let command = Command::new(program)
            .args(["--target", target.name, "--seconds", &seconds, "--seed", &seed])
            .status();
        command.expect("this program can be run").success()
    };
    let worker = || {
        let mut all_hold = true;
        while let Some(target) = next() {
            all_hold &= runs(target);
        }
        all_hold
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        running.into_iter().all(|worker| worker.join().unwrap_or(false))
    })
}

/// Gives one target inputs until its time is over. False, and told, if one of them fails.
fn holds(target: &Target, arguments: &Arguments) -> bool {
    let seeds = seeds::of(target.name);
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    let mut random = Random::of(arguments.seed, &[target.name.len() as u64]);
    let mut input = Vec::new();
    let (mut inputs, mut most) = (0_u64, 0);
    // Whatever is made once is made now.
    (target.run)(&seeds[0]);
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    while inputs < seeds.len() as u64 || Instant::now() < end {
        match seeds.get(usize::try_from(inputs).unwrap_or(usize::MAX)) {
            // The seeds themselves first.
            Some(seed) => input.clone_from(seed),
            None => mutate::change(&seeds, &mut random, &mut input),
        }
        inputs += 1;
        let before = ALLOCATED.current_usage();
        ALLOCATED.reset_peak_usage();
        let panics = PANICS.load(Ordering::SeqCst);
        // What panics is counted, wherever it does.
        let _ = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
        let used = ALLOCATED.peak_usage().saturating_sub(before);
        most = most.max(used);
        let failure = if PANICS.load(Ordering::SeqCst) > panics {
            "it panicked".to_owned()
        } else if used > target.bytes {
            format!("it took {used} bytes, {} are allowed", target.bytes)
        } else {
            continue;
        };
        let kept = seeds::keep(target.name, &input);
        println!(
            "fuzz: {} FAILED: {failure}, at input {inputs} of seed {}; the input is kept as {}",
            target.name,
            arguments.seed,
            kept.display()
        );
        return false;
    }
    println!(
        "fuzz: {}: {inputs} inputs in {} s, at most {} KiB at once (seed {})",
        target.name,
        arguments.seconds,
        most / 1024,
        arguments.seed
    );
    true
}
