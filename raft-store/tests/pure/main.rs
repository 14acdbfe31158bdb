//! The replicated store without a disk: the rules of every command, apply, and the formats.
//!
//! ```text
//! sample, replica  one cluster from fixed seeds, and a replica that commands are applied to
//! rules            every refusal of every command, alone and before every other one
//! applier          repeated requests and how long they are remembered
//! random_log       the same log gives the same bytes, whatever it holds
//! specimens        a value of every format
//! golden           every format byte for byte: what a release has written, newer code still reads
//! views            what readers see while the state changes
//! decoders         nothing that comes from disk or network makes a reader panic
//! ```

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says by panicking what failed")]

mod applier;
mod decoders;
mod golden;
mod random_log;
mod replica;
mod rules;
mod sample;
mod specimens;
mod views;
