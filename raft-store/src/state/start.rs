//! Which start of a node's agent is the present one.

use std::{fmt, str::FromStr};

use quorate_license::Timestamp;
use serde::{Deserialize, Serialize};

/// Names one start of an agent. Random, and no secret.
///
/// The counter alone can't tell a copy: a directory that was rolled back by one start counts up to the same
/// number again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StartId(pub u128);

/// The text is not a start's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a start's name is 32 hexadecimal digits")]
pub struct ParseStartIdError;

impl fmt::Display for StartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for StartId {
    type Err = ParseStartIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u128::from_str_radix(text, 16).ok().filter(|_| hex).map(StartId).ok_or(ParseStartIdError)
    }
}

/// The last start that a node has reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStart {
    /// How often its agent had started by then, that start included.
    pub counter: u64,
    /// Which start it is.
    pub id: StartId,
    /// When it was reported.
    pub at: Timestamp,
}

impl NodeStart {
    /// Whether another start than this one is from before it, or from a copy of the node's directory.
    pub fn outdates(&self, counter: u64, id: StartId) -> bool {
        counter < self.counter || (counter == self.counter && id != self.id)
    }
}
