//! `bench catch-up`: a Spooler Controller joins a cluster with a long history, while the cluster works.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use quorate_chaos_tests::{
    Failure, Node, Result, Silences, Stage, files, http,
    usage::{disk_bytes, forget_peak, usage},
    wait::{self, Seen},
};
use serde::Serialize;
use serde_json::json;

use crate::{load::Sample, ours, report};

/// How long the newcomer may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What was measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct CatchUp {
    /// Entries in the leader's log before.
    pub(crate) entries: u64,
    /// Rows that the newcomer has to get: tokens.
    pub(crate) objects: u64,
    /// From its start until it had applied what the leader had then.
    pub(crate) seconds: f64,
    /// The most memory that the leader used meanwhile, and before, in KiB.
    pub(crate) leader_peak_kib: u64,
    /// Before.
    pub(crate) leader_before_kib: u64,
    /// The most memory that the newcomer used, in KiB.
    pub(crate) newcomer_peak_kib: u64,
    /// Bytes of the newcomer's data directory.
    pub(crate) newcomer_disk_bytes: u64,
    /// Changes by one writer meanwhile.
    pub(crate) meanwhile: Sample,
    /// No follower waited longer than this for a word of the leader, in seconds: the bound of a bucket.
    pub(crate) longest_silence: f64,
}

/// Fills a cluster, and lets a learner join.
pub(crate) fn measure(entries: u64, objects: u64, folder: &Path) -> Result<()> {
    report::progress("Starting three Management Servers");
    let mut stage = Stage::start(|plan| {
        plan.spoolers = 0;
        plan.own_group = true;
    })?;
    let leader = stage.cluster.leader()?;
    report::progress(&format!("Writing {objects} objects, and {entries} entries in all"));
    ours::fill(&stage.cluster.nodes[leader].admin_socket, objects, entries)?;
    let before = applied(&stage.cluster.nodes[leader])?;
    let servers = stage.cluster.nodes.len();

    report::progress("A Spooler Controller joins");
    let node = stage.plan.node(servers)?;
    stage.cluster.nodes.push(node);
    stage.cluster.join(servers)?;
    let pid = stage.cluster.nodes[leader].pid().unwrap_or_default();
    forget_peak(pid)?;
    let silences = Silences::of(&stage.cluster.nodes[..servers])?;
    let leader_before_kib = usage(pid)?.resident_kib;
    let started = Instant::now();
    stage.cluster.nodes[servers].serve()?;
    let (seconds, meanwhile) = std::thread::scope(|scope| -> Result<_> {
        let socket = stage.cluster.nodes[leader].admin_socket.clone();
        let load = scope.spawn(move || ours::revocations(&socket, Duration::from_secs(3)));
        let newcomer = &stage.cluster.nodes[servers];
        let caught_up = wait::until("the newcomer to catch up", PATIENCE, || {
            let applied = applied(newcomer).unwrap_or(0);
            Ok(Seen::when(applied >= before, || format!("it has applied {applied} of {before}")))
        });
        let seconds = started.elapsed().as_secs_f64();
        caught_up?;
        let meanwhile = load.join().map_err(|_| Failure::wrong("the load failed"))??;
        Ok((seconds, meanwhile))
    })?;
    let newcomer = &stage.cluster.nodes[servers];
    let measured = CatchUp {
        entries: before,
        objects,
        seconds,
        leader_peak_kib: usage(pid)?.peak_kib,
        leader_before_kib,
        newcomer_peak_kib: usage(newcomer.pid().unwrap_or_default())?.peak_kib,
        newcomer_disk_bytes: disk_bytes(&newcomer.data_dir),
        meanwhile,
        longest_silence: silences.longest_until(&Silences::of(&stage.cluster.nodes[..servers])?),
    };
    stage.cluster.stop()?;
    report::print_catch_up(&measured);
    files::write_atomically(&folder.join("bench-catch-up.json"), &format!("{:#}\n", json!(measured)))
}

/// Index of the last entry that a node has applied.
fn applied(node: &Node) -> Result<u64> {
    let metrics = http::get(node.ops, "/metrics")?.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix("quorate_server_proposals_applied_total "));
    value
        .and_then(|value| value.trim().parse::<f64>().ok())
        .map(|value| value as u64)
        .ok_or_else(|| Failure::wrong(format!("{} does not tell what it has applied", node.name)))
}
