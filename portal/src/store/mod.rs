//! The portal's records, in SQLite or PostgreSQL.
//!
//! ```text
//! service / admin command -> Store::begin -> functions of products, customers, orders,
//!                                            installations, activations -> commit
//! ```
//!
//! One text of SQL serves both databases: `$1` parameters, whole numbers, text and bytes are all that
//! it uses. What differs (how a transaction begins, which errors mean "try again", the types in the
//! migrations) is in this folder's `connect.rs` and `error.rs`.
//!
//! Every transaction that writes is serializable: SQLite takes its write lock at the start,
//! PostgreSQL checks at the commit and makes the loser try again ([`Store::retrying`]).

pub mod activations;
mod connect;
pub mod customers;
mod error;
pub mod installations;
pub mod issuing_keys;
pub mod orders;
pub mod products;
pub mod restores;
mod row;
pub mod telemetry;
pub mod trials;
pub mod vendor_actions;

pub use connect::{Backend, DatabaseUrl, DatabaseUrlError, Store, Tx};
pub use error::{Retryable, StoreError};

/// A connection in a transaction, as the functions of this module take it.
pub type Conn = sqlx::AnyConnection;
