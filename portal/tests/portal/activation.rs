//! Activations that succeed, once, whatever is repeated or happens at the same time.

use std::collections::BTreeSet;

use quorate_license::{ActivationKind, Fence, LicenseKind, Nonce, Quantity, Serial};

use crate::support::{Cluster, Database, Portal};

on_both_databases!(
    a_first_activation_gives_a_license_key_that_verifies,
    the_same_request_again_gives_the_same_license_key,
    identical_requests_at_the_same_time_are_one_activation,
    one_activation_key_at_the_same_time_goes_to_one_cluster,
    a_request_repeated_after_restarts_of_nodes_is_the_same_request,
    a_superseded_request_is_answered_without_a_second_use_of_the_order,
    a_superseding_request_may_bring_another_order,
    a_perpetual_order_gives_a_license_without_end,
    a_further_order_adds_to_the_installation,
    a_further_order_is_refused_where_the_installation_is_not_what_it_was,
);

async fn a_first_activation_gives_a_license_key_that_verifies(database: Database) {
    let portal = Portal::start(database).await;
    let (order, key) =
        portal.order_with(&["--kind", "subscription", "--days", "365", "--support-days", "30"]);
    let cluster = Cluster::new(1);
    let answered = portal.post(&cluster.request(&key)).await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    assert_eq!(answered.body["replayed"], false);
    assert_eq!((&answered.body["serial"], &answered.body["fence"]), (&1.into(), &1.into()));

    let answer = answered.verified(&portal.roots());
    let binding = &answer.binding.claims;
    assert_eq!(
        (binding.cluster_id, binding.epoch, binding.nonce),
        (cluster.cluster_id, cluster.epoch, cluster.nonce)
    );
    assert_eq!((binding.serial, binding.fence), (Serial(1), Fence(1)));
    assert_eq!(binding.first_license_node, cluster.rows[0].id);
    assert_eq!(binding.home_computer_id, cluster.rows[0].computer_id);
    let bound: Vec<_> =
        binding.nodes.iter().map(|node| (node.id, node.role, node.computer_id, node.key)).collect();
    let rows: Vec<_> = cluster.rows.iter().map(|row| (row.id, row.role, row.computer_id, row.key)).collect();
    assert_eq!(bound, rows);
    let license = &answer.licenses[0].claims;
    assert_eq!(license.kind, LicenseKind::Subscription);
    assert_eq!(license.orders[0].as_str(), order);
    let quantities: Vec<_> = license.entitlements.iter().map(|e| (e.feature.as_str(), e.quantity)).collect();
    assert_eq!(quantities, [("devices", Quantity::Limited(50)), ("scan", Quantity::Unlimited)]);
    assert_eq!(license.expires_at, Some(license.issued_at.plus_days(365)));
    assert_eq!(license.support_until, Some(license.issued_at.plus_days(30)));
    assert!(license.not_before < license.issued_at);

    let support_id = answered.support_id();
    assert_eq!(support_id.len(), "QS-XXXX-XXXX-XXXX".len());
    let shown = portal.json(&["admin", "installation", "show", support_id]);
    assert_eq!(shown["cluster_id"], cluster.cluster_id.to_string());
    assert_eq!(shown["home_computer_id"], cluster.rows[0].computer_id.to_string());
    assert_eq!(shown["nodes"].as_array().unwrap().len(), 4);
    assert_eq!(shown["orders"][0]["order_id"], order);
    let activations = portal.json(&["admin", "activation", "list", "--support-id", support_id]);
    assert_eq!(activations[0]["outcome"], "issued");
    assert_eq!(activations[0]["activation_key_last5"], key[key.len() - 5..]);
    assert_eq!(portal.order_status(&order), "used");
}

async fn the_same_request_again_gives_the_same_license_key(database: Database) {
    let portal = Portal::start(database).await;
    let (_, key) = portal.order();
    let request = Cluster::new(1).request(&key);
    let first = portal.post(&request).await;
    for again in [portal.post(&request).await, portal.post_bytes(&request, &request.to_bytes()).await] {
        assert_eq!(again.status, 200);
        assert_eq!(again.license_key(), first.license_key());
        assert_eq!(again.body["replayed"], true);
    }
    assert_eq!(portal.activations(), 1);
}

async fn identical_requests_at_the_same_time_are_one_activation(database: Database) {
    let portal = Portal::start(database).await;
    let (_, key) = portal.order();
    let request = Cluster::new(1).request(&key);
    let answers = all_at_once((0..16).map(|_| portal.post(&request))).await;
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let texts: BTreeSet<_> = answers.iter().map(|answer| answer.license_key()).collect();
    assert_eq!(texts.len(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.body["replayed"] == false).count(), 1);
    assert_eq!(portal.activations(), 1);
    let installations = portal.json(&["admin", "installation", "list"]);
    assert_eq!(installations.as_array().unwrap().len(), 1);
    assert_eq!((&installations[0]["serial"], &installations[0]["fence"]), (&1.into(), &1.into()));
}

async fn one_activation_key_at_the_same_time_goes_to_one_cluster(database: Database) {
    let portal = Portal::start(database).await;
    let (_, key) = portal.order();
    let requests: Vec<_> = (1..=12).map(|seed| Cluster::new(seed).request(&key)).collect();
    let answers = all_at_once(requests.iter().map(|request| portal.post(request))).await;
    let (issued, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(issued.len(), 1, "{answers:?}");
    for answer in refused {
        answer.assert_refused(409, "activation_key_used");
    }
    assert_eq!(portal.activations(), 1);
    assert_eq!(portal.json(&["admin", "installation", "list"]).as_array().unwrap().len(), 1);
}

async fn a_request_repeated_after_restarts_of_nodes_is_the_same_request(database: Database) {
    let portal = Portal::start(database).await;
    let (_, key) = portal.order();
    let mut cluster = Cluster::new(1);
    let first = portal.post(&cluster.request(&key)).await;
    for row in &mut cluster.rows {
        row.start_counter += 1;
        row.agent_version = "0.1.1".to_owned();
    }
    let again = portal.post(&cluster.request(&key)).await;
    assert_eq!(again.license_key(), first.license_key());
    assert_eq!(again.body["replayed"], true);
    // With a wrong signature it is nobody's request, and the answer isn't given out.
    let forged = cluster.request_with(Some(&key), |key| key.nodes[1].signature.0[0] ^= 1);
    portal.post(&forged).await.assert_refused(422, "statement_invalid");
    // With other content it is another one.
    cluster.rows[2].build = Some("7.2.0".parse().unwrap());
    portal.post(&cluster.request(&key)).await.assert_refused(409, "idempotency_conflict");
    assert_eq!(portal.activations(), 1);
}

async fn a_superseded_request_is_answered_without_a_second_use_of_the_order(database: Database) {
    let portal = Portal::start(database).await;
    let (order, key) = portal.order();
    let cluster = Cluster::new(1);
    let offline = portal.post(&cluster.request(&key)).await;

    // Without a word of the first request, the cluster is one that is activated already.
    let mut second = cluster.with_nonce(2);
    portal.post(&second.request(&key)).await.assert_refused(409, "already_activated");
    second.superseded = vec![Nonce([1; 16]), Nonce([77; 16])];
    let online = portal.post(&second.request(&key)).await;
    assert_eq!(online.status, 200, "{}", online.body);
    assert_eq!(online.support_id(), offline.support_id());
    let answer = online.verified(&portal.roots());
    assert_eq!((answer.binding.claims.serial, answer.binding.claims.fence), (Serial(2), Fence(2)));
    assert_eq!(answer.binding.claims.nonce, second.nonce);
    assert_eq!(answer.licenses[0].claims.orders.len(), 1);
    assert_eq!(
        answer.licenses[0].claims.expires_at,
        offline.verified(&portal.roots()).licenses[0].claims.expires_at
    );

    let activations = portal.json(&["admin", "activation", "list"]);
    let outcomes: Vec<_> = activations.as_array().unwrap().iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes, ["superseded", "issued"]);
    assert_eq!(portal.json(&["admin", "order", "show", &order])["usage"]["support_id"], online.support_id());

    // A third has to name every answer that was never installed.
    let mut third = cluster.with_nonce(3);
    third.superseded = vec![Nonce([1; 16])];
    portal.post(&third.request(&key)).await.assert_refused(409, "already_activated");
    third.superseded = vec![Nonce([1; 16]), Nonce([2; 16])];
    assert_eq!(portal.post(&third.request(&key)).await.body["fence"], 3);
}

async fn a_superseding_request_may_bring_another_order(database: Database) {
    let portal = Portal::start(database).await;
    let ((_, first), (_, second)) = (portal.order(), portal.order());
    let cluster = Cluster::new(1);
    let offline = portal.post(&cluster.request(&first)).await;
    let mut online = cluster.with_nonce(2);
    online.superseded = vec![cluster.nonce];
    let answered = portal.post(&online.request(&second)).await;
    assert_eq!(answered.support_id(), offline.support_id());
    let license = &answered.verified(&portal.roots()).licenses[0].claims;
    assert_eq!(license.orders.len(), 2);
    assert_eq!(license.entitlements[0].quantity, Quantity::Limited(100));
}

async fn a_perpetual_order_gives_a_license_without_end(database: Database) {
    let portal = Portal::start(database).await;
    let (_, key) = portal.order_with(&["--kind", "perpetual"]);
    let answered = portal.post(&Cluster::new(1).request(&key)).await;
    let license = &answered.verified(&portal.roots()).licenses[0].claims;
    assert_eq!(
        (license.kind, license.expires_at, license.support_until),
        (LicenseKind::Perpetual, None, None)
    );
}

/// The cluster after its first answer, asking for a further order under another nonce.
fn further(cluster: &Cluster, fence: u64, nonce: u8) -> Cluster {
    Cluster { kind: ActivationKind::Upgrade, fence: Fence(fence), ..cluster.with_nonce(nonce) }
}

async fn a_further_order_adds_to_the_installation(database: Database) {
    let portal = Portal::start(database).await;
    let ((_, first), (_, second)) = (portal.order(), portal.order());
    let cluster = Cluster::new(1);
    portal.post(&further(&cluster, 0, 2).request(&first)).await.assert_refused(409, "not_activated");
    let activated = portal.post(&cluster.request(&first)).await;
    let upgraded = portal.post(&further(&cluster, 1, 2).request(&second)).await;
    assert_eq!(upgraded.status, 200);
    assert_eq!(upgraded.support_id(), activated.support_id());
    let answer = upgraded.verified(&portal.roots());
    assert_eq!((answer.binding.claims.serial, answer.binding.claims.fence), (Serial(2), Fence(2)));
    assert_eq!(answer.licenses[0].claims.orders.len(), 2);
    assert_eq!(answer.licenses[0].claims.entitlements[0].quantity, Quantity::Limited(100));
    // An order that is in the license already is not issued again.
    portal.post(&further(&cluster, 2, 3).request(&second)).await.assert_refused(409, "already_activated");
}

async fn a_further_order_is_refused_where_the_installation_is_not_what_it_was(database: Database) {
    let portal = Portal::start(database).await;
    let ((_, first), (_, second)) = (portal.order(), portal.order());
    let cluster = Cluster::new(1);
    assert_eq!(portal.post(&cluster.request(&first)).await.status, 200);

    let stale = further(&cluster, 0, 2);
    portal.post(&stale.request(&second)).await.assert_refused(409, "fence_mismatch");
    let ahead = further(&cluster, 7, 2);
    portal.post(&ahead.request(&second)).await.assert_refused(409, "fence_mismatch");
    let mut moved = further(&cluster, 1, 2);
    moved.first_license_node = moved.rows[1].id;
    portal.post(&moved.request(&second)).await.assert_refused(409, "first_license_node_changed");
    let mut smaller = further(&cluster, 1, 2);
    smaller.rows.remove(3);
    portal.post(&smaller.request(&second)).await.assert_refused(409, "bound_nodes_missing");
    let mut rekeyed = further(&cluster, 1, 2);
    for index in 0..2 {
        rekeyed.set_key(index, [90 + index as u8; 32]);
    }
    portal.post(&rekeyed.request(&second)).await.assert_refused(409, "node_keys_changed");
    assert_eq!(portal.post(&further(&cluster, 1, 2).request(&second)).await.status, 200);
}

/// Polls all of them at the same time.
async fn all_at_once<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (future, output) in &mut pending {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(done) => *output = Some(done),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    pending.into_iter().map(|(_, output)| output.unwrap()).collect()
}
