//! The replicated store: commands, apply, queries, snapshots; openraft on RocksDB.
//!
//! ```text
//! Proposal ─> log ─> Applier::apply (pure) ─> Answer, and changed rows in one durable batch ─> View
//! ```
//!
//! Without the feature `rocksdb` only the pure part is built: codec, commands, apply, state.

mod applier;
pub mod audit;
pub mod codec;
pub mod command;
mod digest;
#[cfg(feature = "rocksdb")]
pub mod disk;
pub mod failpoint;
#[cfg(feature = "rocksdb")]
pub mod mutant;
mod proposal;
pub mod raft_types;
pub mod records;
mod refusal;
pub mod seal;
pub mod state;
mod view;
pub mod wire;

pub use applier::{Applier, ApplyError};
pub use command::{Command, FEATURE_LEVEL, Outcome};
pub use digest::Digest;
pub use proposal::{Answer, Proposal, RequestId, Revision};
pub use refusal::Refusal;
pub use state::State;
pub use view::{View, Views};
