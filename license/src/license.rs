//! The license: signed by the portal, one per tenant. It rests on the installation's binding.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ClusterId, Entitlement, FeatureName, Nonce, OrderId, Serial, SupportId, TenantId, Timestamp};

/// What was bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LicenseKind {
    /// Nothing yet: free for a time, once per installation.
    Trial,
    /// Use for a term.
    Subscription,
    /// Use without end.
    Perpetual,
}

impl LicenseKind {
    /// The kind's name in JSON and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            LicenseKind::Trial => "trial",
            LicenseKind::Subscription => "subscription",
            LicenseKind::Perpetual => "perpetual",
        }
    }
}

impl fmt::Display for LicenseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The times, in days, for which the product goes on although something has to be done. Signed by
/// the portal with every license and binding; each may be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Graces {
    /// After the term's end.
    pub expiry_days: u32,
    /// After a reactivation became necessary.
    pub reactivation_days: u32,
    /// For a node that joined after the activation.
    pub unbound_days: u32,
    /// The age to which a node's receipt is believed.
    pub receipt_max_age_days: u32,
}

/// What one tenant may use, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct License {
    /// The installation.
    pub support_id: SupportId,
    /// The cluster that the installation is.
    pub cluster_id: ClusterId,
    /// The licensee.
    pub tenant: TenantId,
    /// Counts the tenant's licenses up.
    pub serial: Serial,
    /// Names the activation that this is the answer to.
    pub nonce: Nonce,
    /// What was bought.
    pub kind: LicenseKind,
    /// The purchases behind it.
    pub orders: Vec<OrderId>,
    /// The features, sorted by name, each once.
    pub entitlements: Vec<Entitlement>,
    /// When the portal signed it, by the portal's clock.
    pub issued_at: Timestamp,
    /// From when on it is valid.
    pub not_before: Timestamp,
    /// Until when; `None` for perpetual use.
    pub expires_at: Option<Timestamp>,
    /// Until when the vendor gives support; shown, never enforced.
    pub support_until: Option<Timestamp>,
    /// The times for which the product goes on.
    pub graces: Graces,
}

impl License {
    /// What is licensed of a feature, if anything.
    pub fn entitlement(&self, feature: &FeatureName) -> Option<&Entitlement> {
        self.entitlements.iter().find(|entitlement| entitlement.feature == *feature)
    }

    /// When its term and the grace after it are over; `None` for perpetual use.
    pub fn grace_ends_at(&self) -> Option<Timestamp> {
        self.expires_at.map(|end| end.plus_days(self.graces.expiry_days))
    }
}
