//! Points at which tests kill the agent: see [`quorate_raft_store::failpoint`].

pub use quorate_raft_store::failpoint::{arm, pass};

/// The agent's failpoints, in the order in which an activation passes them.
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
