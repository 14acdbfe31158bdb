//! Who may call what: one table, the gate that consults it, and the page that is rendered from it.
//!
//! ```text
//! listener ─> PeerInfo ─> Gate: table[face, path] ─> certificate, token or socket ─> NodeCaller / Caller ─> method
//! ```
//!
//! What is not in the table is refused, on every face. A method finds out who calls by what the gate has found.

mod gate;
mod render;
mod table;

pub use gate::{Gate, guarded};
pub use render::page;
pub use table::{Door, ROUTES, RPCS, Rule, Who, find};

#[cfg(test)]
mod tests;
