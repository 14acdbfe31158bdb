//! The issuing key at work: from binding and licenses to a license key.

use quorate_license::{
    Binding, IssuingKey, License, LicenseKey, LicenseKeyError, RootPublicKey, SignError, Timestamp,
};

/// The certified issuing key, and the roots that it is certified under.
#[derive(Debug)]
pub struct Signer {
    key: IssuingKey,
    roots: Vec<RootPublicKey>,
}

/// A license key can't be signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The certificate does not cover the time of issue: nobody would accept the answer.
    #[error("the issuing key may sign from {from} to {until} only")]
    NotCovered {
        /// The first moment.
        from: Timestamp,
        /// The last one.
        until: Timestamp,
    },
    /// What was to be signed breaks a rule of its type.
    #[error(transparent)]
    Claims(SignError),
    /// The license key is larger than any that is read.
    #[error(transparent)]
    TooLarge(#[from] LicenseKeyError),
}

impl From<SignError> for SigningError {
    fn from(error: SignError) -> Self {
        match error {
            SignError::CertificateNotValid { not_before, expires_at, .. } => {
                SigningError::NotCovered { from: not_before, until: expires_at }
            }
            other => SigningError::Claims(other),
        }
    }
}

impl Signer {
    pub(super) fn new(key: IssuingKey, roots: Vec<RootPublicKey>) -> Self {
        Signer { key, roots }
    }

    /// The root public keys under which answers verify.
    pub fn roots(&self) -> &[RootPublicKey] {
        &self.roots
    }

    /// From when on the issuing key can no longer sign.
    pub fn expires_at(&self) -> Timestamp {
        self.key.certificate().claims.expires_at
    }

    /// Signs binding and licenses, and puts them into the text of one license key.
    ///
    /// # Errors
    /// The certificate does not cover their time of issue, they break a rule of theirs, or they are
    /// more than a license key holds.
    pub fn license_key(&self, binding: &Binding, licenses: &[License]) -> Result<String, SigningError> {
        let signed_binding = self.key.sign(binding)?;
        let licenses: Result<Vec<_>, SignError> =
            licenses.iter().map(|license| self.key.sign(license)).collect();
        Ok(LicenseKey::new(&signed_binding, &licenses?).to_text()?)
    }
}
