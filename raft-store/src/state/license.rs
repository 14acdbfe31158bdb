//! The rows of the installed binding and licenses: signed tokens and what they say.

use quorate_license::{Binding, License, Signed, Timestamp};
use serde::{Deserialize, Serialize};

/// The installation's binding, as installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledBinding {
    /// The token and its claims.
    pub binding: Signed<Binding>,
    /// When it was installed.
    pub installed_at: Timestamp,
}

/// A tenant's license, as installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledLicense {
    /// The token and its claims.
    pub license: Signed<License>,
    /// When it was installed.
    pub installed_at: Timestamp,
    /// Since when a reactivation is required, if one is: the grace counts from here.
    pub reactivation_required_since: Option<Timestamp>,
}
