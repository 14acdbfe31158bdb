//! What must be there: built from the notes of the children, and compared with what is.

use std::collections::BTreeMap;

use openraft::{RaftLogReader, storage::RaftLogStorage};
use quorate_license::NodeId;
use quorate_raft_store::{
    Applier, Digest,
    disk::Store,
    raft_types::{Entry, EntryPayload, Vote},
};

use crate::entries::entry;

/// What a store has promised.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    seed: u64,
    /// The terms of the entries that were handed over for an index, the newest last.
    handed_over: BTreeMap<u64, Vec<u64>>,
    /// One behind the last acknowledged index.
    acknowledged: u64,
    /// The highest vote that was acknowledged, and one that was handed over after it.
    vote: Option<Vote>,
    /// The term of every entry that was applied, and answered: the history.
    history: Vec<u64>,
    /// A snapshot that may have been installed: term, from, to.
    installing: Option<(u64, u64, u64)>,
    /// One behind the last index that may be purged.
    purgeable: u64,
    /// The history's state at some points, to go on from.
    replays: BTreeMap<u64, Applier>,
    /// Acknowledged entries so far, in all rounds.
    pub(crate) acknowledgements: u64,
    /// One behind the last entry that was applied, and so answered.
    answered: u64,
    /// One behind the last entry whose effect was written.
    written: u64,
}

/// What is lost with the processes' memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process: what it wrote is there.
    Process,
    /// The machine: what was not synced may be gone.
    Power,
}

impl Model {
    pub(crate) fn new(seed: u64) -> Self {
        Model {
            seed,
            handed_over: BTreeMap::new(),
            acknowledged: 0,
            vote: None,
            history: Vec::new(),
            installing: None,
            purgeable: 0,
            replays: BTreeMap::from([(0, Applier::default())]),
            acknowledgements: 0,
            answered: 0,
            written: 0,
        }
    }

    /// Follows a note of a child.
    ///
    /// # Errors
    /// What was violated, if the note tells of less than was promised.
    pub(crate) fn follow(&mut self, note: &str) -> Result<(), String> {
        let mut fields = note.split(' ');
        let kind = fields.next().unwrap();
        let fields: Vec<&str> = fields.collect();
        let number = |at: usize| -> u64 { fields[at].parse().unwrap() };
        match kind {
            "b" => {
                for index in number(1)..=number(2) {
                    self.handed_over.entry(index).or_default().push(number(0));
                }
            }
            "l" => {
                for index in number(1)..=number(2) {
                    self.check_term(index, number(0))?;
                }
            }
            "R" => self.restarted(number(0), number(1))?,
            "A" => {
                let end = number(0) + 1;
                self.acknowledgements += end.saturating_sub(self.acknowledged);
                self.acknowledged = end;
            }
            "V" => {
                let (term, node) = (number(0), NodeId(number(1)));
                let committed = fields[2] == "true";
                self.vote =
                    Some(if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) });
            }
            "t" => self.truncated(number(0) + 1),
            "p" => {
                self.extend_history(number(0) + 1);
                self.answered = number(0) + 1;
            }
            "P" => self.written = number(0) + 1,
            "i" => self.installing = Some((number(0), number(1), number(2))),
            "I" => {
                self.take_installed();
                (self.answered, self.written) = (number(0) + 1, number(0) + 1);
            }
            "x" => self.purgeable = self.purgeable.max(number(0) + 1),
            _ => {}
        }
        Ok(())
    }

    /// A child has opened the store, and counts what it found as acknowledged.
    fn restarted(&mut self, end: u64, applied: u64) -> Result<(), String> {
        if self.installing.is_some_and(|(_, _, to)| applied == to + 1) {
            self.take_installed();
        }
        self.installing = None;
        if end.max(applied) < self.acknowledged {
            return Err(format!(
                "a log that ends before {end} was found, {} were acknowledged",
                self.acknowledged
            ));
        }
        self.handed_over.retain(|index, _| *index < end);
        self.acknowledged = end;
        self.extend_history(applied);
        (self.answered, self.written) = (applied, applied);
        Ok(())
    }

    /// What was applied up to `end` is history: the acknowledged entries.
    fn extend_history(&mut self, end: u64) {
        for index in self.history.len() as u64..end {
            let term = self.handed_over.get(&index).and_then(|terms| terms.last().copied());
            self.history.push(term.unwrap_or(u64::MAX));
        }
    }

    /// What follows is gone: a child that came back with less applied than was answered takes it for not
    /// committed.
    fn truncated(&mut self, end: u64) {
        self.acknowledged = self.acknowledged.min(end);
        self.answered = self.answered.min(end);
        self.history.truncate(end as usize);
        self.replays.split_off(&(end + 1));
    }

    fn take_installed(&mut self) {
        if let Some((term, from, to)) = self.installing.take() {
            self.history.truncate(from as usize);
            self.history.resize(to as usize + 1, term);
            // What the log still holds up to there is as it was, until it is purged.
            self.acknowledged = to + 1;
            self.purgeable = to + 1;
        }
    }

    /// Compares a store that was just opened with what was promised.
    ///
    /// # Errors
    /// What was violated.
    pub(crate) async fn check(&mut self, store: &mut Store, crash: Crash) -> Result<(), String> {
        let view = store.views.current();
        let applied = view.applied.map_or(0, |id| id.index() + 1);
        if let Some((_, _, to)) = self.installing
            && applied == to + 1
        {
            self.take_installed();
        }
        if crash == Crash::Process && applied < self.written {
            return Err(format!("{applied} entries are applied, the effect of {} was written", self.written));
        }
        if self.answered > self.acknowledged {
            return Err(format!(
                "{} entries were answered, and {} acknowledged",
                self.answered, self.acknowledged
            ));
        }
        // What was applied was acknowledged, even if nobody was told that it was applied.
        if applied > self.history.len() as u64 {
            if applied > self.acknowledged {
                return Err(format!(
                    "{applied} entries are applied, {} were acknowledged",
                    self.acknowledged
                ));
            }
            self.extend_history(applied);
        }
        self.check_vote(store).await?;
        self.check_log(store, applied).await?;
        let expected = self.replay(applied);
        if view.digest != expected {
            return Err(format!(
                "the state after {applied} entries is {}, a replay gives {expected}",
                view.digest
            ));
        }
        Ok(())
    }

    async fn check_vote(&self, store: &mut Store) -> Result<(), String> {
        let found = store.log.read_vote().await.map_err(|error| error.to_string())?;
        match self.vote {
            Some(promised) if found.is_none_or(|found| found < promised) => {
                Err(format!("the vote is {found:?}, {promised} was acknowledged"))
            }
            _ => Ok(()),
        }
    }

    async fn check_log(&mut self, store: &mut Store, applied: u64) -> Result<(), String> {
        let state = store.log.get_log_state().await.map_err(|error| error.to_string())?;
        let begin = state.last_purged_log_id.map_or(0, |id| id.index() + 1);
        let end = state.last_log_id.map_or(0, |id| id.index() + 1);
        if end.max(applied) < self.acknowledged {
            return Err(format!(
                "the log ends before {end}, {} entries were acknowledged",
                self.acknowledged
            ));
        }
        if begin > self.purgeable.max(applied) {
            return Err(format!("the log begins at {begin}, nobody purged behind {}", self.purgeable));
        }
        let entries = store.log.try_get_log_entries(begin..end).await.map_err(|error| error.to_string())?;
        if entries.len() as u64 != end - begin {
            return Err(format!("the log holds {} entries of {begin}..{end}", entries.len()));
        }
        for found in entries {
            self.check_entry(&found)?;
        }
        Ok(())
    }

    fn check_entry(&mut self, found: &Entry) -> Result<(), String> {
        let (index, term) = (found.log_id.index(), found.log_id.committed_leader_id().term);
        self.check_term(index, term)?;
        let expected = entry(self.seed, term, index);
        if bytes(found) != bytes(&expected) {
            return Err(format!("entry {index} of term {term} has another content"));
        }
        Ok(())
    }

    fn check_term(&mut self, index: u64, term: u64) -> Result<(), String> {
        let terms = self.handed_over.get(&index).map_or(&[][..], Vec::as_slice);
        let acknowledged = index < self.acknowledged;
        if acknowledged && terms.last() != Some(&term) || !terms.contains(&term) {
            return Err(format!("entry {index} is of term {term}, handed over were those of {terms:?}"));
        }
        // Of several, this one is there: a later acknowledgement means it.
        self.handed_over.insert(index, vec![term]);
        Ok(())
    }

    /// The digest of the state after the first `end` entries of the history.
    fn replay(&mut self, end: u64) -> Digest {
        let (at, applier) = self.replays.range(..=end).next_back().map(|(at, it)| (*at, it.clone())).unwrap();
        let mut applier = applier;
        for index in at..end {
            let entry = entry(self.seed, self.history[index as usize], index);
            if let EntryPayload::Normal(proposal) = entry.payload {
                applier.apply(index, &proposal).unwrap();
                applier.take_changes().unwrap();
            }
        }
        let digest = applier.digest();
        self.replays.split_off(&end);
        self.replays.insert(end, applier);
        digest
    }
}

fn bytes(entry: &Entry) -> Vec<u8> {
    quorate_raft_store::codec::encode(&quorate_raft_store::records::EntryRecord::from(entry)).unwrap()
}
