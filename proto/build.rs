//! Generates the gRPC code. The compiler of .proto files is a Rust library: nothing to install.

use std::error::Error;

const FILES: [&str; 5] = [
    "quorate/v1/integrity_key.proto",
    "quorate/v1/license_service.proto",
    "quorate/v1/admin_service.proto",
    "quorate/node/v1/raft.proto",
    "quorate/node/v1/cluster.proto",
];

/// These carry a secret and print without it: `src/secrets.rs`.
const WITH_SECRETS: [&str; 6] = [
    ".quorate.node.v1.JoinRequest",
    ".quorate.node.v1.JoinResponse",
    ".quorate.node.v1.SignIntegrityKeyRequest",
    ".quorate.v1.ActivateRequest",
    ".quorate.v1.CreateTokenResponse",
    ".quorate.v1.OfflineRequest",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=quorate");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    tonic_prost_build::configure()
        .bytes(".quorate.node.v1")
        .skip_debug(WITH_SECRETS)
        .compile_fds(descriptors)?;
    Ok(())
}
