//! License file and receipt: what every node keeps on disk so that the product needs no agent.
//!
//! ```text
//! <tenant>.lic      {"format": "quorate-license/1", license token, binding token}
//! <tenant>.receipt  {"format": "quorate-receipt/1", receipt, signature by the node key}
//!
//! both, this host's computer ID, build and time -> verify_file -> VerifiedLicense or FileRefusal
//! ```
//!
//! The license file is the same on every node. The receipt says which serial and fence this node knew
//! at a recent cluster time, and is renewed daily. So a file that was copied to a foreign host, an
//! older file put back, and a lost node left running are refused in time.

mod receipt;
mod refusal;
mod verify;

use serde::{Deserialize, Serialize};

pub use receipt::{Receipt, SignedReceipt};
pub use refusal::{FileRefusal, ReceiptMismatch};
pub use verify::{VerifiedLicense, VerifyInput, verify_file};

use crate::{Binding, License, Signed, TrustRoots};

/// The largest license file or receipt that is read.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// A license file: license and binding of one tenant, as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LicenseFile {
    /// The license's token.
    pub license: String,
    /// The binding's token.
    pub binding: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileJson {
    format: String,
    license: String,
    binding: String,
}

impl LicenseFile {
    /// The format that this release writes and reads.
    pub const FORMAT: &'static str = "quorate-license/1";

    /// The file of a tenant.
    pub fn new(license: &Signed<License>, binding: &Signed<Binding>) -> Self {
        LicenseFile { license: license.token.clone(), binding: binding.token.clone() }
    }

    /// The text of the file: JSON, one field a line.
    pub fn to_text(&self) -> String {
        let json = FileJson {
            format: Self::FORMAT.to_owned(),
            license: self.license.clone(),
            binding: self.binding.clone(),
        };
        to_pretty_json(&json)
    }

    /// Reads the text of a file. Signatures are not checked here.
    ///
    /// # Errors
    ///
    /// [`FileRefusal::Unreadable`], or [`FileRefusal::UnknownFormat`] if another release wrote it.
    pub fn from_text(text: &str) -> Result<Self, FileRefusal> {
        let FileJson { license, binding, .. } = read_json("license file", Self::FORMAT, text)?;
        Ok(LicenseFile { license, binding })
    }

    /// Checks the signatures, and that license and binding belong together; neither host nor time. For
    /// showing a file.
    ///
    /// # Errors
    ///
    /// [`FileRefusal`]: `Unreadable`, `BadSignature`, `UntrustedIssuer`, `IssuerNotValid`,
    /// `OtherInstallation`.
    pub fn open(&self, roots: &TrustRoots) -> Result<(Signed<License>, Signed<Binding>), FileRefusal> {
        let license = roots.verify::<License>(&self.license)?;
        let binding = roots.verify::<Binding>(&self.binding)?;
        if license.claims.support_id != binding.claims.support_id
            || license.claims.cluster_id != binding.claims.cluster_id
        {
            return Err(FileRefusal::OtherInstallation {
                license: license.claims.support_id,
                binding: binding.claims.support_id,
            });
        }
        Ok((license, binding))
    }
}

/// JSON for a file, which ends with a line end. Strings and numbers always serialize.
fn to_pretty_json<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// Reads JSON after a look at its size and format.
fn read_json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    format: &'static str,
    text: &str,
) -> Result<T, FileRefusal> {
    #[derive(Deserialize)]
    struct FormatProbe {
        format: String,
    }

    let unreadable = |reason: String| FileRefusal::Unreadable { what, reason };
    if text.len() > MAX_BYTES {
        return Err(unreadable(format!("it has {} bytes, more than {MAX_BYTES}", text.len())));
    }
    let probe: FormatProbe = serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
    if probe.format != format {
        return Err(FileRefusal::UnknownFormat { what, found: probe.format, known: format });
    }
    serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))
}
