//! The kinds of activation.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ParseIdError;

/// Why the portal is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActivationKind {
    /// The first activation key: the portal makes the Support ID.
    Activate,
    /// A time-limited license without an activation key, once per installation.
    Trial,
    /// A further activation key for the same Support ID.
    Upgrade,
    /// Again, after an update or a restore, with every order used before; needs no activation key.
    Reactivate,
    /// Replaces permanently lost nodes.
    Transfer,
}

impl ActivationKind {
    /// Every kind.
    pub const ALL: [ActivationKind; 5] = [
        ActivationKind::Activate,
        ActivationKind::Trial,
        ActivationKind::Upgrade,
        ActivationKind::Reactivate,
        ActivationKind::Transfer,
    ];

    /// The kind's name in JSON and flags.
    pub const fn as_str(self) -> &'static str {
        match self {
            ActivationKind::Activate => "activate",
            ActivationKind::Trial => "trial",
            ActivationKind::Upgrade => "upgrade",
            ActivationKind::Reactivate => "reactivate",
            ActivationKind::Transfer => "transfer",
        }
    }

    /// Whether an activation of this kind uses an activation key.
    pub const fn needs_activation_key(self) -> bool {
        matches!(self, ActivationKind::Activate | ActivationKind::Upgrade)
    }
}

impl fmt::Display for ActivationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ActivationKind {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| ParseIdError {
            what: "activation kind",
            rule: "it is activate, trial, upgrade, reactivate or transfer",
            text: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for kind in ActivationKind::ALL {
            assert_eq!(kind.as_str().parse::<ActivationKind>().unwrap(), kind);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        assert!("Activate".parse::<ActivationKind>().is_err());
    }
}
