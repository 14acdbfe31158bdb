//! The rules of every command, as tables: one row per refusal, in the order of precedence.
//!
//! Each table begins with a command that is accepted. Every row spoils it in one way. Alone, the row's
//! refusal is the answer; of two rows together, the earlier one's is.

mod activation;
pub(crate) mod admit;
mod approval;
mod audit;
mod authority;
mod changes;
mod clock;
mod history;
mod init;
mod install;
mod remove;
mod rename;
mod replace;
mod report;
mod time;
mod tokens;

use quorate_raft_store::{Outcome, Refusal};

/// One way to spoil a command, and what is said to it.
pub(crate) struct Defect<C> {
    name: &'static str,
    /// Later rows that can't be true together with this one.
    excludes: &'static [&'static str],
    make: fn(&mut C),
    refusal: fn(&C) -> Refusal,
}

/// Checks that `good` is accepted, and each defect and each pair of defects refused as the table says.
pub(crate) fn refusals_keep_their_order<C>(
    good: fn() -> C,
    run: fn(&C) -> Result<Outcome, Refusal>,
    defects: &[Defect<C>],
) {
    if let Err(refusal) = run(&good()) {
        panic!("the good case is refused: {refusal:?}");
    }
    for (index, first) in defects.iter().enumerate() {
        let mut case = good();
        (first.make)(&mut case);
        assert_eq!(run(&case), Err((first.refusal)(&case)), "{}", first.name);
        for second in &defects[index + 1..] {
            if first.excludes.contains(&second.name) {
                continue;
            }
            let mut case = good();
            (first.make)(&mut case);
            (second.make)(&mut case);
            let answer = run(&case);
            assert_eq!(answer, Err((first.refusal)(&case)), "{} comes before {}", first.name, second.name);
        }
    }
}
