//! A look through RocksDB's logs before RocksDB reads them.
//!
//! RocksDB 11.8.1 does not come back from a record of a recycled log file that stands behind one of a plain
//! log: `Reader::ReadPhysicalRecord` (db/log_reader.cc) calls it bad without going on to the next, for ever. We
//! recycle nothing, so only overwritten bytes look so: a tail that was being written when the power went, or
//! a damaged disk. In a write-ahead log we set such a tail aside, as RocksDB drops any other torn one; whether
//! something that was synced is gone with it, the floor tells. The journal of RocksDB's own files is synced
//! record by record: there it is damage.
//!
//! ```text
//! log    := block (32768)*
//! block  := record* zeros
//! record := checksum (4) | length u16 little endian | kind (1) | bytes
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read as _, Write as _},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::floor::sync_folder;

const BLOCK_BYTES: usize = 32 << 10;
const HEAD_BYTES: usize = 7;

/// Where the tails lie that were set aside, relative to the store's folder.
const SET_ASIDE: &str = "set-aside";

/// The first place in the database `db` from which RocksDB would not come back.
pub(super) fn stuck_at(db: &Path) -> io::Result<Option<(PathBuf, u64)>> {
    for path in logs(db)? {
        if let Some(offset) = stuck_in(&path)? {
            return Ok(Some((path, offset)));
        }
    }
    Ok(None)
}

/// Cuts the write-ahead logs of the store in `folder` where RocksDB would not come back, and keeps what is cut
/// off in a folder beside the database until [`forget_tails`].
///
/// # Errors
/// Those of the disk; and [`io::ErrorKind::InvalidData`] if the journal of RocksDB's files is damaged so.
pub(super) fn set_tails_aside(folder: &Path, db: &Path) -> io::Result<()> {
    while let Some((path, offset)) = stuck_at(db)? {
        let name = path.file_name().unwrap_or_default().display().to_string();
        if !is_write_ahead_log(&name) {
            let reason = format!("{name} holds a record of an impossible kind at byte {offset}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let tail = folder.join(SET_ASIDE).join(format!("{name}.from-{offset}"));
        set_aside(&path, offset, &tail)?;
        tracing::warn!(
            log = %path.display(),
            offset,
            set_aside = %tail.display(),
            "the write-ahead log ends in bytes that are no records: they are set aside"
        );
    }
    Ok(())
}

/// Makes a copy of the database `db` in the folder `to`, with write-ahead logs as [`set_tails_aside`] would leave
/// them. It is for reading only: the files are the same ones where the file system can do that.
pub(super) fn copy_without_tails(db: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(db)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().display().to_string());
        if !entry.file_type()?.is_file() || name.starts_with("LOG") || name == "LOCK" {
            continue;
        }
        let copy = to.join(&name);
        let stuck = if is_write_ahead_log(&name) { stuck_in(&path)? } else { None };
        match stuck {
            Some(offset) => {
                fs::copy(&path, &copy)?;
                OpenOptions::new().write(true).open(&copy)?.set_len(offset)?;
            }
            None => fs::hard_link(&path, &copy).or_else(|_| fs::copy(&path, &copy).map(drop))?,
        }
    }
    Ok(())
}

/// Removes the tails that were set aside: all that was synced is there without them.
pub(super) fn forget_tails(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder.join(SET_ASIDE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The tail is on disk at its new place before it leaves the old one.
fn set_aside(log: &Path, offset: u64, tail: &Path) -> io::Result<()> {
    if let Some(folder) = tail.parent() {
        fs::create_dir_all(folder)?;
        sync_folder(folder)?;
    }
    let file = OpenOptions::new().read(true).write(true).open(log)?;
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len() - offset).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, offset)?;
    let mut copy = File::create(tail)?;
    copy.write_all(&bytes)?;
    copy.sync_all()?;
    sync_folder(tail)?;
    file.set_len(offset)?;
    file.sync_all()
}

fn is_write_ahead_log(name: &str) -> bool {
    name.ends_with(".log")
}

/// The files of `db` that RocksDB reads as logs.
fn logs(db: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(db) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().display().to_string();
        if is_write_ahead_log(&name) || name.starts_with("MANIFEST-") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Goes through the records as RocksDB does, but for their checksums: what stands behind a wrong one is not
/// used anyway.
fn stuck_in(path: &Path) -> io::Result<Option<u64>> {
    let mut file = BufReader::new(File::open(path)?);
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let (mut start, mut has_record) = (0, false);
    loop {
        block.clear();
        file.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            return Ok(None);
        }
        let mut at = 0;
        while let Some(&[_, _, _, _, low, high, kind]) = block[at..].first_chunk::<HEAD_BYTES>() {
            let length = usize::from(u16::from_le_bytes([low, high]));
            if is_recycled(kind) {
                // A recycled log, which begins so, is not ours: RocksDB says what it thinks of it.
                return Ok(has_record.then_some(start + at as u64));
            }
            let end = at + HEAD_BYTES + length;
            if end > block.len() || (kind == 0 && length == 0) {
                break;
            }
            has_record = true;
            at = end;
        }
        start += block.len() as u64;
    }
}

/// The kinds of records in recycled logs (RocksDB's db/log_format.h).
fn is_recycled(kind: u8) -> bool {
    matches!(kind, 5..=8 | 11 | 131)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let length = (bytes.len() as u16).to_le_bytes();
        [&[0; 4], &length[..], &[kind], bytes].concat()
    }

    /// A full block of two records, and a record in the next one.
    fn log() -> Vec<u8> {
        let first = record(1, &[7; 1000]);
        let second = record(2, &vec![8; BLOCK_BYTES - first.len() - HEAD_BYTES]);
        [first, second, record(4, b"rest")].concat()
    }

    fn stuck(bytes: &[u8]) -> Option<u64> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("000012.log");
        fs::write(&path, bytes).unwrap();
        stuck_in(&path).unwrap()
    }

    #[test]
    fn plain_records_zeros_and_torn_ones_are_left_to_rocksdb() {
        let log = log();
        assert_eq!(stuck(&log), None);
        assert_eq!(stuck(&[log.clone(), vec![0; 100_000]].concat()), None);
        for cut in [0, 3, 1006, 1010, BLOCK_BYTES, BLOCK_BYTES + 5, log.len() - 1] {
            assert_eq!(stuck(&log[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_recycled_record_behind_a_plain_one_is_found_in_any_block() {
        let log = log();
        for kind in [5, 6, 7, 8, 11, 131] {
            let tail = record(kind, b"overwritten");
            assert_eq!(stuck(&[&log[..], &tail].concat()), Some(log.len() as u64), "kind {kind}");
            assert_eq!(stuck(&[&log[..1007], &tail].concat()), Some(1007), "kind {kind}");
            // A log of nothing else is a recycled one.
            assert_eq!(stuck(&tail), None, "kind {kind}");
        }
    }

    #[test]
    fn a_tail_that_is_set_aside_is_whole_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("db");
        fs::create_dir(&db).unwrap();
        let (log, tail) = (log(), record(5, b"overwritten"));
        fs::write(db.join("000012.log"), [&log[..], &tail].concat()).unwrap();
        fs::write(db.join("CURRENT"), "MANIFEST-000005\n").unwrap();
        fs::write(db.join("MANIFEST-000005"), &log).unwrap();

        set_tails_aside(folder.path(), &db).unwrap();
        assert_eq!(fs::read(db.join("000012.log")).unwrap(), log);
        let kept = folder.path().join(SET_ASIDE).join(format!("000012.log.from-{}", log.len()));
        assert_eq!(fs::read(&kept).unwrap(), tail);
        assert_eq!(stuck_at(&db).unwrap(), None);

        forget_tails(folder.path()).unwrap();
        assert!(!kept.exists());
        forget_tails(folder.path()).unwrap();
    }

    #[test]
    fn the_journal_of_files_is_never_cut() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = [log(), record(6, b"overwritten")].concat();
        fs::write(folder.path().join("MANIFEST-000005"), &bytes).unwrap();
        let error = set_tails_aside(folder.path(), folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("MANIFEST-000005"), "{error}");
        assert_eq!(fs::read(folder.path().join("MANIFEST-000005")).unwrap(), bytes);
    }
}
