//! The host: which computer this is, what runs on it, and what is left of its disk.
//!
//! ```text
//! machine id ─> identity ─> ComputerId      the node's row, integrity keys, receipts
//!               computer ─> HostComputer    is it still the registered one?
//! sysinfo    ─> report   ─> HostReport      the node's row
//! product    ─> build    ─> BuildNumber     the node's row, license status
//! data dir   ─> disk_space                  metrics and warnings
//! ```

mod build;
mod computer;
pub mod disk_space;
pub mod identity;
mod process;
mod report;

pub use build::{BuildFileError, BuildWatcher, KeepBuildError};
pub use computer::{ChangedComputer, HostComputer, Look};
pub use identity::{IdentityError, computer_id};
pub use process::{open_many_files, without_core_dumps};
pub use report::{free_disk_bytes, host_report, own_memory_bytes};
