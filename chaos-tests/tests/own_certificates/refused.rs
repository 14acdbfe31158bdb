//! Whoever shows less than both certificates for one key, or others than its own.

use quorate_chaos_tests::{
    Node, Role,
    client::{request, runtime},
    files,
};
use quorate_proto::{
    node::v1::{
        Frame, PresenceRequest, Proposal, ProposeBatch, cluster_service_client::ClusterServiceClient,
        proposal_answer::Result as Decided, raft_service_client::RaftServiceClient,
    },
    v1::{RemoveNodeRequest, admin_service_client::AdminServiceClient},
};
use rcgen::KeyPair;
use tonic::{Code, codegen::tokio_stream::iter, transport::Channel};

use crate::{
    Organisation, alone, brought,
    caller::{Papers, answer, channel, refusal, saying},
    configure, file, json, name_of, organisation, records,
};

/// What somebody shows who has a node's key: these certificates, one after the other.
fn papers(node: &Node, certificates: &[&str], key: &str) -> Papers {
    let text = certificates.iter().chain([&key]).map(|text| format!("{}\n", text.trim())).collect::<String>();
    let path = file(node, "shown.pem");
    files::write(&path, text).unwrap();
    Papers::from_file(&path)
}

fn read(path: std::path::PathBuf) -> String {
    files::read(&path).unwrap()
}

fn presence(to: &Node, papers: Papers) -> Result<(), tonic::Status> {
    let mut client = ClusterServiceClient::new(channel(to, Some(papers)));
    answer(client.presence(saying(PresenceRequest {}, &[]))).map(drop)
}

/// Votes, appends, changes the membership.
fn reaches_for_more(channel: &Channel, victim: u64) -> Vec<String> {
    let mut raft = RaftServiceClient::new(channel.clone());
    let frame = |record: &'static [u8]| Frame { record: record.into() };
    let mut said = vec![
        answer(raft.vote(saying(frame(records::VOTE), &[]))).map(drop),
        answer(raft.append(saying(iter([frame(records::APPEND)]), &[]))).map(drop),
        answer(raft.heartbeat(saying(frame(records::HEARTBEAT), &[]))).map(drop),
    ];
    let mut admin = AdminServiceClient::new(channel.clone());
    said.push(answer(admin.remove_node(saying(RemoveNodeRequest { node: victim }, &[]))).map(drop));
    said.into_iter().map(|result| result.unwrap_err().to_string()).collect()
}

#[test]
fn whoever_shows_less_than_both_certificates_is_refused_by_name() {
    let _alone = alone();
    let (ours, theirs) = (Organisation::new(), Organisation::new());
    let mut stage = brought(&ours);
    let cluster = &stage.cluster;
    let (victim, spooler) = (&cluster.nodes[cluster.leader().unwrap()], &cluster.nodes[3]);
    let status = cluster.status().unwrap();
    let victim_id = status.nodes.iter().find(|node| node.name == victim.name).unwrap().id;
    let key = read(file(spooler, "tls.key"));
    let brings = read(file(spooler, "tls.crt"));
    let beside = read(spooler.data_dir.join("tls/beside.crt"));
    let pair = KeyPair::from_pem(&key).unwrap();

    // Both of its own: it is a Spooler Controller, and no more.
    presence(victim, papers(spooler, &[&brings, &beside], &key)).unwrap();
    let rooted = channel(victim, Some(papers(spooler, &[&brings, &beside], &key)));
    let said = reaches_for_more(&rooted, victim_id);
    assert!(said[..3].iter().all(|said| said.contains("a Spooler Controller can't")), "{said:?}");
    assert!(said[3].contains("administrator's token"), "{said:?}");
    let (_, remove) = records::CHANGES.into_iter().find(|(name, _)| *name == "RemoveNode").unwrap();
    let request_id = vec![7; 16].into();
    let proposal =
        Proposal { number: 1, request_id, command: records::command(remove), ..Proposal::default() };
    let batch = iter([ProposeBatch { proposals: vec![proposal] }]);
    let mut stream = answer(ClusterServiceClient::new(rooted).propose_stream(saying(batch, &[]))).unwrap();
    let decided = runtime().block_on(stream.message()).unwrap().unwrap().answers.remove(0).result.unwrap();
    assert!(
        matches!(&decided, Decided::Refused(said) if said == "a Spooler Controller can't propose RemoveNode"),
        "{decided:?}"
    );

    // One that the organisation has certified as a Management Server, or under another node's name, is not that.
    let promoted = ours.certify(spooler, &pair, &["quorate://corp.example.com/management/spooler-1"]);
    let other = ours.certify(spooler, &pair, &[&name_of(victim)]);
    let nameless = ours.certify(spooler, &pair, &[]);
    let foreign = theirs.certify(spooler, &pair, &[&name_of(spooler)]);
    for (certificate, code) in [
        (&promoted, "certificate_names_other_node"),
        (&other, "certificate_names_other_node"),
        (&nameless, "certificate_names_no_node"),
        (&foreign, "certificate_of_other_ca"),
    ] {
        let shown = papers(spooler, &[certificate, &beside], &key);
        assert_eq!(refusal(presence(victim, shown)), code);
        let shown = channel(victim, Some(papers(spooler, &[certificate, &beside], &key)));
        let mut raft = RaftServiceClient::new(shown);
        let vote = answer(
            raft.vote(request(Frame { record: records::VOTE.into() }, std::time::Duration::from_secs(10))),
        );
        assert_eq!(refusal(vote), code);
    }
    // The cluster's certificate alone: of the key that is brought, and of the one that lies in the data directory.
    let alone = presence(victim, papers(spooler, &[&beside], &key)).unwrap_err();
    assert_eq!(quorate_chaos_tests::client::stable_code(&alone).unwrap(), "certificate_not_brought");
    assert!(alone.message().contains("spooler-1"), "{alone}");
    let own = presence(victim, Papers::of(spooler));
    assert_eq!(refusal(own), "certificate_not_brought");
    // The organisation's alone, and beside the cluster's certificate for a key that somebody else has: no handshake.
    let mine = KeyPair::generate().unwrap();
    let minted = ours.certify(victim, &mine, &[&name_of(victim)]);
    for shown in [&[minted.as_str()][..], &[minted.as_str(), beside.as_str()]] {
        let refused = presence(victim, papers(spooler, shown, &mine.serialize_pem())).unwrap_err();
        let transport = [Code::Unavailable, Code::Cancelled, Code::Unknown];
        assert!(transport.contains(&refused.code()) && refused.metadata().is_empty(), "{refused:?}");
    }

    // At the join: without one, with another node's, with one of another CA.
    let mut late = stage.plan.node(4).unwrap();
    let server = victim.raft;
    let token = cluster.token(Role::Spooler, None).unwrap().token;
    let code = |late: &Node| late.join(&token, server).unwrap().refusal().unwrap().code;
    assert_eq!(code(&late), "certificate_not_brought");
    ours.bring_as(&late, &[&name_of(spooler)]);
    configure(&mut late, None);
    assert_eq!(code(&late), "certificate_names_other_node", "it looks itself");
    let management = format!("quorate://corp.example.com/management/{}", late.name);
    ours.bring_as(&late, &[&management]);
    assert_eq!(code(&late), "certificate_names_other_node", "the server looks at the role");
    theirs.bring(&late);
    let refused = late.join(&token, server).unwrap().refusal().unwrap();
    assert_eq!(refused.code, "ca_mismatch", "{refused:?}");
    assert!(refused.message.contains("tls.ca_file"), "{refused:?}");
    organisation::put(&file(&late, "ca.crt"), &format!("{}{}", ours.ca(), theirs.ca()));
    assert_eq!(code(&late), "certificate_of_other_ca");
    ours.bring(&late);
    late.join(&token, server).unwrap().success().unwrap();
    late.serve().unwrap();
    stage.cluster.nodes.push(late);
    stage.cluster.wait_for_members(5).unwrap();
    let listed = json(&stage.cluster.nodes[0], &["cert", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 5, "{listed}");
}
