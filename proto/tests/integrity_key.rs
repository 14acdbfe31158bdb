//! The integrity key's published schema and the code that writes it are the same format.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use prost::Message;
use quorate_license::IntegrityKey;
use quorate_proto::v1;

fn golden() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../license/tests/golden/integrity_key.bin");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_published_schema_reads_what_the_code_writes_and_writes_the_same_bytes() {
    let bytes = golden();
    let published = v1::IntegrityKey::decode(bytes.as_slice()).unwrap();
    assert_eq!(published.encode_to_vec(), bytes, "a field that the schema does not know would be lost here");
    let key = IntegrityKey::from_bytes(&bytes).unwrap();
    assert_eq!(published.cluster_id, key.cluster_id.as_bytes());
    assert_eq!(published.nonce, key.nonce.as_bytes());
    assert_eq!(published.tenant, key.tenant.as_str());
    assert_eq!(published.nodes.len(), key.nodes.len());
    assert_eq!(published.signatures.len(), key.signatures.len());
}
