//! From root key to signed claims and back: certificates of issuing keys, signing, verifying.

use serde::{Deserialize, Serialize};

use super::{
    Claims, IssuingPublicKey, IssuingSecret, RootKey, RootPublicKey, SignError, Signed, TokenError, claims,
    keys::ParseKeyError,
    token::{self, Refused},
};
use crate::Timestamp;

/// A root key's word that an issuing key may sign for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuingCertificate {
    /// The issuing key's id (PASERK `k4.pid.`), a function of the key.
    pub key_id: String,
    /// The issuing key.
    pub key: IssuingPublicKey,
    /// What is issued from here on is accepted.
    pub not_before: Timestamp,
    /// What is issued from here on is not accepted any more; what was issued before stays good.
    pub expires_at: Timestamp,
}

impl IssuingCertificate {
    /// Whether it covers what is issued at this time.
    pub fn covers(&self, issued_at: Timestamp) -> bool {
        self.not_before <= issued_at && issued_at < self.expires_at
    }
}

impl Claims for IssuingCertificate {
    const TYPE: &'static str = "quorate.issuing-certificate.v1";
    const WHAT: &'static str = "certificate of the issuing key";

    fn issued_at(&self) -> Timestamp {
        self.not_before
    }

    fn check(&self) -> Result<(), String> {
        if self.key_id != self.key.key_id() {
            return Err(format!("its key has the id {}, not {}", self.key.key_id(), self.key_id));
        }
        if self.expires_at <= self.not_before { Err("it ends before it begins".to_owned()) } else { Ok(()) }
    }
}

impl RootKey {
    /// Certifies an issuing key for what is issued from `not_before` until `expires_at`.
    ///
    /// # Errors
    ///
    /// [`SignError::Claims`] if the end is not after the begin.
    pub fn certify(
        &self,
        key: IssuingPublicKey,
        not_before: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Signed<IssuingCertificate>, SignError> {
        let claims = IssuingCertificate { key_id: key.key_id(), key, not_before, expires_at };
        let token = sign(self.seed(), &claims, b"")?;
        Ok(Signed { claims, token })
    }
}

/// What goes in the footer of everything that an issuing key signs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Footer {
    /// The issuing key's id.
    kid: String,
    /// Its certificate, a token.
    crt: String,
}

/// A certified issuing key: what the portal signs with.
#[derive(Debug, Clone)]
pub struct IssuingKey {
    secret: IssuingSecret,
    certificate: Signed<IssuingCertificate>,
}

impl IssuingKey {
    /// Joins a key and its certificate.
    ///
    /// # Errors
    ///
    /// [`SignError::CertificateMismatch`] if the certificate is another key's.
    pub fn new(secret: IssuingSecret, certificate: Signed<IssuingCertificate>) -> Result<Self, SignError> {
        if secret.public() == certificate.claims.key {
            Ok(IssuingKey { secret, certificate })
        } else {
            let (key_id, certified) = (secret.public().key_id(), certificate.claims.key_id);
            Err(SignError::CertificateMismatch { key_id, certified })
        }
    }

    /// The certificate.
    pub const fn certificate(&self) -> &Signed<IssuingCertificate> {
        &self.certificate
    }

    /// Signs a binding or a license.
    ///
    /// # Errors
    ///
    /// [`SignError::CertificateNotValid`] if the certificate doesn't cover the claims' time of issue,
    /// [`SignError::Claims`] if they break a rule of their type.
    pub fn sign<T: Claims + Clone>(&self, claims: &T) -> Result<Signed<T>, SignError> {
        let certificate = &self.certificate.claims;
        if !certificate.covers(claims.issued_at()) {
            return Err(SignError::CertificateNotValid {
                key_id: certificate.key_id.clone(),
                issued_at: claims.issued_at(),
                not_before: certificate.not_before,
                expires_at: certificate.expires_at,
            });
        }
        let footer = Footer { kid: certificate.key_id.clone(), crt: self.certificate.token.clone() };
        let footer = serde_json::to_vec(&footer)
            .map_err(|error| SignError::Claims { what: T::WHAT, reason: error.to_string() })?;
        Ok(Signed { claims: claims.clone(), token: sign(self.secret.seed(), claims, &footer)? })
    }
}

fn sign<T: Claims>(seed: &[u8; 32], claims: &T, footer: &[u8]) -> Result<String, SignError> {
    let json = claims::to_json(claims).map_err(|reason| SignError::Claims { what: T::WHAT, reason })?;
    token::sign_bytes(seed, json.as_bytes(), footer, T::TYPE.as_bytes())
        .map_err(|_| SignError::Key(ParseKeyError::Unusable))
}

/// The root keys that an installation or a product trusts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrustRoots(pub Vec<RootPublicKey>);

impl TrustRoots {
    /// Checks a token and returns what it says: its certificate is by a trusted root, its issuing key
    /// was certified when it was issued, its signature is good, and its claims keep their rules.
    ///
    /// # Errors
    ///
    /// [`TokenError`], in this order: `TooLong`, `Malformed`, `UntrustedIssuer`, `BadSignature`,
    /// `Claims`, `IssuerNotValid`.
    pub fn verify<T: Claims>(&self, text: &str) -> Result<Signed<T>, TokenError> {
        let text = text.trim();
        let what = T::WHAT;
        let footer = token::untrusted_footer(text).map_err(|refused| refused.into_error(what, text))?;
        let footer: Footer = serde_json::from_slice(&footer).map_err(|_| TokenError::Malformed { what })?;
        let untrusted = || TokenError::UntrustedIssuer { what, key_id: footer.kid.clone() };
        let certificate = self.verify_certificate(&footer.crt).map_err(|_| untrusted())?.claims;
        if certificate.key_id != footer.kid {
            return Err(untrusted());
        }
        let opened = token::verify_bytes(certificate.key.as_bytes(), text, T::TYPE.as_bytes())
            .map_err(|refused| refused.into_error(what, text))?;
        let claims: T =
            claims::from_json(&opened.payload).map_err(|reason| TokenError::Claims { what, reason })?;
        if !certificate.covers(claims.issued_at()) {
            return Err(TokenError::IssuerNotValid {
                what,
                key_id: certificate.key_id,
                issued_at: claims.issued_at(),
                not_before: certificate.not_before,
                expires_at: certificate.expires_at,
            });
        }
        Ok(Signed { claims, token: text.to_owned() })
    }

    /// Checks the certificate of an issuing key.
    ///
    /// # Errors
    ///
    /// [`TokenError`]: `TooLong`, `Malformed`, `BadSignature` if no trusted root made it, `Claims`.
    pub fn verify_certificate(&self, text: &str) -> Result<Signed<IssuingCertificate>, TokenError> {
        let text = text.trim();
        let what = IssuingCertificate::WHAT;
        let mut refused = Refused::Signature;
        for root in &self.0 {
            match token::verify_bytes(root.as_bytes(), text, IssuingCertificate::TYPE.as_bytes()) {
                Ok(opened) => {
                    let claims = claims::from_json(&opened.payload)
                        .map_err(|reason| TokenError::Claims { what, reason })?;
                    return Ok(Signed { claims, token: text.to_owned() });
                }
                Err(error) => refused = error,
            }
        }
        Err(refused.into_error(what, text))
    }
}

impl Refused {
    fn into_error(self, what: &'static str, text: &str) -> TokenError {
        match self {
            Refused::TooLong => TokenError::TooLong { what, bytes: text.len() },
            Refused::Malformed => TokenError::Malformed { what },
            Refused::Signature => TokenError::BadSignature { what },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Binding, License, samples};

    fn trusting(root: &RootKey) -> TrustRoots {
        TrustRoots(vec![root.public()])
    }

    #[test]
    fn what_a_certified_key_signs_is_accepted() {
        let signed = samples::issuing_key().sign(&samples::license()).unwrap();
        let verified = samples::roots().verify::<License>(&format!(" {}\n", signed.token)).unwrap();
        assert_eq!(verified, signed);
        assert_eq!(verified.claims, samples::license());
    }

    #[test]
    fn one_of_several_roots_is_enough() {
        let other = RootKey::from_seed([77; 32]).unwrap();
        let roots = TrustRoots(vec![other.public(), samples::root_key().public()]);
        let token = samples::issuing_key().sign(&samples::license()).unwrap().token;
        assert!(roots.verify::<License>(&token).is_ok());
    }

    #[test]
    fn a_foreign_root_is_refused_by_key_id() {
        let other = RootKey::from_seed([77; 32]).unwrap();
        let token = samples::issuing_key().sign(&samples::license()).unwrap().token;
        let key_id = samples::issuing_key().certificate().claims.key_id.clone();
        for roots in [trusting(&other), TrustRoots::default()] {
            assert_eq!(
                roots.verify::<License>(&token).unwrap_err(),
                TokenError::UntrustedIssuer { what: "license", key_id: key_id.clone() }
            );
        }
    }

    #[test]
    fn a_token_of_one_type_never_passes_for_another() {
        let token = samples::issuing_key().sign(&samples::binding()).unwrap().token;
        assert!(samples::roots().verify::<Binding>(&token).is_ok());
        assert_eq!(
            samples::roots().verify::<License>(&token).unwrap_err(),
            TokenError::BadSignature { what: "license" }
        );
        // A certificate is signed by the root itself and has no footer.
        let certificate = &samples::issuing_key().certificate().token.clone();
        assert!(samples::roots().verify::<License>(certificate).is_err());
    }

    #[test]
    fn a_certificate_has_to_cover_the_time_of_issue() {
        let (root, secret) = (samples::root_key(), IssuingSecret::from_seed([5; 32]).unwrap());
        let license = samples::license();
        let early = root.certify(secret.public(), Timestamp::ZERO, license.issued_at).unwrap();
        let key = IssuingKey::new(secret.clone(), early.clone()).unwrap();
        assert!(matches!(key.sign(&license), Err(SignError::CertificateNotValid { .. })));
        // A portal that signs anyway is refused.
        let footer = format!("{{\"kid\":\"{}\",\"crt\":\"{}\"}}", early.claims.key_id, early.token);
        let token = sign(secret.seed(), &license, footer.as_bytes()).unwrap();
        assert!(matches!(trusting(&root).verify::<License>(&token), Err(TokenError::IssuerNotValid { .. })));
        assert!(matches!(
            root.certify(secret.public(), license.issued_at, license.issued_at),
            Err(SignError::Claims { .. })
        ));
    }

    #[test]
    fn a_certificate_of_another_key_is_refused() {
        let (root, secret) = (samples::root_key(), IssuingSecret::from_seed([5; 32]).unwrap());
        let certificate = samples::issuing_key().certificate().clone();
        assert!(matches!(
            IssuingKey::new(secret.clone(), certificate.clone()),
            Err(SignError::CertificateMismatch { .. })
        ));
        // Signed by an uncertified key under a borrowed certificate.
        let footer =
            format!("{{\"kid\":\"{}\",\"crt\":\"{}\"}}", certificate.claims.key_id, certificate.token);
        let token = sign(secret.seed(), &samples::license(), footer.as_bytes()).unwrap();
        assert_eq!(
            trusting(&root).verify::<License>(&token).unwrap_err(),
            TokenError::BadSignature { what: "license" }
        );
        // A certificate that names another key's id.
        let footer = format!("{{\"kid\":\"k4.pid.other\",\"crt\":\"{}\"}}", certificate.token);
        let token = sign(secret.seed(), &samples::license(), footer.as_bytes()).unwrap();
        assert!(matches!(trusting(&root).verify::<License>(&token), Err(TokenError::UntrustedIssuer { .. })));
    }

    #[test]
    fn every_changed_byte_of_a_token_is_refused() {
        let token = samples::issuing_key().sign(&samples::license()).unwrap().token;
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(samples::roots().verify::<License>(&changed).is_err(), "position {at}");
        }
    }
}
