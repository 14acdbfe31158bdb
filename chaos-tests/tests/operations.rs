//! The operations port: probes and metrics, read by Prometheus itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fmt::Write as _, net::SocketAddr, path::Path};

use quorate_chaos_tests::{
    Stage,
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
