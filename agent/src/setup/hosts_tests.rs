//! Whose host may stand in whose certificate.

use super::*;
use crate::service::licensing::samples;

#[test]
fn a_spooler_controllers_certificate_names_no_host_of_a_management_server() {
    let state = samples::Installation::licensed().view(7).state;
    let server = state.nodes().values().find(|node| node.role == NodeRole::Management).unwrap();
    let host = hosts_of(&server.addresses).remove(0);
    let claimed = |raft: &str, http: &str| Addresses { raft: raft.to_owned(), http: http.to_owned() };
    let hosts = |role, addresses| certified_hosts(&state, role, &addresses);
    let loud = host.to_uppercase();
    for raft in [format!("{host}:7400"), format!("{loud}.:1"), "x.QUORATE.internal:7400".to_owned()] {
        assert_eq!(hosts(NodeRole::Spooler, claimed(&raft, "sc-9.example.com:7443")), ["sc-9.example.com"]);
    }
    let reserved = claimed("quorate.internal:1", &format!("{host}:7443"));
    assert_eq!(hosts(NodeRole::Management, reserved), [host]);
    let local = claimed("127.0.0.1:7400", "[::1]:7443");
    assert_eq!(hosts(NodeRole::Spooler, local), ["127.0.0.1", "::1"]);
}
