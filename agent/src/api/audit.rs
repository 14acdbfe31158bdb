//! The audit as administrators' messages: which records are told, and how.

use quorate_license::Timestamp;
use quorate_proto::v1 as proto;
use quorate_raft_store::{State, audit::Actor, state::AuditRecord};

/// Records in one answer.
const MOST: usize = 1000;

/// The records that a request asks for.
pub(super) fn list(state: &State, asked: &proto::ListAuditRequest) -> proto::ListAuditResponse {
    let anchor = state.audit_anchor();
    let most = match asked.limit as usize {
        0 => MOST,
        limit => limit.min(MOST),
    };
    let fits = |record: &&AuditRecord| {
        let at = record.at.as_unix_ms();
        asked.since_ms.is_none_or(|since| at >= since)
            && asked.until_ms.is_none_or(|until| at < until)
            && record.who.contains(&asked.actor)
            && (asked.command.is_empty() || record.command == asked.command)
    };
    let from = asked.after.saturating_add(1);
    let mut records: Vec<&AuditRecord> = if asked.newest {
        let mut newest: Vec<&AuditRecord> = state.audit().values().filter(fits).collect();
        newest.drain(..newest.len().saturating_sub(most + 1));
        newest.reverse();
        newest
    } else {
        state.audit().starting_at(from).map(|(_, record)| record).filter(fits).take(most + 1).collect()
    };
    let more = records.len() > most;
    records.truncate(most);
    if asked.newest {
        records.reverse();
    }
    proto::ListAuditResponse {
        anchor_number: anchor.number,
        anchor_hash: anchor.hash.to_vec(),
        records: records.into_iter().map(record).collect(),
        more,
        cluster_id: state.cluster().map(|cluster| cluster.id.to_string()).unwrap_or_default(),
    }
}

fn record(record: &AuditRecord) -> proto::AuditRecord {
    let actor_detail = match record.actor {
        Actor::Local { uid: Some(uid) } => uid.to_string(),
        Actor::Token(id) | Actor::Joiner(id) => id.to_string(),
        Actor::Unstated | Actor::Node | Actor::Local { uid: None } => String::new(),
    };
    let particulars = record
        .particulars
        .iter()
        .map(|(name, value)| proto::AuditParticular { name: name.clone(), value: value.clone() });
    proto::AuditRecord {
        number: record.number,
        at_ms: Timestamp::as_unix_ms(record.at),
        epoch: record.revision.epoch,
        index: record.revision.index,
        actor: record.actor.as_str().to_owned(),
        actor_detail,
        who: record.who.clone(),
        node: record.node.0,
        node_name: record.node_name.clone(),
        face: record.face.as_str().to_owned(),
        address: record.address.clone(),
        command: record.command.clone(),
        particulars: particulars.collect(),
        refusal: record.refusal.clone(),
        hash: record.hash.to_vec(),
    }
}
