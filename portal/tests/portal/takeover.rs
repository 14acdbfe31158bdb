//! Somebody wants another one's installation: with a leaked integrity key, with the Support ID, with the power of its
//! first license node.

use quorate_license::{ActivationKind, Fence, IntegrityKey, NodeStatement, SupportId};

use crate::support::{Cluster, Database, Portal};

on_both_databases!(
    a_leaked_integrity_key_does_not_take_the_installation_over,
    a_first_license_node_can_not_rewrite_the_statements_of_others,
);

/// What the attacker has: everything that the first request and its answer said, but no node key.
struct Leaked {
    request: IntegrityKey,
    support_id: SupportId,
}

/// A cluster that claims to be the victim, on the attacker's own keys.
fn impostor(victim: &Cluster, nonce: u8) -> Cluster {
    let mut impostor = victim.with_nonce(nonce);
    for index in 0..4 {
        impostor.set_key(index, [200 + index as u8; 32]);
    }
    impostor
}

async fn a_leaked_integrity_key_does_not_take_the_installation_over(database: Database) {
    let portal = Portal::start(database).await;
    let ((order, key), (_, bought), (_, further)) = (portal.order(), portal.order(), portal.order());
    let victim = Cluster::new(1);
    let request = victim.request(&key);
    let activated = portal.post(&request).await;
    assert_eq!(activated.status, 200);
    let leaked = Leaked { request, support_id: activated.support_id().parse().unwrap() };

    // Sent again it brings what the victim has: a license for the victim's computers.
    let again = portal.post(&leaked.request).await;
    assert_eq!(again.license_key(), activated.license_key());

    // "The answer was never installed, and this is the cluster's next try", on other computers or on the same.
    for computers in [Cluster::new(7), victim.clone()] {
        let mut next = impostor(&victim, 50);
        for (row, other) in next.rows.iter_mut().zip(&computers.rows) {
            row.computer_id = other.computer_id;
        }
        next.superseded = vec![leaked.request.nonce];
        let refused = portal.post(&next.request(&key)).await;
        refused.assert_refused(409, "node_keys_changed");
        assert_eq!(refused.body["details"]["known"], 0);
    }

    // The statements that leaked are good for their own nonce only.
    let mut replayed = impostor(&victim, 51);
    replayed.superseded = vec![leaked.request.nonce];
    let replayed = replayed.request_with(Some(&key), |request| {
        request.nodes.clone_from(&leaked.request.nodes);
    });
    portal.post(&replayed).await.assert_refused(422, "statement_invalid");

    // A further order, bought by the attacker, with the victim's Support ID and computers.
    let upgrade = Cluster { kind: ActivationKind::Upgrade, fence: Fence(1), ..impostor(&victim, 52) };
    let claims = |cluster: &Cluster| {
        cluster.request_with(Some(&bought), |request| request.support_id = Some(leaked.support_id.clone()))
    };
    portal.post(&claims(&upgrade)).await.assert_refused(409, "node_keys_changed");
    // One of three keys, say of a node that was broken into, is no majority; nor is a key that moved to a spooler's row.
    let mut one_key = upgrade.clone();
    one_key.set_key(0, victim.keys[0]);
    one_key.copy_key(3, 1);
    one_key.set_key(3, victim.keys[1]);
    portal.post(&claims(&one_key)).await.assert_refused(409, "node_keys_changed");
    // From a cluster of the attacker's own the Support ID says nothing.
    let elsewhere = Cluster { kind: ActivationKind::Upgrade, fence: Fence(1), ..Cluster::new(7) };
    portal.post(&claims(&elsewhere)).await.assert_refused(409, "not_activated");
    let used = portal.post(&Cluster::new(7).request(&key)).await;
    used.assert_refused(409, "activation_key_used");

    // Nothing has changed for the victim.
    let shown = portal.json(&["admin", "order", "show", &order]);
    assert_eq!(shown["usage"]["support_id"], leaked.support_id.as_str());
    let own = Cluster { kind: ActivationKind::Upgrade, fence: Fence(1), ..victim.with_nonce(2) };
    let upgraded = portal.post(&own.request(&further)).await;
    assert_eq!((upgraded.status.as_u16(), upgraded.support_id()), (200, leaked.support_id.as_str()));
}

async fn a_first_license_node_can_not_rewrite_the_statements_of_others(database: Database) {
    let portal = Portal::start(database).await;
    let (order, key) = portal.order();
    let cluster = Cluster::new(1);
    type Rewrite = fn(&mut IntegrityKey, &Cluster);
    let rewrites: [(&str, Rewrite); 4] = [
        ("another computer", |request, _| {
            request.nodes[2].row.computer_id = Cluster::new(7).rows[2].computer_id;
        }),
        ("another build", |request, _| request.nodes[3].row.build = Some("9.9.9".parse().unwrap())),
        ("another role", |request, _| request.nodes[3].row.role = request.nodes[0].row.role),
        ("signed by itself", |request, cluster| {
            let mut row = cluster.rows[2].clone();
            row.computer_id = Cluster::new(7).rows[2].computer_id;
            request.nodes[2] = NodeStatement::sign(&request.context(), row, &cluster.key(0));
        }),
    ];
    for (what, rewrite) in rewrites {
        // It can sign the whole for itself only: the others sign what they were shown.
        let request = cluster.request_with(Some(&key), |request| rewrite(request, &cluster));
        let answer = portal.post(&request).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (422, "statement_invalid"), "{what}");
    }
    // A statement that is replaced after the others have signed.
    let mut request = cluster.request(&key);
    let mut row = cluster.rows[0].clone();
    row.computer_id = Cluster::new(7).rows[0].computer_id;
    request.nodes[0] = NodeStatement::sign(&request.context(), row, &cluster.key(0));
    portal.post(&request).await.assert_refused(422, "management_signature_invalid");
    assert_eq!(portal.activations(), 0);
    assert_eq!(portal.order_status(&order), "open");
    assert_eq!(portal.post(&cluster.request(&key)).await.status, 200);
}
