//! The portal's records: what the vendor's staff finds in them, the tenants that they keep apart, older tables.

use quorate_license::{ActivationKind, TenantId};
use serde_json::Value;

use crate::support::{Cluster, Database, Portal, admin, later, without_key};

on_both_databases!(
    an_installation_is_found_by_what_the_customer_can_tell,
    days_for_a_used_renewal_go_to_the_orders_that_it_renewed,
    an_order_licenses_the_tenant_that_used_it_and_no_other,
);

async fn an_installation_is_found_by_what_the_customer_can_tell(database: Database) {
    let portal = Portal::start(database).await;
    let cluster = Cluster::new(1);
    let (order, key) = portal.order();
    let support_id = portal.post(&cluster.request(&key)).await.support_id().to_owned();
    // A trial that has lost a computer since: it was in it all the same.
    let mut trial = Cluster { kind: ActivationKind::Trial, ..Cluster::new(2) };
    let on_trial = portal.post(&without_key(&trial)).await.support_id().to_owned();
    // The first one comes back from nothing: another cluster, the same computers.
    let mut restored = Cluster { kind: ActivationKind::Reactivate, ..Cluster::new(3) };
    for (row, old) in restored.rows.iter_mut().zip(&cluster.rows) {
        row.computer_id = old.computer_id;
    }
    assert_eq!(portal.post(&without_key(&restored)).await.support_id(), support_id);

    let find = |what: &str| {
        let found = portal.json(&["admin", "installation", "find", what]);
        let names =
            found.as_array().unwrap().iter().map(|one| one["support_id"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    for what in [
        cluster.rows[3].computer_id.to_string(),
        cluster.rows[0].computer_id.to_string().to_lowercase(),
        restored.cluster_id.to_string(),
        cluster.cluster_id.to_string(),
        order,
    ] {
        assert_eq!(find(&what), [support_id.as_str()], "{what}");
    }
    assert_eq!(find(&trial.rows.remove(2).computer_id.to_string()), [on_trial.as_str()]);

    let (unused, _) = portal.order();
    for what in [&unused, "QO-999999", &Cluster::new(9).rows[0].computer_id.to_string(), "%&/"] {
        let output = admin(portal.folder.path(), &["admin", "installation", "find", what, "-o", "json"]);
        let failure: Value = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!((output.status.code(), &failure["code"]), (Some(1), &"installation_unknown".into()));
        assert!(failure["message"].as_str().unwrap().contains(what), "{failure}");
    }
}

async fn days_for_a_used_renewal_go_to_the_orders_that_it_renewed(database: Database) {
    let portal = Portal::start(database).await;
    let (order, key) = portal.order_with(&["--kind", "subscription", "--days", "30"]);
    let (renewal, renewal_key) =
        portal.bare_order(&["--kind", "subscription", "--days", "365", "--renews", &order]);
    let cluster = Cluster::new(1);
    portal.post(&cluster.request(&key)).await;
    let renewed = portal.post(&later(&cluster, ActivationKind::Upgrade, 1, 2).request(&renewal_key)).await;
    let before = renewed.verified(&portal.roots()).licenses[0].claims.clone();
    portal.json(&["admin", "order", "extend", &renewal, "--days", "5", "--support-days", "7"]);
    let given = portal.post(&without_key(&later(&cluster, ActivationKind::Reactivate, 2, 3))).await;
    let after = given.verified(&portal.roots()).licenses[0].claims.clone();
    assert_eq!(after.expires_at, Some(before.expires_at.unwrap().plus_days(5)));
    assert!(after.support_until > before.support_until, "{before:?} {after:?}");
    let shown = portal.json(&["admin", "order", "show", &order]);
    let of_renewal = portal.json(&["admin", "order", "show", &renewal]);
    assert_eq!(of_renewal["usage"]["expires_at"], shown["usage"]["expires_at"]);
}

async fn an_order_licenses_the_tenant_that_used_it_and_no_other(database: Database) {
    let portal = Portal::start(database).await;
    let ((first, first_key), (second, second_key)) = (portal.order(), portal.order());
    let cluster = Cluster::new(1);
    portal.post(&cluster.request(&first_key)).await;
    let of_other = |kind, fence, nonce| Cluster {
        tenant: "other".parse::<TenantId>().unwrap(),
        ..later(&cluster, kind, fence, nonce)
    };
    let nothing = portal.post(&without_key(&of_other(ActivationKind::Reactivate, 1, 2))).await;
    nothing.assert_refused(403, "orders_ended");
    let other = portal.post(&of_other(ActivationKind::Upgrade, 1, 3).request(&second_key)).await;
    let other = other.verified(&portal.roots()).licenses[0].claims.clone();
    assert_eq!((other.tenant.as_str(), other.orders[0].as_str(), other.orders.len()), ("other", &*second, 1));
    let own = portal.post(&without_key(&later(&cluster, ActivationKind::Reactivate, 2, 4))).await;
    let own = own.verified(&portal.roots()).licenses[0].claims.clone();
    assert_eq!((own.tenant.as_str(), own.orders[0].as_str(), own.orders.len()), ("default", &*first, 1));
    for (order, tenant) in [(first, "default"), (second, "other")] {
        assert_eq!(portal.json(&["admin", "order", "show", &order])["usage"]["tenant"], tenant);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_tables_are_brought_up_to_date_by_init_with_all_that_they_hold() {
    let mut portal = Portal::start(Database::postgres()).await;
    let cluster = Cluster::new(1);
    let (order, key) = portal.order();
    let support_id = portal.post(&cluster.request(&key)).await.support_id().to_owned();
    portal.kill();
    // As the version before tenants left them.
    portal.database.run(
        "DROP INDEX installation_orders_by_tenant; \
         ALTER TABLE installation_orders DROP COLUMN tenant; ALTER TABLE trials DROP COLUMN tenant; \
         CREATE INDEX installation_orders_by_support_id ON installation_orders (support_id); \
         DELETE FROM _sqlx_migrations WHERE version = 3;",
    );
    let output = admin(portal.folder.path(), &["serve", "-o", "json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("database_not_prepared") && said.contains("version 2, wanted is 3"), "{said}");
    portal.json(&["admin", "init"]);
    portal.serve(&[]);
    let again = portal.post(&without_key(&later(&cluster, ActivationKind::Reactivate, 1, 2))).await;
    assert_eq!((again.status.as_u16(), again.support_id()), (200, support_id.as_str()));
    assert_eq!(portal.json(&["admin", "order", "show", &order])["usage"]["tenant"], "default");
}
