//! The leader's end of the stream that carries another node's changes.
//!
//! One message is one call to Raft, so its changes share a sync and a message to every follower. The
//! next message is taken up while earlier ones are still on their way; answers go back together as
//! they are there. All of it is driven by the stream itself: there is no task in between.

use std::{sync::Arc, time::Instant};

use futures::{Stream, StreamExt, stream, stream::BoxStream};
use openraft::{errors::ClientWriteError, raft::WriteResult};
use quorate_license::{NodeId, NodeRole, Timestamp};
use quorate_proto::node::v1::{
    AnswerBatch, AskAgain, NoRoom as NoRoomMessage, Proposal as ProposalMessage, ProposalAnswer,
    ProposeBatch, proposal_answer,
};
use quorate_raft_store::{
    Answer, Command, Proposal, RequestId, State,
    audit::AskedBy,
    codec,
    raft_types::{EncodedProposal, TypeConfig},
};
use tonic::Status;

use super::{
    Cluster,
    chunks::{Bounds, chunks},
    lane::Attempt,
    propose::{MAX_COMMAND_BYTES, tells_asker},
    room::NoRoom,
};
use crate::api::NodeCaller;

/// Messages of one stream that may be on their way through Raft at once; the next is read afterwards.
const BATCHES_UNDER_WAY: usize = 64;
/// Answers in one message.
const ANSWERS: Bounds = Bounds { items: 512, bytes: 256 << 10 };
/// What a Spooler Controller may say of itself.
const MAX_REPORT_BYTES: usize = 4 << 10;
/// What may be told of who asked.
const MAX_ASKER_BYTES: usize = 1 << 10;

impl Cluster {
    /// Takes up another node's changes and gives their answers, until the stream ends or this node
    /// stops. What was taken up by then is answered.
    ///
    /// # Errors
    /// The node has too many such streams already.
    pub fn take_proposals<S>(
        self: Arc<Self>,
        caller: NodeCaller,
        batches: S,
    ) -> Result<BoxStream<'static, Result<AnswerBatch, Status>>, Status>
    where
        S: Stream<Item = Result<ProposeBatch, Status>> + Send + 'static,
    {
        let place = self.members.stream(caller)?;
        let stop = self.stop.clone();
        let answers = batches
            .take_while(|batch| std::future::ready(batch.is_ok()))
            .filter_map(|batch| std::future::ready(batch.ok()))
            .take_until(stop.cancelled_owned())
            .then(move |batch| {
                let cluster = self.clone();
                async move { cluster.take_batch(caller, batch).await }
            })
            .flatten_unordered(BATCHES_UNDER_WAY);
        let answers = chunks(answers.boxed(), ANSWERS, answer_bytes);
        Ok(answers
            .map(move |answers| {
                let _taken = &place;
                Ok(AnswerBatch { answers })
            })
            .boxed())
    }

    /// Proposes one message's changes at once; their answers come in the order of the log.
    async fn take_batch(
        &self,
        caller: NodeCaller,
        batch: ProposeBatch,
    ) -> BoxStream<'static, ProposalAnswer> {
        if !self.leads() {
            let leader = self.leader();
            let ask_again = move |proposal: ProposalMessage| {
                message(proposal.number, Attempt::Again { leader, unknown: None })
            };
            return stream::iter(batch.proposals).map(ask_again).boxed();
        }
        let (mut refused, mut numbers, mut proposals) = (Vec::new(), Vec::new(), Vec::new());
        let (view, now) = (self.view(), self.clock.now());
        for proposal in batch.proposals {
            let number = proposal.number;
            let counted = self.members.report(caller, Instant::now());
            let attempt = match counted.and_then(|()| permitted(caller, &view.state, now, &proposal)) {
                Ok(permitted) => match self.lacks_room_for(&proposal.command) {
                    None => {
                        numbers.push(number);
                        proposals.push(permitted);
                        continue;
                    }
                    Some(no_room) => Attempt::NoRoom(no_room),
                },
                Err(reason) => Attempt::Refused(reason),
            };
            refused.push(message(number, attempt));
        }
        let refused = stream::iter(refused);
        if proposals.is_empty() {
            return refused.boxed();
        }
        match self.raft.client_write_many(proposals).await {
            Ok(results) => {
                let answers = stream::iter(numbers).zip(results).map(|(number, result)| {
                    let attempt = match result {
                        Ok(result) => written(result),
                        Err(fatal) => Attempt::unknown(fatal.to_string()),
                    };
                    message(number, attempt)
                });
                refused.chain(answers).boxed()
            }
            Err(fatal) => {
                let reason = fatal.to_string();
                let answers = stream::iter(numbers)
                    .map(move |number| message(number, Attempt::unknown(reason.clone())));
                refused.chain(answers).boxed()
            }
        }
    }
}

/// Whether `caller` may propose this; the proposal with the time `now` if so, otherwise why not.
fn permitted(
    caller: NodeCaller,
    state: &State,
    now: Timestamp,
    asked: &ProposalMessage,
) -> Result<EncodedProposal, String> {
    let ProposalMessage { request_id, command: record, asked_by, .. } = asked;
    if record.len() > MAX_COMMAND_BYTES {
        return Err(format!("a change of {} bytes; {MAX_COMMAND_BYTES} are taken", record.len()));
    }
    let command: Command = codec::decode(record).map_err(|error| error.to_string())?;
    let id = <[u8; 16]>::try_from(&request_id[..]).map_err(|_| "the request id is not 16 bytes long")?;
    // A Spooler Controller speaks for itself alone.
    if caller.role != NodeRole::Management {
        match &command {
            report if report.reports() == Some(caller.node) && record.len() <= MAX_REPORT_BYTES => {}
            other => return Err(format!("a Spooler Controller can't propose {}", other.name())),
        }
    }
    // A Management Server vouches for who asked on it; older ones say nothing.
    let mut asked_by: Option<AskedBy> = match &asked_by[..] {
        [] => None,
        record if record.len() <= MAX_ASKER_BYTES => {
            Some(codec::decode(record).map_err(|error| error.to_string())?)
        }
        record => {
            return Err(format!("who asks is told in {} bytes; {MAX_ASKER_BYTES} are taken", record.len()));
        }
    };
    if caller.role != NodeRole::Management {
        asked_by = Some(AskedBy::node(caller.node));
    }
    let asked_by = asked_by.filter(|_| tells_asker(state, &command));
    let request = RequestId(u128::from_be_bytes(id));
    Proposal { request, time: now, asked_by, command }.encode().map_err(|error| error.to_string())
}

/// What Raft says of one change.
fn written(result: WriteResult<TypeConfig>) -> Attempt {
    match result {
        Ok(written) => Attempt::Answered(Box::new(written.response)),
        // Refused before it came into the log.
        Err(ClientWriteError::ForwardToLeader(forward)) => {
            Attempt::Again { leader: forward.leader_id, unknown: None }
        }
        // It was in the log when another node became leader; whether that one has it is not known.
        Err(ClientWriteError::LogEntryDiscarded(forward)) => {
            Attempt::Again { leader: forward.leader_id, unknown: Some("the leader changed".to_owned()) }
        }
        Err(error) => Attempt::unknown(error.to_string()),
    }
}

fn message(number: u64, attempt: Attempt) -> ProposalAnswer {
    let again = |leader: Option<NodeId>, unknown: Option<String>| {
        let leader = leader.map_or(0, |leader| leader.0);
        proposal_answer::Result::Again(AskAgain { leader, unknown: unknown.unwrap_or_default() })
    };
    let result = match attempt {
        Attempt::Answered(answer) => match codec::encode::<Answer>(&answer) {
            Ok(record) => proposal_answer::Result::Answer(record.into()),
            Err(error) => again(None, Some(error.to_string())),
        },
        Attempt::Again { leader, unknown } => again(leader, unknown),
        Attempt::Refused(reason) => proposal_answer::Result::Refused(reason),
        Attempt::NoRoom(NoRoom { node, free_bytes, needed_bytes }) => {
            proposal_answer::Result::NoRoom(NoRoomMessage { node, free_bytes, needed_bytes })
        }
    };
    ProposalAnswer { number, result: Some(result) }
}

fn answer_bytes(answer: &ProposalAnswer) -> usize {
    let result = match &answer.result {
        Some(proposal_answer::Result::Answer(record)) => record.len(),
        Some(proposal_answer::Result::Again(again)) => again.unknown.len(),
        Some(proposal_answer::Result::Refused(reason)) => reason.len(),
        Some(proposal_answer::Result::NoRoom(no_room)) => no_room.node.len() + 16,
        None => 0,
    };
    result + 24
}

#[cfg(test)]
mod tests {
    use quorate_license::{ComputerId, ComputerIdSource, MachineId};
    use quorate_raft_store::{
        command::{AdvanceCa, ReportCertificate, ReportNode, Tick},
        state::{Addresses, HostReport},
    };
    use tonic::codegen::Bytes;

    use super::*;

    fn asked(request_id: &[u8], command: Bytes) -> ProposalMessage {
        let request_id = Bytes::copy_from_slice(request_id);
        ProposalMessage { number: 1, request_id, command, asked_by: Bytes::new() }
    }

    #[test]
    fn a_spooler_controller_proposes_nothing_but_its_own_small_report() {
        let may = |role, command: &Command| {
            let record = Bytes::from(codec::encode(command).unwrap());
            let caller = NodeCaller { node: NodeId(4), role };
            permitted(caller, &State::default(), Timestamp::ZERO, &asked(&[1; 16], record)).map(|_| ())
        };
        let report = |node, agent_version: String| {
            let machine_id = MachineId::parse(&"07".repeat(16)).unwrap();
            Command::ReportNode(ReportNode {
                node: NodeId(node),
                computer_id: ComputerId::derive(&machine_id, ComputerIdSource::Host),
                build: None,
                agent_version,
                feature_level: 1,
                addresses: Addresses { raft: "a:1".to_owned(), http: "a:2".to_owned() },
                host: HostReport {
                    os: String::new(),
                    kernel: String::new(),
                    booted_at: Timestamp::from_unix_ms(0),
                    hardware: None,
                },
                start_counter: 1,
            })
        };
        let certificate = |node| {
            Command::ReportCertificate(ReportCertificate {
                node: NodeId(node),
                serial: "5f".to_owned(),
                issuer: None,
                not_before: Timestamp::from_unix_ms(0),
                not_after: Timestamp::from_unix_ms(1),
                trusts: Vec::new(),
            })
        };
        let (spooler, management) = (NodeRole::Spooler, NodeRole::Management);
        may(spooler, &report(4, String::new())).unwrap();
        may(spooler, &certificate(4)).unwrap();
        may(management, &report(5, "x".repeat(MAX_REPORT_BYTES))).unwrap();
        may(management, &Command::Tick(Tick {})).unwrap();
        for (command, what) in [
            (report(5, String::new()), "ReportNode"),
            (certificate(5), "ReportCertificate"),
            (Command::AdvanceCa(AdvanceCa { version: 1 }), "AdvanceCa"),
            (report(4, "x".repeat(MAX_REPORT_BYTES)), "ReportNode"),
            (Command::Tick(Tick {}), "Tick"),
        ] {
            assert_eq!(
                may(spooler, &command).unwrap_err(),
                format!("a Spooler Controller can't propose {what}")
            );
        }
    }

    #[test]
    fn what_can_not_be_read_never_reaches_the_log() {
        let caller = NodeCaller { node: NodeId(1), role: NodeRole::Management };
        let tick = Bytes::from(codec::encode(&Command::Tick(Tick {})).unwrap());
        let state = State::default();
        let may = |id: &[u8], command| permitted(caller, &state, Timestamp::ZERO, &asked(id, command));
        may(&[1; 16], tick.clone()).unwrap();
        assert!(may(&[1; 15], tick.clone()).unwrap_err().contains("16 bytes"));
        may(&[1; 16], Bytes::from_static(b"\x01\xff\xff")).unwrap_err();
        let large = Bytes::from(vec![1; MAX_COMMAND_BYTES + 1]);
        assert!(may(&[1; 16], large).unwrap_err().contains("are taken"));
        for asker in [Bytes::from_static(b"\x01\xff"), Bytes::from(vec![1; MAX_ASKER_BYTES + 1])] {
            let message = ProposalMessage { asked_by: asker, ..asked(&[1; 16], tick.clone()) };
            permitted(caller, &state, Timestamp::ZERO, &message).unwrap_err();
        }
    }

    #[test]
    fn who_asked_is_a_management_servers_word_and_a_spooler_controller_speaks_for_itself() {
        use quorate_raft_store::audit::{Actor, Face};
        let state = crate::service::licensing::samples::initialized();
        let asker = AskedBy {
            actor: Actor::Local { uid: Some(0) },
            node: NodeId(1),
            face: Face::AdminSocket,
            address: None,
        };
        let tick = Bytes::from(codec::encode(&Command::Tick(Tick {})).unwrap());
        let told = |role, asked_by: Bytes| {
            let message = ProposalMessage { asked_by, ..asked(&[1; 16], tick.clone()) };
            let proposal =
                permitted(NodeCaller { node: NodeId(4), role }, &state, Timestamp::ZERO, &message)?;
            Ok::<_, String>(Proposal::decode(&proposal.0).unwrap().asked_by)
        };
        let record = Bytes::from(codec::encode(&asker).unwrap());
        assert_eq!(told(NodeRole::Management, record).unwrap(), Some(asker));
        assert_eq!(told(NodeRole::Management, Bytes::new()).unwrap(), None);
    }
}
