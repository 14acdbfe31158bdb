//! The RocksDB side: one database per node, one write-ahead log.
//!
//! ```text
//! openraft ── append, vote, truncate, purge ──> log_store ──> io (raft-io thread) ──┐
//!     │                                            │ (cache: readable at once)      ├──> RocksDB, one WAL
//!     └── apply ──> state_machine ──> applier (pure) ──> apply (raft-apply thread) ─┘
//! ```
//!
//! Only these two threads write the database, so nothing blocks a tokio worker on the disk.
//! Beside it lie the `floor`, below which the node refuses to start, the snapshots, once damage was found
//! the note of the `quarantine`, and while that is looked at the torn tails that `wal` set aside.

mod apply;
mod db;
mod error;
mod failure;
mod floor;
mod format;
mod io;
mod log_cache;
mod log_store;
mod metrics;
mod open;
mod quarantine;
mod snapshot;
mod snapshot_error;
mod snapshot_file;
mod snapshot_key;
mod state_machine;
mod wal;

pub use error::OpenError;
pub use failure::Failure;
pub use log_store::{LogReader, LogStore};
pub use metrics::StoreMetrics;
pub use open::{
    IncomingSnapshots, Marker, RecomputedDigest, Store, StoreOptions, noted_damage, read_state,
    recompute_digest,
};
pub use snapshot::SnapshotBuilder;
pub use snapshot_error::SnapshotError;
pub use snapshot_file::{FORMATS as SNAPSHOT_FORMATS, SnapshotFile, SnapshotReceiver};
pub use snapshot_key::{SnapshotKey, SnapshotKeyError};
pub use state_machine::StateMachine;
