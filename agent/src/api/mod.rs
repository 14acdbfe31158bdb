//! The faces: gRPC between nodes, for administrators and for the product; the operations port.
//!
//! A face decodes into domain types, asks a service, and encodes the answer. It decides nothing.

pub mod access;
mod activations;
mod admin;
mod admin_wire;
mod audit;
mod auth;
mod bearer;
mod certificates;
mod cluster;
mod error;
pub mod http;
mod joins;
pub mod license;
pub mod ops;
mod relay;
mod throttle;
mod time;
mod tokens;
mod watch;

pub use admin::AdminApi;
pub(crate) use auth::removed;
pub use auth::{Access, Asked, Caller, NodeCaller, NodeGate, OwnStart, addressed, vetting};
pub use cluster::{ClusterApi, read_join_request};
pub use error::{ApiError, ErrorKind, StatusParts, status_parts};
pub use throttle::Throttle;
