//! The faces: gRPC between nodes, for administrators and for the product; the operations port.
//!
//! A face decodes into domain types, asks a service, and encodes the answer. It decides nothing.

pub mod access;
mod admin;
mod admin_wire;
mod audit;
mod auth;
mod cluster;
mod error;
pub mod http;
pub mod license;
pub mod ops;
mod relay;

pub use admin::AdminApi;
pub(crate) use auth::removed;
pub use auth::{Access, Caller, NodeCaller, NodeGate, OwnStart, addressed};
pub use cluster::ClusterApi;
pub use error::{ApiError, ErrorKind, StatusParts, status_parts};
