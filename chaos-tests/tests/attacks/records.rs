//! Records as nodes write them, from the golden files of the store: what somebody with a node's certificate sends.

use tonic::codegen::Bytes;

macro_rules! golden {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../raft-store/tests/golden/", $name))
    };
}

/// Raft's messages.
pub(crate) const VOTE: &[u8] = golden!("wire/vote.bin");
pub(crate) const APPEND: &[u8] = golden!("wire/append.bin");
pub(crate) const HEARTBEAT: &[u8] = golden!("wire/append.heartbeat.bin");
pub(crate) const HAND_OVER: &[u8] = golden!("wire/hand_over.bin");
pub(crate) const SNAPSHOT_OFFER: &[u8] = golden!("wire/snapshot_offer.bin");

/// Changes that a Spooler Controller would like to make, each in a proposal. The first makes an administrator, the
/// second a voter, the last one speaks for another node.
pub(crate) const CHANGES: [(&str, &[u8]); 10] = [
    ("CreateToken", golden!("proposal/CreateToken.admin.bin")),
    ("AdmitNode", golden!("proposal/AdmitNode.bin")),
    ("DecideJoin", golden!("proposal/DecideJoin.bin")),
    ("RequestJoin", golden!("proposal/RequestJoin.bin")),
    ("ReplaceNode", golden!("proposal/ReplaceNode.bin")),
    ("RemoveNode", golden!("proposal/RemoveNode.bin")),
    ("RenameNode", golden!("proposal/RenameNode.bin")),
    ("RotateCa", golden!("proposal/RotateCa.bin")),
    ("InstallLicense", golden!("proposal/InstallLicense.bin")),
    ("ReportNode", golden!("proposal/ReportNode.bin")),
];

/// A change that only has to be well-formed.
pub(crate) const REVOKE: &[u8] = golden!("proposal/RevokeToken.bin");

/// The command's record within a proposal's: behind the version byte a request id (a mark and 16 bytes) and a time (a
/// mark and 8 bytes) are left out.
pub(crate) fn command(proposal: &[u8]) -> Bytes {
    assert_eq!((proposal[0], proposal[1], proposal[18]), (1, 254, 253), "another form of proposals");
    [&proposal[..1], &proposal[27..]].concat().into()
}

/// Who asked, as one node tells another: somebody on the admin socket of `node`.
pub(crate) fn local_administrator_of(node: u64) -> String {
    let record = [&[1, 2, 0, 253][..], &node.to_le_bytes(), &[1, 0]].concat();
    data_encoding::HEXLOWER.encode(&record)
}
