//! `docs/refusals.md`: every code that the agent gives, with its text, the way out, and the test that provokes it on
//! real processes. Read out of the source, so that no code is missing.

mod lexer;
mod page;
mod provoked;
mod rows;
mod source;
