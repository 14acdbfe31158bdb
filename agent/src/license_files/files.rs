//! One tenant's files on disk: what is there, what should be there, and what has to be written.
//!
//! A serial never goes down within an epoch. After a power loss the files, which are synced, may be ahead
//! of the state, which is still catching up; they are then left alone.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use quorate_license::{
    Binding, License, LicenseFile, Receipt, Signed, SignedReceipt, TenantId, Timestamp, TrustRoots,
};

use super::{Options, RENEW_AFTER_MS};
use crate::durable_file;

/// More than any file that is written here.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The product may run under another user: everybody reads, the agent writes.
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// A license file or receipt can't be written.
#[derive(Debug, thiserror::Error)]
#[error("'{path}' can't be written: {source}; make room on the disk, or correct the folder's permissions")]
pub struct WriteError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// What a tenant's files should hold.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub tenant: TenantId,
    pub license: Signed<License>,
    pub binding: Signed<Binding>,
    pub cluster_time: Timestamp,
    /// Until when the installation has to be reactivated, if it has to.
    pub reactivation_until: Option<Timestamp>,
}

/// What is on disk now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// What should be there; the receipt is of this cluster time.
    Current { receipt_at: Timestamp },
    /// A later license or binding of the same epoch.
    NewerOnDisk,
}

/// Writes a node's license files.
#[derive(Debug)]
pub(super) struct Files {
    roots: Arc<TrustRoots>,
    options: Options,
}

impl Files {
    pub(super) fn new(roots: Arc<TrustRoots>, options: Options) -> Self {
        Files { roots, options }
    }

    /// Brings a tenant's files up to date: the license file, then the receipt. Blocks on the disk.
    pub(super) fn write(&self, wanted: &Wanted) -> Result<Outcome, WriteError> {
        let folder = &self.options.folder;
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(folder)
            .map_err(|source| WriteError { path: folder.clone(), source })?;
        let path = self.path(&wanted.tenant, "lic");
        let text = LicenseFile::new(&wanted.license, &wanted.binding).to_text();
        let on_disk = read(&path);
        if on_disk.as_deref() != Some(&text) {
            if on_disk.is_some_and(|on_disk| self.is_newer(&on_disk, wanted)) {
                return Ok(Outcome::NewerOnDisk);
            }
            replace(&path, &text)?;
        }
        self.write_receipt(wanted).map(|receipt_at| Outcome::Current { receipt_at })
    }

    fn path(&self, tenant: &TenantId, extension: &str) -> PathBuf {
        self.options.folder.join(format!("{tenant}.{extension}"))
    }

    /// Whether the license file on disk is good and of a later time of the same epoch.
    fn is_newer(&self, text: &str, wanted: &Wanted) -> bool {
        let opened = LicenseFile::from_text(text).and_then(|file| file.open(&self.roots));
        let Ok((license, binding)) = opened else { return false };
        let (on_disk, wanted_binding) = (&binding.claims, &wanted.binding.claims);
        on_disk.cluster_id == wanted_binding.cluster_id
            && on_disk.epoch == wanted_binding.epoch
            && license.claims.tenant == wanted.tenant
            && (license.claims.serial > wanted.license.claims.serial
                || on_disk.serial > wanted_binding.serial
                || on_disk.fence > wanted_binding.fence)
    }

    /// Returns the cluster time of the receipt that is on disk afterwards.
    fn write_receipt(&self, wanted: &Wanted) -> Result<Timestamp, WriteError> {
        let path = self.path(&wanted.tenant, "receipt");
        let receipt = self.receipt(wanted);
        if let Some(signed_at) = read(&path).and_then(|text| self.good_until_now(&text, &receipt)) {
            return Ok(signed_at);
        }
        let signed_at = receipt.cluster_time;
        replace(&path, &SignedReceipt::sign(receipt, &self.options.key).to_text())?;
        Ok(signed_at)
    }

    fn receipt(&self, wanted: &Wanted) -> Receipt {
        let (license, binding) = (&wanted.license.claims, &wanted.binding.claims);
        Receipt {
            support_id: license.support_id.clone(),
            cluster_id: license.cluster_id,
            tenant: wanted.tenant.clone(),
            serial: license.serial,
            fence: binding.fence,
            cluster_time: wanted.cluster_time,
            computer_id: self.options.computer_id,
            node: self.options.node,
            reactivation_until: wanted.reactivation_until,
        }
    }

    /// The time of a receipt on disk that says the same and need not be renewed yet.
    fn good_until_now(&self, text: &str, wanted: &Receipt) -> Option<Timestamp> {
        let signed = SignedReceipt::from_text(text).ok()?;
        signed.verify(&self.options.key.public()).ok()?;
        let signed_at = signed.receipt.cluster_time;
        let same = signed.receipt == Receipt { cluster_time: signed_at, ..wanted.clone() };
        (same && wanted.cluster_time.ms_since(signed_at) < RENEW_AFTER_MS).then_some(signed_at)
    }
}

fn replace(path: &Path, text: &str) -> Result<(), WriteError> {
    durable_file::replace(path, text.as_bytes(), FILE_MODE)
        .map_err(|source| WriteError { path: path.to_owned(), source })
}

/// What a file holds; none if it is missing or can't be what was written here: it is then replaced.
fn read(path: &Path) -> Option<String> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(MAX_FILE_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}
