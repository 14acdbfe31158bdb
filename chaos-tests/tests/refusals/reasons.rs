//! What the product is told by `Check`: each reason, on real nodes with licenses that a test's own portal signs.

use std::sync::{Arc, Mutex};

use quorate_chaos_tests::{
    Node, Result,
    fake_portal::{Claims, Signer, now},
    files,
    portal::{COUNTED_FEATURE, DEVICES, UNLICENSED_FEATURE},
    stage::FakeStage,
    tls_server::Reply,
    wait::{self, PATIENCE, Seen},
};
use quorate_license::{ActivationKey, DAY_MS, LicenseKind, NodeRole};

type Change = Box<dyn Fn(&mut Claims) + Send>;

fn ms(days: i64) -> i64 {
    days * DAY_MS
}

/// Waits until a node gives this reason, and that it allows or not.
fn gives(node: &Node, reason: &str, allowed: bool) {
    wait::until(&format!("{reason} on {}", node.name), PATIENCE, || {
        let answer = node.product().check("", 1)?;
        Ok(Seen::when(answer.reason == reason && answer.allowed == allowed, || format!("{answer:?}")))
    })
    .unwrap();
}

#[test]
fn the_product_is_told_every_reason_why_it_may_or_may_not() {
    let change: Arc<Mutex<Change>> = Arc::new(Mutex::new(Box::new(|_| {})));
    let its_change = Arc::clone(&change);
    let mut stage = FakeStage::prepare(
        |plan| (plan.management, plan.spoolers) = (1, 1),
        move |signer, key| {
            let mut claims = signer.claims(key);
            its_change.lock().unwrap()(&mut claims);
            signer.sign(&claims).map_or(Reply::Nothing, |license_key| signer.reply(&claims, &license_key))
        },
    )
    .unwrap();
    stage.cluster.start().unwrap();
    let activate = |stage: &mut FakeStage, claims: Change| -> Result<()> {
        *change.lock().unwrap() = claims;
        let key = ActivationKey::from_entropy(rand::random()).expose().to_string();
        let serial = stage.cluster.activate(0, &key)?.serial;
        stage.cluster.wait_for_serial(serial)
    };
    let spooler = 1;

    gives(&stage.cluster.nodes[0], "unlicensed", false);
    activate(&mut stage, Box::new(|_| {})).unwrap();
    for (feature, quantity, reason) in [
        (COUNTED_FEATURE, DEVICES, "licensed"),
        (COUNTED_FEATURE, DEVICES + 1, "quantity_exceeded"),
        (UNLICENSED_FEATURE, 1, "feature_not_licensed"),
    ] {
        let answer = stage.cluster.nodes[spooler].product().check(feature, quantity).unwrap();
        assert_eq!((answer.reason.as_str(), answer.allowed), (reason, reason == "licensed"), "{answer:?}");
    }

    // The term, which may have ended so many days ago.
    let ended = |days: i64| -> Change {
        Box::new(move |claims| {
            claims.license.not_before = now().plus_ms(ms(-40));
            claims.license.expires_at = Some(now().plus_ms(ms(-days)));
        })
    };
    let terms: [(Change, &str, bool); 4] = [
        (Box::new(|claims| claims.license.kind = LicenseKind::Trial), "trial", true),
        (ended(1), "grace", true),
        (ended(20), "expired", false),
        (Box::new(|claims| claims.license.not_before = now().plus_ms(ms(1))), "not_yet_valid", false),
    ];
    for (claims, reason, allowed) in terms {
        activate(&mut stage, claims).unwrap();
        for node in &stage.cluster.nodes {
            gives(node, reason, allowed);
        }
    }

    // A node that the license does not bind: within its time, and without any.
    let unbound = |days: u32| -> Change {
        Box::new(move |claims| {
            claims.binding.nodes.retain(|node| node.role == NodeRole::Management);
            (claims.binding.graces.unbound_days, claims.license.graces.unbound_days) = (days, days);
        })
    };
    activate(&mut stage, unbound(14)).unwrap();
    gives(&stage.cluster.nodes[spooler], "unbound_grace", true);
    activate(&mut stage, unbound(0)).unwrap();
    gives(&stage.cluster.nodes[spooler], "node_unbound", false);
    gives(&stage.cluster.nodes[0], "licensed", true);

    // Another build of the product: within its time, and without any.
    activate(&mut stage, Box::new(|_| {})).unwrap();
    files::write(&stage.cluster.nodes[0].build_file, "7.3.0\n").unwrap();
    gives(&stage.cluster.nodes[0], "reactivation_grace", true);
    let at_once: Change = Box::new(|claims| {
        (claims.binding.graces.reactivation_days, claims.license.graces.reactivation_days) = (0, 0);
    });
    activate(&mut stage, at_once).unwrap();
    gives(&stage.cluster.nodes[0], "licensed", true);
    files::write(&stage.cluster.nodes[0].build_file, "7.4.0\n").unwrap();
    gives(&stage.cluster.nodes[0], "reactivation_required", false);

    // A node that trusts another vendor by now.
    activate(&mut stage, Box::new(|_| {})).unwrap();
    let other = Signer::new().unwrap().roots().0[0].to_string();
    let node = &mut stage.cluster.nodes[spooler];
    node.stop().unwrap();
    node.set("license", "trust_roots", vec![other]);
    node.write_config().unwrap();
    node.serve().unwrap();
    wait::until("the node to answer", PATIENCE, || {
        Ok(node
            .product()
            .check("", 1)
            .map_or_else(|cause| Seen::not_yet(cause.to_string()), |_| Seen::Done(())))
    })
    .unwrap();
    gives(node, "invalid", false);
}
