//! Files that are replaced as a whole: a reader, and a restart after a power loss, finds the old
//! content or the new one, never a part.
//!
//! ```text
//! write ".NAME.new" ─> sync it ─> rename it to NAME ─> sync the folder
//! ```

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Replaces the file at `path`, which then has exactly the permissions `mode`, whatever the umask.
/// Blocks on the disk. Two calls for one path must not run at the same time.
///
/// # Errors
/// Whatever the disk answers; the file then still has its old content, or already the new one if
/// only syncing its folder failed.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let (folder, beside) = beside(path)?;
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_new(&beside, content, mode).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        // What is left over is removed before the next try as well.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

/// The folder of `path`, and the name under which its next content is written there.
fn beside(path: &Path) -> io::Result<(&Path, PathBuf)> {
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
    let name = path.file_name().ok_or_else(no_file)?;
    let folder = match path.parent().ok_or_else(no_file)? {
        folder if folder.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    let mut new_name = OsString::from(".");
    new_name.push(name);
    new_name.push(".new");
    Ok((folder, folder.join(new_name)))
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_nothing_is_left_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("license");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o666).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_writer_left_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("license");
        fs::write(folder.path().join(".license.new"), "half").unwrap();
        replace(&path, b"whole", 0o644).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("license");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"new", 0o644).is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(Path::new("/"), b"", 0o644).is_err());
    }
}
