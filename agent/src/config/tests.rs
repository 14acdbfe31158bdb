//! Every error by name, defaults, precedence, and the example file.

use std::{os::unix::ffi::OsStringExt, path::Path, time::Duration};

use super::{keys::KEYS, *};

const FILE: &str = "/etc/quorate/quorate.toml";
const EXAMPLE: &str = include_str!("../../quorate.example.toml");
const ROOT: &str = "k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI";

const SMALLEST: &str = r#"
[node]
name = "ms-1"
[advertise]
raft = "ms-1.example.com:7400"
http = "ms-1.example.com:7443"
"#;

fn effective(text: &str, variables: &[(&str, &str)]) -> Result<Effective, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Effective::parse(Path::new(FILE), text, variables)
}

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    effective(text, variables).map(|effective| effective.config)
}

/// The smallest file with more lines at its end.
fn with(lines: &str) -> String {
    format!("{SMALLEST}{lines}\n")
}

/// The message and the hint, as the command line prints them.
fn told(error: &ConfigError) -> String {
    format!("{error}\n{}", error.hint())
}

#[test]
fn the_smallest_file_has_the_documented_defaults() {
    let config = parse(SMALLEST, &[]).unwrap();
    assert_eq!(config.node.data_dir, Path::new("/var/lib/quorate"));
    assert_eq!(config.listen.raft.to_string(), "0.0.0.0:7400");
    assert_eq!(config.listen.grpc.to_string(), "127.0.0.1:7401");
    assert_eq!(config.listen.http.to_string(), "0.0.0.0:7443");
    assert_eq!(config.listen.ops.to_string(), "127.0.0.1:7480");
    assert_eq!(config.listen.socket, Path::new("/var/lib/quorate/quorate.sock"));
    assert_eq!(config.listen.admin_socket, Path::new("/var/lib/quorate/admin.sock"));
    assert_eq!(config.identity.source, ComputerIdSource::Host);
    assert!(config.portal.is_none() && config.license.trust_roots.is_empty());
    assert_eq!(config.integrity.scope, IntegrityScope::All);
    assert_eq!((config.raft.heartbeat_ms, config.raft.election_min_ms), (300, 1200));
    assert_eq!((config.raft.election_max_ms, config.raft.snapshot_after_entries), (2400, 10_000));
    assert_eq!(config.raft.snapshot_bytes_per_second, 64 << 20);
    assert_eq!(config.raft.least_free_bytes, 64 << 20);
    assert_eq!((config.log.format, config.log.filter.as_str()), (LogFormat::Text, "info"));
}

#[test]
fn an_address_that_others_can_call_is_advertised_as_it_is() {
    let config =
        parse("[node]\nname = \"a\"\n[listen]\nraft = \"10.0.0.1:7400\"\nhttp = \"[fd00::1]:7443\"", &[])
            .unwrap();
    assert_eq!(config.advertise.raft, "10.0.0.1:7400");
    assert_eq!(config.advertise.http, "[fd00::1]:7443");
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let config = parse(&SMALLEST.replace("name =", "data_dir = \"state\"\nname ="), &[]).unwrap();
    assert_eq!(config.node.data_dir, Path::new("/etc/quorate/state"));
    assert_eq!(config.listen.admin_socket, Path::new("/etc/quorate/state/admin.sock"));
}

#[test]
fn the_environment_wins_over_the_file_and_an_empty_variable_does_not_count() {
    let variables = [
        ("QUORATE_NODE_NAME", "ms-2"),
        ("QUORATE_RAFT_HEARTBEAT_MS", "100"),
        ("QUORATE_LICENSE_TRUST_ROOTS", ROOT),
        ("QUORATE_BUILD_NUMBER", ""),
        ("QUORATE_CONFIG", "/elsewhere"),
        ("QUORATE_TOKEN_FILE", "/token"),
        ("PATH", "/bin"),
    ];
    let effective = effective(SMALLEST, &variables).unwrap();
    assert_eq!(effective.config.node.name.as_str(), "ms-2");
    assert_eq!(effective.config.raft.heartbeat_ms, 100);
    assert_eq!(effective.config.license.trust_roots.len(), 1);
    assert_eq!(effective.config.build.number, None);
    let source = |key: &str| effective.values.iter().find(|value| value.key == key).unwrap().source.clone();
    assert_eq!(source("node.name"), Source::Environment { variable: "QUORATE_NODE_NAME".into() });
    assert_eq!(source("advertise.raft"), Source::File { line: 5 });
    assert_eq!(source("build.number"), Source::Default);
}

#[test]
fn the_long_name_of_the_logs_filter_wins_over_the_short_one() {
    assert_eq!(parse(SMALLEST, &[("QUORATE_LOG", "debug")]).unwrap().log.filter, "debug");
    let both = [("QUORATE_LOG_FILTER", "warn"), ("QUORATE_LOG", "debug")];
    assert_eq!(parse(SMALLEST, &both).unwrap().log.filter, "warn");
}

#[test]
fn service_links_are_passed_over_in_kubernetes_only() {
    let links = [
        ("QUORATE_SERVICE_HOST", "10.0.0.1"),
        ("QUORATE_PORT_7400_TCP_ADDR", "10.0.0.1"),
        ("QUORATE_PORTAL_SERVICE_PORT_HTTPS", "7600"),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
    ];
    assert!(parse(SMALLEST, &links).is_ok());
    assert!(matches!(parse(SMALLEST, &links[..3]), Err(ConfigError::UnknownVariable { .. })));
    let mixed = [links[3], ("QUORATE_NODE_NAEM", "x")];
    assert!(matches!(parse(SMALLEST, &mixed), Err(ConfigError::UnknownVariable { .. })));
}

#[test]
fn an_unknown_key_is_named_with_section_file_line_and_the_nearest_one() {
    let refusal = parse(&with("[raft]\nhearbeat_ms = 5"), &[]).unwrap_err();
    assert_eq!(refusal.code(), "config_unknown_key");
    assert_eq!(
        told(&refusal),
        "the key 'hearbeat_ms' in section [raft] on line 8 of /etc/quorate/quorate.toml is not known\n\
         Did you mean raft.heartbeat_ms? Otherwise take the line out."
    );
    let refusal = parse(&with("[raft]\ndata_dir = \"x\""), &[]).unwrap_err();
    assert!(refusal.hint().contains("node.data_dir"), "a key of another section: {}", refusal.hint());
    let refusal = parse(&with("[raft]\ncolour = \"x\""), &[]).unwrap_err();
    assert!(refusal.hint().contains("quorate.example.toml"), "{}", refusal.hint());
}

#[test]
fn an_unknown_section_is_named_with_file_line_and_the_nearest_one() {
    let refusal = parse(&with("[portl]\nurl = \"https://p\""), &[]).unwrap_err();
    assert_eq!(refusal.code(), "config_unknown_section");
    assert_eq!(
        told(&refusal),
        "the section [portl] on line 7 of /etc/quorate/quorate.toml is not known\n\
         Did you mean [portal]? Otherwise take the section out."
    );
}

#[test]
fn a_key_before_the_first_section_is_refused() {
    let refusal = parse(&format!("data_dir = \"x\"\n{SMALLEST}"), &[]).unwrap_err();
    assert!(matches!(&refusal, ConfigError::OutsideSection { line: 1, key, .. } if key == "data_dir"));
    assert!(refusal.hint().contains("node.data_dir"), "{}", refusal.hint());
}

#[test]
fn an_unknown_variable_is_named_with_the_nearest_one() {
    let refusal = parse(SMALLEST, &[("QUORATE_LISTEN_RAFFT", "x")]).unwrap_err();
    assert_eq!(
        told(&refusal),
        "the variable QUORATE_LISTEN_RAFFT of the environment is not known\n\
         Did you mean QUORATE_LISTEN_RAFT? Otherwise unset it."
    );
    assert_eq!(refusal.code(), "config_unknown_variable");
    assert!(matches!(parse(SMALLEST, &[("QUORATE_X", "")]), Err(ConfigError::UnknownVariable { .. })));
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    let refusal = parse("[node]\nname = ms-1", &[]).unwrap_err();
    assert!(matches!(refusal, ConfigError::NotToml { line: 2, .. }), "{refusal:?}");
    let twice = parse("[node]\nname = \"a\"\nname = \"b\"", &[]).unwrap_err();
    assert!(matches!(twice, ConfigError::NotToml { line: 3, .. }), "{twice:?}");
}

#[test]
fn values_of_the_wrong_type_are_refused_by_key_and_place() {
    for (lines, variables, place) in [
        ("[raft]\nheartbeat_ms = \"300\"", &[][..], "line 8"),
        ("[raft]\nheartbeat_ms = -1", &[], "line 8"),
        ("", &[("QUORATE_RAFT_HEARTBEAT_MS", "fast")], "variable QUORATE_RAFT_HEARTBEAT_MS"),
    ] {
        let refusal = parse(&with(lines), variables).unwrap_err();
        assert!(matches!(&refusal, ConfigError::WrongType { key, .. } if key == "raft.heartbeat_ms"));
        assert!(refusal.to_string().contains(place), "{refusal}");
    }
    let refusal = parse(&with("[license]\ntrust_roots = \"k4\""), &[]).unwrap_err();
    assert!(refusal.to_string().contains("a list of texts"), "{refusal}");
}

#[test]
fn snapshots_are_sent_as_fast_as_it_goes_or_at_a_rate_that_moves() {
    let rate = |rate: u64| {
        let lines = format!("[raft]\nsnapshot_bytes_per_second = {rate}");
        parse(&with(&lines), &[]).map(|config| config.raft.snapshot_bytes_per_second)
    };
    assert_eq!((rate(0).unwrap(), rate(65_536).unwrap()), (0, 65_536));
    let refusal = rate(1000).unwrap_err().to_string();
    assert!(refusal.contains("1000 is less than 65536"), "{refusal}");
}

#[test]
fn what_every_node_needs_is_missed_by_name() {
    for (text, missing) in [
        ("".to_owned(), "node.name"),
        (with("[portal]\ntimeout_seconds = 5"), "portal.url"),
        (with("[portal]\nurl = \"https://p\""), "license.trust_roots"),
    ] {
        match parse(&text, &[]) {
            Err(ConfigError::Missing { key, variable, .. }) => {
                assert_eq!(key, missing);
                assert_eq!(variable, format!("QUORATE_{}", missing.to_uppercase().replace('.', "_")));
            }
            other => panic!("{missing}: {other:?}"),
        }
    }
}

#[test]
fn values_that_break_a_rule_are_refused_by_key() {
    let long = format!("[listen]\nsocket = \"/{}\"", "x".repeat(110));
    let twice = format!("[license]\ntrust_roots = [\"{ROOT}\", \"{ROOT}\"]");
    for (lines, key) in [
        ("[listen]\nraft = \"localhost:7400\"", "listen.raft"),
        ("[listen]\ngrpc = \"0.0.0.0:7401\"", "listen.grpc"),
        ("[listen]\nops = \"127.0.0.1:7401\"", "listen.ops"),
        ("[listen]\nhttp = \"0.0.0.0:7400\"", "listen.http"),
        (long.as_str(), "listen.socket"),
        ("[listen]\nsocket = \"/run/q\"\nadmin_socket = \"/run/q\"", "listen.admin_socket"),
        ("[identity]\nsource = \"cloud\"", "identity.source"),
        ("[identity]\nsource = \"volume\"", "identity.source"),
        ("[build]\nnumber = \"my build\"", "build.number"),
        ("[portal]\nurl = \"http://p\"", "portal.url"),
        ("[portal]\nurl = \"https://p\"\nproxy = \"s3cret\"", "portal.proxy"),
        ("[portal]\nurl = \"https://p\"\ntimeout_seconds = 0", "portal.timeout_seconds"),
        ("[license]\ntrust_roots = [\"k4.public.x\"]", "license.trust_roots"),
        (twice.as_str(), "license.trust_roots"),
        ("[cluster]\nexpected_nodes = 0", "cluster.expected_nodes"),
        ("[integrity]\nscope = \"some\"", "integrity.scope"),
        ("[raft]\nheartbeat_ms = 1", "raft.heartbeat_ms"),
        ("[raft]\nheartbeat_ms = 1000", "raft.election_min_ms"),
        ("[raft]\nelection_max_ms = 1200", "raft.election_max_ms"),
        ("[raft]\nsnapshot_after_entries = 0", "raft.snapshot_after_entries"),
        ("[log]\nformat = \"xml\"", "log.format"),
        ("[log]\nfilter = \"a=b=c\"", "log.filter"),
    ] {
        match parse(&with(lines), &[]) {
            Err(ConfigError::Invalid { key: found, given: Source::File { .. }, rule, .. }) => {
                assert_eq!(found, key, "{lines}");
                assert!(!rule.contains("s3cret"), "{rule}");
            }
            Err(ConfigError::Invalid { key: found, given: Source::Default, .. }) => {
                assert_eq!(
                    (found.as_str(), key),
                    ("raft.election_min_ms", "raft.election_min_ms"),
                    "{lines}"
                );
            }
            other => panic!("{lines}: {other:?}"),
        }
    }
    let name = parse(&SMALLEST.replace("ms-1\"", "MS 1\""), &[]).unwrap_err();
    assert!(name.to_string().contains("'MS 1' is not a valid node name"), "{name}");
}

#[test]
fn listening_everywhere_needs_an_advertised_address() {
    let refusal = parse("[node]\nname = \"ms-1\"", &[]).unwrap_err();
    assert!(matches!(&refusal, ConfigError::Invalid { key, .. } if key == "advertise.raft"), "{refusal}");
    assert!(refusal.to_string().contains("listen.raft is 0.0.0.0:7400"), "{refusal}");
    let refusal = parse(&SMALLEST.replace("ms-1.example.com:7443", "0.0.0.0:7443"), &[]).unwrap_err();
    assert!(matches!(&refusal, ConfigError::Invalid { key, .. } if key == "advertise.http"), "{refusal}");
}

#[test]
fn a_file_that_is_not_there_or_unreadable_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("quorate.toml");
    assert!(matches!(Config::load(&missing), Err(ConfigError::NoFile { path }) if path == missing));
    assert!(
        matches!(Config::load(folder.path()), Err(ConfigError::Unreadable { path, .. }) if path == folder.path())
    );
    let binary = std::ffi::OsString::from_vec(vec![0xff]);
    std::fs::write(&missing, binary.as_encoded_bytes()).unwrap();
    assert!(matches!(Config::load(&missing), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn the_admin_socket_is_found_in_a_file_that_is_otherwise_broken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quorate.toml");
    std::fs::write(&file, "colour = 1\n[node]\ndata_dir = \"d\"\n[raft]\nheartbeat_ms = \"x\"").unwrap();
    assert_eq!(admin_socket(&file).unwrap(), folder.path().join("d/admin.sock"));
    std::fs::write(&file, "[listen]\nadmin_socket = \"/run/quorate/admin.sock\"").unwrap();
    assert_eq!(admin_socket(&file).unwrap(), Path::new("/run/quorate/admin.sock"));
}

#[test]
fn effective_values_are_complete_and_show_no_credentials() {
    let portal = format!(
        "[portal]\nurl = \"https://p\"\nproxy = \"http://me:s3cret@proxy:3128\"\n[license]\ntrust_roots = [\"{ROOT}\"]"
    );
    let effective = effective(&with(&portal), &[]).unwrap();
    assert_eq!(effective.config.portal.as_ref().unwrap().timeout, Duration::from_secs(30));
    let shown = serde_json::to_string(&effective.values).unwrap();
    assert!(!shown.contains("s3cret") && !format!("{effective:?}").contains("s3cret"), "{shown}");
    assert!(shown.contains("http://redacted@proxy:3128"), "{shown}");
    let keys: Vec<&str> = effective.values.iter().map(|value| value.key.as_str()).collect();
    assert_eq!(keys, KEYS.map(|key| key.dotted()));
    let without: Vec<&str> = effective
        .values
        .iter()
        .filter(|value| value.value.is_null())
        .map(|value| value.key.as_str())
        .collect();
    assert_eq!(
        without,
        [
            "identity.machine_id_file",
            "build.file",
            "build.number",
            "portal.ca_file",
            "cluster.expected_nodes",
            "tls.certificate_file",
            "tls.key_file",
            "tls.ca_file",
            "tls.http_certificate_file",
            "tls.http_key_file",
            "raft.snapshot_key_file"
        ]
    );
}

#[test]
fn the_example_file_parses_and_names_every_key_in_order() {
    let as_it_is = parse(EXAMPLE, &[]).unwrap();
    assert_eq!(as_it_is.node.name.as_str(), "ms-1");

    // With the marks of its commented keys taken away, every key is set.
    let key_line = |line: &str| {
        line.strip_prefix('#')
            .filter(|rest| {
                rest.split_once(" = ").is_some_and(|(key, _)| KEYS.iter().any(|known| known.name == key))
            })
            .map(str::to_owned)
    };
    let full: String =
        EXAMPLE.lines().map(|line| key_line(line).unwrap_or_else(|| line.to_owned()) + "\n").collect();
    let effective = effective(&full, &[]).unwrap();
    let mut lines = Vec::new();
    for value in &effective.values {
        match value.source {
            Source::File { line } => lines.push(line),
            _ => panic!("{} is not in the example", value.key),
        }
    }
    assert!(lines.is_sorted(), "the example's order is that of the keys: {lines:?}");
}

#[test]
fn the_examples_commented_values_are_the_defaults() {
    let example = effective(EXAMPLE, &[]).unwrap();
    for key in ["listen.grpc", "listen.ops", "raft.heartbeat_ms", "raft.election_max_ms", "log.filter"] {
        let value = example.values.iter().find(|value| value.key == key).unwrap();
        let name = key.split_once('.').unwrap().1;
        let shown = format!("#{name} = {}", value.value);
        assert!(EXAMPLE.lines().any(|line| line == shown), "{shown}");
    }
}
