//! The pure core of the state machine: the only way to change replicated state.

use quorate_license::Timestamp;

use crate::{
    audit,
    codec::CodecError,
    command::Command,
    digest::Digest,
    proposal::{Answer, Proposal, Revision},
    raft_types::EncodedProposal,
    state::{AnsweredRequest, CHANGES_LEVEL, Change, Clock, Only, State, keep_change, request, standings},
};

/// Applies log entries to the state. The same entries give the same state on every node.
#[derive(Debug, Clone, Default)]
pub struct Applier {
    state: State,
    digest: Digest,
}

/// This replica can't go on: it must stop and say why. Never the answer to a request.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The entry holds a proposal that this version can't read, though the feature level says it can.
    #[error("log entry {index} can't be read: {source}")]
    UnreadableEntry {
        /// The entry's index.
        index: u64,
        /// What is wrong with it.
        source: CodecError,
    },
    /// A row can't be encoded.
    #[error("a row of the state can't be encoded: {0}")]
    UnencodableRow(CodecError),
}

impl Applier {
    /// Goes on from a state that was read from disk or a snapshot.
    pub fn resume(state: State, digest: Digest) -> Self {
        Applier { state, digest }
    }

    /// The state as it is now.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The digest of the state, as of the last [`Applier::take_changes`].
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Applies the proposal of the log entry `index`.
    ///
    /// # Errors
    /// [`ApplyError::UnreadableEntry`].
    pub fn apply(&mut self, index: u64, proposal: &EncodedProposal) -> Result<Answer, ApplyError> {
        let proposal: Proposal =
            Proposal::decode(&proposal.0).map_err(|source| ApplyError::UnreadableEntry { index, source })?;
        if let Some(answered) = self.state.requests.get(&proposal.request) {
            return Ok(answered.answer.clone());
        }
        let now = self.state.time().max(proposal.time);
        if now != self.state.time() {
            self.state.clock.put(Only, Clock { time: now });
        }
        let changes_licensing = changes_licensing(&proposal.command);
        let before =
            (changes_licensing && self.state.reads(CHANGES_LEVEL)).then(|| standings(&self.state, now));
        let asked = audit::Asked::of(&self.state, proposal.asked_by, &proposal.command);
        let result = match asked.may(&self.state, now) {
            Ok(()) => proposal.command.apply(&mut self.state, now),
            Err(refusal) => Err(refusal),
        };
        if changes_licensing && result.is_ok() {
            let now = self.state.time();
            crate::state::refresh_reactivation(&mut self.state, now);
            if let Some(before) = before {
                keep_change(&mut self.state, index, &before);
            }
        }
        let epoch = self.state.cluster().map_or(0, |cluster| cluster.epoch.number);
        let answer = Answer { revision: Revision { epoch, index }, result };
        asked.record(&mut self.state, &answer, now);
        self.remember(index, &proposal.request, &answer, now);
        Ok(answer)
    }

    fn remember(&mut self, index: u64, request: &crate::RequestId, answer: &Answer, now: Timestamp) {
        for _ in 0..request::FORGET_AT_ONCE {
            let Some((&oldest, &forgotten)) = self.state.request_order.first() else { break };
            let answered = self.state.requests.get(&forgotten);
            let old = answered.is_none_or(|answered| now.ms_since(answered.at) > request::RETENTION_MS);
            let outdated = old && index.saturating_sub(oldest) > request::MIN_ENTRIES;
            if !outdated && self.state.requests.len() < request::MAX_REQUESTS {
                break;
            }
            self.state.request_order.remove(&oldest);
            self.state.requests.remove(&forgotten);
        }
        self.state.requests.put(*request, AnsweredRequest { answer: answer.clone(), at: now });
        self.state.request_order.put(index, *request);
    }

    /// The rows that were changed since the last call; the digest follows them.
    ///
    /// # Errors
    /// [`ApplyError::UnencodableRow`].
    pub fn take_changes(&mut self) -> Result<Vec<Change>, ApplyError> {
        let changes = self.state.take_changes().map_err(ApplyError::UnencodableRow)?;
        for change in &changes {
            self.digest.change(change);
        }
        Ok(changes)
    }
}

/// Whether a command can change what the license status depends on.
fn changes_licensing(command: &Command) -> bool {
    match command {
        Command::AdmitNode(_)
        | Command::ReportNode(_)
        | Command::ReportStart(_)
        | Command::RemoveNode(_)
        | Command::ReplaceNode(_)
        | Command::DecideJoin(_)
        | Command::InstallLicense(_) => true,
        Command::InitCluster(_)
        | Command::CreateToken(_)
        | Command::RevokeToken(_)
        | Command::BeginActivation(_)
        | Command::RecordRequest(_)
        | Command::CloseActivation(_)
        | Command::Tick(_)
        | Command::RaiseFeatureLevel(_)
        | Command::RenameNode(_)
        | Command::ReportCertificate(_)
        | Command::RotateCa(_)
        | Command::AdvanceCa(_)
        | Command::RequestJoin(_)
        | Command::SetTelemetry(_)
        | Command::AgreeTime(_)
        | Command::ConfirmTime(_) => false,
    }
}
