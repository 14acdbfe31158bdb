//! The operations port: probes and metrics, read by Prometheus itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fmt::Write as _, net::SocketAddr, path::Path};

use quorate_chaos_tests::{
    Node, Stage,
    cli::Cli,
    files, http,
    process::{Process, Start},
    wait::{self, PATIENCE, Seen},
};
use serde_json::Value;

const MISSING: &str = "is Debian's package prometheus installed? (apt-get install prometheus)";

#[test]
fn probes_and_metrics_are_what_prometheus_expects() {
    let (mut stage, serial) = Stage::activated(|_| {}).unwrap();
    for node in &stage.cluster.nodes {
        let health = http::get(node.ops, "/healthz").unwrap();
        assert_eq!(health.status, 200, "{health:?}");
        let ready = http::get(node.ops, "/readyz").unwrap();
        assert_eq!(ready.status, 200, "{ready:?}");
        let metrics = http::get(node.ops, "/metrics").unwrap().body;
        let checked =
            Cli::new(Path::new("promtool"), ["check", "metrics"]).stdin(metrics).run().expect(MISSING);
        assert_eq!(
            (checked.code, checked.stdout.as_str(), checked.stderr.as_str()),
            (Some(0), "", ""),
            "{}",
            node.name
        );
        assert_eq!(http::get(node.ops, "/nothing-here").unwrap().status, 404);
    }

    let address = SocketAddr::from((stage.plan.network.host(110), 9090));
    let _prometheus = prometheus(&stage, address);
    let leader = stage.cluster.leader().unwrap();
    let leader_instance = stage.cluster.nodes[leader].ops.to_string();
    expect(address, "sum(up)", "4");
    expect(address, "sum(quorate_server_has_leader)", "4");
    expect(address, "sum(quorate_server_is_leader)", "1");
    expect(address, &format!("quorate_server_is_leader{{instance=\"{leader_instance}\"}}"), "1");
    expect(address, "sum(quorate_server_is_learner)", "1");
    expect(address, "sum(quorate_license_state{tenant=\"default\",state=\"active\"})", "4");
    expect(address, "min(quorate_license_serial{tenant=\"default\"})", &serial.to_string());
    expect(address, "count(quorate_license_expiration_timestamp_seconds > time() + 360 * 86400)", "4");
    expect(address, "count(quorate_build_info)", "4");
    expect(address, "count(process_resident_memory_bytes)", "4");
    expect(address, "count(quorate_disk_wal_fsync_duration_seconds_count > 0)", "4");

    // A dead node is missed, and the others notice.
    stage.cluster.nodes[3].kill().unwrap();
    expect(address, "sum(up)", "3");
    stage.cluster.nodes[3].serve().unwrap();
    expect(address, "sum(up)", "4");
}

#[test]
fn a_node_that_never_heard_of_a_leader_is_healthy_and_not_ready() {
    let mut stage = Stage::start(|plan| {
        plan.management = 2;
        plan.spoolers = 0;
    })
    .unwrap();
    stage.cluster.kill_all().unwrap();
    stage.cluster.nodes[1].serve().unwrap();
    let ops = stage.cluster.nodes[1].ops;
    wait::until("the operations port", PATIENCE, || {
        Ok(http::get(ops, "/healthz").map_or_else(
            |failure| Seen::not_yet(failure.to_string()),
            |reply| Seen::when(reply.status == 200, || format!("{reply:?}")),
        ))
    })
    .unwrap();
    // Half of two voters: there can be no leader. Whom it knew before its restart does not count.
    wait::until("the node not to be ready", PATIENCE, || {
        let reply = http::get(ops, "/readyz")?;
        Ok(Seen::when(reply.status == 503 && !reply.body.trim().is_empty(), || format!("{reply:?}")))
    })
    .unwrap();
    stage.cluster.nodes[0].serve().unwrap();
    wait::until("the node to be ready", PATIENCE, || {
        let reply = http::get(ops, "/readyz")?;
        Ok(Seen::when(reply.status == 200, || format!("{reply:?}")))
    })
    .unwrap();
}

#[test]
fn heartbeats_write_no_line_into_the_log_and_a_new_leader_writes_one() {
    let mut stage = Stage::start(|plan| plan.spoolers = 0).unwrap();
    let leader = stage.cluster.leader().unwrap();
    wait::until("20 heartbeats without a line in any log", PATIENCE, || {
        let (lines, before) = (log_lines(&stage), round_trips(&stage.cluster.nodes[leader]));
        wait::until("20 heartbeats", PATIENCE, || {
            let trips = round_trips(&stage.cluster.nodes[leader]) - before;
            Ok(Seen::when(trips >= 20.0, || format!("{trips} round trips")))
        })?;
        let after = log_lines(&stage);
        Ok(Seen::when(after == lines, || format!("{lines:?}, then {after:?}")))
    })
    .unwrap();

    let before = log_lines(&stage);
    stage.cluster.nodes[leader].kill().unwrap();
    let next = stage.cluster.leader().unwrap();
    wait::until("the survivors to name the new leader", PATIENCE, || {
        let told = told_of_leader(&stage, &before);
        let survivors = (0..3).filter(|node| *node != leader).all(|node| told[node].len() == 1);
        Ok(Seen::when(survivors, || format!("{told:?}")))
    })
    .unwrap();
    let told = told_of_leader(&stage, &before);
    assert_eq!(told[next], told[3 - leader - next], "both name the same leader and term");
}

fn log(node: &Node) -> Vec<String> {
    files::read(node.log()).unwrap().lines().map(str::to_owned).collect()
}

fn log_lines(stage: &Stage) -> Vec<usize> {
    stage.cluster.nodes.iter().map(|node| log(node).len()).collect()
}

/// What each node has logged of a leader since it had so many lines, without the time in front.
fn told_of_leader(stage: &Stage, since: &[usize]) -> Vec<Vec<String>> {
    let told = |(node, since): (&Node, &usize)| {
        let lines = log(node).into_iter().skip(*since);
        lines.filter_map(|line| Some(line[line.find("the cluster has a leader")?..].to_owned())).collect()
    };
    stage.cluster.nodes.iter().zip(since).map(told).collect()
}

/// Heartbeats that a leader's peers have answered.
fn round_trips(leader: &Node) -> f64 {
    let metrics = http::get(leader.ops, "/metrics").unwrap().body;
    let of_peers = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("quorate_network_peer_round_trip_time_seconds_count"));
    of_peers.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// A real Prometheus that scrapes all nodes every second.
fn prometheus(stage: &Stage, address: SocketAddr) -> Process {
    let folder = stage.folder.path().join("prometheus");
    files::make_folder(&folder).unwrap();
    let mut config = "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: quorate\n    static_configs:\n      - targets:\n".to_owned();
    for node in &stage.cluster.nodes {
        writeln!(config, "          - {}", node.ops).unwrap();
    }
    let config_file = folder.join("prometheus.yml");
    files::write(&config_file, config).unwrap();
    let arguments = [
        format!("--config.file={}", config_file.display()),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        format!("--web.listen-address={address}"),
        "--log.level=warn".to_owned(),
    ];
    Process::start(&Start {
        name: "Prometheus".to_owned(),
        program: "prometheus".into(),
        arguments: arguments.into_iter().map(Into::into).collect(),
        log: folder.join("log"),
        ..Start::default()
    })
    .expect(MISSING)
}

/// Waits until Prometheus answers a query with this one value.
fn expect(address: SocketAddr, query: &str, wanted: &str) {
    let encoded: String =
        query
            .bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect();
    wait::until(&format!("{query} to be {wanted}"), PATIENCE, || {
        let reply = match http::get(address, &format!("/api/v1/query?query={encoded}")) {
            Ok(reply) => reply,
            Err(failure) => return Ok(Seen::not_yet(failure.to_string())),
        };
        let answer: Value = serde_json::from_str(&reply.body).unwrap_or_default();
        let values = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let texts: Vec<&str> = values.iter().filter_map(|value| value["value"][1].as_str()).collect();
        Ok(Seen::when(texts == [wanted], || reply.body.clone()))
    })
    .unwrap();
}
