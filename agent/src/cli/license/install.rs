//! `quorate license install`: the portal's answer to an offline activation.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::PathBuf,
};

use clap::Args;
use quorate_license::LicenseKey;
use quorate_proto::v1::{InstallLicenseRequest, InstallLicenseResponse};
use serde::Serialize;

use super::super::{
    Context, Exit,
    client::{LONG_DEADLINE, call, within},
    error::CliError,
    input,
    output::{Page, Present, to_stderr},
};

/// Arguments of `license install`.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// The file with the license key, - for standard input. Line breaks, spaces, quoting as in mail and words
    /// around it do no harm.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// The largest text that is read: what a node takes in one message.
const MAX_TEXT_BYTES: u64 = 3 << 20;

#[derive(Serialize)]
struct Installed {
    support_id: String,
    serial: u64,
    nonce: String,
    already_installed: bool,
    missing: Vec<String>,
}

pub(super) async fn run(context: &Context, args: InstallArgs) -> Result<Exit, CliError> {
    let text = read(&args)?;
    // A damaged character is better heard of before anything is asked.
    LicenseKey::from_text(&text)?;
    let mut admin = context.connect().await?;
    let request = InstallLicenseRequest { license_key: text };
    let answer = call(LONG_DEADLINE, admin.install_license(within(LONG_DEADLINE, request))).await?;
    context.output.print(&Installed::from(answer))?;
    Ok(Exit::Ok)
}

fn read(args: &InstallArgs) -> Result<String, CliError> {
    let mut bytes = Vec::new();
    let read = if input::is_stdin(&args.file) {
        if io::stdin().is_terminal() {
            to_stderr("Paste the license key, then press Ctrl-D.\n");
        }
        io::stdin().lock().take(MAX_TEXT_BYTES).read_to_end(&mut bytes)
    } else {
        File::open(&args.file).and_then(|file| file.take(MAX_TEXT_BYTES).read_to_end(&mut bytes))
    };
    read.map_err(|cause| CliError::File { what: "license key", path: args.file.clone(), cause })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl From<InstallLicenseResponse> for Installed {
    fn from(answer: InstallLicenseResponse) -> Self {
        Installed {
            support_id: answer.support_id,
            serial: answer.serial,
            nonce: answer.nonce,
            already_installed: answer.already_installed,
            missing: answer.missing,
        }
    }
}

impl Present for Installed {
    fn page(&self, page: &mut Page) {
        page.line(match self.already_installed {
            true => "This license key is installed already; nothing was changed.",
            false => "The license is installed.",
        });
        page.gap();
        page.fields(&[("Support ID", self.support_id.clone()), ("Serial", self.serial.to_string())]);
        page.gap();
        if !self.missing.is_empty() {
            let missing = self.missing.join(", ");
            page.line(format!("Not confirmed yet by {missing}; they get it as soon as they can."));
        }
        page.line("'quorate status' shows the license on every node.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::all_forms;

    #[test]
    fn what_became_of_a_license_key_is_shown_in_every_form() {
        let answer = InstallLicenseResponse {
            support_id: "QS-7F3K-29TQ".to_owned(),
            serial: 2,
            nonce: "ab".repeat(16),
            already_installed: false,
            missing: vec!["sc-1".to_owned()],
        };
        let again = InstallLicenseResponse { already_installed: true, missing: Vec::new(), ..answer.clone() };
        insta::assert_snapshot!([answer, again].map(|answer| all_forms(&Installed::from(answer))).join("\n"));
    }

    #[test]
    fn a_damaged_license_key_is_refused_with_the_place_before_a_node_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("license-key.txt");
        let good = super::super::tests::license_key();
        std::fs::write(&file, good.replacen("eyJ2", "eyJ\u{20ac}", 1)).unwrap();
        let text = read(&InstallArgs { file }).unwrap();
        let report = CliError::from(LicenseKey::from_text(&text).unwrap_err()).report();
        assert_eq!(report.code, "license_key_malformed");
        assert!(report.message.contains("line 2, column 4"), "{}", report.message);
        assert!(LicenseKey::from_text(&good).is_ok());
    }
}
