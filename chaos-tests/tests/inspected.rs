//! An activation through a gateway that asks for a password and breaks up TLS, as organisations have it: the agent
//! trusts it only if it is told to, and what the portal has signed can be read there and not changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use quorate_chaos_tests::{
    Inspection, Stage,
    cli::Answer,
    tls_server,
    wait::{self, PATIENCE, Seen},
};

/// All nodes go through the gateway, and trust this CA for the portal.
fn configure(stage: &mut Stage, gateway: &Inspection, trusted: &std::path::Path) {
    for node in &mut stage.cluster.nodes {
        node.set("portal", "proxy", gateway.proxy.url());
        node.set("portal", "ca_file", trusted.to_str().unwrap());
        node.set("portal", "timeout_seconds", 5);
        node.write_config().unwrap();
    }
}

/// Asks for the activation, again as long as the first license node is at it by itself.
fn activate(stage: &Stage, key: &str) -> Answer {
    wait::until("an end of the activation", PATIENCE, || {
        let answer = stage.cluster.try_activate(1, key)?;
        let is_at_it = answer.refusal().is_ok_and(|refusal| refusal.code == "activation_in_progress");
        Ok(if is_at_it { Seen::not_yet(format!("{answer:?}")) } else { Seen::Done(answer) })
    })
    .unwrap()
}

#[test]
fn a_gateway_that_breaks_up_tls_is_trusted_by_its_ca_and_can_change_nothing() {
    let mut stage = Stage::prepare(|plan| (plan.management, plan.spoolers) = (2, 1)).unwrap();
    let folder = stage.folder.path().join("gateway");
    let gateway = Inspection::start(&stage.plan.network, &folder, &stage.portal.link).unwrap();
    let key = stage.portal.order().unwrap().activation_key;

    // Told of the portal's own CA, the agent doesn't take the gateway for the portal, and sends it nothing.
    let portals = stage.portal.link.ca_file.clone();
    configure(&mut stage, &gateway, &portals);
    stage.cluster.start().unwrap();
    let refusal = activate(&stage, &key).refusal().unwrap();
    assert_eq!(refusal.code, "portal_unreachable", "{refusal:?}");
    assert!(refusal.message.contains("certificate"), "{refusal:?}");
    assert!(refusal.hint.clone().unwrap_or_default().contains("portal.ca_file"), "{refusal:?}");
    assert!(gateway.read().is_empty());

    // Told of the organisation's CA, it does. A license key that the gateway has changed is refused.
    configure(&mut stage, &gateway, &gateway.ca_file.clone());
    gateway.change_license_keys(true);
    stage.cluster.stop().unwrap();
    stage.cluster.nodes.iter_mut().for_each(|node| node.serve().unwrap());
    stage.cluster.wait_for_members(3).unwrap();
    let refusal = activate(&stage, &key).refusal().unwrap();
    assert_eq!(refusal.code, "portal_answer_invalid", "{refusal:?}");
    assert!(stage.cluster.nodes[0].product().license().unwrap().license.is_none());
    assert_eq!(stage.portal.activations().unwrap().len(), 1);

    // Passed on as it is, the same license key is taken: one license, one use of the order.
    gateway.change_license_keys(false);
    // The first license node may have been faster: then the key has been used here, and there is nothing to do.
    let answer = activate(&stage, &key);
    assert!(answer.code == Some(0) || answer.refusal().unwrap().code == "already_activated", "{answer:?}");
    stage.cluster.wait_for_serial(1).unwrap();
    assert_eq!(stage.portal.activations().unwrap().len(), 1);
    let read = gateway.read();
    assert!(read.iter().all(|asked| asked.head.starts_with("POST /api/v1/activations ")), "{read:?}");
    assert!(
        tls_server::find(&read[0].body, b"BEGIN QUORATE INTEGRITY KEY").is_some(),
        "it reads what is sent"
    );
}
