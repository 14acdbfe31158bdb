//! Places at which a test can let the portal die, as a power loss would.
//!
//! In builds with debug assertions only: `FAILPOINTS=portal.after_commit=return` aborts the process
//! there. In other builds the variable has no effect.

use crate::console;

/// After everything of an activation is written, before it is committed.
pub const BEFORE_COMMIT: &str = "portal.before_commit";
/// After an activation is committed, before it is answered.
pub const AFTER_COMMIT: &str = "portal.after_commit";
/// All of them.
pub const ALL: [&str; 2] = [BEFORE_COMMIT, AFTER_COMMIT];

/// Reads the variable. What it returns holds the places armed until it is dropped.
pub fn arm() -> Option<fail::FailScenario<'static>> {
    cfg!(debug_assertions).then(fail::FailScenario::setup)
}

/// Dies here if the place is armed.
pub fn hit(name: &'static str) {
    if cfg!(debug_assertions) {
        fail::fail_point!(name, |_| {
            console::complain(&format!("quorate-portal: failpoint {name} hit; aborting"));
            std::process::abort()
        });
    }
}
