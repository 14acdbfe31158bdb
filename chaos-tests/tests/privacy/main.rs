//! Nothing leaves but what is shown: a cluster full of planted names, and the bytes that really reached the portal.
//!
//! The bytes are taken from a TLS server of the test's own and taken apart by hand: no code of the project reads
//! them here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod protobuf;

use std::{ffi::OsString, net::Ipv4Addr};

use quorate_chaos_tests::{
    Network, cli::Cli, fake_portal::Signer, files, stage::FakeStage, tls_server::Reply, tls_server::find,
};

use crate::protobuf::{Leaf, leaves};

const NODE: &str = "plantednode";
const HOST: &str = "plantedhost";
const USER: &str = "planteduser";
const PATH: &str = "plantedpath";

/// What must not be found, with a name for it.
struct Planted(Vec<(String, Vec<u8>)>);

impl Planted {
    fn text(&mut self, what: &str, text: &str) {
        self.0.push((what.to_owned(), text.as_bytes().to_vec()));
        self.0.push((format!("{what} in capitals"), text.to_uppercase().into_bytes()));
        let wide = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        self.0.push((format!("{what} as UTF-16"), wide(u16::to_le_bytes)));
        self.0.push((format!("{what} as UTF-16, big end first"), wide(u16::to_be_bytes)));
        self.0.push((
            format!("{what} in base64"),
            data_encoding::BASE64.encode(text.as_bytes()).trim_end_matches('=').into(),
        ));
        self.0
            .push((format!("{what} in hexadecimal"), data_encoding::HEXLOWER.encode(text.as_bytes()).into()));
    }

    fn bytes(&mut self, what: &str, bytes: &[u8]) {
        self.0.push((what.to_owned(), bytes.to_vec()));
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        self.0.push((format!("{what} backwards"), reversed));
    }

    fn found_in(&self, bytes: &[u8]) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(_, planted)| find(bytes, planted).is_some())
            .map(|(what, _)| what.as_str())
            .collect()
    }
}

/// A command that gives a program a host name of its own, where the system allows that.
fn with_host_name(name: &str) -> Option<Vec<OsString>> {
    let script = format!("hostname {name} && exec \"$@\"");
    let wrapper: Vec<OsString> =
        ["unshare", "--uts", "sh", "-c", &script, "sh"].into_iter().map(Into::into).collect();
    let answer = Cli::new(std::path::Path::new("hostname"), [] as [&str; 0]).wrapper(&wrapper).run().ok()?;
    (answer.stdout.trim() == name).then_some(wrapper)
}

/// Gives every node names that are easy to find again.
fn plant(stage: &mut FakeStage) -> Planted {
    let mut planted = Planted(Vec::new());
    for (index, node) in stage.cluster.nodes.iter_mut().enumerate() {
        let name = format!("{NODE}-{index}");
        node.name.clone_from(&name);
        node.set("node", "name", name);
        let host = format!("{HOST}-{index}");
        match with_host_name(&host) {
            Some(wrapper) => node.wrapper = wrapper,
            // Without the right to change it, the machine's own name must not be found either.
            None => planted.text(
                "this machine's name",
                files::read("/proc/sys/kernel/hostname".as_ref()).unwrap().trim(),
            ),
        }
        for variable in ["USER", "LOGNAME", "SUDO_USER", "HOSTNAME", "COMPUTERNAME"] {
            node.environment.push((variable.to_owned(), format!("{USER}-{HOST}").into()));
        }
        node.write_config().unwrap();

        let machine_id = files::read(&node.machine_id_file).unwrap().trim().to_owned();
        planted.text("a machine id", &machine_id);
        planted
            .bytes("a machine id's bytes", &data_encoding::HEXLOWER.decode(machine_id.as_bytes()).unwrap());
        planted.text("an address", &node.raft.ip().to_string());
        planted.text("an address with its port", &node.raft.to_string());
        planted.bytes("an address's bytes", &stage.plan.network.host(index as u8 + 1).octets());
    }
    for (what, text) in [("a node name", NODE), ("a host name", HOST), ("a user", USER), ("a path", PATH)] {
        planted.text(what, text);
    }
    // Ports 7400 and 7443 as two bytes would be found by chance; as text they would not.
    planted.text("a port", ":7400");
    planted
}

fn answer(signer: &Signer, key: &quorate_license::IntegrityKey) -> Reply {
    let claims = signer.claims(key);
    signer.sign(&claims).map_or(Reply::Nothing, |license_key| signer.reply(&claims, &license_key))
}

#[test]
fn the_integrity_key_holds_no_name_no_address_no_path_and_no_machine_id() {
    let mut stage = FakeStage::prepare(
        |plan| {
            plan.folder = plan.folder.join(PATH);
            plan.management = 2;
        },
        answer,
    )
    .unwrap();
    let planted = plant(&mut stage);
    stage.cluster.start().unwrap();
    // Otherwise nothing was planted, and nothing can be found.
    let seen = stage.cluster.status().unwrap();
    assert!(seen.nodes.iter().all(|node| node.name.starts_with(NODE)), "{seen:?}");

    let key = quorate_license::ActivationKey::from_entropy(rand::random()).expose().to_string();
    let activated = stage.cluster.activate(0, &key).unwrap();
    stage.cluster.wait_for_serial(activated.serial).unwrap();

    let asked = stage.portal.asked();
    assert_eq!(asked.len(), 1, "one request reached the portal");
    let (head, bytes) = (&asked[0].head, integrity_key_bytes(&asked[0].body));
    assert_eq!(planted.found_in(&bytes), [""; 0], "in the integrity key");
    assert_eq!(planted.found_in(&asked[0].body), [""; 0], "in the body");
    // The portal's own address is in the Host header, so the addresses are looked for beside it.
    let portal = stage.portal.link.url.trim_start_matches("https://").to_owned();
    assert_eq!(planted.found_in(head.replace(&portal, "").as_bytes()), [""; 0], "in the headers: {head}");

    // Every value in it is one that the published format names, of the length that it gives.
    let found = leaves(&bytes);
    let described = described();
    for Leaf { path, value } in &found {
        let rule = described.iter().find(|(known, _)| known == path);
        let (_, fits) = rule.unwrap_or_else(|| panic!("field {path:?} is not in the published format"));
        assert!(fits(value), "field {path:?}: {value:?}");
    }
    let nodes = found.iter().filter(|leaf| leaf.path == [8, 1, 1]).count();
    assert_eq!(nodes, 3, "all three nodes are in it");
    assert_eq!(found.iter().filter(|leaf| leaf.path == [16, 2]).count(), 2, "both Management Servers signed");
}

type Rule = (Vec<u32>, fn(&protobuf::Value) -> bool);

/// `proto/quorate/v1/integrity_key.proto`, written down once more.
fn described() -> Vec<Rule> {
    use protobuf::Value::{Bytes, Number};
    fn number(value: &protobuf::Value) -> bool {
        matches!(value, Number(_))
    }
    fn small(value: &protobuf::Value) -> bool {
        matches!(value, Number(0..=100))
    }
    fn length<const N: usize>(value: &protobuf::Value) -> bool {
        matches!(value, Bytes(bytes) if bytes.len() == N)
    }
    fn version(value: &protobuf::Value) -> bool {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+-".contains(byte);
        matches!(value, Bytes(bytes) if bytes.len() <= 64 && bytes.iter().all(plain))
    }
    fn tenant(value: &protobuf::Value) -> bool {
        matches!(value, Bytes(bytes) if bytes == b"default")
    }
    vec![
        (vec![1], small),
        (vec![2], small),
        (vec![3], length::<16>),
        (vec![4, 1], small),
        (vec![4, 2], length::<16>),
        (vec![5], number),
        (vec![6], tenant),
        (vec![7], number),
        (vec![8, 1, 1], number),
        (vec![8, 1, 2], small),
        (vec![8, 1, 3], length::<21>),
        (vec![8, 1, 4], version),
        (vec![8, 1, 5], version),
        (vec![8, 1, 6], length::<32>),
        (vec![8, 1, 7], small),
        (vec![8, 2], length::<64>),
        (vec![9], length::<15>),
        (vec![12], number),
        (vec![13], length::<16>),
        (vec![14], length::<16>),
        (vec![15], small),
        (vec![16, 1], number),
        (vec![16, 2], length::<64>),
    ]
}

/// The bytes of a body: as they are, or out of armoured text, by hand.
fn integrity_key_bytes(body: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(body) else { return body.to_vec() };
    if !text.contains("-----BEGIN") {
        return body.to_vec();
    }
    let lines = text.lines().map(str::trim).skip_while(|line| !line.starts_with("-----BEGIN")).skip(1);
    // The checksum's line begins with "=" and is followed by the end.
    let base64: String =
        lines.take_while(|line| !line.starts_with('=') && !line.starts_with("-----")).collect();
    data_encoding::BASE64.decode(base64.as_bytes()).expect("armour is base64")
}

#[test]
fn planted_things_are_found_where_they_are() {
    let mut planted = Planted(Vec::new());
    planted.text("a name", NODE);
    planted.bytes("an address", &Ipv4Addr::new(127, 9, 8, 7).octets());
    let network = Network::reserve().unwrap();
    assert!(planted.found_in(network.to_string().as_bytes()).is_empty());
    assert_eq!(planted.found_in(b"xx plantednode-1 xx"), ["a name"]);
    assert_eq!(planted.found_in(b"\0p\0l\0a\0n\0t\0e\0d\0n\0o\0d\0e"), ["a name as UTF-16, big end first"]);
    assert_eq!(planted.found_in(&[1, 7, 8, 9, 127, 1]), ["an address backwards"]);
}
