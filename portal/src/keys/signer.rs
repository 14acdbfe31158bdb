//! The issuing key at work: from binding and licenses to a license key.

use quorate_license::{
    Binding, IssuingKey, License, LicenseKey, LicenseKeyError, RootPublicKey, SignError, Signed, Timestamp,
    TrustRoots, VerifiedAnswer,
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
    /// The license key is larger than any that is read, or is none of this portal's.
    #[error(transparent)]
    LicenseKey(#[from] LicenseKeyError),
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

    /// The issuing key's id.
    pub fn key_id(&self) -> &str {
        &self.key.certificate().claims.key_id
    }

    /// From when on the issuing key can no longer sign.
    pub fn expires_at(&self) -> Timestamp {
        self.key.certificate().claims.expires_at
    }

    /// Signs again what another issuing key under these roots has signed. Only the time of issue in it
    /// changes, which this key's certificate has to cover.
    ///
    /// # Errors
    /// The text is not a license key that verifies, or as for [`Signer::license_key`].
    pub fn again(&self, license_key: &str, now: Timestamp) -> Result<String, SigningError> {
        let answer = self.read(license_key)?;
        let binding = Binding { issued_at: now, ..answer.binding.claims };
        let again = |license: Signed<License>| License { issued_at: now, ..license.claims };
        self.license_key(&binding, &answer.licenses.into_iter().map(again).collect::<Vec<_>>())
    }

    /// Reads a license key that was signed under these roots.
    ///
    /// # Errors
    /// It is none, or does not verify.
    pub fn read(&self, license_key: &str) -> Result<VerifiedAnswer, SigningError> {
        Ok(LicenseKey::from_text(license_key)?.verify(&TrustRoots(self.roots.clone()))?)
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
