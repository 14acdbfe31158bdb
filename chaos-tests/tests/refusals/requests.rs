//! Requests that no program of ours sends: what is wrong in itself is refused by the field.

use quorate_chaos_tests::{
    Node, Stage,
    client::{admin_client, channel, request, runtime},
    wait::{self, PATIENCE, Seen},
};
use quorate_license::{ActivationKey, ComputerId, NodeKey, SignatureDomain};
use quorate_proto::{
    node::v1::{
        AnnounceRequest, IssueCertificateRequest, JoinRequest, RenewCertificateRequest,
        SignIntegrityKeyRequest, SignStatementRequest, cluster_service_client::ClusterServiceClient,
    },
    v1::{
        ActivateRequest, CheckRequest, CreateTokenRequest, GetLicenseRequest, RenameNodeRequest,
        ReportBuildRequest, RevokeTokenRequest, ShowLicenseRequest, StatusRequest, TransferLeaderRequest,
        WatchRequest, admin_service_client::AdminServiceClient, license_service_client::LicenseServiceClient,
    },
};
use tonic::{codegen::tokio_stream, transport::Channel};

use super::{
    caller::{self, Papers, answer, https_get, refusal},
    refused, single,
};

const DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

fn admin(node: &Node) -> AdminServiceClient<Channel> {
    admin_client(channel(&node.admin_socket))
}

pub(super) fn product(node: &Node) -> LicenseServiceClient<Channel> {
    LicenseServiceClient::new(channel(&node.socket))
}

#[test]
fn an_administrators_request_is_refused_by_the_field_that_is_wrong() {
    let stage = Stage::start(single).unwrap();
    let node = &stage.cluster.nodes[0];
    let own = stage.cluster.status().unwrap().nodes[0].id;
    let good = CreateTokenRequest { role: "spooler".to_owned(), ttl_seconds: 60, ..Default::default() };
    for (token, code) in [
        (CreateTokenRequest { role: String::new(), ..good.clone() }, "label_malformed"),
        (CreateTokenRequest { role: "printer".to_owned(), ..good.clone() }, "role_malformed"),
        (CreateTokenRequest { node_name: "No Name".to_owned(), ..good.clone() }, "node_name_malformed"),
        (CreateTokenRequest { request_id: vec![1], ..good.clone() }, "request_id_malformed"),
        (CreateTokenRequest { ttl_seconds: 0, ..good.clone() }, "ttl_out_of_range"),
        (
            CreateTokenRequest {
                role: String::new(),
                label: "anna".to_owned(),
                access: "owner".to_owned(),
                ..good.clone()
            },
            "access_malformed",
        ),
    ] {
        let mut admin = admin(node);
        let asked = answer(async move { admin.create_token(request(token, DEADLINE)).await });
        assert_eq!(refusal(asked), code);
    }
    let mut client = admin(node);
    let asked = answer(async move {
        client.revoke_token(request(RevokeTokenRequest { id: "hello".to_owned() }, DEADLINE)).await
    });
    assert_eq!(refusal(asked), "token_id_malformed");
    let mut client = admin(node);
    let asked = answer(async move {
        client.show_license(request(ShowLicenseRequest { tenant: "No Tenant".to_owned() }, DEADLINE)).await
    });
    assert_eq!(refusal(asked), "tenant_malformed");
    let mut client = admin(node);
    let asked = answer(async move {
        client.transfer_leader(request(TransferLeaderRequest { to: 4711 }, DEADLINE)).await
    });
    assert_eq!(refusal(asked), "leader_not_transferred");
    let mut client = admin(node);
    let asked = answer(async move {
        client
            .rename_node(request(RenameNodeRequest { node: own, name: "No Name".to_owned() }, DEADLINE))
            .await
    });
    assert_eq!(refusal(asked), "node_name_malformed");

    let key = || ActivationKey::from_entropy([7; 15]).expose().to_string();
    let good = ActivateRequest {
        kind: "activate".to_owned(),
        activation_key: key(),
        nodes: vec![own],
        ..Default::default()
    };
    for (asked, code) in [
        (ActivateRequest { kind: "rent".to_owned(), ..good.clone() }, "kind_malformed"),
        (ActivateRequest { kind: "trial".to_owned(), ..good.clone() }, "activation_key_unexpected"),
        (ActivateRequest { activation_key: "hello".to_owned(), ..good.clone() }, "activation_key_malformed"),
        (ActivateRequest { nodes: vec![own, own + 1], ..good.clone() }, "nodes_changed"),
        (
            ActivateRequest { kind: "transfer".to_owned(), activation_key: String::new(), ..good.clone() },
            "kind_not_supported",
        ),
        (ActivateRequest { kind: "upgrade".to_owned(), ..good.clone() }, "not_activated"),
    ] {
        let mut admin = admin(node);
        let asked = answer(async move {
            let mut events = admin.activate(request(asked, DEADLINE)).await?.into_inner();
            while events.message().await?.is_some() {}
            Ok(tonic::Response::new(()))
        });
        assert_eq!(refusal(asked), code);
    }
    stage.cluster.nothing_changed().unwrap();

    // HTTP.
    let token = stage.cluster.admin_token("anna").unwrap().token;
    let (status, body) = https_get(node, "/api/v1/printers", &token);
    assert!(status == 404 && body.contains("not_found"), "{status} {body}");
}

#[test]
fn the_products_request_is_refused_by_the_field_and_its_watches_are_bounded() {
    let mut stage = Stage::start(single).unwrap();
    let node = &mut stage.cluster.nodes[0];
    let mut client = product(node);
    let check = |tenant: &str, feature: &str| CheckRequest {
        tenant: tenant.to_owned(),
        feature: feature.to_owned(),
        quantity: 1,
    };
    for (asked, code) in
        [(check("No Tenant", ""), "invalid_tenant"), (check("", "No Feature"), "invalid_feature")]
    {
        let mut client = client.clone();
        assert_eq!(refusal(answer(async move { client.check(request(asked, DEADLINE)).await })), code);
    }
    let build = |build: &str| ReportBuildRequest { build: build.to_owned() };
    let wrong = client.report_build(request(build("no build"), DEADLINE));
    assert_eq!(refusal(answer(wrong)), "invalid_build");

    // There is no place for what the product tells.
    let place = node.data_dir.join("build");
    let _ = std::fs::remove_file(&place);
    std::fs::create_dir_all(place.join("in-the-way")).unwrap();
    let kept = client.report_build(request(build("7.2.1"), DEADLINE));
    assert_eq!(refusal(answer(kept)), "build_not_kept");

    // As many watches as there may be, and one more.
    let watches = runtime().block_on(async {
        let mut open = Vec::new();
        loop {
            // A connection carries so many streams at a time.
            let mut client = product(node);
            for _ in 0..200 {
                match client.watch(WatchRequest::default()).await {
                    Ok(stream) => open.push(stream.into_inner()),
                    Err(status) => return (open, status),
                }
            }
        }
    });
    let (mut open, status) = watches;
    assert_eq!((open.len(), refusal::<()>(Err(status)).as_str()), (1024, "too_many_watches"));
    let mut last = open.pop().unwrap();
    drop(open);
    // A node that stops tells those who watch.
    answer(async { Ok(tonic::Response::new(last.message().await?)) }).unwrap().unwrap();
    node.ask_to_stop().unwrap();
    let end = answer(async {
        while last.message().await?.is_some() {}
        Ok(tonic::Response::new(()))
    });
    assert_eq!(refusal(end), "shutting_down");
    let mut client = client.clone();
    let _ = answer(async move { client.get_license(request(GetLicenseRequest::default(), DEADLINE)).await });
}

#[test]
fn a_joiner_and_a_member_are_refused_by_the_field_that_is_wrong() {
    let mut stage = Stage::start(|plan| (plan.management, plan.spoolers) = (1, 1)).unwrap();
    let server = &stage.cluster.nodes[0];
    let join: quorate_chaos_tests::cluster::NewToken =
        server.cli(["token", "create", "--role", "spooler", "--name", "spooler-9"]).json().unwrap();
    let admin: quorate_chaos_tests::cluster::NewToken =
        server.cli(["token", "create", "--admin", "anna"]).json().unwrap();
    let key = NodeKey::from_seed([7; 32]);
    let signed = key.sign(SignatureDomain::Join, b"request").0.to_vec();
    let status = server.admin().status().unwrap();
    let good = JoinRequest {
        token: join.token.clone(),
        name: "spooler-2".to_owned(),
        node_key: key.public().0.to_vec().into(),
        computer_id: status.nodes[0].computer_id.clone(),
        certificate_request: "request".to_owned(),
        signature: signed.into(),
        ..Default::default()
    };
    // An administrator's token in the clothes of a join token.
    let (own, others): (Vec<&str>, Vec<&str>) =
        (join.token.split('-').collect(), admin.token.split('-').collect());
    let dressed = [own[0], others[1], others[2], own[3]].join("-");
    let text = |text: &str| text.to_owned();
    for (asked, code) in [
        (JoinRequest { token: text("hello"), ..good.clone() }, "token_malformed"),
        (JoinRequest { name: text("No Name"), ..good.clone() }, "node_name_malformed"),
        (JoinRequest { role: text("printer"), ..good.clone() }, "role_malformed"),
        (JoinRequest { node_key: vec![1].into(), ..good.clone() }, "node_key_malformed"),
        (JoinRequest { signature: vec![1].into(), ..good.clone() }, "signature_malformed"),
        (JoinRequest { computer_id: text("hello"), ..good.clone() }, "computer_id_malformed"),
        (JoinRequest { build: text("no build"), ..good.clone() }, "build_malformed"),
        (JoinRequest { replace: text("No Name"), ..good.clone() }, "replaced_node_name_malformed"),
        (JoinRequest { certificate_request: text("another"), ..good.clone() }, "signature_invalid"),
        (JoinRequest { os: "x".repeat(2000), ..good.clone() }, "join_request_malformed"),
        (JoinRequest { token: dressed, ..good.clone() }, "token_not_for_join"),
    ] {
        let mut node = ClusterServiceClient::new(caller::channel(server, None));
        let asked = answer(async move { node.join(request(asked, DEADLINE)).await });
        assert_eq!(refusal(asked), code);
    }
    let third = stage.plan.node(2).unwrap();
    let [server, spooler] = [&stage.cluster.nodes[0], &stage.cluster.nodes[1]];
    assert_eq!(refused(third.join(&join.token, server.raft).unwrap()).code, "token_name_mismatch");
    let open = stage.cluster.token(third.role, None).unwrap();
    assert_eq!(refused(third.join(&open.token, spooler.raft).unwrap()).code, "not_a_management_server");
    // A replacement can't wait to be accepted.
    let words = ["token", "create", "--role", third.role.as_str(), "--name", "spooler-2", "--approval"];
    let waiting: quorate_chaos_tests::cluster::NewToken = server.cli(words).json().unwrap();
    let replace = ["join", "--replace", "spooler-2", "--token-file", "-", "-o", "json", "--server"];
    let replace = third.cli(replace).args([server.raft.to_string()]);
    assert_eq!(refused(replace.stdin(waiting.token).run().unwrap()).code, "token_not_for_replacing");

    // With a member's certificate.
    let member = || ClusterServiceClient::new(caller::channel(server, Some(Papers::of(server))));
    let own = status.nodes[0].id;
    let statement = |kind: &str, tenant: &str, nonce: usize| SignStatementRequest {
        nonce: vec![7; nonce].into(),
        kind: kind.to_owned(),
        tenant: tenant.to_owned(),
    };
    for (asked, code) in [
        (statement("activate", "default", 3), "nonce_malformed"),
        (statement("rent", "default", 16), "kind_malformed"),
        (statement("activate", "No Tenant", 16), "tenant_malformed"),
        (statement("activate", "default", 16), "statement_refused"),
    ] {
        let mut node = member();
        assert_eq!(refusal(answer(async move { node.sign_statement(request(asked, DEADLINE)).await })), code);
    }
    let mut node = member();
    let asked = answer(async move {
        let asked = SignIntegrityKeyRequest { integrity_key: vec![7; 3].into() };
        node.sign_integrity_key(request(asked, DEADLINE)).await
    });
    assert_eq!(refusal(asked), "integrity_key_malformed");
    let mut node = member();
    let asked = answer(async move {
        let asked = AnnounceRequest { start_counter: 1, raft_address: "x".repeat(10_000) };
        node.announce(request(asked, DEADLINE)).await
    });
    assert_eq!(refusal(asked), "raft_address_malformed");
    let mut node = member();
    let asked = answer(async move {
        let asked = IssueCertificateRequest {
            node_id: own,
            certificate_request: "x".repeat(200_000),
            signature: vec![7; 64].into(),
            brought_certificate: String::new(),
        };
        node.issue_certificate(request(asked, DEADLINE)).await
    });
    assert_eq!(refusal(asked), "certificate_request_malformed");

    // A node has one stream of changes, and two while one breaks.
    let mut open = Vec::new();
    let refused = (0..16).find_map(|_| {
        let mut node = member();
        let stream = answer(async move { node.propose_stream(tokio_stream::pending()).await });
        stream.map(|stream| open.push(stream)).err()
    });
    assert_eq!(refusal::<()>(Err(refused.unwrap())), "too_many_streams");
    drop(open);

    // A certificate that does not count here, whatever token comes with it.
    let mut admin = admin_client(caller::channel(server, Some(Papers::of(server))));
    let asked = answer(admin.status(caller::saying(StatusRequest {}, &[("quorate-epoch", "7")])));
    assert_eq!(refusal(asked), "stranger");

    // A node that is to have a new certificate, and finds no Management Server that would sign one.
    let papers = Papers::of(server);
    stage.cluster.nodes[0].kill().unwrap();
    let mut spooler = ClusterServiceClient::new(caller::channel(&stage.cluster.nodes[1], Some(papers)));
    let asked =
        answer(
            async move { spooler.renew_certificate(request(RenewCertificateRequest {}, DEADLINE * 2)).await },
        );
    assert_eq!(refusal(asked), "certificate_not_issued");
}

#[test]
fn so_many_nodes_may_wait_to_be_accepted_and_two_of_one_name_are_told_apart() {
    let stage = Stage::start(single).unwrap();
    let server = &stage.cluster.nodes[0];
    let words = ["token", "create", "--role", "spooler", "--approval"];
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let waits = |name: &str| -> String {
        let token: quorate_chaos_tests::cluster::NewToken = server.cli(words).json().unwrap();
        let own = NodeKey::from_seed(rand::random());
        let mut computer: [u8; 21] = rand::random();
        computer[0] = 1;
        let asked = JoinRequest {
            token: token.token,
            name: name.to_owned(),
            node_key: own.public().0.to_vec().into(),
            computer_id: ComputerId::from_bytes(computer).unwrap().to_string(),
            signature: own.sign(SignatureDomain::Join, csr.as_bytes()).0.to_vec().into(),
            certificate_request: csr.clone(),
            agent_version: "0.1.0".to_owned(),
            feature_level: 99,
            raft_address: "127.0.0.1:7400".to_owned(),
            http_address: "127.0.0.1:7443".to_owned(),
            os: "Linux".to_owned(),
            kernel: "6".to_owned(),
            ..Default::default()
        };
        let mut node = ClusterServiceClient::new(caller::channel(server, None));
        refusal(answer(async move { node.join(request(asked, DEADLINE)).await }))
    };
    assert_eq!([waits("twin"), waits("twin")], ["join_pending", "join_pending"]);
    let accept = server.cli(["node", "accept", "twin", "-o", "json"]).run().unwrap();
    assert_eq!(refused(accept).code, "join_ambiguous");
    for number in 2..256 {
        assert_eq!(waits(&format!("node-{number}")), "join_pending");
    }
    assert_eq!(waits("one-more"), "too_many_pending_joins");
}

#[test]
fn strangers_who_ask_too_often_are_turned_away() {
    let stage = Stage::start(single).unwrap();
    let node = &stage.cluster.nodes[0];
    wait::until("a stranger to be turned away", PATIENCE, || {
        let (status, body) = https_get(node, "/api/v1/status", "qa1-nobody");
        let code = if status == 429 { "too_many_requests" } else { "token_invalid" };
        assert!(body.contains(code), "{status} {body}");
        Ok(Seen::when(status == 429, || body.clone()))
    })
    .unwrap();
}
