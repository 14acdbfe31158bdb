//! Clocks are wound back and forth, one alone and all together, under real processes by libfaketime: the one that is
//! wrong is named and outvoted, and no license ends earlier or lasts longer for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use quorate_chaos_tests::{
    FakeTime, Result, Stage, client, fake_portal,
    wait::{self, PATIENCE, Seen},
};
use quorate_license::{DAY_MS, Timestamp};
use quorate_proto::v1::ConfirmTimeRequest;
use serde::Deserialize;

/// The days that are left of a new license: a year, and the grace after it.
const DAYS: Option<u32> = Some(365 + 14);

/// As `quorate cluster time` tells it.
#[derive(Debug, Clone, Deserialize)]
struct Time {
    time: Timestamp,
    agreed_at: Option<Timestamp>,
    held: Option<Held>,
    nodes: Vec<Clock>,
}

#[derive(Debug, Clone, Deserialize)]
struct Held {
    from: Timestamp,
    to: Timestamp,
    reported_by: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Clock {
    name: String,
    ahead_ms: Option<i64>,
    off: bool,
}

impl Time {
    fn off(&self) -> Vec<&str> {
        self.nodes.iter().filter(|node| node.off).map(|node| node.name.as_str()).collect()
    }

    /// How far it is ahead of this machine's clock, in whole hours.
    fn ahead_hours(&self) -> i64 {
        (self.time.ms_since(fake_portal::now()) + 5 * 60_000).div_euclid(60 * 60_000)
    }

    /// How far it is ahead of this machine's clock, in whole days.
    fn ahead_days(&self) -> i64 {
        let minutes = self.time.ms_since(fake_portal::now()) / 60_000;
        assert!(minutes.rem_euclid(24 * 60) <= 5 || minutes.rem_euclid(24 * 60) >= 24 * 60 - 5, "{self:?}");
        (minutes + 5).div_euclid(24 * 60)
    }
}

/// Three Management Servers and a Spooler Controller, each with a clock of its own, and a portal with another one.
struct Clocks {
    stage: Stage,
    nodes: Vec<FakeTime>,
    portal: FakeTime,
}

impl Clocks {
    /// Activated for a year, and the cluster has agreed on its time.
    fn start() -> Self {
        let mut stage = Stage::prepare(|_| {}).unwrap();
        let clock = |name: &str| FakeTime::start(&stage.folder.path().join(format!("clock-{name}"))).unwrap();
        let nodes: Vec<FakeTime> = stage.cluster.nodes.iter().map(|node| clock(&node.name)).collect();
        let portal = clock("portal");
        for (node, clock) in stage.cluster.nodes.iter_mut().zip(&nodes) {
            node.environment = clock.environment();
        }
        stage.portal.stop().unwrap();
        stage.cluster.start().unwrap();
        stage.portal.environment = portal.environment();
        stage.portal.serve().unwrap();
        let mut clocks = Clocks { stage, nodes, portal };
        let key = clocks.stage.portal.order().unwrap().activation_key;
        let serial = clocks.stage.cluster.activate(0, &key).unwrap().serial;
        clocks.stage.cluster.wait_for_serial(serial).unwrap();
        clocks.wait("all clocks to be right", |time| time.agreed_at.is_some() && time.off().is_empty());
        clocks
    }

    /// Sets the clocks of all nodes so many days ahead of this machine's.
    fn wind_all(&self, days: i64) {
        self.nodes.iter().for_each(|clock| clock.set_ahead_ms(days * DAY_MS).unwrap());
    }

    fn time(&self, node: usize) -> Result<Time> {
        self.stage.cluster.nodes[node].cli(["cluster", "time"]).json()
    }

    /// Waits until every node says that the time is so.
    fn wait(&self, what: &str, wanted: impl Fn(&Time) -> bool) {
        for index in 0..self.nodes.len() {
            wait::until(what, PATIENCE, || {
                Ok(match self.time(index) {
                    Ok(time) => Seen::when(wanted(&time), || format!("{time:?}")),
                    Err(failure) => Seen::not_yet(failure.to_string()),
                })
            })
            .unwrap();
        }
    }

    /// What the status warns of, by code.
    fn warnings(&self, code: &str) -> Vec<String> {
        let warnings = self.stage.cluster.status().unwrap().warnings;
        warnings.into_iter().filter(|warning| warning.starts_with(&format!("{code}: "))).collect()
    }

    /// Waits until every node answers the product so; and that each says the same about the days that are left.
    fn wait_for_license(&self, status: &str, allowed: bool, days_left: Option<u32>) {
        for node in &self.stage.cluster.nodes {
            let what = format!("{} to be {status} with {days_left:?} days left", node.name);
            wait::until(&what, PATIENCE, || {
                let check = match node.product().check("scan", 1) {
                    Ok(check) => check,
                    Err(failure) => return Ok(Seen::not_yet(failure.to_string())),
                };
                let seen = check.status == status && check.allowed == allowed && check.days_left == days_left;
                Ok(Seen::when(seen, || format!("{check:?}")))
            })
            .unwrap();
        }
    }

    /// All nodes are stopped, and started again with clocks that are so many days ahead.
    fn restart(&mut self, days: i64) {
        self.stage.cluster.stop().unwrap();
        self.wind_all(days);
        self.stage.cluster.nodes.iter_mut().for_each(|node| node.serve().unwrap());
        self.stage.cluster.wait_for_members(4).unwrap();
    }
}

#[test]
fn one_clock_that_is_wound_by_a_year_is_named_and_outvoted() {
    let mut clocks = Clocks::start();
    clocks.wait_for_license("active", true, DAYS);
    // A Management Server, and at last the Spooler Controller, which does not vote.
    for (index, days) in [(1, 365), (1, -365), (3, 365)] {
        let name = clocks.stage.cluster.nodes[index].name.clone();
        clocks.nodes[index].set_ahead_ms(days * DAY_MS).unwrap();
        clocks.wait(&format!("{name} to be named"), |time| time.off() == [&name] && time.held.is_none());
        let time = clocks.time(0).unwrap();
        let clock = time.nodes.iter().find(|node| node.name == name).unwrap();
        let wound = clock.ahead_ms.unwrap() - days * DAY_MS;
        assert!(wound.abs() < 60_000, "{clock:?}");
        assert_eq!(time.ahead_days(), 0, "it is outvoted");
        let warnings = clocks.warnings("clock_off");
        assert!(
            warnings.len() == 1
                && warnings[0].contains(&name)
                && ["364d", "365d"].iter().any(|days| warnings[0].contains(days)),
            "{warnings:?}"
        );
        let metric = format!("quorate_clock_offset_seconds{{node=\"{name}\"}}");
        let told = clocks.stage.cluster.nodes[0].metric(&metric).unwrap();
        assert!((told - days as f64 * 86_400.0).abs() < 60.0, "{told}");
        clocks.wait_for_license("active", true, DAYS);

        // It goes on serving, started again too, and even if it leads: its clock decides nothing.
        clocks.stage.cluster.nodes[index].stop().unwrap();
        clocks.stage.cluster.nodes[index].serve().unwrap();
        clocks.stage.cluster.wait_for_members(4).unwrap();
        if index == 1 {
            lead(&clocks.stage, &name);
            clocks.stage.cluster.admin_token("by a wrong clock").unwrap();
            clocks.wait(&format!("{name} to be named as the leader"), |time| time.off() == [&name]);
            assert_eq!(clocks.time(0).unwrap().ahead_days(), 0);
        }
        clocks.wait_for_license("active", true, DAYS);
        clocks.nodes[index].set_ahead_ms(0).unwrap();
        clocks.wait(&format!("{name} to be right again"), |time| time.off().is_empty());
        assert_eq!(clocks.warnings("clock_off"), Vec::<String>::new());
    }
}

/// Moves the leadership to this node. One that has caught up only just now is asked again.
fn lead(stage: &Stage, name: &str) {
    wait::until(&format!("{name} to lead"), PATIENCE, || {
        let answer = stage.cluster.nodes[0].cli(["cluster", "transfer-leader", "--to", name]).run()?;
        let leader = stage.cluster.leader()?;
        Ok(Seen::when(stage.cluster.nodes[leader].name == name, || format!("{answer:?}")))
    })
    .unwrap();
}

#[test]
fn clocks_that_all_jump_a_year_ahead_end_no_license_before_somebody_confirms_it() {
    let mut clocks = Clocks::start();
    clocks.wind_all(400);
    let everybody = ["management-1", "management-2", "management-3"];
    let held = |time: &Time| {
        time.ahead_days() == 0
            && time.held.as_ref().is_some_and(|held| {
                let days = held.to.ms_since(held.from) / DAY_MS;
                held.reported_by == everybody && (399..=400).contains(&days)
            })
    };
    clocks.wait("the jump to be held", held);
    let warnings = clocks.warnings("time_jump_held");
    assert!(warnings.len() == 1, "{warnings:?}");
    for part in everybody.into_iter().chain(["confirm-time"]) {
        assert!(warnings[0].contains(part), "{part} in {warnings:?}");
    }
    clocks.wait_for_license("active", true, DAYS);

    // Certificates of 90 days have ended by every clock. The nodes find each other all the same, one after the
    // other and all at once, and the jump is held on.
    clocks.stage.cluster.nodes[1].stop().unwrap();
    clocks.stage.cluster.nodes[1].serve().unwrap();
    clocks.stage.cluster.wait_for_members(4).unwrap();
    clocks.restart(400);
    clocks.wait("the jump to be held on", held);
    clocks.wait_for_license("active", true, DAYS);
    let refused = clocks.stage.cluster.nodes[0].cli(["cluster", "confirm-time", "-o", "json"]).run().unwrap();
    assert_eq!(refused.refusal().unwrap().code, "confirmation_needed");

    // Another jump than the one that is held.
    let mut admin = client::admin_client(client::channel(&clocks.stage.cluster.nodes[0].admin_socket));
    let other = client::request(ConfirmTimeRequest { since_ms: 1 }, PATIENCE);
    let refused = client::runtime().block_on(admin.confirm_time(other)).unwrap_err();
    assert_eq!(client::stable_code(&refused).as_deref(), Some("time_jump_changed"));

    let confirm = |clocks: &Clocks, node: usize| {
        clocks.stage.cluster.nodes[node]
            .cli(["cluster", "confirm-time", "--yes", "-o", "json"])
            .run()
            .unwrap()
    };
    confirm(&clocks, 2).success().unwrap();
    clocks.wait("the time to have gone on", |time| time.held.is_none() && time.ahead_days() == 400);
    // 365 days and the grace of the portal's policy are over.
    clocks.wait_for_license("expired", false, None);
    assert_eq!(confirm(&clocks, 0).refusal().unwrap().code, "no_time_jump_held");

    // There is no way back, whatever the clocks say.
    clocks.wind_all(0);
    clocks.wait("the time to be ahead of the clocks", |time| {
        time.ahead_days() == 400
            && time.nodes.iter().all(|node| !node.off && node.ahead_ms.is_none_or(|ms| ms < 0))
    });
    assert_eq!(clocks.warnings("clocks_behind").len(), 1);
    clocks.restart(0);
    clocks.wait("the time to stay ahead", |time| time.ahead_days() == 400);
    clocks.wait_for_license("expired", false, None);
}

#[test]
fn clocks_that_all_go_back_a_year_make_no_license_longer_and_none_invalid() {
    let mut clocks = Clocks::start();
    let before = clocks.time(0).unwrap().time;
    clocks.wind_all(-365);
    clocks.wait("the clocks to be behind", |time| {
        time.ahead_days() == 0
            && time.nodes.iter().filter(|node| node.ahead_ms.is_some_and(|ms| ms < -364 * DAY_MS)).count()
                == 3
    });
    assert_eq!(clocks.warnings("clocks_behind").len(), 1);
    clocks.wait_for_license("active", true, DAYS);
    clocks.restart(-365);
    // What was off for a few seconds is behind by them: nobody's clock tells how long it was.
    clocks.wait("the time to go on", |time| time.time > before && time.ahead_days() == 0);
    clocks.wait_for_license("active", true, DAYS);
    clocks.stage.cluster.admin_token("in the past").unwrap();
    clocks.wind_all(0);
    clocks.wait("the clocks to be right", |time| {
        time.held.is_none() && time.nodes.iter().all(|node| node.ahead_ms.is_none_or(|ms| ms.abs() < 60_000))
    });
    assert_eq!(clocks.warnings("clocks_behind"), Vec::<String>::new());
}

#[test]
fn a_cluster_that_was_off_for_months_goes_on_and_the_portals_signed_time_settles_it() {
    let mut clocks = Clocks::start();
    // Off for so long that every certificate has ended; the portal was not.
    clocks.portal.set_ahead_ms(120 * DAY_MS).unwrap();
    clocks.restart(120);
    clocks.wait("the jump to be held", |time| time.held.is_some() && time.ahead_days() == 0);
    clocks.wait_for_license("active", true, DAYS);

    let again = ["license", "reactivate", "--yes", "-o", "json"];
    clocks.stage.cluster.nodes[0].cli(again).run().unwrap().success().unwrap();
    clocks.wait("the time to be the portal's", |time| time.held.is_none() && time.ahead_days() == 120);
    clocks.wait_for_license("active", true, Some(365 + 14 - 120));
    assert_eq!(clocks.warnings("time_jump_held"), Vec::<String>::new());
}

#[test]
fn a_jump_on_which_the_clocks_agree_counts_after_three_days_and_not_before() {
    let clocks = Clocks::start();
    clocks.wind_all(400);
    clocks.wait("the jump to be held", |time| time.held.is_some());
    // Days go by: the portal's clock shows them, and the cluster follows what the portal signs. Nobody confirms
    // anything.
    for hours in [23, 46, 69] {
        clocks.portal.set_ahead_ms(hours * 60 * 60_000).unwrap();
        let again = ["license", "reactivate", "--yes", "-o", "json"];
        clocks.stage.cluster.nodes[1].cli(again).run().unwrap().success().unwrap();
        clocks.wait(&format!("the cluster to be {hours} hours on"), |time| {
            time.ahead_hours() == hours && time.held.is_some()
        });
        let days_left = (365 + 14) * 24 - hours;
        clocks.wait_for_license("active", true, u32::try_from((days_left + 23) / 24).ok());
    }
    clocks.portal.set_ahead_ms(92 * 60 * 60_000).unwrap();
    let again = ["license", "reactivate", "--yes", "-o", "json"];
    clocks.stage.cluster.nodes[1].cli(again).run().unwrap().success().unwrap();
    clocks.wait("the time to have gone on by itself", |time| time.held.is_none() && time.ahead_days() == 400);
    clocks.wait_for_license("expired", false, None);
    assert_eq!(clocks.warnings("time_jump_held"), Vec::<String>::new());
}
