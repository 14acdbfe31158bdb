//! Keys of every usual kind, in the forms in which CAs hand them out.

use std::fs;

use quorate_chaos_tests::Stage;
use rcgen::KeyPair;

use super::{
    alone,
    organisation::{Organisation, configure, file, name_of, put},
    wait_until_shown,
};

/// What each node brings: the key for its file, and the same key as PKCS#8, which the organisation certifies.
fn keys() -> [[String; 2]; 4] {
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    [
        [
            include_str!("keys/rsa-2048.pkcs1.pem").to_owned(),
            include_str!("keys/rsa-2048.pkcs8.pem").to_owned(),
        ],
        [
            include_str!("keys/rsa-4096.pkcs8.pem").to_owned(),
            include_str!("keys/rsa-4096.pkcs8.pem").to_owned(),
        ],
        [include_str!("keys/p384.sec1.pem").to_owned(), include_str!("keys/p384.pkcs8.pem").to_owned()],
        [ed25519.clone(), ed25519],
    ]
}

#[test]
fn rsa_p384_and_ed25519_keys_carry_a_cluster() {
    let _alone = alone();
    let organisation = Organisation::new();
    let mut stage = Stage::prepare(|_| {}).unwrap();
    for (node, [brought, pkcs8]) in stage.cluster.nodes.iter_mut().zip(keys()) {
        let key = KeyPair::from_pem(&pkcs8).unwrap();
        fs::create_dir_all(file(node, "")).unwrap();
        put(&file(node, "tls.key"), &brought);
        put(&file(node, "tls.crt"), &organisation.certify(node, &key, &[&name_of(node)]));
        put(&file(node, "ca.crt"), &organisation.ca());
        configure(node, None);
    }
    stage.cluster.start().unwrap();
    wait_until_shown(&stage.cluster.nodes);
    let key = stage.portal.order().unwrap().activation_key;
    let serial = stage.cluster.activate(0, &key).unwrap().serial;
    stage.cluster.wait_for_serial(serial).unwrap();
    // The cluster's own certificates for these keys are renewed too.
    stage.cluster.nodes[0].cli(["cert", "rotate", "--all", "-o", "json"]).run().unwrap().success().unwrap();
    stage.cluster.wait_for_members(4).unwrap();
}
