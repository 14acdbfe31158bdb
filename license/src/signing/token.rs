//! The one path by which anything is signed or checked as PASETO v4.public.
//!
//! It uses the version's own functions, because the library's claim checks would read a clock.

use ed25519_dalek::SigningKey;
use pasetors::{
    Public,
    keys::{AsymmetricPublicKey, AsymmetricSecretKey},
    token::UntrustedToken,
    version4::{PublicToken, V4},
};
use zeroize::Zeroizing;

/// The largest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 1024 * 1024;

/// A token whose signature is good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub payload: String,
    pub footer: Vec<u8>,
}

/// Why a token can't be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    TooLong,
    Malformed,
    Signature,
}

/// Why something can't be signed: the key is all zeros, or there is nothing to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unsignable;

/// Signs `message` with the key that grows from `seed`. `assertion` is signed along, not carried.
pub(super) fn sign_bytes(
    seed: &[u8; 32],
    message: &[u8],
    footer: &[u8],
    assertion: &[u8],
) -> Result<String, Unsignable> {
    if *seed == [0; 32] {
        return Err(Unsignable);
    }
    let pair = Zeroizing::new(SigningKey::from_bytes(seed).to_keypair_bytes());
    let key = AsymmetricSecretKey::<V4>::from(pair.as_slice()).map_err(|_| Unsignable)?;
    PublicToken::sign(&key, message, Some(footer), Some(assertion)).map_err(|_| Unsignable)
}

/// Checks a token's signature by `public` under `assertion`, and takes it apart.
pub(super) fn verify_bytes(public: &[u8; 32], token: &str, assertion: &[u8]) -> Result<Opened, Refused> {
    let untrusted = parse(token)?;
    let key = AsymmetricPublicKey::<V4>::from(public).map_err(|_| Refused::Signature)?;
    let trusted =
        PublicToken::verify(&key, &untrusted, None, Some(assertion)).map_err(|_| Refused::Signature)?;
    Ok(Opened { payload: trusted.payload().to_owned(), footer: trusted.footer().to_vec() })
}

/// The footer of a token that is not checked yet.
pub(super) fn untrusted_footer(token: &str) -> Result<Vec<u8>, Refused> {
    parse(token).map(|untrusted| untrusted.untrusted_footer().to_vec())
}

fn parse(token: &str) -> Result<UntrustedToken<Public, V4>, Refused> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Refused::TooLong);
    }
    UntrustedToken::<Public, V4>::try_from(token).map_err(|_| Refused::Malformed)
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use serde_json::Value;

    use super::*;

    /// As published at <https://github.com/paseto-standard/test-vectors>.
    const VECTORS: &str = include_str!("../../tests/vectors/paseto-v4.json");

    fn bytes32(vector: &Value, field: &str) -> [u8; 32] {
        HEXLOWER.decode(vector[field].as_str().unwrap().as_bytes()).unwrap().try_into().unwrap()
    }

    fn vectors() -> Vec<Value> {
        serde_json::from_str::<Value>(VECTORS).unwrap()["tests"].as_array().unwrap().clone()
    }

    #[test]
    fn the_published_v4_public_vectors_are_signed_and_verified() {
        let mut seen = 0;
        for vector in vectors().iter().filter(|v| v["name"].as_str().unwrap().starts_with("4-S-")) {
            let text = |field: &str| vector[field].as_str().unwrap();
            let (payload, footer, assertion) = (text("payload"), text("footer"), text("implicit-assertion"));
            let signed = sign_bytes(
                &bytes32(vector, "secret-key-seed"),
                payload.as_bytes(),
                footer.as_bytes(),
                assertion.as_bytes(),
            );
            assert_eq!(signed.unwrap(), text("token"), "{}", vector["name"]);
            let opened =
                verify_bytes(&bytes32(vector, "public-key"), text("token"), assertion.as_bytes()).unwrap();
            assert_eq!((opened.payload.as_str(), &opened.footer[..]), (payload, footer.as_bytes()));
            seen += 1;
        }
        assert_eq!(seen, 3);
    }

    #[test]
    fn the_published_vectors_that_must_fail_are_refused() {
        let key = vectors().iter().find(|v| v["name"] == "4-S-1").map(|v| bytes32(v, "public-key")).unwrap();
        let mut seen = 0;
        for vector in vectors().iter().filter(|v| v["expect-fail"] == true) {
            let public = if vector["public-key"].is_string() { bytes32(vector, "public-key") } else { key };
            let (token, assertion) =
                (vector["token"].as_str().unwrap(), vector["implicit-assertion"].as_str().unwrap());
            assert!(verify_bytes(&public, token, assertion.as_bytes()).is_err(), "{}", vector["name"]);
            seen += 1;
        }
        assert_eq!(seen, 5);
    }

    #[test]
    fn another_assertion_key_or_content_is_refused() {
        let token = sign_bytes(&[3; 32], b"{}", b"{\"kid\":\"x\"}", b"license").unwrap();
        let public = SigningKey::from_bytes(&[3; 32]).verifying_key().to_bytes();
        let other = SigningKey::from_bytes(&[4; 32]).verifying_key().to_bytes();
        assert!(verify_bytes(&public, &token, b"license").is_ok());
        assert_eq!(verify_bytes(&public, &token, b"binding"), Err(Refused::Signature));
        assert_eq!(verify_bytes(&other, &token, b"license"), Err(Refused::Signature));
        assert_eq!(verify_bytes(&public, "v4.public.", b""), Err(Refused::Malformed));
        assert!(verify_bytes(&public, &token[..token.len() - 30], b"license").is_err());
        assert_eq!(verify_bytes(&public, &"v".repeat(MAX_TOKEN_BYTES + 1), b""), Err(Refused::TooLong));
        assert_eq!(sign_bytes(&[0; 32], b"{}", b"", b""), Err(Unsignable));
        assert_eq!(sign_bytes(&[3; 32], b"", b"", b""), Err(Unsignable));
    }
}
