//! Every refusal by its code, and that it changes nothing.

use quorate_license::{ActivationKey, ActivationKind, ComputerIdSource, Fence, IntegrityKey, NodeId, Nonce};
use serde_json::json;

use crate::support::{Cluster, Database, Portal, computer_id};

on_both_databases!(
    requests_that_no_cluster_should_send_are_refused_by_name,
    activation_keys_and_orders_are_refused_by_name,
    an_order_used_elsewhere_is_refused_and_stays_where_it_is,
    a_cluster_that_is_activated_is_told_so,
    a_fence_that_is_not_the_portals_is_refused,
);

async fn requests_that_no_cluster_should_send_are_refused_by_name(database: Database) {
    let portal = Portal::start_with(database, "policy.accept_volume_computer_ids = false").await;
    let (order, key) = portal.order();
    let cluster = Cluster::new(1);
    let good = || cluster.request(&key);
    let (ids, nodes) = (
        |index: usize| cluster.rows[index].id.0,
        |list: &[usize]| list.iter().map(|index| cluster.rows[*index].id.0).collect::<Vec<_>>(),
    );

    let mut tampered = good();
    tampered.nodes[3].row.build = Some("9.9.9".parse().unwrap());
    let refused = portal.post(&tampered).await;
    refused.assert_refused(422, "statement_invalid");
    assert_eq!(refused.body["details"], json!({ "node": ids(3) }));

    let mut unsigned = good();
    unsigned.signatures.remove(1);
    let refused = portal.post(&unsigned).await;
    refused.assert_refused(422, "management_signature_missing");
    assert_eq!(refused.body["details"], json!({ "nodes": nodes(&[1]) }));

    let mut forged = good();
    forged.telemetry = !forged.telemetry;
    portal.post(&forged).await.assert_refused(422, "management_signature_invalid");

    let mut foreign = good();
    foreign.add_signature(foreign.signature_by(cluster.rows[3].id, &cluster.key(3)));
    let refused = portal.post(&foreign).await;
    refused.assert_refused(422, "management_signature_invalid");
    assert_eq!(refused.body["details"], json!({ "node": ids(3) }));

    let mut clones = cluster.clone();
    clones.rows[3].computer_id = clones.rows[1].computer_id;
    let refused = portal.post(&clones.request(&key)).await;
    refused.assert_refused(422, "duplicate_computer_id");
    assert_eq!(refused.body["details"]["nodes"], json!(nodes(&[1, 3])));
    let message = refused.body["message"].as_str().unwrap();
    assert!(nodes(&[1, 3]).iter().all(|node| message.contains(&node.to_string())), "{message}");

    let mut copies = cluster.clone();
    copies.copy_key(0, 3);
    let refused = portal.post(&copies.request(&key)).await;
    refused.assert_refused(422, "duplicate_node_key");
    assert_eq!(refused.body["details"]["nodes"], json!(nodes(&[0, 3])));

    let mut spooler_leads = cluster.clone();
    spooler_leads.first_license_node = cluster.rows[3].id;
    portal.post(&spooler_leads.request(&key)).await.assert_refused(400, "first_license_node_invalid");

    let mut on_volume = cluster.clone();
    on_volume.rows[2].computer_id = computer_id(1, 3, ComputerIdSource::Volume);
    let refused = portal.post(&on_volume.request(&key)).await;
    refused.assert_refused(422, "computer_id_source_refused");
    assert_eq!(refused.body["details"], json!({ "node": ids(2) }));

    let mut huge_id = cluster.clone();
    huge_id.rows[3].id = NodeId(u64::MAX);
    portal.post(&huge_id.request(&key)).await.assert_refused(400, "integrity_key_malformed");

    let kind = ActivationKind::Transfer;
    let other = Cluster { kind, ..cluster.clone() };
    let refused = portal.post(&other.request_with(None, |_| {})).await;
    refused.assert_refused(422, "kind_not_supported");
    assert_eq!(refused.body["details"], json!({ "kind": kind }));
    assert!(refused.body["message"].as_str().unwrap().contains(kind.as_str()));

    nothing_changed(&portal, &order);
    assert_eq!(portal.post(&good()).await.status, 200);
}

async fn activation_keys_and_orders_are_refused_by_name(database: Database) {
    let portal = Portal::start(database).await;
    let (order, key) = portal.order();
    let cluster = Cluster::new(1);

    let unknown = ActivationKey::from_entropy([7; 15]).expose();
    let refused = portal.post(&cluster.request(&unknown)).await;
    refused.assert_refused(404, "activation_key_unknown");
    assert_eq!(refused.body["details"]["activation_key_last5"], unknown[unknown.len() - 5..]);

    let missing = cluster.request_with(None, |_| {});
    portal.post(&missing).await.assert_refused(400, "activation_key_missing");
    let unexpected = Cluster { kind: ActivationKind::Trial, ..cluster.clone() };
    portal.post(&unexpected.request(&key)).await.assert_refused(400, "activation_key_unexpected");

    let malformed = with_cut_activation_key(&cluster.request(&key));
    portal
        .post_bytes(&cluster.request(&key), &malformed)
        .await
        .assert_refused(400, "activation_key_malformed");

    let (revoked, revoked_key) = portal.order();
    portal.json(&["admin", "order", "revoke", &revoked]);
    let refused = portal.post(&cluster.request(&revoked_key)).await;
    refused.assert_refused(403, "order_revoked");
    assert_eq!(refused.body["details"]["order_id"], revoked);
    assert_eq!(portal.order_status(&revoked), "revoked");

    let (lapsed, lapsed_key) =
        portal.order_with(&["--kind", "perpetual", "--activate-by", "2020-01-01T00:00:00Z"]);
    let refused = portal.post(&cluster.request(&lapsed_key)).await;
    refused.assert_refused(403, "order_expired");
    assert_eq!(refused.body["details"]["order_id"], lapsed);
    assert_eq!(portal.order_status(&lapsed), "lapsed");

    nothing_changed(&portal, &order);
}

async fn an_order_used_elsewhere_is_refused_and_stays_where_it_is(database: Database) {
    let portal = Portal::start(database).await;
    let (order, key) = portal.order();
    let owner = portal.post(&Cluster::new(1).request(&key)).await;
    let refused = portal.post(&Cluster::new(2).request(&key)).await;
    refused.assert_refused(409, "activation_key_used");
    let details = &refused.body["details"];
    assert_eq!(details["order_id"], order);
    assert_eq!(details["support_id_end"], owner.support_id()[13..]);
    assert!(!refused.body.to_string().contains(owner.support_id()));
    let shown = portal.json(&["admin", "order", "show", &order]);
    assert_eq!(shown["usage"]["support_id"], owner.support_id());
    assert_eq!(portal.activations(), 1);
    // At home it still works.
    assert_eq!(portal.post(&Cluster::new(1).request(&key)).await.license_key(), owner.license_key());
}

async fn a_cluster_that_is_activated_is_told_so(database: Database) {
    let portal = Portal::start(database).await;
    let ((_, key), (spare, spare_key)) = (portal.order(), portal.order());
    let cluster = Cluster::new(1);
    let first = portal.post(&cluster.request(&key)).await;
    let mut again = cluster.with_nonce(2);
    again.fence = Fence(1);
    for key in [&key, &spare_key] {
        let refused = portal.post(&again.request(key)).await;
        refused.assert_refused(409, "already_activated");
        assert_eq!(refused.body["details"]["support_id"], first.support_id());
        assert!(refused.body["message"].as_str().unwrap().contains(first.support_id()));
    }
    // What was installed can't be superseded.
    again.superseded = vec![cluster.nonce];
    portal.post(&again.request(&key)).await.assert_refused(409, "already_activated");
    assert_eq!(portal.order_status(&spare), "open");
    assert_eq!(portal.activations(), 1);
}

async fn a_fence_that_is_not_the_portals_is_refused(database: Database) {
    let portal = Portal::start(database).await;
    let (order, key) = portal.order();
    for fence in [Fence(5), Fence(u64::MAX)] {
        let unknown = Cluster { fence, ..Cluster::new(1) };
        let refused = portal.post(&unknown.request(&key)).await;
        refused.assert_refused(409, "fence_mismatch");
        assert_eq!(refused.body["details"], json!({ "support_id": null, "shown": fence, "current": 0 }));
    }
    nothing_changed(&portal, &order);

    let first = portal.post(&Cluster::new(1).request(&key)).await;
    let copy = Cluster { fence: Fence(9), nonce: Nonce([9; 16]), ..Cluster::new(1) };
    let refused = portal.post(&copy.request(&key)).await;
    refused.assert_refused(409, "fence_mismatch");
    assert_eq!(
        refused.body["details"],
        json!({ "support_id": first.support_id(), "shown": 9, "current": 1 })
    );
    assert_eq!(portal.activations(), 1);
}

/// No installation, no activation, and the order waits.
#[track_caller]
fn nothing_changed(portal: &Portal, order: &str) {
    assert_eq!(portal.activations(), 0);
    assert_eq!(portal.json(&["admin", "installation", "list"]), json!([]));
    assert_eq!(portal.order_status(order), "open");
}

/// The bytes with an activation key that is one byte short.
fn with_cut_activation_key(key: &IntegrityKey) -> Vec<u8> {
    let mut without = key.clone();
    without.activation_key = None;
    let (with, without) = (key.to_bytes(), without.to_bytes());
    let start = with.iter().zip(without.iter()).take_while(|(a, b)| a == b).count();
    // The field is a tag, a length of 15, and the bytes; the prefix that both share may end in it.
    let at = (start.saturating_sub(2)..=start + 2)
        .find(|at| with[*at] == 15 && with.len() - without.len() == 17)
        .unwrap();
    let mut cut = with.to_vec();
    cut[at] = 14;
    cut.remove(at + 15);
    cut
}
