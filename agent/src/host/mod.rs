//! The host: which computer this is, what runs on it, and what is left of its disk.
//!
//! ```text
//! machine id ─> identity ─> ComputerId      the node's row, integrity keys, receipts
//! sysinfo    ─> report   ─> HostReport      the node's row
//! product    ─> build    ─> BuildNumber     the node's row, license status
//! data dir   ─> disk_space                  metrics and warnings
//! ```

mod build;
pub mod disk_space;
pub mod identity;
mod report;

pub use build::{BuildFileError, BuildWatcher, KeepBuildError};
pub use identity::{IdentityError, computer_id};
pub use report::{free_disk_bytes, host_report, own_memory_bytes};
