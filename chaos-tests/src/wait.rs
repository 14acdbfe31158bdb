//! Waiting for a condition: with a deadline, and with what was last seen when it does not come true.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{Failure, Result, interrupt};

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(40);

/// Long enough for anything that a healthy cluster does on a busy machine with two cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What one look showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen<T> {
    /// The condition holds.
    Done(T),
    /// It does not hold yet; what was seen instead.
    NotYet(String),
}

impl<T> Seen<T> {
    /// Not yet, because of this.
    pub fn not_yet(last: impl Into<String>) -> Self {
        Seen::NotYet(last.into())
    }
}

impl Seen<()> {
    /// Done if it holds, otherwise what was seen instead.
    pub fn when(holds: bool, last: impl FnOnce() -> String) -> Self {
        if holds { Seen::Done(()) } else { Seen::NotYet(last()) }
    }
}

/// Lets time pass in which something is measured; less if the user interrupts.
pub fn pass(time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time && !interrupt::requested() {
        thread::sleep(PAUSE.min(time));
    }
}

/// Looks again and again until the condition holds.
///
/// # Errors
/// The deadline passed, `look` failed for good, or the user interrupted.
pub fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<Seen<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        let last = match look()? {
            Seen::Done(found) => return Ok(found),
            Seen::NotYet(last) => last,
        };
        if interrupt::requested() {
            return Err(Failure::Interrupted);
        }
        let waited = started.elapsed();
        if waited >= deadline {
            return Err(Failure::TooLate { what: what.to_owned(), waited, last });
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_is_waited_for() {
        let mut looks = 0;
        let found = until("the third look", PATIENCE, || {
            looks += 1;
            Ok(if looks == 3 { Seen::Done(looks) } else { Seen::not_yet("too early") })
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn a_deadline_tells_what_was_last_seen() {
        let failure =
            until::<()>("a leader", Duration::ZERO, || Ok(Seen::not_yet("three candidates"))).unwrap_err();
        assert_eq!(failure.to_string(), "waited 0 s for a leader; last seen: three candidates");
    }

    #[test]
    fn a_failure_ends_the_waiting() {
        let failure = until::<()>("anything", PATIENCE, || Err(Failure::wrong("it is broken"))).unwrap_err();
        assert_eq!(failure.to_string(), "it is broken");
    }
}
