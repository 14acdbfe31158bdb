//! Points at which tests kill the agent.
//!
//! Only builds with debug assertions have them; release builds don't look. A point is armed by the
//! environment, for example `FAILPOINTS=activation.after_intent=return`, and ends the process at
//! once, as a power switch would.

/// All failpoints, in the order in which an activation passes them.
pub const FAILPOINTS: [&str; 8] = [
    "activation.before_intent",
    "activation.after_intent",
    "activation.after_statements",
    "activation.after_signatures",
    "activation.after_request_recorded",
    "activation.after_portal_answer",
    "activation.before_install",
    "activation.after_install",
];

/// Arms what the environment names. Called once, at start.
pub fn arm() {
    #[cfg(debug_assertions)]
    {
        // Dropping it would disarm all points.
        #[allow(clippy::mem_forget, reason = "armed for the life of the process")]
        std::mem::forget(fail::FailScenario::setup());
    }
}

/// Ends the process here, if the point is armed.
pub fn pass(name: &'static str) {
    #[cfg(debug_assertions)]
    fail::fail_point!(name, |_| {
        tracing::warn!(failpoint = name, "killed by a failpoint");
        std::process::abort()
    });
    #[cfg(not(debug_assertions))]
    let _ = name;
}
