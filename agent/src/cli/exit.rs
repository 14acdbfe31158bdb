//! How a command ends: the exit code is a promise to scripts.

use std::process::{ExitCode, Termination};

/// The exit codes of `quorate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was done.
    Ok = 0,
    /// It was not done; the error says why.
    Failed = 1,
    /// The command line is wrong, or incomplete.
    Usage = 2,
    /// No node could be asked.
    NoConnection = 3,
    /// The node knows the caller too little.
    Denied = 4,
    /// The cluster has no leader, or is not healthy.
    Unhealthy = 5,
    /// There is no license that holds.
    NotLicensed = 6,
    /// The license, a grace or the support ends within 30 days.
    ExpiringSoon = 7,
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}
