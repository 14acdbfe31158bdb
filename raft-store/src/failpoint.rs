//! Points at which tests end the process.
//!
//! Only builds with debug assertions have them; release builds don't look. A point is armed by the
//! environment, for example `FAILPOINTS=store.append.written=return`, and ends the process at once,
//! as a power switch would.

/// All failpoints of the store.
pub const FAILPOINTS: [&str; 27] = [
    "store.open.database",
    "store.open.format",
    "store.open.floor",
    "store.open.log",
    "store.open.state",
    "store.append.begun",
    "store.append.written",
    "store.append.synced",
    "store.vote.begun",
    "store.vote.written",
    "store.vote.synced",
    "store.truncate.begun",
    "store.truncate.written",
    "store.purge.begun",
    "store.purge.written",
    "store.floor.written",
    "store.floor.synced",
    "store.floor.lowered",
    "store.apply.begun",
    "store.apply.written",
    "store.snapshot.begun",
    "store.snapshot.half",
    "store.snapshot.written",
    "store.snapshot.renamed",
    "store.install.begun",
    "store.install.adopted",
    "store.install.written",
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
    // In builds that have no failpoints nobody looks at it.
    let _ = name;
    #[cfg(debug_assertions)]
    fail::fail_point!(name, |_| {
        tracing::warn!(failpoint = name, "killed by a failpoint");
        std::process::abort()
    });
}
