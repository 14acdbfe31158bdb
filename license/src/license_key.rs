//! The license key: the portal's encoded answer to an integrity key.
//!
//! ```text
//! portal: sign binding and licenses -> LicenseKey -> to_text or JSON
//! agent:  from_text -> verify (signatures, agreement) -> accept (against the open intent) -> install
//! ```
//!
//! As text it is armoured JSON: `{"version", "support_id", "nonce", "binding", "licenses"}`, where
//! binding and licenses are PASETO tokens. The portal's signed time is the binding's time of issue.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    ArmourError, Binding, ClusterId, Epoch, Fence, License, Nonce, Serial, Signed, SupportId, TenantId,
    TokenError, TrustRoots, armour,
};

/// The portal's answer, not verified yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LicenseKey {
    /// The format; 1.
    version: u32,
    /// The installation.
    pub support_id: SupportId,
    /// Names the activation that this is the answer to.
    pub nonce: Nonce,
    /// The binding's token.
    pub binding: String,
    /// The licenses' tokens. None where only the binding is issued again, as in a transfer.
    pub licenses: Vec<String>,
}

/// The text is no license key, or what it holds doesn't belong together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LicenseKeyError {
    /// The armoured text is damaged.
    #[error(transparent)]
    Text(#[from] ArmourError),
    /// More bytes than a license key may have.
    #[error("the license key has {bytes} bytes, more than the {} that are allowed", LicenseKey::MAX_BYTES)]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Written by another release.
    #[error(
        "the license key has format {found}, this release reads format {}; update this release",
        LicenseKey::VERSION
    )]
    Version {
        /// The format that it names.
        found: u64,
    },
    /// Not the content of a license key.
    #[error("this is not a license key: {reason}; get it from the portal again")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// One of its tokens is refused.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Something in it is the answer to another activation.
    #[error(
        "the {what} in the license key is the answer to activation {found}, not to {expected}; get the license key from the portal again"
    )]
    NonceDisagrees {
        /// What differs.
        what: &'static str,
        /// The activation that the license key names.
        expected: Nonce,
        /// The activation that this part names.
        found: Nonce,
    },
    /// Something in it is another installation's.
    #[error(
        "the {what} in the license key is for installation {found}, not for {expected}; get the license key from the portal again"
    )]
    SupportIdDisagrees {
        /// What differs.
        what: &'static str,
        /// The installation that the license key names.
        expected: SupportId,
        /// The installation that this part names.
        found: SupportId,
    },
    /// Something in it is another cluster's.
    #[error(
        "a license in the license key is for cluster {found}, its binding for {expected}; get the license key from the portal again"
    )]
    ClusterDisagrees {
        /// The cluster that the binding names.
        expected: ClusterId,
        /// The cluster that a license names.
        found: ClusterId,
    },
    /// Two licenses for one tenant.
    #[error("the license key holds two licenses for the tenant '{tenant}'; report it to the vendor")]
    TenantTwice {
        /// The tenant.
        tenant: TenantId,
    },
}

/// The portal's answer with good signatures, all parts of which belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedAnswer {
    /// The installation's binding.
    pub binding: Signed<Binding>,
    /// The licenses, one per tenant.
    pub licenses: Vec<Signed<License>>,
}

impl LicenseKey {
    /// The largest encoding that is read.
    pub const MAX_BYTES: usize = 4 * 1024 * 1024;

    /// The format that this release writes and reads.
    pub const VERSION: u32 = 1;

    /// Puts an answer together.
    pub fn new(binding: &Signed<Binding>, licenses: &[Signed<License>]) -> Self {
        LicenseKey {
            version: Self::VERSION,
            support_id: binding.claims.support_id.clone(),
            nonce: binding.claims.nonce,
            binding: binding.token.clone(),
            licenses: licenses.iter().map(|license| license.token.clone()).collect(),
        }
    }

    /// The text for paste and e-mail.
    ///
    /// # Errors
    ///
    /// [`LicenseKeyError::TooLarge`] if it would not be read back.
    pub fn to_text(&self) -> Result<String, LicenseKeyError> {
        let json = serde_json::to_vec(self)
            .map_err(|error| LicenseKeyError::Malformed { reason: error.to_string() })?;
        if json.len() > Self::MAX_BYTES {
            return Err(LicenseKeyError::TooLarge { bytes: json.len() });
        }
        Ok(armour::encode(armour::Label::LicenseKey, &json))
    }

    /// Reads the text of [`LicenseKey::to_text`], as it comes out of a mail or a form. Signatures are
    /// not checked here.
    ///
    /// # Errors
    ///
    /// [`LicenseKeyError`]: `Text`, then as [`LicenseKey::from_json`].
    pub fn from_text(text: &str) -> Result<Self, LicenseKeyError> {
        Self::from_json(&armour::decode(armour::Label::LicenseKey, Self::MAX_BYTES, text)?)
    }

    /// Reads the JSON inside the text, as the portal answers online.
    ///
    /// # Errors
    ///
    /// [`LicenseKeyError`]: `TooLarge`, `Version` or `Malformed`.
    pub fn from_json(json: &[u8]) -> Result<Self, LicenseKeyError> {
        #[derive(Deserialize)]
        struct VersionProbe {
            version: u64,
        }

        if json.len() > Self::MAX_BYTES {
            return Err(LicenseKeyError::TooLarge { bytes: json.len() });
        }
        let malformed = |error: serde_json::Error| LicenseKeyError::Malformed { reason: error.to_string() };
        let found = serde_json::from_slice::<VersionProbe>(json).map_err(malformed)?.version;
        if found != u64::from(Self::VERSION) {
            return Err(LicenseKeyError::Version { found });
        }
        serde_json::from_slice(json).map_err(malformed)
    }

    /// Checks every signature and that all parts belong together.
    ///
    /// # Errors
    ///
    /// [`LicenseKeyError`]: `Token`, then `SupportIdDisagrees`, `NonceDisagrees`, `ClusterDisagrees`,
    /// `TenantTwice`.
    pub fn verify(&self, roots: &TrustRoots) -> Result<VerifiedAnswer, LicenseKeyError> {
        let binding = roots.verify::<Binding>(&self.binding)?;
        let mut licenses = Vec::with_capacity(self.licenses.len());
        for token in &self.licenses {
            licenses.push(roots.verify::<License>(token)?);
        }
        self.expect("binding", &binding.claims.support_id, binding.claims.nonce)?;
        let mut tenants = BTreeSet::new();
        for license in licenses.iter().map(|license| &license.claims) {
            self.expect("license", &license.support_id, license.nonce)?;
            if license.cluster_id != binding.claims.cluster_id {
                let (expected, found) = (binding.claims.cluster_id, license.cluster_id);
                return Err(LicenseKeyError::ClusterDisagrees { expected, found });
            }
            if !tenants.insert(&license.tenant) {
                return Err(LicenseKeyError::TenantTwice { tenant: license.tenant.clone() });
            }
        }
        Ok(VerifiedAnswer { binding, licenses })
    }

    fn expect(
        &self,
        what: &'static str,
        support_id: &SupportId,
        nonce: Nonce,
    ) -> Result<(), LicenseKeyError> {
        if *support_id != self.support_id {
            let (expected, found) = (self.support_id.clone(), support_id.clone());
            return Err(LicenseKeyError::SupportIdDisagrees { what, expected, found });
        }
        if nonce != self.nonce {
            return Err(LicenseKeyError::NonceDisagrees { what, expected: self.nonce, found: nonce });
        }
        Ok(())
    }
}

/// What an open intent and the current state ask of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The open intent's.
    pub nonce: Nonce,
    /// This cluster.
    pub cluster_id: ClusterId,
    /// Its current epoch.
    pub epoch: Epoch,
    /// The installed binding's; 0 if there is none.
    pub current_fence: Fence,
    /// The installed binding's; 0 if there is none.
    pub current_binding_serial: Serial,
    /// The installed licenses'; 0 counts for a tenant without one.
    pub current_serials: &'a BTreeMap<TenantId, Serial>,
    /// The installation, once it has been activated.
    pub support_id: Option<&'a SupportId>,
}

/// A well-signed answer is not accepted here and now. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum AnswerRefusal {
    /// The answer to another activation: an old one, or one that was superseded.
    #[error(
        "this license key is the answer to activation {found}, the open one is {expected}; install the answer to the open one, or start a new activation"
    )]
    NonceMismatch {
        /// The open intent's.
        expected: Nonce,
        /// The answer's.
        found: Nonce,
    },
    /// Another cluster's.
    #[error("this license key is for cluster {found}, this is {expected}; install it there")]
    ClusterMismatch {
        /// This cluster.
        expected: ClusterId,
        /// The answer's.
        found: ClusterId,
    },
    /// From before a recovery or restore, or for another copy of this cluster.
    #[error(
        "this license key is for epoch {found}, the cluster is in {expected}; reactivate the installation"
    )]
    EpochMismatch {
        /// The current one.
        expected: Epoch,
        /// The answer's.
        found: Epoch,
    },
    /// Another installation's.
    #[error("this license key is for installation {found}, this is {expected}; install it there")]
    SupportIdMismatch {
        /// This installation.
        expected: SupportId,
        /// The answer's.
        found: SupportId,
    },
    /// The fence is not higher than the installed one.
    #[error("this license key has fence {offered}, but {current} is installed already; it is out of date")]
    FenceNotHigher {
        /// The installed one.
        current: Fence,
        /// The answer's.
        offered: Fence,
    },
    /// The binding's serial is not higher than the installed one.
    #[error(
        "the binding in this license key has serial {offered}, but {current} is installed already; it is out of date"
    )]
    BindingSerialNotHigher {
        /// The installed one.
        current: Serial,
        /// The answer's.
        offered: Serial,
    },
    /// A license's serial is not higher than the installed one.
    #[error(
        "the license of tenant '{tenant}' in this license key has serial {offered}, but {current} is installed already; it is out of date"
    )]
    SerialNotHigher {
        /// Whose license.
        tenant: TenantId,
        /// The installed one.
        current: Serial,
        /// The answer's.
        offered: Serial,
    },
}

impl AnswerRefusal {
    /// The refusal's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            AnswerRefusal::NonceMismatch { .. } => "nonce_mismatch",
            AnswerRefusal::ClusterMismatch { .. } => "cluster_mismatch",
            AnswerRefusal::EpochMismatch { .. } => "epoch_mismatch",
            AnswerRefusal::SupportIdMismatch { .. } => "support_id_mismatch",
            AnswerRefusal::FenceNotHigher { .. } => "fence_not_higher",
            AnswerRefusal::BindingSerialNotHigher { .. } => "binding_serial_not_higher",
            AnswerRefusal::SerialNotHigher { .. } => "serial_not_higher",
        }
    }
}

impl VerifiedAnswer {
    /// Checks the answer against the open intent and the current state: nonce equal, cluster and epoch
    /// equal, Support ID equal, fence and serials higher.
    ///
    /// # Errors
    ///
    /// [`AnswerRefusal`]: the first that applies, in the order of its variants.
    pub fn accept(&self, expected: &Expected<'_>) -> Result<(), AnswerRefusal> {
        let binding = &self.binding.claims;
        if binding.nonce != expected.nonce {
            return Err(AnswerRefusal::NonceMismatch { expected: expected.nonce, found: binding.nonce });
        }
        if binding.cluster_id != expected.cluster_id {
            let (expected, found) = (expected.cluster_id, binding.cluster_id);
            return Err(AnswerRefusal::ClusterMismatch { expected, found });
        }
        if binding.epoch != expected.epoch {
            return Err(AnswerRefusal::EpochMismatch { expected: expected.epoch, found: binding.epoch });
        }
        if let Some(support_id) = expected.support_id.filter(|support_id| **support_id != binding.support_id)
        {
            let (expected, found) = (support_id.clone(), binding.support_id.clone());
            return Err(AnswerRefusal::SupportIdMismatch { expected, found });
        }
        if binding.fence <= expected.current_fence {
            let (current, offered) = (expected.current_fence, binding.fence);
            return Err(AnswerRefusal::FenceNotHigher { current, offered });
        }
        if binding.serial <= expected.current_binding_serial {
            let (current, offered) = (expected.current_binding_serial, binding.serial);
            return Err(AnswerRefusal::BindingSerialNotHigher { current, offered });
        }
        for license in self.licenses.iter().map(|license| &license.claims) {
            let current = expected.current_serials.get(&license.tenant).copied().unwrap_or_default();
            if license.serial <= current {
                let (tenant, offered) = (license.tenant.clone(), license.serial);
                return Err(AnswerRefusal::SerialNotHigher { tenant, current, offered });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "license_key_tests.rs"]
mod tests;
