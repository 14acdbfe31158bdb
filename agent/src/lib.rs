//! The agent: one node of a cluster that keeps its license.
//!
//! ```text
//! main -> cli ─┬─> setup (init, join)      prepares the data directory
//!              ├─> app (serve)             builds and runs everything below
//!              └─> a node's AdminService   asks and changes
//!
//! api (gRPC, HTTP) -> service (use cases) -> cluster (Raft) -> store; net and pki carry them
//! ```
//!
//! A face decodes into domain types and calls a service; nothing calls backwards.

pub mod announce;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod data_dir;
pub mod durable_file;
pub mod failpoint;
pub mod host;
pub mod license_files;
pub mod metrics;
pub mod metrics_watch;
pub mod net;
pub mod now_and_then;
pub mod pki;
pub mod service;
pub mod setup;

/// The version of this release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
