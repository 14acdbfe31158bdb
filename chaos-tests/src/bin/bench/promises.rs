//! `bench promises`: that a node has synced what it answers for, seen from outside by `strace`.
//!
//! ```text
//! change   asked ── log written ── log synced ── answered       on a majority, for every acknowledged change
//! append   came  ── log written ── log synced ── answered       on each follower: nothing is sent in between
//! vote     came  ── log written ── log synced ── floor synced ── answered        when the leader is killed
//! ```

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use quorate_chaos_tests::{
    Failure, Node, Result, Stage, files,
    wait::{self, PATIENCE, Seen},
};
use quorate_proto::v1::CreateTokenRequest;
use serde::Serialize;
use serde_json::json;

use crate::{
    report,
    strace::{Call, Strace},
};

/// Between two changes: then followers hear that the first one is committed, which needs no sync to be answered, before
/// the next one comes.
const BETWEEN: Duration = Duration::from_millis(40);

/// The floor follows a synced entry within a second; afterwards a sync of it can only be a vote's.
const SETTLING: Duration = Duration::from_secs(3);

/// No request between nodes is smaller on the wire; what HTTP/2 says of itself is.
const SMALLEST_REQUEST: u64 = 60;

/// What was seen.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Promises {
    /// Changes that one writer had acknowledged, one after the other.
    pub(crate) changes: usize,
    /// On how many nodes the log was synced between the asking and the acknowledgement: how often.
    pub(crate) synced_on: BTreeMap<usize, usize>,
    /// The followers, by name.
    pub(crate) followers: Vec<Follower>,
    /// The survivors of the leader, by name.
    pub(crate) votes: Vec<Vote>,
    /// What was seen of one change, and of the votes, for people.
    pub(crate) timelines: Vec<(String, Vec<String>)>,
}

/// What a follower did with appended entries.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Follower {
    /// Its name.
    pub(crate) name: String,
    /// How often it wrote entries and synced them.
    pub(crate) synced: usize,
    /// How often something went out on the leader's connection for appends between the two.
    pub(crate) answered_before: usize,
    /// How often something went out on it at all: answers, mostly.
    pub(crate) answers: usize,
}

/// What a survivor did when the leader was gone.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Vote {
    /// Its name.
    pub(crate) name: String,
    /// Votes that were written and synced, log and floor.
    pub(crate) synced: usize,
    /// How often something went to the other survivor between the two.
    pub(crate) answered_before: usize,
}

/// A change: when it was asked for and when its acknowledgement was here, in seconds since 1970.
type Asked = (f64, f64);

/// Makes so many changes one after the other, kills the leader, and looks at what all nodes did meanwhile.
///
/// # Errors
/// Something was answered before it was synced; or `strace` can't be used.
pub(crate) fn measure(changes: usize, folder: &Path) -> Result<()> {
    report::progress("Starting three Management Servers");
    let mut stage = Stage::start(|plan| {
        plan.spoolers = 0;
        plan.own_group = true;
    })?;
    let leader = stage.cluster.leader()?;
    change(&stage.cluster.nodes[leader])?;
    let mut watched = Vec::new();
    for node in &stage.cluster.nodes {
        let pid = node.pid().ok_or_else(|| Failure::wrong(format!("{} does not run", node.name)))?;
        watched.push(Strace::attach(&node.name, pid, &stage.folder.path().join("strace").join(&node.name))?);
    }
    report::progress(&format!("Making {changes} changes"));
    let mut asked = Vec::new();
    for _ in 0..changes {
        asked.push(change(&stage.cluster.nodes[leader])?);
        wait::pass(BETWEEN);
    }
    wait::pass(SETTLING);
    report::progress("Killing the leader");
    let killed = now();
    stage.cluster.nodes[leader].kill()?;
    let survivor = (leader + 1) % stage.cluster.nodes.len();
    wait::until("a change after the leader's end", PATIENCE, || {
        Ok(match change(&stage.cluster.nodes[survivor]) {
            Ok(_) => Seen::Done(()),
            Err(failure) => Seen::not_yet(failure.to_string()),
        })
    })?;
    wait::pass(SETTLING);
    let calls = watched.into_iter().map(Strace::finish).collect::<Result<Vec<_>>>()?;
    stage.cluster.stop()?;

    let names: Vec<&str> = stage.cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    let addresses: Vec<SocketAddr> = stage.cluster.nodes.iter().map(|node| node.raft).collect();
    let mut seen = Promises {
        changes,
        synced_on: synced_on(&asked, &calls),
        followers: Vec::new(),
        votes: Vec::new(),
        timelines: Vec::new(),
    };
    for (node, calls) in calls.iter().enumerate() {
        let name = names[node].to_owned();
        if let Some(last) = asked.last() {
            let role = if node == leader { "leader" } else { "follower" };
            seen.timelines.push((format!("The last change at {name}, a {role}"), timeline(calls, *last)));
        }
        if node == leader {
            continue;
        }
        seen.followers.push(appended(&name, calls, addresses[node], killed));
        let other = (0..names.len()).find(|other| *other != node && *other != leader).unwrap_or(node);
        let (vote, timeline) = voted(&name, calls, [addresses[node], addresses[other]], killed);
        seen.votes.push(vote);
        seen.timelines.push((format!("{name}'s vote after the leader's end"), timeline));
    }
    report::print_promises(&seen);
    files::write_atomically(&folder.join("bench-promises.json"), &format!("{:#}\n", json!(seen)))?;
    seen.kept()
}

impl Promises {
    /// That nothing was answered before it was synced.
    fn kept(&self) -> Result<()> {
        let majority: usize = self.synced_on.range(2..).map(|(_, changes)| changes).sum();
        let early = self.followers.iter().map(|follower| follower.answered_before).sum::<usize>()
            + self.votes.iter().map(|vote| vote.answered_before).sum::<usize>();
        let half = self.changes / 2;
        let idle = self.followers.iter().any(|follower| follower.synced.min(follower.answers) < half)
            || self.votes.iter().any(|vote| vote.synced == 0);
        if majority < self.changes || early > 0 {
            return Err(Failure::wrong("something was answered before it was synced: see the table"));
        }
        if idle {
            return Err(Failure::wrong("too little was seen to tell: see the table"));
        }
        Ok(())
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn change(node: &Node) -> Result<Asked> {
    let message = CreateTokenRequest {
        label: "watched".to_owned(),
        ttl_seconds: 3600,
        request_id: rand::random::<[u8; 16]>().to_vec(),
        ..Default::default()
    };
    let (admin, begun) = (node.admin(), now());
    admin.create_token(message)?;
    Ok((begun, now()))
}

/// On how many nodes a sync of the log began and ended between each asking and its acknowledgement.
fn synced_on(asked: &[Asked], calls: &[Vec<Call>]) -> BTreeMap<usize, usize> {
    let mut all = BTreeMap::new();
    for (begun, ended) in asked {
        let within = |call: &Call| call.begun >= *begun && call.ended <= *ended;
        let nodes = calls
            .iter()
            .filter(|calls| calls.iter().any(|call| call.is_sync() && call.on_log() && within(call)));
        *all.entry(nodes.count()).or_default() += 1;
    }
    all
}

/// From the last write into the log before `sync`, by the same thread, to the end of `sync`.
fn written_and_synced(calls: &[Call], sync: &Call) -> Option<(f64, f64)> {
    let mut writes =
        calls.iter().filter(|call| call.thread == sync.thread && call.is_write() && call.on_log());
    let last = writes.rfind(|call| call.ended <= sync.begun)?;
    Some((last.begun, sync.ended))
}

/// What went out on a connection between the two times.
fn sent(calls: &[Call], (begun, ended): (f64, f64), to: impl Fn(&str) -> bool) -> usize {
    let sent = calls.iter().filter(|call| call.is_write() && call.on_network() && to(&call.target));
    sent.filter(|call| call.begun >= begun && call.begun < ended).count()
}

fn appended(name: &str, calls: &[Call], own: SocketAddr, killed: f64) -> Follower {
    // Entries come on the connection to this node that brings the most; heartbeats have another one.
    let mut brought: BTreeMap<&str, u64> = BTreeMap::new();
    for call in calls.iter().filter(|call| call.is_read() && call.on_network() && call.ended < killed) {
        if has_end(&call.target, own) {
            *brought.entry(&call.target).or_default() += call.result;
        }
    }
    let appends = brought.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(connection, _)| connection);
    let mut follower = Follower { name: name.to_owned(), synced: 0, answered_before: 0, answers: 0 };
    follower.answers = sent(calls, (0.0, killed), |target| Some(target) == appends);
    for sync in calls.iter().filter(|call| call.is_sync() && call.on_log() && call.ended < killed) {
        let Some(between) = written_and_synced(calls, sync) else { continue };
        follower.synced += 1;
        follower.answered_before += sent(calls, between, |target| Some(target) == appends);
    }
    follower
}

/// `ends` are where this node and the other survivor listen: votes are asked for on connections to one of them.
fn voted(name: &str, calls: &[Call], ends: [SocketAddr; 2], killed: f64) -> (Vote, Vec<String>) {
    let mut vote = Vote { name: name.to_owned(), synced: 0, answered_before: 0 };
    let mut shown = Vec::new();
    let floors = calls.iter().filter(|call| call.is_sync() && call.on_floor() && call.begun > killed);
    for floor in floors {
        // The floor of an entry is synced by another thread, without a sync of the log before.
        let mut log =
            calls.iter().filter(|call| call.thread == floor.thread && call.is_sync() && call.on_log());
        let Some(log) = log.rfind(|call| call.begun > killed && call.ended <= floor.begun) else {
            continue;
        };
        let Some((begun, _)) = written_and_synced(calls, log) else { continue };
        vote.synced += 1;
        let survivors = |target: &str| ends.iter().any(|end| has_end(target, *end));
        let concerned = vote_connections(calls, (begun, floor.ended), survivors);
        let early = sent(calls, (begun, floor.ended), |target| {
            survivors(target) && (concerned.is_empty() || concerned.contains(&target))
        });
        vote.answered_before += early;
        if shown.is_empty() || early > 0 {
            shown.extend(timeline(calls, (begun - 0.002, floor.ended + 0.002)));
        }
    }
    (vote, shown)
}

/// Who waits for this vote: the connection that brought a message before it was written, and the one on which something
/// goes out when it is synced. Others, which are just being opened, have other things to say meanwhile. None if nothing
/// went out afterwards.
fn vote_connections(
    calls: &[Call],
    (begun, ended): (f64, f64),
    survivors: impl Fn(&str) -> bool,
) -> Vec<&str> {
    let told = |call: &&Call| call.is_write() && call.on_network() && survivors(&call.target);
    let Some(after) = calls.iter().filter(told).find(|call| call.begun >= ended) else { return Vec::new() };
    let asked = |call: &&Call| {
        call.is_read() && call.on_network() && survivors(&call.target) && call.result >= SMALLEST_REQUEST
    };
    let before = calls.iter().filter(asked).rfind(|call| call.ended <= begun);
    before.into_iter().chain([after]).map(|call| call.target.as_str()).collect()
}

/// Whether one end of a connection, `TCP:[HERE->THERE]`, is this one.
fn has_end(target: &str, end: SocketAddr) -> bool {
    let ends = target.trim_start_matches("TCP:[").trim_end_matches(']').split("->");
    ends.into_iter().any(|one| one == end.to_string())
}

/// What touched log, floor and network between two times, one line each.
fn timeline(calls: &[Call], (begun, ended): Asked) -> Vec<String> {
    let within = calls.iter().filter(|call| call.ended >= begun && call.begun <= ended);
    let shown = within.filter_map(|call| {
        let what = match () {
            () if call.on_log() && call.is_write() => format!("log written, {} bytes", call.result),
            () if call.on_log() && call.is_sync() => "log synced".to_owned(),
            () if call.on_floor() && call.is_write() => "floor written".to_owned(),
            () if call.on_floor() && call.is_sync() => "floor synced".to_owned(),
            () if call.on_network() && call.is_write() => {
                format!("sent {} bytes, {}", call.result, call.target)
            }
            () if call.on_network() && call.is_read() => {
                format!("got {} bytes, {}", call.result, call.target)
            }
            () => return None,
        };
        Some(format!("{:8.3} ms  {what}", (call.ended - begun) * 1e3))
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(thread: u32, at: [f64; 2], name: &str, target: &str) -> Call {
        let (name, target) = (name.to_owned(), target.to_owned());
        Call { thread, begun: at[0], ended: at[1], name, target, result: 10 }
    }

    const LOG: &str = "/data/db/000004.log";
    const APPENDS: &str = "TCP:[127.0.0.2:7400->127.0.0.1:512]";

    #[test]
    fn an_answer_before_the_sync_is_seen() {
        let own: SocketAddr = "127.0.0.2:7400".parse().unwrap();
        let came = call(1, [0.9, 1.0], "recvfrom", APPENDS);
        let written = call(2, [1.1, 1.2], "write", LOG);
        let synced = call(2, [1.3, 1.9], "fdatasync", LOG);
        let kept = [came.clone(), written.clone(), synced.clone(), call(1, [2.0, 2.1], "writev", APPENDS)];
        let follower = appended("m-2", &kept, own, 9.0);
        assert_eq!((follower.synced, follower.answered_before), (1, 0));
        let broken = [came, written, call(1, [1.4, 1.5], "writev", APPENDS), synced];
        assert_eq!(appended("m-2", &broken, own, 9.0).answered_before, 1);
    }

    #[test]
    fn a_vote_is_log_and_floor_by_one_thread() {
        let ends = ["127.0.0.2:7400", "127.0.0.3:7400"].map(|end| end.parse().unwrap());
        let calls = [
            call(2, [1.0, 1.1], "write", LOG),
            call(2, [1.1, 1.2], "fdatasync", LOG),
            call(2, [1.3, 1.4], "fdatasync", "/data/floor"),
            call(3, [5.0, 5.1], "fdatasync", "/data/floor"),
            call(1, [6.0, 6.1], "writev", "TCP:[127.0.0.2:7400->127.0.0.3:99]"),
        ];
        let (vote, timeline) = voted("m-2", &calls, ends, 0.5);
        assert_eq!((vote.synced, vote.answered_before), (1, 0));
        assert_eq!(timeline.len(), 3);
        let mut early = calls.to_vec();
        early[4] = call(1, [1.25, 1.26], "writev", "TCP:[127.0.0.2:7400->127.0.0.3:99]");
        assert_eq!(voted("m-2", &early, ends, 0.5).0.answered_before, 1);
        // What another connection says while it is being opened is no answer.
        let mut opening = calls.to_vec();
        opening.push(call(1, [1.25, 1.26], "writev", "TCP:[127.0.0.2:7400->127.0.0.3:100]"));
        opening.sort_by(|one, other| one.begun.total_cmp(&other.begun));
        assert_eq!(voted("m-2", &opening, ends, 0.5).0.answered_before, 0);
    }

    #[test]
    fn a_change_counts_the_nodes_that_synced_for_it() {
        let synced = |at: [f64; 2]| vec![call(2, at, "fdatasync", LOG)];
        let calls = [synced([1.1, 1.2]), synced([1.1, 1.3]), synced([1.1, 2.5])];
        assert_eq!(synced_on(&[(1.0, 2.0)], &calls), BTreeMap::from([(2, 1)]));
        assert_eq!(synced_on(&[(1.15, 2.0)], &calls), BTreeMap::from([(0, 1)]));
    }
}
