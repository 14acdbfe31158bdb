//! The vendor's License Portal: products, customers, orders with activation keys; activations of
//! clusters; signing of license keys.
//!
//! ```text
//! serve:  server (listeners, TLS) -> http (routes) -> activation (use case) -> store (SQLite, PostgreSQL)
//!                                                                          \-> keys (signing)
//! admin:  cli -> admin (commands) -> store, keys
//! ```
//!
//! The protocol that clusters speak with it is described in `PROTOCOL.md`; a vendor can implement
//! that alone. Root and issuing keys are files, never rows. Activation keys are stored as hashes.

#![deny(missing_docs)]

pub mod activation;
pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod entropy;
pub mod failpoints;
pub mod files;
pub mod http;
pub mod keys;
pub mod metrics;
pub mod names;
pub mod server;
pub mod store;
pub mod support_id;
