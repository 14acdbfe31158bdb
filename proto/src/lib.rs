//! Quorate's gRPC services: generated code.
//!
//! Generated types stay at the edges: faces and clients turn them into domain types at once.

mod secrets;

/// The faces: the product's and the administrators' services, and the integrity key's format.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("quorate.v1");
}

/// Between nodes.
pub mod node {
    /// Version 1.
    #[allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::allow_attributes_without_reason,
        reason = "generated"
    )]
    pub mod v1 {
        tonic::include_proto!("quorate.node.v1");
    }
}

/// The file descriptors of all services, for gRPC reflection.
pub const FILE_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
