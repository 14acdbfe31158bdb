//! What inputs are made from: golden files of the formats, and the corpus beside this file.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A name for each target, and the golden files that it begins with.
const GOLDEN: [(&str, &[&str]); 5] = [
    ("integrity_key", &["license/tests/golden/integrity_key.bin", "license/tests/golden/integrity_key.txt"]),
    ("license_key", &["license/tests/golden/license_key.txt", "license/tests/golden/license.token"]),
    (
        "license_file",
        &[
            "license/tests/golden/default.lic",
            "license/tests/golden/default.receipt",
            "license/tests/golden/binding.token",
            "license/tests/golden/certificate.token",
        ],
    ),
    ("records", &["raft-store/tests/golden"]),
    (
        "snapshot",
        &["raft-store/tests/disk/golden/store-1/snapshots", "raft-store/tests/disk/golden/store-2/snapshots"],
    ),
];
/// Larger files make slow inputs.
const MOST_BYTES: u64 = 32 << 10;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository").to_owned()
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target)
}

/// The seeds of a target: always the same ones, in the same order.
pub(crate) fn of(target: &str) -> Vec<Vec<u8>> {
    let golden = GOLDEN.iter().filter(|(name, _)| *name == target).flat_map(|(_, paths)| paths.iter());
    let mut files: Vec<PathBuf> = Vec::new();
    for path in golden.map(|path| repository().join(path)).chain([corpus(target)]) {
        gather(&path, &mut files);
    }
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn gather(path: &Path, files: &mut Vec<PathBuf>) {
    match fs::read_dir(path) {
        Ok(entries) => entries.for_each(|entry| gather(&entry.unwrap().path(), files)),
        Err(_) if fs::metadata(path).is_ok_and(|metadata| metadata.len() <= MOST_BYTES) => {
            files.push(path.to_owned());
        }
        Err(_) => {}
    }
}

/// Keeps an input that failed.
pub(crate) fn keep(target: &str, input: &[u8]) -> PathBuf {
    let name = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let path = corpus(target).join(format!("failed-{name:016x}"));
    fs::create_dir_all(corpus(target)).and_then(|()| fs::write(&path, input)).unwrap();
    path
}
