//! The bench's table and its JSON file.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the bench's output to people is here and nowhere else"
)]

use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use quorate_chaos_tests::{Failure, Result, files};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    catch_up::CatchUp,
    failover::{Failover, Stopped},
    growth, idle,
    load::Sample,
    promises::Promises,
    syncs::Syncs,
};

/// The same measurement on both.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Pair {
    /// How many asked at a time.
    pub(crate) clients: usize,
    /// Quorate.
    pub(crate) ours: Sample,
    /// etcd.
    pub(crate) etcd: Sample,
}

/// The whole run.
#[derive(Debug)]
pub(crate) struct Report {
    /// How long each measurement took.
    pub(crate) seconds: u64,
    /// How often it was taken.
    pub(crate) rounds: usize,
    /// Changes, by the number of writers.
    pub(crate) changes: Vec<Pair>,
    /// Syncs for each entry, by the number of writers.
    pub(crate) syncs: Vec<Syncs>,
    /// Reads, by the number of readers.
    pub(crate) reads: Vec<Pair>,
}

/// Tells on standard error what goes on.
pub(crate) fn progress(text: &str) {
    eprintln!("{text} ...");
}

/// Why the bench ends with an error.
pub(crate) fn failed(failure: &Failure) {
    eprintln!("The bench failed: {failure}");
}

impl Pair {
    fn json(&self) -> Value {
        let ratio = |ours: u64, etcd: u64| ours as f64 / etcd.max(1) as f64;
        json!({
            "clients": self.clients,
            "ours": self.ours,
            "etcd": self.etcd,
            "ratio": {
                "per_second": self.ours.per_second / self.etcd.per_second.max(f64::MIN_POSITIVE),
                "p50": ratio(self.ours.p50_us, self.etcd.p50_us),
                "p99": ratio(self.ours.p99_us, self.etcd.p99_us),
            },
        })
    }
}

impl Report {
    /// Prints both tables.
    pub(crate) fn print(&self) {
        println!(
            "\nChanges in a second: CreateToken on the leader's socket, beside etcd's Put (ratio: ours / etcd)"
        );
        println!("{}", table("WRITERS", &self.changes));
        let syncs = self
            .syncs
            .iter()
            .map(|syncs| format!("{:.2}/{:.2} with {} writers", syncs.leader, syncs.follower, syncs.writers));
        println!(
            "Syncs for each entry, at the leader and at a follower: {}",
            syncs.collect::<Vec<_>>().join(", ")
        );
        println!(
            "\nReads in a second: Check over the Unix socket, beside etcd's serializable Range over loopback"
        );
        println!("{}", table("READERS", &self.reads));
        println!("\nMedian of {} rounds of {} s each. Times in microseconds.", self.rounds, self.seconds);
        println!(
            "Quorate's nodes speak mutual TLS with each other, etcd's speak plain HTTP. Both sync to the same disk."
        );
    }

    /// Writes everything as JSON.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let pairs = |pairs: &[Pair]| pairs.iter().map(Pair::json).collect::<Vec<_>>();
        let value = json!({
            "seconds": self.seconds,
            "rounds": self.rounds,
            "changes": pairs(&self.changes),
            "syncs_per_entry": self.syncs,
            "reads": pairs(&self.reads),
        });
        files::write_atomically(path, &format!("{value:#}\n"))?;
        println!("For programs: {}", path.display());
        Ok(())
    }
}

/// Prints how long changes stood still, ours and etcd's.
pub(crate) fn print_failover([ours, etcd]: &[Failover; 2]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["THE LEADER IS", "", "OURS", "ETCD"]);
    let mut row = |what: &str, unit: &str, of: &dyn Fn(&Failover) -> String| {
        table.add_row([what.to_owned(), unit.to_owned(), of(ours), of(etcd)]);
    };
    row("killed", "shortest, ms", &|side| at(&side.killed_ms, 0.0));
    row("", "median, ms", &|side| at(&side.killed_ms, 0.5));
    row("", "longest, ms", &|side| at(&side.killed_ms, 1.0));
    let most =
        |side: &Failover, of: &dyn Fn(&Stopped) -> f64| side.stopped.iter().map(of).fold(0.0, f64::max);
    row("stopped", "longest gap, ms", &|side| format!("{:.0}", most(side, &|one| one.longest_gap_ms)));
    let sum = |side: &Failover, of: &dyn Fn(&Stopped) -> usize| side.stopped.iter().map(of).sum::<usize>();
    row("", "changes", &|side| sum(side, &|one| one.changes).to_string());
    row("", "of these failed", &|side| sum(side, &|one| one.failed).to_string());
    println!("\nUntil changes go on, seen by a client of a survivor ({} kills)", ours.killed_ms.len());
    println!("{table}");
}

/// Tells one row of the table, before the next is measured.
pub(crate) fn growth_so_far(row: &growth::Row) {
    progress(&format!(
        "{} learners: p50 {} us with 1 writer, {:.0} changes a second with 64",
        row.learners, row.one.p50_us, row.many.per_second
    ));
}

/// Prints what a change costs with more and more learners.
pub(crate) fn print_growth(rows: &[growth::Row]) {
    println!("\nChanges at the leader of three Management Servers, with Spooler Controllers as learners");
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "LEARNERS",
        "1 WRITER: P50",
        "P99",
        "64 WRITERS: PER S",
        "P50",
        "P99",
        "LEADER, IDLE: CPU %",
        "RSS MIB",
    ]);
    for row in rows {
        table.add_row([
            row.learners.to_string(),
            row.one.p50_us.to_string(),
            row.one.p99_us.to_string(),
            format!("{:.0}", row.many.per_second),
            row.many.p50_us.to_string(),
            row.many.p99_us.to_string(),
            format!("{:.1}", row.leader_idle_cpu_percent),
            mib(row.leader_resident_kib * 1024),
        ]);
    }
    println!("{table}\nTimes in microseconds. Every node is a process on this machine.");
}

/// Prints how a newcomer caught up.
pub(crate) fn print_catch_up(measured: &CatchUp) {
    let CatchUp { entries, objects, seconds, meanwhile, .. } = measured;
    println!("\nA Spooler Controller joined a cluster with {entries} entries and {objects} objects");
    println!("  caught up after           {seconds:.1} s");
    println!(
        "  leader's memory           {} MiB before, {} MiB at most meanwhile",
        mib(measured.leader_before_kib * 1024),
        mib(measured.leader_peak_kib * 1024)
    );
    println!("  newcomer's memory         {} MiB at most", mib(measured.newcomer_peak_kib * 1024));
    println!("  newcomer's data directory {} MiB", mib(measured.newcomer_disk_bytes));
    println!(
        "  changes meanwhile         p50 {} us, p99 {} us, longest {} us",
        meanwhile.p50_us, meanwhile.p99_us, meanwhile.longest_us
    );
    println!(
        "  longest time without a word of the leader, at any follower: {:.2} s",
        measured.longest_silence
    );
}

/// Prints what was synced before it was answered.
pub(crate) fn print_promises(seen: &Promises) {
    for (what, lines) in &seen.timelines {
        println!("\n{what}");
        lines.iter().for_each(|line| println!("  {line}"));
    }
    println!("\n{} changes by one writer, the leader killed afterwards; seen by strace", seen.changes);
    for (nodes, changes) in &seen.synced_on {
        println!("  the log was synced on {nodes} of 3 nodes before the acknowledgement: {changes} changes");
    }
    for follower in &seen.followers {
        println!(
            "  {}: {} syncs of appended entries, {} answers, of these before the end of a sync: {}",
            follower.name, follower.synced, follower.answers, follower.answered_before
        );
    }
    for vote in &seen.votes {
        println!(
            "  {}: {} votes synced, in log and floor, answers before their end: {}",
            vote.name, vote.synced, vote.answered_before
        );
    }
}

/// Prints what idle nodes use.
pub(crate) fn print_idle(rows: &[idle::Row]) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["OBJECTS", "", "RESIDENT MIB", "OF IT ITS OWN", "CPU %", "DISK MIB"]);
    for row in rows {
        for (who, used) in [("ours", &row.ours), ("etcd", &row.etcd)] {
            table.add_row([
                row.objects.to_string(),
                who.to_owned(),
                mib(used.resident_kib * 1024),
                mib(used.anonymous_kib * 1024),
                format!("{:.1}", used.cpu_percent),
                mib(used.disk_bytes),
            ]);
        }
    }
    println!("\nA follower that nobody asks anything");
    println!("{table}");
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

fn at(sorted: &[f64], quantile: f64) -> String {
    let index = (sorted.len().saturating_sub(1) as f64 * quantile).round() as usize;
    sorted.get(index).map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
}

/// Writes the same as JSON.
pub(crate) fn write_failover(path: &Path, [ours, etcd]: &[Failover; 2]) -> Result<()> {
    files::write_atomically(path, &format!("{:#}\n", json!({ "ours": ours, "etcd": etcd })))?;
    println!("For programs: {}", path.display());
    Ok(())
}

fn table(clients: &str, pairs: &[Pair]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        clients,
        "OURS/S",
        "P50",
        "P99",
        "ETCD/S",
        "P50",
        "P99",
        "RATE RATIO",
        "P50 RATIO",
        "P99 RATIO",
    ]);
    for pair in pairs {
        let Pair { clients, ours, etcd } = pair;
        let ratio = |ours: f64, etcd: f64| format!("{:.2}", ours / etcd.max(f64::MIN_POSITIVE));
        table.add_row([
            clients.to_string(),
            format!("{:.0}", ours.per_second),
            ours.p50_us.to_string(),
            ours.p99_us.to_string(),
            format!("{:.0}", etcd.per_second),
            etcd.p50_us.to_string(),
            etcd.p99_us.to_string(),
            ratio(ours.per_second, etcd.per_second),
            ratio(ours.p50_us as f64, etcd.p50_us as f64),
            ratio(ours.p99_us as f64, etcd.p99_us as f64),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
