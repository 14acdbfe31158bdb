//! A living node leaves, and joins again.

use std::time::Duration;

use quorate_chaos_tests::{
    Stage, http,
    wait::{self, PATIENCE, Seen},
};

use super::{digests_are_equal, health, lines, move_away, named, refused, refuses_to_serve, remove, term};

#[test]
fn a_living_node_leaves_is_told_so_and_joins_again_as_a_new_one() {
    let (mut stage, _) = Stage::activated(|_| {}).unwrap();
    let cluster = &mut stage.cluster;
    let before = cluster.status().unwrap();
    assert!(before.warnings.is_empty() && before.removed.is_empty(), "{before:?}");
    let healthy = health(&cluster.nodes[0], "a healthy cluster", |health| health.healthy);
    assert_eq!((healthy.failure_tolerance, healthy.quorum), (1, 2));
    assert!(healthy.nodes.iter().all(|node| node.condition == "healthy"), "{healthy:?}");

    // Refused by name.
    assert_eq!(refused(remove(&cluster.nodes[1], "management-1")).code, "first_license_node");
    assert_eq!(refused(remove(&cluster.nodes[1], "management-9")).code, "node_unknown");
    let unconfirmed = cluster.nodes[0].cli(["node", "remove", "management-3", "-o", "json"]).run().unwrap();
    assert_eq!((unconfirmed.code, refused(unconfirmed).code.as_str()), (Some(2), "confirmation_needed"));
    let reader = remove(&cluster.nodes[3], "management-3");
    assert_eq!(reader.code, Some(4), "{reader:?}");

    // A dead node, and one that the others can't do without.
    cluster.nodes[2].kill().unwrap();
    let ill = health(&cluster.nodes[0], "a missing node to be noticed", |health| health.voters_online == 2);
    assert_eq!(ill.failure_tolerance, 0);
    let missing = ill.nodes.iter().find(|node| node.name == "management-3").unwrap();
    assert_eq!(missing.condition, "offline");
    assert!(missing.since_ms.is_some() && missing.lag_entries.is_some(), "{missing:?}");
    assert!(ill.problems.iter().any(|problem| problem.contains("management-3 is offline since")), "{ill:?}");
    let dead = refused(remove(&cluster.nodes[0], "management-3"));
    assert_eq!(dead.code, "node_not_answering");
    assert!(dead.hint.unwrap().contains("join --replace management-3"));
    let few = refused(remove(&cluster.nodes[0], "management-2"));
    assert_eq!(few.code, "voters_too_few");
    assert!(few.message.contains("management-3"), "{few:?}");
    cluster.nodes[2].serve().unwrap();
    cluster.wait_for_members(4).unwrap();

    // The leader itself, on its own socket: it hands over first.
    let third = named(&before, "management-3").id;
    cluster.nodes[0].admin().transfer_leader(third).unwrap();
    // A busy machine may elect another one meanwhile; then it is asked again.
    wait::until("the third node to lead", PATIENCE, || {
        let leader = cluster.leader()?;
        if leader != 2 {
            cluster.nodes[leader].admin().transfer_leader(third)?;
        }
        Ok(Seen::when(leader == 2, || format!("node {leader} leads")))
    })
    .unwrap();
    let term_before = term(&cluster.nodes[0]);
    let answer = remove(&cluster.nodes[2], "management-3").success().unwrap();
    assert!(answer.stdout.contains("\"left_group\": true"), "{answer:?}");
    let after = health(&cluster.nodes[0], "two voters", |health| health.voters == 2);
    assert!(after.healthy && after.warnings.iter().any(|warning| warning.contains("even")), "{after:?}");
    let status = cluster.status().unwrap();
    assert_eq!(status.nodes.len(), 3);
    assert_eq!((status.removed.len(), status.removed[0].id), (1, third));
    assert!(status.removed[0].detail.contains("local administrator on management-3"), "{status:?}");
    assert_eq!(refused(remove(&cluster.nodes[0], "management-3")).code, "node_unknown", "by name it is gone");

    // It knows, says so once, and stands for no election.
    wait::until("the removed node not to be ready", PATIENCE, || {
        let reply = http::get(cluster.nodes[2].ops, "/readyz")?;
        Ok(Seen::when(reply.status == 503 && reply.body.contains("node_removed"), || format!("{reply:?}")))
    })
    .unwrap();
    let own = cluster.nodes[2].admin().status().unwrap();
    assert!(own.warnings.iter().any(|warning| warning.contains("node_removed")), "{own:?}");
    assert_eq!(lines(&cluster.nodes[2], "no part of the cluster any more"), 1);

    // The product on it is told so, with the way out; nobody else is touched.
    wait::until("the product on the removed node to be refused", PATIENCE, || {
        let answer = cluster.nodes[2].product().check("devices", 1)?;
        let refused = !answer.allowed && answer.reason == "node_removed";
        Ok(Seen::when(refused, || format!("{answer:?}")))
    })
    .unwrap();
    let refused = cluster.nodes[2].product().check("", 0).unwrap();
    assert!(refused.message.contains("quorate join"), "{refused:?}");
    let shown = cluster.nodes[2].product().license().unwrap();
    assert!(shown.status == "invalid" && shown.next_step.contains("quorate join"), "{shown:?}");
    let license = cluster.nodes[2].admin().status().unwrap().license.unwrap();
    assert_eq!(license.status, "invalid", "{license:?}");
    assert!(license.reasons.iter().any(|reason| reason.starts_with("node_removed")), "{license:?}");
    for index in [0, 1, 3] {
        assert!(cluster.nodes[index].product().check("devices", 1).unwrap().allowed);
    }

    // Several election times later it has disturbed nobody.
    let disturbed = wait::until("a higher term", Duration::from_secs(6), || {
        let now = term(&cluster.nodes[0]);
        // The hand-over raised it once.
        Ok(if now > term_before + 1 { Seen::Done(now) } else { Seen::not_yet(format!("term {now}")) })
    });
    assert!(disturbed.is_err(), "the removed node raised the term: {disturbed:?}");
    assert_eq!(lines(&cluster.nodes[2], "no part of the cluster any more"), 1);

    // It does not serve again, and its data is there.
    cluster.nodes[2].stop().unwrap();
    let words = refuses_to_serve(&mut cluster.nodes[2]);
    assert!(words.contains("taken out of the cluster") && words.contains("quorate join"), "{words}");
    assert!(cluster.nodes[2].data_dir.join("store/db/CURRENT").exists());

    // The same machine joins as a new node.
    move_away(&cluster.nodes[2]);
    cluster.join(2).unwrap();
    cluster.nodes[2].serve().unwrap();
    cluster.wait_for_members(4).unwrap();
    let again = cluster.status().unwrap();
    assert!(named(&again, "management-3").id > named(&before, "spooler-1").id, "ids are never reused");
    assert_eq!(again.license.unwrap().status, "active", "the binding knows it by its computer");

    // A Spooler Controller leaves, too; one of four is tolerated or not, as the binding says.
    remove(&cluster.nodes[1], "spooler-1").success().unwrap();
    cluster.nodes[3].kill().unwrap();
    cluster.nodes.truncate(3);
    cluster.wait_for_members(3).unwrap();
    digests_are_equal(cluster);
}
