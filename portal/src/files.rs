//! Small files that must be complete or absent, some of them for the owner's eyes only.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use zeroize::Zeroizing;

/// A secret can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The operating system refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Others may read or change it.
    #[error("others may use it (its mode is {mode:o}); run chmod 600 on it")]
    Exposed {
        /// The file's permission bits.
        mode: u32,
    },
}

/// Writes a file of mode 0600, atomically and synced; folders that are missing are made (0700).
/// An existing file is never replaced.
///
/// # Errors
/// The operating system's, [`io::ErrorKind::AlreadyExists`] among them.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, 0o600, false)
}

/// Like [`write_secret`], in place of what is there.
///
/// # Errors
/// The operating system's.
pub fn replace_secret(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, 0o600, true)
}

/// Writes a file of mode 0644, atomically and synced, in place of what is there.
///
/// # Errors
/// The operating system's.
pub fn write_public(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, 0o644, true)
}

/// Reads a file that only its owner can use.
///
/// # Errors
/// It can't be read, or others may use it.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    check_secret(path)?;
    Ok(Zeroizing::new(fs::read_to_string(path)?))
}

/// Checks that only its owner can use the file.
///
/// # Errors
/// It is not there, or others may use it.
pub fn check_secret(path: &Path) -> Result<(), SecretFileError> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(SecretFileError::Exposed { mode }) }
}

fn write(path: &Path, text: &str, mode: u32, replace: bool) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(folder)?;
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = folder.join(name);
    let written = write_part(&part, text, mode).and_then(|()| {
        if replace {
            fs::rename(&part, path)
        } else {
            // Unlike a rename, a link never takes the place of a file that is there.
            fs::hard_link(&part, path).and_then(|()| fs::remove_file(&part))
        }
    });
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn write_part(part: &Path, text: &str, mode: u32) -> io::Result<()> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_private_and_never_replaced_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/root.key");
        write_secret(&path, "one").unwrap();
        assert_eq!(*read_secret(&path).unwrap(), "one");
        assert_eq!(write_secret(&path, "two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(*read_secret(&path).unwrap(), "one");
        replace_secret(&path, "two").unwrap();
        assert_eq!(*read_secret(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn secrets_that_others_may_read_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.key");
        write_secret(&path, "one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refusal = read_secret(&path).unwrap_err().to_string();
        assert!(refusal.contains("640") && refusal.contains("chmod 600"), "{refusal}");
    }
}
