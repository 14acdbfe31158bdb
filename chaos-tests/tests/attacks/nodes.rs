//! What a certificate is good for: a Spooler Controller's whose host belongs to somebody else, another cluster's, a
//! self-made one, a removed node's; another epoch, another node's name, a request that is sent twice.

use quorate_chaos_tests::{Cluster, Node, Role, Stage, files};
use quorate_license::{NodeKey, SignatureDomain};
use quorate_proto::{
    node::v1::{
        Frame, IssueCertificateRequest, NodeStateRequest, PresenceRequest, Proposal, ProposeBatch,
        RenewCertificateRequest, SignIntegrityKeyRequest, SignStatementRequest, SnapshotChunk,
        cluster_service_client::ClusterServiceClient, proposal_answer::Result as Decided,
        raft_service_client::RaftServiceClient,
    },
    v1::{
        CreateTokenRequest, RemoveNodeRequest, StatusRequest, StatusResponse,
        admin_service_client::AdminServiceClient,
    },
};
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tonic::{
    Code, Status,
    codegen::tokio_stream::{Stream, iter},
    transport::Channel,
};

use crate::{
    audit, by_token,
    caller::{Papers, answer, channel, refusal, saying},
    records, refusal_code,
};

fn id(status: &StatusResponse, node: &Node) -> u64 {
    status.nodes.iter().find(|known| known.name == node.name).unwrap().id
}

/// What no attack may change: members, their roles, the epoch, who leads in which term, and the tokens.
fn standing(cluster: &Cluster) -> String {
    let status = cluster.status().unwrap();
    let nodes: Vec<String> =
        status.nodes.iter().map(|node| format!("{} {} {}", node.id, node.role, node.voter)).collect();
    let tokens: Vec<String> = cluster.nodes[0]
        .admin()
        .tokens()
        .unwrap()
        .iter()
        .map(|it| format!("{} {}", it.id, it.state))
        .collect();
    let term = cluster.nodes[0].admin().health().unwrap().term;
    format!("{nodes:?} {} {:?} {term} {tokens:?}", status.epoch_number, status.leader)
}

fn frame(record: &'static [u8]) -> Frame {
    Frame { record: record.into() }
}

/// Every call of Raft, by name, with what came of it: refused, all of them.
fn raft_calls(channel: &Channel) -> Vec<(&'static str, Status)> {
    let client = || RaftServiceClient::new(channel.clone());
    let mut calls = plain_raft_calls(channel);
    let mut take = |name, result: Result<(), Status>| calls.push((name, result.expect_err(name)));
    let appends = only(frame(records::APPEND));
    take("Append", answer(client().append(saying(appends, &[]))).map(drop));
    let chunk = SnapshotChunk { offer: records::SNAPSHOT_OFFER.into(), ..SnapshotChunk::default() };
    take("InstallSnapshot", answer(client().install_snapshot(saying(only(chunk), &[]))).map(drop));
    calls
}

/// The calls of Raft that have one message.
fn plain_raft_calls(channel: &Channel) -> Vec<(&'static str, Status)> {
    let client = || RaftServiceClient::new(channel.clone());
    let mut calls = Vec::new();
    let mut take = |name, result: Result<(), Status>| calls.push((name, result.expect_err(name)));
    take("Vote", answer(client().vote(saying(frame(records::VOTE), &[]))).map(drop));
    take("PreVote", answer(client().pre_vote(saying(frame(records::VOTE), &[]))).map(drop));
    take("Heartbeat", answer(client().heartbeat(saying(frame(records::HEARTBEAT), &[]))).map(drop));
    take(
        "TransferLeader",
        answer(client().transfer_leader(saying(frame(records::HAND_OVER), &[]))).map(drop),
    );
    calls
}

/// A stream of one message.
fn only<T: Send + 'static>(message: T) -> impl Stream<Item = T> + Send + 'static {
    iter([message])
}

/// Proposes on a stream, and gives what was decided, in order.
fn propose(channel: &Channel, proposals: Vec<Proposal>) -> Result<Vec<Decided>, Status> {
    let count = proposals.len();
    let batch = only(ProposeBatch { proposals });
    let mut client = ClusterServiceClient::new(channel.clone());
    let mut answers = answer(client.propose_stream(saying(batch, &[])))?;
    let mut decided = Vec::new();
    while decided.len() < count {
        let message = quorate_chaos_tests::client::runtime().block_on(answers.message())?;
        let Some(message) = message else { break };
        decided.extend(message.answers.into_iter().map(|one| (one.number, one.result.unwrap())));
    }
    decided.sort_by_key(|(number, _)| *number);
    Ok(decided.into_iter().map(|(_, decided)| decided).collect())
}

fn proposal(number: u64, request: [u8; 16], command: tonic::codegen::Bytes) -> Proposal {
    let request_id = request.to_vec().into();
    Proposal { number, request_id, command, ..Proposal::default() }
}

#[test]
fn a_rooted_spooler_controller_votes_appends_and_administers_nothing_and_mints_no_voter() {
    let mut stage = Stage::start(|plan| plan.spoolers = 1).unwrap();
    let cluster = &stage.cluster;
    let status = cluster.status().unwrap();
    let (victim, spooler) = (&cluster.nodes[cluster.leader().unwrap()], &cluster.nodes[3]);
    let (victim_id, spooler_id) = (id(&status, victim), id(&status, spooler));
    let before = standing(cluster);
    let channel = channel(victim, Some(Papers::of(spooler)));
    let mut node = ClusterServiceClient::new(channel.clone());

    // The certificate is good for what a Spooler Controller may.
    let presence = answer(node.presence(saying(PresenceRequest {}, &[]))).unwrap();
    assert!(presence.leads && presence.nodes.len() == 4, "{presence:?}");

    // Raft, the statements of others, the certificates of others.
    for (name, status) in raft_calls(&channel) {
        assert_eq!(status.code(), Code::PermissionDenied, "{name}: {status}");
        assert!(status.message().contains("a Spooler Controller can't"), "{name}: {status}");
    }
    let statement = SignStatementRequest {
        nonce: vec![7; 16].into(),
        kind: "activate".to_owned(),
        tenant: "default".to_owned(),
    };
    assert_eq!(refusal(answer(node.sign_statement(saying(statement, &[])))), "PermissionDenied");
    let key = SignIntegrityKeyRequest { integrity_key: vec![1; 64].into() };
    assert_eq!(refusal(answer(node.sign_integrity_key(saying(key, &[])))), "PermissionDenied");
    let renew = answer(node.renew_certificate(saying(RenewCertificateRequest {}, &[])));
    assert_eq!(refusal(renew), "PermissionDenied");

    // A certificate: of another node never, of its own as what it is, whatever the request names.
    let seed = files::read(&spooler.data_dir.join("keys/node")).unwrap();
    let seed: [u8; 32] = data_encoding::HEXLOWER.decode(seed.trim().as_bytes()).unwrap().try_into().unwrap();
    let node_key = NodeKey::from_seed(seed);
    let mut issue = |of: u64, named: Vec<SanType>| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = named;
        let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let message = format!("{of}\n{request}");
        let signature = node_key.sign(SignatureDomain::Certificate, message.as_bytes());
        let message = IssueCertificateRequest {
            node_id: of,
            certificate_request: request,
            signature: signature.as_bytes().to_vec().into(),
            ..Default::default()
        };
        answer(node.issue_certificate(saying(message, &[])))
    };
    assert_eq!(refusal(issue(victim_id, Vec::new())), "PermissionDenied");
    let management = format!("quorate://{}/1/management/{spooler_id}", status.cluster_id);
    let issued = issue(spooler_id, vec![SanType::URI(management.as_str().try_into().unwrap())]).unwrap();
    let issued = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    let holds = |words: &str| issued.windows(words.len()).any(|part| part == words.as_bytes());
    assert!(holds(&format!("/1/spooler/{spooler_id}")) && !holds("management"));

    // Changes, straight to the leader: an administrator, a voter, another node's report.
    for (request, (name, record)) in records::CHANGES.into_iter().enumerate() {
        let request_id = [100 + request as u8; 16];
        let decided = propose(&channel, vec![proposal(1, request_id, records::command(record))]).unwrap();
        let [Decided::Refused(reason)] = &decided[..] else { panic!("{name}: {decided:?}") };
        assert_eq!(*reason, format!("a Spooler Controller can't propose {name}"));
    }

    // Administration: with nothing but the certificate, and by vouching for somebody, as Management Servers may.
    let local = format!("local administrator on {}", victim.name);
    let told = records::local_administrator_of(victim_id);
    let told_of_itself = records::local_administrator_of(spooler_id);
    let mut admin = AdminServiceClient::new(channel.clone());
    for words in [
        &[][..],
        &[("quorate-on-behalf", local.as_str())],
        &[("quorate-on-behalf", local.as_str()), ("quorate-asked-by", told.as_str())],
        &[("quorate-on-behalf", local.as_str()), ("quorate-asked-by", told_of_itself.as_str())],
    ] {
        let token = CreateTokenRequest { label: "mine".to_owned(), ttl_seconds: 3600, ..Default::default() };
        assert_eq!(refusal(answer(admin.create_token(saying(token, words)))), "token_required");
        let voter =
            CreateTokenRequest { role: "management".to_owned(), ttl_seconds: 3600, ..Default::default() };
        assert_eq!(refusal(answer(admin.create_token(saying(voter, words)))), "token_required");
        let removal = RemoveNodeRequest { node: victim_id };
        assert_eq!(refusal(answer(admin.remove_node(saying(removal, words)))), "token_required");
        assert_eq!(refusal(answer(admin.status(saying(StatusRequest {}, words)))), "token_required");
    }
    for change in [
        &["token", "create", "--admin", "mine"][..],
        &["token", "create", "--role", "management"],
        &["node", "remove", "management-2", "--yes"],
        &["node", "accept", "spooler-1"],
        &["ca", "rotate", "--no-wait"],
        &["cluster", "transfer-leader"],
    ] {
        let refused = spooler.cli(change.iter().copied()).args(["-o", "json"]).run().unwrap();
        assert_eq!(refusal_code(&refused), "denied", "{change:?}");
    }
    assert_eq!(standing(cluster), before);

    // A token for a Spooler Controller that it got hold of makes no Management Server.
    let token = cluster.token(Role::Spooler, None).unwrap();
    let voter = stage.plan.node(4).unwrap();
    let server = victim.raft.to_string();
    let join = ["join", "--token-file", "-", "--server", &server, "--role", "management", "-o", "json"];
    let refused = voter.cli(join).stdin(&token.token).run().unwrap();
    assert_eq!(refusal_code(&refused), "token_role_mismatch");
    assert!(!voter.data_dir.join("keys/management").exists());
    assert_eq!(cluster.status().unwrap().nodes.iter().filter(|node| node.role == "management").count(), 3);

    // Its refused calls are counted where they were made, and it goes on as a member.
    let counted = victim.metric("quorate_api_calls_denied_total{face=\"node\"}").unwrap();
    assert!(counted >= 20.0, "{counted}");
    stage.cluster.wait_for_members(4).unwrap();
}

#[test]
fn strangers_other_epochs_and_removed_nodes_are_refused_by_name() {
    let mut stage = Stage::start(|plan| plan.spoolers = 1).unwrap();
    let mut plan = stage.plan.clone();
    plan.first_host = 50;
    (plan.management, plan.spoolers) = (1, 0);
    plan.folder = stage.folder.path().join("other-cluster");
    let mut other = plan.prepare().unwrap();
    other.found().unwrap();

    let cluster = &mut stage.cluster;
    let status = cluster.status().unwrap();
    let (cluster_id, own_id) = (status.cluster_id.clone(), id(&status, &cluster.nodes[0]));
    let before = standing(cluster);
    let state = |papers, words: &[(&'static str, &str)]| {
        let mut client = ClusterServiceClient::new(channel(&cluster.nodes[0], papers));
        answer(client.node_state(saying(NodeStateRequest::default(), words)))
    };

    // No certificate; another cluster's; one of an own CA with the names of a node of this cluster.
    let nameless = state(None, &[]).unwrap_err();
    assert_eq!(nameless.code(), Code::Unauthenticated, "{nameless}");
    assert!(nameless.message().contains("node certificate of the cluster"), "{nameless}");
    let alike = format!("quorate://{cluster_id}/1/management/{own_id}");
    for papers in [Papers::of(&other.nodes[0]), Papers::self_made(&alike)] {
        let refused = state(Some(papers), &[]).unwrap_err();
        // The alert may come before the call was sent or afterwards; a node's own words never do.
        let transport = [Code::Unavailable, Code::Cancelled, Code::Unknown];
        assert!(transport.contains(&refused.code()), "no connection comes about: {refused:?}");
        assert!(
            refused.metadata().is_empty() && std::error::Error::source(&refused).is_some(),
            "{refused:?}"
        );
    }
    for (_, status) in raft_calls(&channel(&cluster.nodes[0], None)) {
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    }

    // A member's certificate, and words of another epoch, another cluster, another sender or receiver.
    let member = || Some(Papers::of(&cluster.nodes[2]));
    let epoch = status.epoch_number.to_string();
    state(member(), &[("quorate-epoch", &epoch), ("quorate-cluster", &cluster_id)]).unwrap();
    let (other_id, own) = (other.status().unwrap().cluster_id, own_id.to_string());
    for (key, value, words) in [
        ("quorate-epoch", "0", "another cluster or epoch"),
        ("quorate-epoch", "2", "another cluster or epoch"),
        ("quorate-cluster", &other_id, "another cluster or epoch"),
        ("quorate-from", &own, "claims to be node"),
        ("quorate-to", "7", "the call is for node 7"),
    ] {
        let refused = state(member(), &[(key, value)]).unwrap_err();
        assert!(refused.message().contains(words), "{key}: {value}: {refused}");
        // A vote with such words is refused before anything of it is looked at.
        let mut raft = RaftServiceClient::new(channel(&cluster.nodes[0], member()));
        let refused = answer(raft.vote(saying(frame(records::VOTE), &[(key, value)]))).unwrap_err();
        assert!(refused.message().contains(words), "a vote, {key}: {value}: {refused}");
    }

    // A Management Server votes and appends for itself alone: these come from the first and the second node.
    let as_member = channel(&cluster.nodes[0], member());
    for (name, status) in plain_raft_calls(&as_member) {
        assert_eq!(status.code(), Code::PermissionDenied, "{name}: {status}");
        assert!(status.message().contains("the message claims to come from"), "{name}: {status}");
    }
    let mut raft = RaftServiceClient::new(as_member);
    let mut results = answer(raft.append(saying(only(frame(records::APPEND)), &[]))).unwrap();
    let result = quorate_chaos_tests::client::runtime().block_on(results.message());
    assert!(matches!(result, Ok(None)), "nothing was appended: {result:?}");
    assert_eq!(standing(cluster), before);

    // A removed node keeps its certificate, and gets nothing for it.
    let spooler = files::read(&cluster.nodes[3].data_dir.join("tls/node.pem")).unwrap();
    let kept = stage.folder.path().join("kept.pem");
    files::write(&kept, &spooler).unwrap();
    let remove = cluster.nodes[0].cli(["node", "remove", "spooler-1", "--yes"]);
    remove.run().unwrap().success().unwrap();
    for node in &cluster.nodes[..3] {
        let mut client = ClusterServiceClient::new(channel(node, Some(Papers::from_file(&kept))));
        let refused = answer(client.presence(saying(PresenceRequest {}, &[])));
        assert_eq!(refusal(refused), "node_removed", "{}", node.name);
    }
}

#[test]
fn a_request_that_is_sent_again_changes_nothing_and_gives_no_secret() {
    let stage = Stage::start(|plan| plan.spoolers = 0).unwrap();
    let cluster = &stage.cluster;
    let leader = cluster.leader().unwrap();
    let count = |command: &str| {
        audit(&cluster.nodes[leader]).iter().filter(|record| record["command"] == command).count()
    };

    // An administrator's: the second answer names the token and does not tell it.
    let before = count("CreateToken");
    let request = CreateTokenRequest {
        label: "anna".to_owned(),
        ttl_seconds: 3600,
        request_id: vec![9; 16],
        ..Default::default()
    };
    let first = cluster.nodes[0].admin().create_token(request.clone()).unwrap();
    for node in &cluster.nodes {
        let again = node.admin().create_token(request.clone()).unwrap();
        assert_eq!((again.id.as_str(), again.token.as_str()), (first.id.as_str(), ""), "{}", node.name);
    }
    assert_eq!(count("CreateToken"), before + 1);

    // A node's, on two streams, under one request id: answered twice, applied once.
    let papers = || Some(Papers::of(&cluster.nodes[(leader + 1) % 3]));
    let propose_again = || {
        let message = proposal(1, [77; 16], records::command(records::REVOKE));
        propose(&channel(&cluster.nodes[leader], papers()), vec![message]).unwrap()
    };
    let answers = [propose_again(), propose_again()];
    assert!(matches!(answers[0][..], [Decided::Answer(_)]), "{answers:?}");
    assert_eq!(answers[0], answers[1]);
    assert_eq!(count("RevokeToken"), 1);

    // What a revoked administrator has sent before is not done again by anybody who heard it.
    let node = &cluster.nodes[0];
    by_token(&stage, node, &first.token, &["token", "create", "--admin", "spare"]).success().unwrap();
    node.cli(["token", "revoke", &first.id]).run().unwrap().success().unwrap();
    let again = by_token(&stage, node, &first.token, &["token", "create", "--admin", "spare"]);
    assert_eq!(refusal_code(&again), "token_invalid");
}
