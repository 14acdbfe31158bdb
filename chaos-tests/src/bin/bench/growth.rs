//! `bench growth`: what a change costs with 1 to 300 Spooler Controllers, each a real process.

use std::{sync::Arc, time::Duration};

use quorate_chaos_tests::{
    Network, Plan, Result, Stage,
    cluster::NODES_PER_NETWORK,
    files, interrupt,
    usage::{Usage, usage},
    wait,
};
use serde::Serialize;
use serde_json::json;

use crate::{load::Sample, ours, report};

/// How many learners at a time.
const LEARNERS: [usize; 5] = [1, 10, 50, 100, 300];

/// Learners that may be on their way at a time: all of them share this machine.
const TOGETHER: usize = 20;

/// How often a node tries to join.
const ATTEMPTS: usize = 5;

/// How long the leader is watched while nobody asks anything.
const IDLE: Duration = Duration::from_secs(5);

/// One line of the table.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Row {
    /// Spooler Controllers.
    pub(crate) learners: usize,
    /// One writer.
    pub(crate) one: Sample,
    /// 64 writers.
    pub(crate) many: Sample,
    /// Hundredths of a processor that the leader uses while nobody asks anything.
    pub(crate) leader_idle_cpu_percent: f64,
    /// The leader's resident memory, in KiB.
    pub(crate) leader_resident_kib: u64,
}

/// Adds learners step by step, up to `most`, and measures after each.
pub(crate) fn measure(most: usize, duration: Duration, folder: &std::path::Path) -> Result<()> {
    report::progress("Starting three Management Servers");
    let mut stage = Stage::start(|plan| {
        plan.spoolers = 0;
        plan.own_group = true;
    })?;
    let networks = (0..most.div_ceil(NODES_PER_NETWORK))
        .map(|_| Network::reserve().map(Arc::new))
        .collect::<Result<Vec<_>>>()?;
    let mut rows = Vec::new();
    for learners in LEARNERS.into_iter().filter(|learners| *learners <= most) {
        add(&mut stage, learners, &networks)?;
        let leader = stage.cluster.leader()?;
        report::progress(&format!("Measuring with {learners} learners"));
        let (before, after) = watch(&stage, leader)?;
        let socket = &stage.cluster.nodes[leader].admin_socket;
        let row = Row {
            learners,
            one: ours::changes(socket, 1, duration, LEARNERS.len())?,
            many: ours::changes(socket, 64, duration, LEARNERS.len())?,
            leader_idle_cpu_percent: after.cpu_percent_since(&before),
            leader_resident_kib: after.resident_kib,
        };
        // What was measured stays, however the next step ends.
        report::growth_so_far(&row);
        rows.push(row);
        files::write_atomically(&folder.join("bench-growth.json"), &format!("{:#}\n", json!(rows)))?;
    }
    stage.cluster.stop()?;
    report::print_growth(&rows);
    Ok(())
}

/// Joins and starts Spooler Controllers until there are so many, and waits until all of them take part.
fn add(stage: &mut Stage, learners: usize, networks: &[Arc<Network>]) -> Result<()> {
    let servers = stage.plan.management;
    while stage.cluster.nodes.len() < servers + learners {
        if interrupt::requested() {
            return Err(quorate_chaos_tests::Failure::Interrupted);
        }
        let index = stage.cluster.nodes.len() - servers;
        let plan = Plan {
            management: 0,
            network: networks[index / NODES_PER_NETWORK].clone(),
            ..stage.plan.clone()
        };
        stage.cluster.nodes.push(plan.node(index)?);
        let at = stage.cluster.nodes.len() - 1;
        join(stage, at)?;
        stage.cluster.nodes[at].serve()?;
        if at.is_multiple_of(TOGETHER) {
            stage.cluster.wait_for_members(at + 1)?;
            report::progress(&format!("{} learners have joined", index + 1));
        }
    }
    stage.cluster.wait_for_members(servers + learners)
}

/// Joins a node; with the same token again, if the machine was too busy to answer in time.
fn join(stage: &Stage, at: usize) -> Result<()> {
    let node = &stage.cluster.nodes[at];
    let token = stage.cluster.token(node.role, Some(&node.name))?;
    let mut attempt = 1;
    loop {
        match node.join(&token.token, stage.cluster.nodes[0].raft)?.success() {
            Ok(_) => return Ok(()),
            Err(failure) if attempt == ATTEMPTS => return Err(failure),
            Err(failure) => report::progress(&format!("Joining again, after: {failure}")),
        }
        attempt += 1;
    }
}

fn watch(stage: &Stage, leader: usize) -> Result<(Usage, Usage)> {
    let pid = stage.cluster.nodes[leader].pid().unwrap_or_default();
    let before = usage(pid)?;
    wait::pass(IDLE);
    Ok((before, usage(pid)?))
}
