//! `quorate license inspect`: a license file and its receipt on their own, checked as the product does it.
//!
//! Asks no node. What the arguments don't say comes from this node's configuration: the file, the trusted root keys, the
//! host's computer ID and the product's version.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use clap::Args;
use quorate_license::{
    Binding, BuildNumber, CheckReason, ComputerId, FileRefusal, License, LicenseFile, Receipt, RootPublicKey,
    SignedReceipt, TenantId, Timestamp, TrustRoots, VerifyInput, verify_file,
};
use serde::Serialize;

use super::{
    super::{
        Context, Exit,
        args::DEFAULT_CONFIG,
        error::{CliError, UsageError},
        output::{Page, Present, or_dash, yes_no},
    },
    checks::{Check, account},
    show,
};
use crate::{
    clock,
    config::{Config, ConfigError},
    data_dir,
    host::identity,
};

/// Arguments of `license inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The license file; by default this node's own, licenses/TENANT.lic in its data directory.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// The tenant whose file it is, where none is named.
    #[arg(long, value_name = "TENANT", default_value = "default", conflicts_with = "file")]
    tenant: TenantId,

    /// The vendor's root key; several are parted by commas. By default those that this node trusts.
    #[arg(long, value_name = "ROOT", value_delimiter = ',')]
    trust: Vec<RootPublicKey>,

    /// The receipt; by default the .receipt beside the file, if there is one.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,

    /// Check for the host with this computer ID; by default for this one.
    #[arg(long, value_name = "ID")]
    computer_id: Option<ComputerId>,

    /// Check for this version of the product, before an update to it; by default for this node's own, by its
    /// configuration.
    #[arg(long, value_name = "BUILD")]
    build: Option<BuildNumber>,

    /// Check for this time (RFC 3339); by default for now.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Inspection {
    file: String,
    valid: bool,
    /// `ok`, `reactivation_grace` if it holds for the grace alone, or the code of the refusal.
    code: &'static str,
    computer_id: ComputerId,
    at: Timestamp,
    days_left: Option<u32>,
    checks: Vec<Check>,
    /// Claims are shown only when their signatures are good.
    license: Option<License>,
    binding: Option<Binding>,
    /// As it was read; whether it is this host's own, the checks say.
    receipt: Option<Receipt>,
}

pub(super) fn run(context: &Context, args: &InspectArgs) -> Result<Exit, CliError> {
    let computer_id = match args.computer_id {
        Some(id) => id,
        None => this_host(&context.global.config)?,
    };
    let path = match &args.file {
        Some(path) => path.clone(),
        None => {
            let folder = Config::load(&context.global.config)?.node.data_dir.join(data_dir::LICENSES);
            folder.join(format!("{}.lic", args.tenant))
        }
    };
    let trust = if args.trust.is_empty() { trusted(&context.global.config)? } else { args.trust.clone() };
    let file = read("license file", &path)?;
    let receipt = receipt_text(args.receipt.as_deref(), &path)?;
    let question = Question {
        name: path.display().to_string(),
        file,
        receipt,
        roots: TrustRoots(trust),
        computer_id,
        build: args.build.clone().or_else(|| this_build(&context.global.config)),
        at: args.at.unwrap_or_else(clock::now),
    };
    let (inspection, refusal) = question.answer();
    context.output.print(&inspection)?;
    refusal.map_or(Ok(inspection.exit()), |refusal| Err(refusal.into()))
}

/// The root keys that this node trusts.
fn trusted(config: &Path) -> Result<Vec<RootPublicKey>, CliError> {
    let roots = match Config::load(config) {
        Ok(config) => config.license.trust_roots,
        Err(ConfigError::NoFile { path }) if path == Path::new(DEFAULT_CONFIG) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    if roots.is_empty() { Err(UsageError::NoTrustRoots.into()) } else { Ok(roots) }
}

/// This host's computer ID: as the configuration says, or the operating system's own where no node is
/// configured.
fn this_host(config: &Path) -> Result<ComputerId, CliError> {
    let identity = match Config::load(config) {
        Ok(config) => config.identity,
        Err(ConfigError::NoFile { path }) if path == Path::new(DEFAULT_CONFIG) => Default::default(),
        Err(error) => return Err(error.into()),
    };
    Ok(identity::computer_id(&identity)?)
}

/// The product's version on this node, from its version file or its configuration.
fn this_build(config: &Path) -> Option<BuildNumber> {
    let build = Config::load(config).ok()?.build;
    let from_file = build.file.and_then(|path| fs::read_to_string(path).ok()?.trim().parse().ok());
    from_file.or(build.number)
}

/// The receipt that was named, or the one beside the file. That there is none is for the checks to tell.
fn receipt_text(named: Option<&Path>, file: &Path) -> Result<Option<String>, CliError> {
    match named {
        Some(path) => read("receipt", path).map(Some),
        None if file.extension() == Some(OsStr::new("receipt")) => Ok(None),
        None => match read("receipt", &file.with_extension("receipt")) {
            Err(CliError::File { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        },
    }
}

fn read(what: &'static str, path: &Path) -> Result<String, CliError> {
    fs::read_to_string(path).map_err(|cause| CliError::File { what, path: path.to_owned(), cause })
}

struct Question {
    name: String,
    file: String,
    receipt: Option<String>,
    roots: TrustRoots,
    computer_id: ComputerId,
    build: Option<BuildNumber>,
    at: Timestamp,
}

impl Question {
    fn answer(&self) -> (Inspection, Option<FileRefusal>) {
        let verified = verify_file(&VerifyInput {
            file: &self.file,
            receipt: self.receipt.as_deref(),
            roots: &self.roots,
            computer_id: &self.computer_id,
            build: self.build.as_ref(),
            now: self.at,
            min_serial: None,
        });
        let opened = LicenseFile::from_text(&self.file).and_then(|file| file.open(&self.roots)).ok();
        let (license, binding) = opened.map(|(license, binding)| (license.claims, binding.claims)).unzip();
        let receipt = self.receipt.as_deref().and_then(|text| SignedReceipt::from_text(text).ok());
        let held = verified.as_ref().ok();
        let days_left = held.and_then(|verified| verified.days_left);
        let holds_as = match held.map(|verified| &verified.reason) {
            Some(CheckReason::ReactivationGrace) => CheckReason::ReactivationGrace.code(),
            _ => "ok",
        };
        let refusal = verified.err();
        let inspection = Inspection {
            file: self.name.clone(),
            valid: refusal.is_none(),
            code: refusal.as_ref().map_or(holds_as, FileRefusal::code),
            computer_id: self.computer_id,
            at: self.at,
            days_left,
            checks: account(refusal.as_ref(), self.build.is_some()),
            license,
            binding,
            receipt: receipt.map(|signed| signed.receipt),
        };
        (inspection, refusal)
    }
}

impl Inspection {
    /// Of a file that holds.
    fn exit(&self) -> Exit {
        let soon = self.days_left.is_some_and(|days| days <= show::SOON_DAYS);
        if soon || self.code != "ok" { Exit::ExpiringSoon } else { Exit::Ok }
    }
}

impl Present for Inspection {
    fn page(&self, page: &mut Page) {
        let in_grace = self.code == CheckReason::ReactivationGrace.code();
        page.fields(&[
            ("File", self.file.clone()),
            ("Checked for host", self.computer_id.to_string()),
            ("Checked for time", self.at.to_string()),
            ("Valid", if in_grace { "yes, for the grace".to_owned() } else { yes_no(self.valid).to_owned() }),
            ("Days left", or_dash(self.days_left)),
        ]);
        page.gap();
        let row = |check: &Check| {
            vec![check.name.to_owned(), check.result.words().to_owned(), check.detail.clone()]
        };
        page.table(&["CHECK", "RESULT", "DETAIL"], self.checks.iter().map(row).collect(), "");
        if let Some(license) = &self.license {
            page.gap();
            page.fields(&show::rows(license));
        }
        if let Some(binding) = &self.binding {
            page.gap();
            let row = |node: &quorate_license::BoundNode| {
                vec![
                    node.id.to_string(),
                    node.role.to_string(),
                    node.computer_id.to_string(),
                    or_dash(node.build.as_ref()),
                ]
            };
            page.table(
                &["BOUND NODE", "ROLE", "COMPUTER ID", "BUILD"],
                binding.nodes.iter().map(row).collect(),
                "No node is bound.",
            );
        }
        if let Some(receipt) = &self.receipt {
            page.gap();
            page.fields(&[
                ("Receipt of node", receipt.node.to_string()),
                ("Serial", receipt.serial.to_string()),
                ("Fence", receipt.fence.to_string()),
                ("Cluster time", receipt.cluster_time.to_string()),
            ]);
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_license::{IssuingKey, IssuingSecret, NodeId, RootKey};

    use super::*;
    use crate::cli::{
        license::{
            checks::CheckResult,
            tests::{binding, computer_id, license, node_key, time},
        },
        output::tests::all_forms,
    };

    fn root() -> RootKey {
        RootKey::from_seed([1; 32]).unwrap()
    }

    /// The file on the second node, a day after the activation.
    fn good() -> Question {
        let secret = IssuingSecret::from_seed([2; 32]).unwrap();
        let certificate = root()
            .certify(secret.public(), time("2025-01-01T00:00:00Z"), time("2030-01-01T00:00:00Z"))
            .unwrap();
        let signer = IssuingKey::new(secret, certificate).unwrap();
        let (license, binding) = (license(), binding());
        let receipt = Receipt {
            support_id: license.support_id.clone(),
            cluster_id: license.cluster_id,
            tenant: license.tenant.clone(),
            serial: license.serial,
            fence: binding.fence,
            cluster_time: time("2026-01-02T00:00:00Z"),
            computer_id: computer_id(2),
            node: NodeId::new(1, 2),
            reactivation_until: None,
        };
        let file = LicenseFile::new(&signer.sign(&license).unwrap(), &signer.sign(&binding).unwrap());
        Question {
            name: "default.lic".to_owned(),
            file: file.to_text(),
            receipt: Some(SignedReceipt::sign(receipt, &node_key(2)).to_text()),
            roots: TrustRoots(vec![root().public()]),
            computer_id: computer_id(2),
            build: Some("6.0.84".parse().unwrap()),
            at: time("2026-01-02T00:00:00Z"),
        }
    }

    #[test]
    fn a_good_file_passes_every_check() {
        let (inspection, refusal) = good().answer();
        assert_eq!(refusal, None);
        assert!(inspection.checks.iter().all(|check| check.result == CheckResult::Passed));
        insta::assert_snapshot!(all_forms(&inspection));
    }

    #[test]
    fn a_refused_file_names_the_check_and_the_reason() {
        let (inspection, refusal) = Question { at: time("2026-06-01T00:00:00Z"), ..good() }.answer();
        assert_eq!(CliError::from(refusal.unwrap()).exit(), Exit::NotLicensed);
        insta::assert_snapshot!(all_forms(&inspection));
    }

    /// The check that fails, the refusal's code, and the change that brings it about.
    type Row = (&'static str, &'static str, fn(&mut Question));

    #[test]
    fn each_check_fails_by_its_name() {
        let rows: [Row; 10] = [
            ("readable", "unreadable", |q| q.file.truncate(20)),
            ("readable", "unknown_format", |q| {
                q.file = q.file.replace("quorate-license/1", "quorate-license/9")
            }),
            ("signature", "untrusted_issuer", |q| {
                q.roots = TrustRoots(vec![RootKey::from_seed([9; 32]).unwrap().public()]);
            }),
            ("host", "foreign_host", |q| q.computer_id = computer_id(9)),
            ("build", "build_not_covered", |q| {
                q.build = Some("7.0".parse().unwrap());
                q.at = time("2026-02-01T00:00:00Z");
            }),
            ("receipt", "receipt_missing", |q| q.receipt = None),
            ("receipt", "unreadable", |q| q.receipt = Some("{".to_owned())),
            ("receipt_origin", "receipt_foreign", |q| q.computer_id = computer_id(1)),
            ("receipt_age", "receipt_from_future", |q| q.at = time("2025-12-01T00:00:00Z")),
            ("receipt_age", "receipt_outdated", |q| q.at = time("2028-01-01T00:00:00Z")),
        ];
        for (name, code, change) in rows {
            let mut question = good();
            change(&mut question);
            let (inspection, _) = question.answer();
            assert_eq!(inspection.code, code, "{name}");
            let failed: Vec<&str> = inspection
                .checks
                .iter()
                .filter(|c| c.result == CheckResult::Failed)
                .map(|c| c.name)
                .collect();
            assert_eq!(failed, [name]);
        }
    }

    #[test]
    fn the_receipt_beside_the_file_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("default.lic");
        assert_eq!(receipt_text(None, &file).unwrap(), None);
        fs::write(folder.path().join("default.receipt"), "beside").unwrap();
        assert_eq!(receipt_text(None, &file).unwrap().as_deref(), Some("beside"));
        let named = receipt_text(Some(&folder.path().join("none")), &file);
        assert!(matches!(named, Err(CliError::File { what: "receipt", .. })));
    }
}
