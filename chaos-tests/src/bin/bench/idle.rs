//! `bench idle`: what a node uses while nobody asks it anything, beside a member of etcd.

use std::{path::Path, time::Duration};

use quorate_chaos_tests::{
    Result, Stage, files,
    usage::{self, Idle},
    wait,
};
use serde::Serialize;
use serde_json::json;

use crate::{etcd::Etcd, ours, report};

/// How long each is watched.
const WATCHED: Duration = Duration::from_secs(15);

/// Until what was written before is flushed and compacted.
const SETTLING: Duration = Duration::from_secs(5);

/// One line of the table.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Row {
    /// Objects in the cluster: tokens here, keys there.
    pub(crate) objects: u64,
    /// A follower of ours.
    pub(crate) ours: Idle,
    /// A follower of etcd's.
    pub(crate) etcd: Idle,
}

/// Measures both empty, and with so many objects.
pub(crate) fn measure(objects: u64, folder: &Path) -> Result<()> {
    report::progress("Starting three Management Servers and three etcd nodes");
    let mut stage = Stage::start(|plan| {
        plan.spoolers = 0;
        plan.own_group = true;
    })?;
    let etcd = Etcd::start(&stage.plan.network, &stage.folder.path().join("etcd"))?;
    let mut rows = Vec::new();
    for objects in [0, objects] {
        if objects > 0 {
            report::progress(&format!("Writing {objects} objects"));
            let leader = stage.cluster.leader()?;
            ours::fill(&stage.cluster.nodes[leader].admin_socket, objects, objects)?;
            etcd.fill(objects)?;
        }
        wait::pass(SETTLING);
        report::progress("Watching");
        let leader = stage.cluster.leader()?;
        let follower = &stage.cluster.nodes[(leader + 1) % stage.cluster.nodes.len()];
        let (pid, data) = etcd.follower_process();
        rows.push(Row {
            objects,
            ours: usage::idle(follower.pid().unwrap_or_default(), &follower.data_dir, WATCHED)?,
            etcd: usage::idle(pid, &data, WATCHED)?,
        });
    }
    stage.cluster.stop()?;
    report::print_idle(&rows);
    files::write_atomically(&folder.join("bench-idle.json"), &format!("{:#}\n", json!(rows)))
}
