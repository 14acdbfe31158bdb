//! What a host says of itself in its node's row, and how much disk and memory is left and used.
//!
//! Everything here blocks on the operating system: call it from a blocking thread.

use std::path::Path;

use data_encoding::HEXLOWER;
use quorate_license::Timestamp;
use quorate_raft_store::state::HostReport;
use sha2::{Digest, Sha256};
use sysinfo::{DiskRefreshKind, Disks, Motherboard, ProcessRefreshKind, ProcessesToUpdate, Product, System};

/// Goes before the names in the hardware's hash. Part of the format: another one changes every hash.
const HARDWARE_DOMAIN: &[u8] = b"quorate/hardware/v1";

/// Operating system, kernel, start of the machine, and the hash of its hardware's names.
pub fn host_report() -> HostReport {
    HostReport {
        os: known(System::long_os_version()),
        kernel: known(System::kernel_version()),
        booted_at: System::boot_time().map_or(Timestamp::ZERO, from_unix_seconds),
        hardware: hardware(),
    }
}

fn known<E>(text: Result<String, E>) -> String {
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

fn from_unix_seconds(seconds: u64) -> Timestamp {
    Timestamp::from_unix_ms(i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX))
}

/// Tells the same hardware from a copied disk. Serial numbers and the product's UUID stay out:
/// only root may read them, so the hash would depend on who runs the agent.
fn hardware() -> Option<String> {
    let board = Motherboard::new().ok();
    let board = board.as_ref();
    hash_names(&[
        Product::vendor_name().ok(),
        Product::name().ok(),
        Product::family().ok(),
        Product::version().ok(),
        Product::stock_keeping_unit().ok(),
        board.and_then(Motherboard::vendor_name),
        board.and_then(Motherboard::name),
        board.and_then(Motherboard::version),
    ])
}

/// `None` if no name is known, as in many containers and virtual machines.
fn hash_names(names: &[Option<String>]) -> Option<String> {
    let names: Vec<&str> = names.iter().map(|name| name.as_deref().unwrap_or("").trim()).collect();
    if names.iter().all(|name| name.is_empty()) {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(HARDWARE_DOMAIN);
    for name in names {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
    }
    Some(HEXLOWER.encode(&hash.finalize()))
}

/// Free bytes, for this user, of the disk that holds `path`, or will hold it once it exists.
/// `None` where they can't be told: in memory, and on network shares, where asking could hang.
pub fn free_disk_bytes(path: &Path) -> Option<u64> {
    let device = device(path)?;
    let mut disks = Disks::new_with_refreshed_list_specifics(DiskRefreshKind::nothing()).ok()?;
    let disk = disks.iter_mut().find(|disk| disk.id() == Some(device))?;
    disk.refresh_specifics(DiskRefreshKind::nothing().with_storage());
    (disk.total_space() > 0).then(|| disk.available_space())
}

/// The number of the device that holds the nearest existing part of `path`.
fn device(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find_map(|part| std::fs::metadata(part).ok()).map(|metadata| metadata.dev())
}

/// Resident memory of this process in bytes.
pub fn own_memory_bytes() -> Option<u64> {
    let pid = sysinfo::get_current_pid().ok()?;
    let mut system = System::new().ok()?;
    let only_memory = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, only_memory);
    system.process(pid).map(|process| process.memory())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_reported() {
        let report = host_report();
        assert!(!report.os.is_empty() && !report.kernel.is_empty());
        assert!(report.booted_at > Timestamp::ZERO);
        assert!(own_memory_bytes().unwrap() > 100_000);
    }

    #[test]
    fn hardware_is_a_hash_of_all_names_or_unknown() {
        let names = |a: &str, b: &str| hash_names(&[Some(a.to_owned()), Some(b.to_owned()), None]);
        let hash = names("PowerEdge", "0X3D66").unwrap();
        assert_eq!(hash.len(), 64);
        assert_eq!(names(" PowerEdge", "0X3D66\n").unwrap(), hash);
        assert_ne!(names("PowerEdge0", "X3D66").unwrap(), hash, "names are kept apart");
        assert_eq!(names("", " "), None);
        assert_eq!(hash_names(&[None, None]), None);
    }

    #[test]
    fn free_disk_is_that_of_the_device_and_known_before_the_folder_exists() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_disk_bytes(folder.path());
        assert_eq!(free.is_some(), free_disk_bytes(&folder.path().join("not/yet")).is_some());
        assert_eq!(free_disk_bytes(Path::new("/proc")), None);
    }
}
