//! Trial, upgrade and renewal, reactivation, restore from nothing; and that each happens once.

use quorate_license::{ActivationKind, LicenseKind, NodeId, Nonce, Quantity};
use serde_json::json;

use crate::support::{Cluster, Database, Portal, later, without_key};

on_both_databases!(
    a_trial_runs_once_and_becomes_a_purchased_license,
    a_trial_is_once_for_each_computer,
    an_order_of_another_installation_is_refused_by_name_and_works_at_home,
    a_renewal_extends_and_support_alone_goes_on,
    a_changed_build_is_reactivated_without_a_key,
    a_bound_computer_that_is_missing_means_transfer,
    an_upgrade_from_another_computer_names_the_home,
    an_installation_is_restored_from_nothing_with_every_order,
    a_cluster_that_is_set_up_again_gets_no_second_support_id,
    restores_beyond_the_years_number_wait_for_the_vendor,
    a_blocked_installation_and_a_blocked_order_wait,
    orders_that_are_all_over_license_nothing,
    what_a_revoked_issuing_key_signed_is_signed_anew,
    telemetry_is_kept_and_shown,
);

/// The same computers with everything lost: another cluster, other node keys.
fn restored(cluster: &Cluster, seed: u8) -> Cluster {
    let mut fresh = Cluster { kind: ActivationKind::Reactivate, ..Cluster::new(seed) };
    for (row, old) in fresh.rows.iter_mut().zip(&cluster.rows) {
        row.computer_id = old.computer_id;
    }
    fresh
}

async fn a_trial_runs_once_and_becomes_a_purchased_license(database: Database) {
    let portal = Portal::start_with(database, "policy.trial_entitlements = [\"devices=5\"]").await;
    let cluster = Cluster { kind: ActivationKind::Trial, ..Cluster::new(1) };
    let offline = portal.post(&without_key(&cluster)).await;
    assert_eq!(offline.status, 200, "{}", offline.body);
    let trial = offline.verified(&portal.roots()).licenses[0].claims.clone();
    assert_eq!((trial.kind, trial.orders.len()), (LicenseKind::Trial, 0));
    assert_eq!(trial.expires_at, Some(trial.issued_at.plus_days(30)));
    assert_eq!(trial.entitlements[0].quantity, Quantity::Limited(5));

    // The answer was lost: the same trial again, with the same end.
    let mut again = cluster.with_nonce(2);
    portal.post(&without_key(&again)).await.assert_refused(409, "trial_used");
    again.superseded = vec![cluster.nonce];
    let online = portal.post(&without_key(&again)).await;
    assert_eq!(online.support_id(), offline.support_id());
    assert_eq!(online.verified(&portal.roots()).licenses[0].claims.expires_at, trial.expires_at);
    portal
        .post(&without_key(&later(&cluster, ActivationKind::Trial, 2, 3)))
        .await
        .assert_refused(409, "trial_used");

    // A build changed during the trial: no further day.
    let rebuilt = portal.post(&without_key(&later(&cluster, ActivationKind::Reactivate, 2, 4))).await;
    assert_eq!(rebuilt.verified(&portal.roots()).licenses[0].claims.expires_at, trial.expires_at);

    // Bought: the same Support ID, valid from at once, as either kind.
    let ((_, first), (_, second)) = (portal.order(), portal.order());
    let bought = portal.post(&later(&cluster, ActivationKind::Activate, 3, 5).request(&first)).await;
    assert_eq!((bought.status.as_u16(), bought.support_id()), (200, offline.support_id()), "{}", bought.body);
    let license = bought.verified(&portal.roots()).licenses[0].claims.clone();
    assert_eq!((license.kind, license.orders.len()), (LicenseKind::Subscription, 1));
    assert!(license.not_before < trial.expires_at.unwrap() && license.not_before <= license.issued_at);
    assert_eq!(license.entitlements[0].quantity, Quantity::Limited(50));
    let more = portal.post(&later(&cluster, ActivationKind::Upgrade, 4, 6).request(&second)).await;
    assert_eq!(
        more.verified(&portal.roots()).licenses[0].claims.entitlements[0].quantity,
        Quantity::Limited(100)
    );
    let none = portal.post(&without_key(&later(&cluster, ActivationKind::Trial, 5, 7))).await;
    none.assert_refused(409, "already_activated");

    let history = portal.json(&["admin", "installation", "show", offline.support_id()])["history"].clone();
    let kinds: Vec<_> = history.as_array().unwrap().iter().map(|step| step["kind"].clone()).collect();
    assert_eq!(kinds, ["trial", "trial", "reactivate", "activate", "upgrade"]);
    assert!(history[4]["changes"].to_string().contains("devices=50"), "{history}");
}

async fn a_trial_is_once_for_each_computer(database: Database) {
    let portal = Portal::start(database).await;
    let cluster = Cluster { kind: ActivationKind::Trial, ..Cluster::new(1) };
    assert_eq!(portal.post(&without_key(&cluster)).await.status, 200);
    // One computer of it in another cluster, whatever the cluster id says.
    let mut other = Cluster { kind: ActivationKind::Trial, ..Cluster::new(2) };
    other.rows[2].computer_id = cluster.rows[2].computer_id;
    let refused = portal.post(&without_key(&other)).await;
    refused.assert_refused(409, "trial_used");
    assert_eq!(refused.body["details"]["computer_ids"], json!([cluster.rows[2].computer_id]));
    // Computers that are licensed are reactivated instead.
    let (_, key) = portal.order();
    assert_eq!(portal.post(&Cluster::new(3).request(&key)).await.status, 200);
    let licensed = Cluster { kind: ActivationKind::Trial, ..restored(&Cluster::new(3), 4) };
    portal.post(&without_key(&licensed)).await.assert_refused(409, "computers_activated");
    // A trial that lost all its data comes back with its end.
    let back = portal.post(&without_key(&restored(&cluster, 5))).await;
    assert_eq!(back.verified(&portal.roots()).licenses[0].claims.kind, LicenseKind::Trial);
}

async fn an_order_of_another_installation_is_refused_by_name_and_works_at_home(database: Database) {
    let portal = Portal::start(database).await;
    let ((_, first), (_, second)) = (portal.order(), portal.order());
    let (home, other) = (Cluster::new(1), Cluster::new(2));
    let at_home = portal.post(&home.request(&first)).await;
    assert_eq!(portal.post(&other.request(&second)).await.status, 200);
    let (order, key) = portal.order_with(&["--kind", "perpetual", "--support-id", at_home.support_id()]);
    for cluster in [later(&other, ActivationKind::Upgrade, 1, 9), Cluster::new(3)] {
        let refused = portal.post(&cluster.request(&key)).await;
        refused.assert_refused(409, "order_of_another_installation");
        assert!(refused.body["message"].as_str().unwrap().contains(at_home.support_id()));
        assert_eq!(portal.order_status(&order), "open");
    }
    let upgraded = portal.post(&later(&home, ActivationKind::Upgrade, 1, 9).request(&key)).await;
    assert_eq!((upgraded.status.as_u16(), upgraded.support_id()), (200, at_home.support_id()));
}

async fn a_renewal_extends_and_support_alone_goes_on(database: Database) {
    let portal = Portal::start(database).await;
    let (order, key) = portal.order_with(&["--kind", "subscription", "--days", "30", "--support-days", "30"]);
    let cluster = Cluster::new(1);
    let first = portal.post(&cluster.request(&key)).await;
    let before = first.verified(&portal.roots()).licenses[0].claims.clone();
    let bare = |flags: &[&str]| portal.bare_order(flags).1;
    let renewal =
        bare(&["--kind", "subscription", "--days", "365", "--support-days", "365", "--renews", &order]);
    let elsewhere = portal.post(&Cluster::new(2).request(&renewal)).await;
    elsewhere.assert_refused(409, "order_of_another_installation");
    let renewed = portal.post(&later(&cluster, ActivationKind::Upgrade, 1, 2).request(&renewal)).await;
    let after = renewed.verified(&portal.roots()).licenses[0].claims.clone();
    // 30 days and 365 more; nothing is doubled.
    assert_eq!(after.expires_at, Some(before.expires_at.unwrap().plus_days(365)));
    assert_eq!(after.support_until, Some(before.support_until.unwrap().plus_days(365)));
    assert_eq!((after.entitlements, after.orders.len()), (before.entitlements, 2));
    let support = bare(&["--kind", "perpetual", "--support-days", "10"]);
    let longer = portal.post(&later(&cluster, ActivationKind::Upgrade, 2, 3).request(&support)).await;
    let last = longer.verified(&portal.roots()).licenses[0].claims.clone();
    assert_eq!(last.support_until, Some(after.support_until.unwrap().plus_days(10)));
    assert_eq!((last.expires_at, last.kind), (after.expires_at, LicenseKind::Subscription));
    // The vendor extends by hand: in the license with the next activation.
    portal.json(&["admin", "order", "extend", &order, "--days", "5"]);
    let given = portal.post(&without_key(&later(&cluster, ActivationKind::Reactivate, 3, 4))).await;
    let given = given.verified(&portal.roots()).licenses[0].claims.clone();
    assert_eq!(given.expires_at, Some(last.expires_at.unwrap().plus_days(5)));
}

async fn a_changed_build_is_reactivated_without_a_key(database: Database) {
    let portal = Portal::start(database).await;
    let ((_, first), (_, second)) = (portal.order(), portal.order());
    let cluster = Cluster::new(1);
    let activated = portal.post(&cluster.request(&first)).await;
    assert_eq!(
        portal.post(&later(&cluster, ActivationKind::Upgrade, 1, 2).request(&second)).await.status,
        200
    );
    let mut updated = later(&cluster, ActivationKind::Reactivate, 2, 3);
    for row in &mut updated.rows {
        row.build = Some("7.2.0".parse().unwrap());
    }
    let answered = portal.post(&without_key(&updated)).await;
    assert_eq!((answered.status.as_u16(), answered.support_id()), (200, activated.support_id()));
    let answer = answered.verified(&portal.roots());
    assert!(answer.binding.claims.nodes.iter().all(|node| node.build == updated.rows[0].build));
    assert_eq!(answer.licenses[0].claims.orders.len(), 2);
    // Answered offline and lost: again under a new nonce, if the lost one is named.
    let mut next = updated.with_nonce(4);
    portal.post(&without_key(&next)).await.assert_refused(409, "fence_mismatch");
    next.superseded = vec![updated.nonce];
    assert_eq!(portal.post(&without_key(&next)).await.body["fence"], 4);
    let stranger =
        portal.post(&without_key(&later(&Cluster::new(8), ActivationKind::Reactivate, 0, 1))).await;
    stranger.assert_refused(404, "installation_unknown");
}

async fn a_bound_computer_that_is_missing_means_transfer(database: Database) {
    let portal = Portal::start(database).await;
    let (_, key) = portal.order();
    let cluster = Cluster::new(1);
    assert_eq!(portal.post(&cluster.request(&key)).await.status, 200);
    let mut smaller = later(&cluster, ActivationKind::Reactivate, 1, 2);
    smaller.rows.remove(3);
    let refused = portal.post(&without_key(&smaller)).await;
    refused.assert_refused(409, "bound_nodes_missing");
    assert_eq!(refused.body["details"]["computer_ids"], json!([cluster.rows[3].computer_id]));
    // After a restore too; who has no key of the installation's learns no whole computer ID.
    let mut fresh = restored(&cluster, 2);
    fresh.rows.remove(3);
    let lost = portal.post(&without_key(&fresh)).await;
    lost.assert_refused(409, "bound_nodes_missing");
    assert!(!lost.body.to_string().contains(&cluster.rows[3].computer_id.to_string()));
    for refused in [refused, lost] {
        assert!(refused.body["hint"].as_str().unwrap().contains("transfer"), "{}", refused.body);
    }
}

async fn an_upgrade_from_another_computer_names_the_home(database: Database) {
    let portal = Portal::start(database).await;
    let ((_, first), (spare, second)) = (portal.order(), portal.order());
    let cluster = Cluster::new(1);
    assert_eq!(portal.post(&cluster.request(&first)).await.status, 200);
    let mut moved = later(&cluster, ActivationKind::Upgrade, 1, 2);
    moved.first_license_node = NodeId::new(1, 2);
    let refused = portal.post(&moved.request(&second)).await;
    refused.assert_refused(409, "first_license_node_changed");
    let details = &refused.body["details"];
    assert_eq!(details["home_computer_id"], json!(cluster.rows[0].computer_id));
    assert_eq!(
        (&details["home_node"], &details["node"]),
        (&json!(NodeId::new(1, 1)), &json!(NodeId::new(1, 2)))
    );
    assert_eq!(portal.order_status(&spare), "open");
}

async fn an_installation_is_restored_from_nothing_with_every_order(database: Database) {
    let portal = Portal::start(database).await;
    let keys: Vec<_> = (0..3).map(|_| portal.order().1).collect();
    let cluster = Cluster::new(1);
    let activated = portal.post(&cluster.request(&keys[0])).await;
    for (fence, key) in [(1, &keys[1]), (2, &keys[2])] {
        let upgrade = later(&cluster, ActivationKind::Upgrade, fence, 1 + fence as u8);
        assert_eq!(portal.post(&upgrade.request(key)).await.status, 200);
    }
    // The old activation key says what to do instead.
    let mut by_key = restored(&cluster, 2);
    by_key.kind = ActivationKind::Activate;
    let refused = portal.post(&by_key.request(&keys[0])).await;
    refused.assert_refused(409, "activation_key_used");
    assert!(refused.body["hint"].as_str().unwrap().contains("reactivate"), "{}", refused.body);

    let fresh = restored(&cluster, 2);
    let back = portal.post(&without_key(&fresh)).await;
    assert_eq!((back.status.as_u16(), back.support_id()), (200, activated.support_id()), "{}", back.body);
    let answer = back.verified(&portal.roots());
    assert_eq!(answer.binding.claims.cluster_id, fresh.cluster_id);
    assert_eq!(answer.licenses[0].claims.orders.len(), 3);
    assert_eq!(answer.licenses[0].claims.entitlements[0].quantity, Quantity::Limited(150));

    // The old cluster is fenced, by name.
    let old = portal.post(&without_key(&later(&cluster, ActivationKind::Reactivate, 3, 9))).await;
    old.assert_refused(409, "cluster_replaced");
    assert_eq!(old.body["details"]["replaced_by"], fresh.cluster_id.to_string());
    // The answer was lost: the same cluster again is no second restore; what the old one was answered is no matter.
    let mut again = fresh.with_nonce(3);
    portal.post(&without_key(&again)).await.assert_refused(409, "fence_mismatch");
    again.superseded = vec![fresh.nonce];
    assert_eq!(portal.post(&without_key(&again)).await.status, 200);
    let shown = portal.json(&["admin", "installation", "show", activated.support_id()]);
    assert_eq!(shown["restores"].as_array().unwrap().len(), 1);
    assert_eq!(shown["restores"][0]["cluster_id"], cluster.cluster_id.to_string());
    assert!(shown["history"][3]["changes"].to_string().contains("restored"), "{}", shown["history"]);
}

async fn a_cluster_that_is_set_up_again_gets_no_second_support_id(database: Database) {
    let portal = Portal::start(database).await;
    let ((first, key), (spare, spare_key)) = (portal.order(), portal.order());
    let cluster = Cluster::new(1);
    let support_id = portal.post(&cluster.request(&key)).await.support_id().to_owned();
    // Everything is lost, and another order is bought instead of bringing the license back.
    let mut by_order = restored(&cluster, 2);
    by_order.kind = ActivationKind::Activate;
    let refused = portal.post(&by_order.request(&spare_key)).await;
    refused.assert_refused(409, "computers_activated");
    assert_eq!(refused.body["details"]["support_id_end"], support_id[support_id.len() - 4..]);
    assert_eq!(portal.order_status(&spare), "open");
    // One computer of it is enough, whatever the cluster is.
    let mut one = Cluster::new(3);
    one.rows[2].computer_id = cluster.rows[2].computer_id;
    portal.post(&one.request(&spare_key)).await.assert_refused(409, "computers_activated");
    // The way out: its license comes back, and the order is an upgrade.
    let fresh = restored(&cluster, 2);
    assert_eq!(portal.post(&without_key(&fresh)).await.support_id(), support_id);
    let upgrade = later(&fresh, ActivationKind::Upgrade, 2, 9);
    let upgraded = portal.post(&upgrade.request(&spare_key)).await;
    assert_eq!((upgraded.status.as_u16(), upgraded.support_id()), (200, &*support_id), "{}", upgraded.body);

    // What licenses nothing any more binds nobody.
    portal.json(&["admin", "order", "revoke", &first]);
    portal.json(&["admin", "order", "revoke", &spare]);
    let mut other = restored(&cluster, 4);
    other.kind = ActivationKind::Activate;
    let bought = portal.post(&other.request(&portal.order().1)).await;
    assert_eq!(bought.status, 200, "{}", bought.body);
    assert_ne!(bought.support_id(), support_id);
}

async fn restores_beyond_the_years_number_wait_for_the_vendor(database: Database) {
    let portal = Portal::start_with(database, "policy.restores_per_year = 1").await;
    let (_, key) = portal.order();
    let cluster = Cluster::new(1);
    let support_id = portal.post(&cluster.request(&key)).await.support_id().to_owned();
    assert_eq!(portal.post(&without_key(&restored(&cluster, 2))).await.status, 200);
    let second = restored(&cluster, 3);
    for _ in 0..2 {
        portal.post(&without_key(&second)).await.assert_refused(403, "restore_needs_approval");
    }
    let shown = portal.json(&["admin", "installation", "show", &support_id]);
    assert_eq!(shown["restore_requests"].as_array().unwrap().len(), 1);
    assert_eq!(shown["restore_requests"][0]["cluster_id"], second.cluster_id.to_string());
    portal.json(&["admin", "installation", "approve-restore", &support_id]);
    assert_eq!(portal.post(&without_key(&second)).await.support_id(), support_id);
    // An approval is for one restore.
    portal.post(&without_key(&restored(&cluster, 4))).await.assert_refused(403, "restore_needs_approval");
}

async fn a_blocked_installation_and_a_blocked_order_wait(database: Database) {
    let portal = Portal::start(database).await;
    let ((order, key), (spare, spare_key)) = (portal.order(), portal.order());
    let cluster = Cluster::new(1);
    portal.json(&["admin", "order", "block", &order]);
    portal.post(&cluster.request(&key)).await.assert_refused(403, "order_blocked");
    assert_eq!(portal.order_status(&order), "blocked");
    portal.json(&["admin", "order", "unblock", &order]);
    let support_id = portal.post(&cluster.request(&key)).await.support_id().to_owned();
    portal.json(&["admin", "installation", "block", &support_id]);
    let upgrade = later(&cluster, ActivationKind::Upgrade, 1, 2);
    portal.post(&upgrade.request(&spare_key)).await.assert_refused(403, "installation_blocked");
    let fresh = portal.post(&without_key(&restored(&cluster, 2))).await;
    fresh.assert_refused(403, "installation_blocked");
    assert_eq!(portal.order_status(&spare), "open");
    portal.json(&["admin", "installation", "unblock", &support_id]);
    assert_eq!(portal.post(&upgrade.request(&spare_key)).await.status, 200);
}

async fn orders_that_are_all_over_license_nothing(database: Database) {
    let portal = Portal::start(database).await;
    let (order, key) = portal.order();
    let cluster = Cluster::new(1);
    assert_eq!(portal.post(&cluster.request(&key)).await.status, 200);
    portal.json(&["admin", "order", "revoke", &order]);
    let again = later(&cluster, ActivationKind::Reactivate, 1, 2);
    let refused = portal.post(&without_key(&again)).await;
    refused.assert_refused(403, "orders_ended");
    assert_eq!(refused.body["details"]["order_ids"], json!([order]));
    assert_eq!(portal.activations(), 1);
    // A new order on the same Support ID counts alone.
    let (_, new) = portal.order();
    let bought = portal.post(&later(&cluster, ActivationKind::Upgrade, 1, 3).request(&new)).await;
    assert_eq!(bought.verified(&portal.roots()).licenses[0].claims.orders.len(), 1);
}

async fn what_a_revoked_issuing_key_signed_is_signed_anew(database: Database) {
    let mut portal = Portal::start(database).await;
    let ((_, key), (_, other)) = (portal.order(), portal.order());
    let request = Cluster::new(1).request(&key);
    let first = portal.post(&request).await;
    let revoked = portal.json(&["admin", "key", "list"])[1]["key_id"].as_str().unwrap().to_owned();
    assert_eq!(portal.json(&["admin", "key", "revoke-issuing", &revoked])["in_use"], true);
    for request in [&request, &Cluster::new(2).request(&other)] {
        portal.post(request).await.assert_refused(503, "issuing_key_revoked");
    }
    portal.json(&["admin", "key", "rotate-issuing"]);
    portal.kill();
    portal.serve(&[]);
    // An intent from before the rotation: the same answer under the new key, and the same from then on.
    let again = portal.post(&request).await;
    assert_eq!(again.body["replayed"], true, "{}", again.body);
    assert_ne!(again.license_key(), first.license_key());
    let (old, new) = (first.verified(&portal.roots()), again.verified(&portal.roots()));
    assert_eq!(
        (old.binding.claims.serial, old.binding.claims.fence, old.licenses[0].claims.expires_at),
        (new.binding.claims.serial, new.binding.claims.fence, new.licenses[0].claims.expires_at)
    );
    assert_eq!(portal.post(&request).await.license_key(), again.license_key());
    assert_eq!(portal.post(&Cluster::new(2).request(&other)).await.status, 200);
}

async fn telemetry_is_kept_and_shown(database: Database) {
    let portal = Portal::start(database).await;
    let (_, key) = portal.order();
    let cluster = Cluster { nonce: Nonce([4; 16]), ..Cluster::new(1) };
    let report = json!({ "version": 1, "cluster_id": cluster.cluster_id, "nodes": { "management": 3 } });
    let send = async |report: &serde_json::Value| {
        let url = format!("{}/v1/telemetry", portal.address);
        let response = portal.client.post(url).json(report).send().await.unwrap();
        let status = response.status().as_u16();
        let told: serde_json::Value = response.json().await.unwrap_or_default();
        (status, told["code"].as_str().unwrap_or_default().to_owned())
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(send(&report).await, refused(404, "cluster_unknown"));
    let support_id = portal.post(&cluster.request(&key)).await.support_id().to_owned();
    for unread in [json!({ "version": 2, "cluster_id": cluster.cluster_id }), json!("nothing")] {
        assert_eq!(send(&unread).await, refused(400, "telemetry_malformed"));
    }
    assert_eq!(send(&report).await, (204, String::new()));
    let shown = portal.json(&["admin", "installation", "show", &support_id]);
    assert_eq!((&shown["telemetry"]["report"], &shown["telemetry_reports"]), (&report, &json!(1)));
}
