//! The two key files as text: JSON with a format name, keys as PASERK.

use quorate_license::{IssuingKey, IssuingSecret, RootKey, RootPublicKey, SignError, TrustRoots};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const ROOT_FORMAT: &str = "quorate-root-key/1";
const ISSUING_FORMAT: &str = "quorate-issuing-key/1";

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct RootFile {
    format: String,
    secret: String,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct IssuingFile {
    format: String,
    root: String,
    certificate: String,
    secret: String,
}

pub(super) fn write_root(key: &RootKey) -> Result<Zeroizing<String>, SignError> {
    text(&RootFile { format: ROOT_FORMAT.to_owned(), secret: key.expose().to_string() })
}

pub(super) fn read_root(text: &str) -> Result<RootKey, String> {
    let file: RootFile = serde_json::from_str(text).map_err(|_| "it is not a root key file".to_owned())?;
    check_format(&file.format, ROOT_FORMAT)?;
    file.secret.parse().map_err(|error| format!("its secret is damaged: {error}"))
}

pub(super) fn write_issuing(
    root: &RootPublicKey,
    secret: &IssuingSecret,
    certificate: String,
) -> Result<Zeroizing<String>, SignError> {
    text(&IssuingFile {
        format: ISSUING_FORMAT.to_owned(),
        root: root.to_string(),
        certificate,
        secret: secret.expose().to_string(),
    })
}

pub(super) fn read_issuing(text: &str) -> Result<(RootPublicKey, IssuingKey), String> {
    let file: IssuingFile =
        serde_json::from_str(text).map_err(|_| "it is not an issuing key file".to_owned())?;
    check_format(&file.format, ISSUING_FORMAT)?;
    let root: RootPublicKey =
        file.root.parse().map_err(|error| format!("its root public key is damaged: {error}"))?;
    let secret: IssuingSecret =
        file.secret.parse().map_err(|error| format!("its secret is damaged: {error}"))?;
    let certificate = TrustRoots(vec![root])
        .verify_certificate(&file.certificate)
        .map_err(|error| format!("its certificate is not good under its root public key: {error}"))?;
    let key = IssuingKey::new(secret, certificate).map_err(|error| error.to_string())?;
    Ok((root, key))
}

fn check_format(found: &str, wanted: &str) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("its format is '{found}', wanted is '{wanted}'")) }
}

/// Texts alone: this can't fail. Never quotes the secret if it did.
fn text(file: &impl Serialize) -> Result<Zeroizing<String>, SignError> {
    serde_json::to_string_pretty(file)
        .map(|text| Zeroizing::new(text + "\n"))
        .map_err(|error| SignError::Claims { what: "key file", reason: error.to_string() })
}
