//! A busy machine does not disturb Raft: programs that take every core for a minute cause no leader change.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use quorate_chaos_tests::{
    Stage,
    changes::Changes,
    process::{Process, Start},
};

const BUSY: Duration = Duration::from_secs(60);

/// Programs that do nothing but compute, at least two, and one for each core.
fn hogs(stage: &Stage) -> Vec<Process> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    (0..cores.max(2))
        .map(|number| {
            Process::start(&Start {
                name: format!("CPU hog {number}"),
                program: "/bin/sh".into(),
                arguments: vec!["-c".into(), "while :; do :; done".into()],
                log: stage.folder.path().join(format!("hog-{number}.log")),
                ..Start::default()
            })
            .unwrap()
        })
        .collect()
}

#[test]
fn cpu_hogs_for_a_minute_cause_no_leader_change_while_changes_are_made() {
    let stage = Stage::start(|_| {}).unwrap();
    let leader = stage.cluster.leader().unwrap();
    let seen = || -> Vec<f64> {
        let metric = "quorate_server_leader_changes_seen_total";
        stage.cluster.nodes.iter().map(|node| node.metric(metric).unwrap()).collect()
    };
    let term = || stage.cluster.nodes[leader].admin().health().unwrap().term;
    let (seen_before, term_before) = (seen(), term());
    let mut hogs = hogs(&stage);
    let changes = Changes::start(&stage.cluster.nodes[..3]);
    std::thread::sleep(BUSY);
    for hog in &mut hogs {
        hog.must_run().unwrap();
    }
    let made = changes.finish().unwrap();
    drop(hogs);
    assert!(made.failed.is_empty(), "{:?}", made.failed);
    assert!(made.acknowledged.len() > 500, "{}", made.acknowledged.len());
    assert_eq!((seen(), term()), (seen_before, term_before));
    assert_eq!(stage.cluster.leader().unwrap(), leader);
}
