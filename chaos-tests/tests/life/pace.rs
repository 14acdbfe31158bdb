//! How days pass: the clocks of all machines go on together, and an administrator confirms the jump.

use std::time::Duration;

use quorate_chaos_tests::{
    Cluster, FakeTime, Result,
    cli::Answer,
    wait::{self, Seen},
};
use quorate_license::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// The jump is seen within seconds; certificates that have ended with it are renewed on the way.
const PATIENCE: Duration = Duration::from_secs(120);

/// The cluster is where the clocks are if it is no further away than this.
const NEAR_MS: i64 = 30_000;

/// As `quorate cluster time` tells it.
#[derive(Debug, Deserialize)]
struct Time {
    time: Timestamp,
    held: Option<Value>,
}

/// As `quorate cert list` tells it.
#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "shown when a wait fails")]
struct Certificate {
    name: String,
    days_left: Option<i64>,
}

/// Lets so many days pass, and waits until every node judges by the new time.
pub(crate) fn days(cluster: &mut Cluster, time: &FakeTime, days: i64) {
    time.move_days(days).unwrap();
    for index in 0..cluster.nodes.len() {
        let what = format!("{days} days to have passed on {}", cluster.nodes[index].name);
        wait::until(&what, PATIENCE, || {
            let seen: Time = match cluster.nodes[index].cli(["cluster", "time"]).json() {
                Ok(seen) => seen,
                Err(failure) => return Ok(Seen::not_yet(failure.to_string())),
            };
            // A jump of more than a day waits for somebody who says that it is right.
            let confirmed = seen.held.is_some().then(|| confirm(cluster)).transpose()?;
            let there = seen.time.ms_since(time.now()).abs() < NEAR_MS;
            Ok(Seen::when(there, || format!("{seen:?}, {confirmed:?}")))
        })
        .unwrap();
    }
    cluster.wait_for_members(cluster.nodes.len()).unwrap();
}

/// Waits until every node has a certificate that is good for at least so many days: by themselves they have got new
/// ones for those that have ended.
pub(crate) fn certificates_last(cluster: &Cluster, days: i64) {
    wait::until("new certificates", PATIENCE, || {
        let all: Vec<Certificate> = match cluster.nodes[0].cli(["cert", "list"]).json() {
            Ok(all) => all,
            Err(failure) => return Ok(Seen::not_yet(failure.to_string())),
        };
        let last = |certificate: &&Certificate| certificate.days_left.is_some_and(|left| left >= days);
        Ok(Seen::when(all.iter().filter(last).count() == cluster.nodes.len(), || format!("{all:?}")))
    })
    .unwrap();
}

/// May be refused: the jump is another one than a moment ago, or counts already.
fn confirm(cluster: &Cluster) -> Result<Answer> {
    cluster.nodes[0].cli(["cluster", "confirm-time", "--yes", "-o", "json"]).run()
}
