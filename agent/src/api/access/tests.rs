//! The table is whole, and the page is what it says.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::FileDescriptorSet;

use super::*;
use crate::api::{http, ops};

/// Every method of every service that is compiled in.
fn methods() -> BTreeSet<String> {
    let sets = [
        quorate_proto::FILE_DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    ];
    let mut methods = BTreeSet::new();
    for set in sets {
        for file in FileDescriptorSet::decode(set).unwrap().file {
            for service in &file.service {
                for method in &service.method {
                    methods.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
    }
    methods
}

#[test]
fn every_method_of_every_service_is_in_the_table_once_and_nothing_else() {
    let listed: Vec<String> = RPCS.iter().map(|rule| rule.path.to_owned()).collect();
    let once: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(once.len(), listed.len(), "a method has one line");
    let compiled = methods();
    assert!(compiled.len() > 25, "{compiled:?}");
    assert_eq!(once, compiled, "left: the table; right: the compiled services");
}

#[test]
fn every_route_is_in_the_table_once_and_nothing_else() {
    let listed: BTreeSet<&str> = ROUTES.iter().map(|rule| rule.path).collect();
    assert_eq!(listed.len(), ROUTES.len());
    let served: BTreeSet<&str> = http::ROUTES.into_iter().chain(ops::ROUTES).collect();
    assert_eq!(listed, served);
}

#[test]
fn a_method_is_found_on_its_faces_only() {
    assert!(find(Door::Product, "/quorate.v1.LicenseService/Check").is_some());
    for (door, path) in [
        (Door::Node, "/quorate.v1.LicenseService/Check"),
        (Door::Product, "/quorate.v1.AdminService/Status"),
        (Door::Admin, "/quorate.node.v1.ClusterService/Join"),
        (Door::Node, "/quorate.v1.AdminService/Unheard"),
        (Door::Management, "/metrics"),
        (Door::Operations, "/api/v1/status"),
        (Door::Operations, "/metrics/"),
    ] {
        assert!(find(door, path).is_none(), "{door:?} {path}");
    }
}

#[test]
fn what_changes_something_is_for_administrators() {
    let reads = [
        "Status",
        "ShowLicense",
        "ListActivations",
        "ClusterHealth",
        "ListAudit",
        "ListPendingJoins",
        "ListCertificates",
        "ShowCa",
        "LicenseHistory",
        "ShowTelemetry",
        "ShowTime",
    ];
    for rule in RPCS.iter().filter(|rule| rule.path.contains("AdminService")) {
        let method = rule.path.rsplit('/').next().unwrap();
        let who = if reads.contains(&method) { Who::Viewer } else { Who::Administrator };
        assert_eq!(rule.who, who, "{method}");
    }
}

#[test]
fn the_page_says_what_the_table_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/access.md");
    if std::env::var_os("QUORATE_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, page()).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == page(), "docs/access.md is out of date: QUORATE_BLESS=1 writes it again");
}
