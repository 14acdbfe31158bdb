//! Deliberate faults, by which tests show that they would find them.
//!
//! Only builds with the feature `mutants` have them. One is chosen by the environment variable
//! `QUORATE_MUTANT`; in all other builds `active` is false, and the compiler drops what it guards.

/// A deliberate fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The write-ahead log is never synced.
    SkipSync,
    /// Callbacks are completed before the sync.
    CallbackBeforeSync,
    /// What was applied is written first, the position in a second batch.
    ApplyInTwo,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 3] = [Mutant::SkipSync, Mutant::CallbackBeforeSync, Mutant::ApplyInTwo];

    /// Its name in `QUORATE_MUTANT`.
    pub const fn name(self) -> &'static str {
        match self {
            Mutant::SkipSync => "skip-sync",
            Mutant::CallbackBeforeSync => "callback-before-sync",
            Mutant::ApplyInTwo => "apply-in-two",
        }
    }
}

/// Whether this fault was chosen.
#[cfg(feature = "mutants")]
pub(crate) fn active(mutant: Mutant) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Mutant>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var("QUORATE_MUTANT").ok()?;
        Mutant::ALL.into_iter().find(|mutant| mutant.name() == name)
    });
    *chosen == Some(mutant)
}

/// Whether this fault was chosen: never, without the feature `mutants`.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn active(_: Mutant) -> bool {
    false
}
