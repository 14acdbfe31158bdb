//! Files and folders of a driven cluster.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::{Failure, Result};

/// Makes the folder with everything above it.
///
/// # Errors
/// The operating system refuses.
pub fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Failure::file("make the folder", path))
}

/// The file's text.
///
/// # Errors
/// It can't be read.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(Failure::file("read", path))
}

/// Writes the file.
///
/// # Errors
/// It can't be written.
pub fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, text).map_err(Failure::file("write", path))
}

/// Writes the file so that a reader sees all of it or nothing, readable by its owner alone.
///
/// # Errors
/// It can't be written.
pub fn write_atomically(path: &Path, text: &str) -> Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(Failure::file("write", &unfinished))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(Failure::file("write", &unfinished))?;
    fs::rename(&unfinished, path).map_err(Failure::file("write", path))
}

/// Copies a folder with everything in it, but for sockets. The target must not exist.
///
/// # Errors
/// A file can't be read or written.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    make_folder(to)?;
    for entry in entries(from)? {
        let target = to.join(entry.file_name().unwrap_or_default());
        let kind = fs::symlink_metadata(&entry).map_err(Failure::file("look at", &entry))?.file_type();
        if kind.is_dir() {
            copy_folder(&entry, &target)?;
        } else if kind.is_file() {
            fs::copy(&entry, &target).map_err(Failure::file("copy", &entry))?;
        }
    }
    Ok(())
}

/// Removes a folder with everything in it; one that is not there is fine.
///
/// # Errors
/// The operating system refuses.
pub fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::file("remove", path)(cause))
        }
        _ => Ok(()),
    }
}

/// What lies in a folder, sorted by name.
///
/// # Errors
/// It can't be read.
pub fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = fs::read_dir(path)
        .and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
        })
        .map_err(Failure::file("read the folder", path))?;
    found.sort();
    Ok(found)
}

/// The last lines of a file; empty when it can't be read.
pub fn tail(path: &Path, lines: usize) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_written_atomically_replaces_the_old_one_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.json");
        write_atomically(&path, "old").unwrap();
        write_atomically(&path, "new").unwrap();
        assert_eq!(read(&path).unwrap(), "new");
        assert_eq!(entries(folder.path()).unwrap(), [path]);
    }

    #[test]
    fn a_copied_folder_holds_the_same_files() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        make_folder(&from.join("deep")).unwrap();
        write(&from.join("deep/file"), "text").unwrap();
        copy_folder(&from, &folder.path().join("to")).unwrap();
        assert_eq!(read(&folder.path().join("to/deep/file")).unwrap(), "text");
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        write(&path, "a\nb\nc\n").unwrap();
        assert_eq!(tail(&path, 2), "b\nc");
        assert_eq!(tail(&folder.path().join("missing"), 2), "");
    }
}
