//! What is wrong with who is who: what is known of it, and what nodes' own words show. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use quorate_license::{ComputerId, NodeId, NodePublicKey, NodeRole, Timestamp};
use quorate_proto::node::v1::{IdentityAlarm, NodeStateResponse};
use quorate_raft_store::{
    State,
    state::{Node, StartId},
};
use tokio::time::Instant;

use super::LeaderView;
use crate::api::{ApiError, ErrorKind};

/// How long what a call has shown is kept.
const HOLD: Duration = Duration::from_secs(20);
/// More than this is not kept of what calls have shown.
const MOST_HEARD: usize = 256;
/// Longer texts of other nodes are cut off.
const MOST_CODE_CHARS: usize = 64;
const MOST_SUBJECT_CHARS: usize = 128;
const MOST_MESSAGE_CHARS: usize = 512;

/// The stable codes of what can be wrong with who is who.
pub(super) const ALARM_CODES: [&str; 6] = [
    "data_directory_cloned",
    "node_key_cloned",
    "computer_id_cloned",
    "node_rolled_back",
    "computer_id_changed",
    "node_key_changed",
];

/// Something is wrong with who is who.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// Stable: one of `ALARM_CODES`, or one of a newer agent.
    pub code: String,
    /// What it is about.
    pub subject: String,
    /// In words, everybody concerned by name.
    pub message: String,
}

impl Alarm {
    pub(super) fn new(code: &str, subject: impl ToString, message: String) -> Self {
        Alarm { code: code.to_owned(), subject: subject.to_string(), message }
    }

    /// For people, the code in front.
    pub fn words(&self) -> String {
        format!("{}: {}", self.code, self.message)
    }

    /// The refusal of whatever can't be while it lasts; none if there is no alarm.
    pub fn refusal(alarms: &[Alarm]) -> Option<ApiError> {
        let first = alarms.first()?;
        let messages: Vec<&str> = alarms.iter().map(|alarm| alarm.message.as_str()).collect();
        Some(ApiError::new(
            ErrorKind::Refused,
            &first.code,
            format!("{}. Nothing was sent to the License Portal", messages.join("; ")),
            alarm_hint(&first.code),
        ))
    }
}

/// What to do about an alarm.
pub(super) fn alarm_hint(code: &str) -> &'static str {
    match code {
        "computer_id_changed" => {
            "if it is the same node on purpose, restart it once with `quorate serve --accept-computer-id`; otherwise \
             give the host its old machine id back"
        }
        "computer_id_cloned" => {
            "give the copy a machine id of its own: remove /etc/machine-id and /var/lib/dbus/machine-id, set them up \
             anew (systemd-machine-id-setup), and start it again"
        }
        "node_key_cloned" | "node_key_changed" => {
            "stop the node whose key is not its own, move its data directory away and run `quorate join --replace NAME`"
        }
        "node_rolled_back" => {
            "stop the node, move its data directory away and run `quorate join --replace NAME` on the same computer"
        }
        _ => "stop one of the two; it is forgotten within a minute, then ask again",
    }
}

impl From<&Alarm> for IdentityAlarm {
    fn from(alarm: &Alarm) -> Self {
        let Alarm { code, subject, message } = alarm.clone();
        IdentityAlarm { code, subject, message }
    }
}

/// What a node tells of what it has found. Only a Management Server's word counts: what a Spooler Controller invents must
/// stop no activation. Bounded in number and length, whoever tells.
pub(super) fn told_by(role: NodeRole, alarms: Vec<IdentityAlarm>) -> impl Iterator<Item = Alarm> {
    let most = if role == NodeRole::Management { MOST_HEARD } else { 0 };
    let short = |text: String, most: usize| match text.char_indices().nth(most) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    };
    alarms.into_iter().take(most).map(move |alarm| Alarm {
        code: short(alarm.code, MOST_CODE_CHARS),
        subject: short(alarm.subject, MOST_SUBJECT_CHARS),
        message: short(alarm.message, MOST_MESSAGE_CHARS),
    })
}

/// What a node has told of who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) start: StartId,
    pub(super) computer_id: ComputerId,
    pub(super) key: NodePublicKey,
    pub(super) address: String,
    pub(super) since: Timestamp,
    pub(super) answers: u64,
    pub(super) last_log_index: u64,
}

impl Told {
    /// None for an agent that tells nothing of it.
    pub(super) fn read(response: &NodeStateResponse) -> Option<Told> {
        Some(Told {
            start: response.start_id.parse().ok()?,
            computer_id: response.computer_id.parse().ok()?,
            key: NodePublicKey(response.node_key.as_ref().try_into().ok()?),
            address: response.raft_address.clone(),
            since: Timestamp::from_unix_ms(response.started_at_ms),
            answers: response.answers,
            last_log_index: response.last_log_index,
        })
    }
}

/// How far a node had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reached {
    /// Committed entries that it has acknowledged.
    acknowledged: u64,
    /// The same, one round ago.
    before: u64,
    /// Of this start, the most answers that it had given.
    answers: Option<(StartId, u64)>,
    /// This start was seen to go back.
    went_back: Option<StartId>,
}

/// What this node knows of who is who.
#[derive(Default)]
pub(super) struct Sightings {
    /// The start of each node that was looked at and let in.
    let_in: BTreeMap<NodeId, StartId>,
    /// What calls have shown, and when the last time.
    heard: BTreeMap<(String, String), (Alarm, Instant)>,
    /// How far the nodes had come, as this node knows from the times when it led.
    reached: BTreeMap<NodeId, Reached>,
    /// What the last round has shown; empty on a node that does not lead.
    seen: Vec<Alarm>,
}

impl Sightings {
    /// Whether this start of a node was looked at and let in.
    pub(super) fn was_let_in(&self, node: NodeId, start: StartId) -> bool {
        self.let_in.get(&node) == Some(&start)
    }

    /// Lets this start of a node in.
    pub(super) fn let_in(&mut self, node: NodeId, start: StartId) {
        self.let_in.insert(node, start);
    }

    /// The committed entries that a node has acknowledged, as far as this node knows.
    pub(super) fn acknowledged(&self, node: NodeId) -> u64 {
        self.reached.get(&node).map_or(0, |reached| reached.acknowledged)
    }

    /// Keeps what a call has shown.
    pub(super) fn note(&mut self, alarm: Alarm, now: Instant) {
        let key = (alarm.code.clone(), alarm.subject.clone());
        if self.heard.len() < MOST_HEARD || self.heard.contains_key(&key) {
            self.heard.insert(key, (alarm, now));
        }
    }

    /// What calls have shown lately.
    pub(super) fn heard(&mut self, now: Instant) -> Vec<Alarm> {
        self.heard.retain(|_, (_, at)| now.duration_since(*at) < HOLD);
        self.heard.values().map(|(alarm, _)| alarm.clone()).collect()
    }

    /// All that is known.
    pub(super) fn alarms(&mut self, now: Instant) -> Vec<Alarm> {
        let heard = self.heard(now);
        merged(heard.into_iter().chain(self.seen.iter().cloned()))
    }

    /// Looks at what nodes have told, as the leader does with every round.
    pub(super) fn look(
        &mut self,
        state: &State,
        leader: Option<&LeaderView>,
        committed: u64,
        told: &BTreeMap<NodeId, Told>,
    ) {
        let Some(leader) = leader else {
            self.seen.clear();
            return;
        };
        for (id, member) in &leader.members {
            let reached = self.reached.entry(*id).or_default();
            reached.before = reached.acknowledged;
            reached.acknowledged = reached.acknowledged.max(member.matched.unwrap_or(0).min(committed));
        }
        self.reached.retain(|id, _| state.nodes().get(id).is_some());
        self.let_in.retain(|id, _| state.nodes().get(id).is_some());
        for (id, told) in told {
            let reached = self.reached.entry(*id).or_default();
            match reached.answers {
                Some((start, answers)) if start == told.start && told.answers < answers => {
                    reached.went_back = Some(start);
                }
                _ => reached.answers = Some((told.start, told.answers)),
            }
        }
        self.seen = compare(state, told, Some(&self.reached));
    }
}

pub(super) fn merged(alarms: impl IntoIterator<Item = Alarm>) -> Vec<Alarm> {
    let mut keys = BTreeSet::new();
    let mut alarms: Vec<Alarm> =
        alarms.into_iter().filter(|alarm| keys.insert((alarm.code.clone(), alarm.subject.clone()))).collect();
    alarms.sort();
    alarms
}

pub(super) fn cloned_directory(row: &Node, holder: &Told, address: &str) -> Alarm {
    let message = format!(
        "the data directory of node {} is used by two processes: one at {} since {}, another at {address}",
        row.name, holder.address, holder.since
    );
    Alarm::new("data_directory_cloned", &row.name, message)
}

/// What is wrong with who is who, by what the nodes themselves tell.
pub(super) fn compare(
    state: &State,
    told: &BTreeMap<NodeId, Told>,
    reached: Option<&BTreeMap<NodeId, Reached>>,
) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    let members = || told.iter().filter_map(|(id, told)| Some((state.nodes().get(id)?, told)));
    let mut computers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut keys: BTreeMap<[u8; 32], Vec<String>> = BTreeMap::new();
    for (row, told) in members() {
        let holder = format!("node {} at {} since {}", row.name, told.address, told.since);
        computers.entry(told.computer_id.to_string()).or_default().push(holder.clone());
        keys.entry(told.key.0).or_default().push(holder);
    }
    for (computer, holders) in computers.iter().filter(|(_, holders)| holders.len() > 1) {
        let message = format!("the computer ID {computer} is held by {}", holders.join(" and by "));
        alarms.push(Alarm::new("computer_id_cloned", computer, message));
    }
    for (key, holders) in keys.iter().filter(|(_, holders)| holders.len() > 1) {
        let key = data_encoding::HEXLOWER.encode(&key[..8]);
        let message = format!("the node key {key}... is held by {}", holders.join(" and by "));
        alarms.push(Alarm::new("node_key_cloned", key, message));
    }
    for (row, told) in members() {
        let name = &row.name;
        let alone = |holders: Option<&Vec<String>>| holders.is_some_and(|holders| holders.len() == 1);
        if told.computer_id != row.computer_id && alone(computers.get(&told.computer_id.to_string())) {
            let message = format!(
                "the computer ID of node {name} was {} and is {} now",
                row.computer_id, told.computer_id
            );
            alarms.push(Alarm::new("computer_id_changed", name, message));
        }
        if told.key != row.key && alone(keys.get(&told.key.0)) {
            let message =
                format!("node {name} at {} holds another node key than it joined with", told.address);
            alarms.push(Alarm::new("node_key_changed", name, message));
        }
        let Some(reached) = reached.and_then(|all| all.get(&row.id)) else { continue };
        if reached.went_back == Some(told.start) {
            let message = format!(
                "node {name} at {} has gone back in time while it ran: its machine was set back to a snapshot, or is \
                 there twice",
                told.address
            );
            alarms.push(Alarm::new("node_rolled_back", name, message));
        } else if told.last_log_index < reached.before {
            let message = format!(
                "the log of node {name} ends at entry {}, and the node has acknowledged entry {}: it was rolled back",
                told.last_log_index, reached.before
            );
            alarms.push(Alarm::new("node_rolled_back", name, message));
        }
    }
    merged(alarms)
}

#[cfg(test)]
#[path = "alarms_tests.rs"]
mod tests;
