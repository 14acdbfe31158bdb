//! Who is not believed: a man in the middle at join, older protocols, and keys that others may read.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    sync::{Arc, Mutex},
    time::Duration,
};

use quorate_chaos_tests::{
    Role, Stage,
    tls_server::{Reply, TlsServer},
    wait::PATIENCE,
};

/// A ClientHello of TLS 1.1 (RFC 4346, section 7.4.1.2), as a client that knows nothing newer sends it.
fn hello_of_tls_1_1() -> Vec<u8> {
    let version = [0x03, 0x02];
    let suites: [u8; 6] = [0xc0, 0x09, 0xc0, 0x13, 0x00, 0x2f];
    let mut body = version.to_vec();
    body.extend([0x5a; 32]);
    body.push(0);
    body.extend((suites.len() as u16).to_be_bytes());
    body.extend(suites);
    body.extend([1, 0]);
    let mut handshake = vec![1];
    handshake.extend(&(body.len() as u32).to_be_bytes()[1..]);
    handshake.extend(body);
    let mut record = vec![22, version[0], version[1]];
    record.extend((handshake.len() as u16).to_be_bytes());
    record.extend(handshake);
    record
}

/// What a port answers to these bytes before it closes the connection.
fn answer(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let closed = stream.read_to_end(&mut answer);
    let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    assert!(
        closed.is_ok() || closed.as_ref().is_err_and(reset),
        "{address} keeps the connection: {closed:?}"
    );
    answer
}

#[test]
fn a_man_in_the_middle_older_protocols_and_readable_keys_are_refused() {
    let _alone = super::alone();
    let mut stage = Stage::start(|plan| plan.spoolers = 0).unwrap();

    // A server of another CA gets nothing of a joiner, not even a request.
    let asked = Arc::new(Mutex::new(0));
    let counted = asked.clone();
    let address = SocketAddr::from((stage.plan.network.host(91), 7400));
    let middle = TlsServer::start(address, &stage.folder.path().join("middle"), move |_| {
        *counted.lock().unwrap() += 1;
        Reply::Nothing
    })
    .unwrap();
    let token = stage.cluster.token(Role::Management, None).unwrap();
    let joiner = stage.plan.node(3).unwrap();
    let refused = joiner.join(&token.token, middle.address).unwrap();
    assert_eq!(refused.refusal().unwrap().code, "ca_mismatch", "{refused:?}");
    assert_eq!(*asked.lock().unwrap(), 0, "the joiner has sent something");
    assert!(!refused.stderr.contains(&token.token));
    let listed = stage.cluster.nodes[0].admin().tokens().unwrap();
    assert_eq!(listed.iter().find(|one| one.id == token.id).unwrap().state, "open");

    // A protocol that is too old is answered by a fatal alert (handshake_failure, 40, or protocol_version, 70), plain
    // text by none of our words.
    let node = &stage.cluster.nodes[0];
    for port in [node.raft, node.http] {
        let alert = answer(port, &hello_of_tls_1_1());
        assert!(matches!(alert[..], [21, _, _, 0, 2, 2, 40 | 70]), "{port}: {alert:?}");
        for plain in [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let said = answer(port, plain);
            assert!(said.first().is_none_or(|first| *first == 21), "{port}: {said:?}");
        }
    }

    // A key that others may read: the node says which file and what repairs it.
    let node = &mut stage.cluster.nodes[2];
    node.stop().unwrap();
    for name in ["tls/node.pem", "keys/node", "keys/management"] {
        let path = node.data_dir.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let before = fs::read_to_string(node.log()).unwrap().len();
        node.serve().unwrap();
        assert!(!node.wait_end(PATIENCE).unwrap().success());
        node.stop().unwrap();
        let said = fs::read_to_string(node.log()).unwrap()[before..].to_owned();
        assert!(said.contains(&format!("chmod 600 {}", path.display())), "{said}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    node.serve().unwrap();
    stage.cluster.wait_for_members(3).unwrap();
}
