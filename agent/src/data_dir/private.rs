//! What nobody but the agent's user may read, checked before a node starts.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{DataDir, DataDirError};

/// The files of a data directory that hold secrets, as far as they are there.
pub const SECRET_FILES: [&str; 5] =
    ["keys/node", "keys/management", "tls/node.pem", "tls/node.key", "admin.token"];

impl DataDir {
    /// Checks that every file with a secret in it belongs to this process's user, who alone may read it.
    ///
    /// # Errors
    /// [`DataDirError::Readable`] or [`DataDirError::OtherOwner`], with the command that repairs it.
    pub fn check_private(&self) -> Result<(), DataDirError> {
        SECRET_FILES.iter().try_for_each(|name| check_private_file(&self.path.join(name)))
    }
}

/// Checks one file; one that is not there is none to check.
///
/// # Errors
/// See [`DataDir::check_private`].
pub fn check_private_file(path: &Path) -> Result<(), DataDirError> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(DataDirError::Io { path: path.to_owned(), source }),
    };
    let (path, user) = (PathBuf::from(path), nix::unistd::geteuid().as_raw());
    if found.uid() != user {
        return Err(DataDirError::OtherOwner { path, owner: found.uid(), user });
    }
    match found.mode() & 0o777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(DataDirError::Readable { path, mode }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_command_that_repairs_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(&temp.path().join("data"));
        dir.create().unwrap();
        dir.check_private().unwrap();
        for name in SECRET_FILES {
            let path = dir.path().join(name);
            fs::write(&path, "secret").unwrap();
            for mode in [0o640, 0o604, 0o660, 0o610] {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                let refusal = dir.check_private().unwrap_err().to_string();
                assert!(refusal.contains(&format!("chmod 600 {}", path.display())), "{refusal}");
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            dir.check_private().unwrap();
        }
    }

    #[test]
    fn a_key_of_another_user_is_refused_with_both_named() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("key");
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if std::os::unix::fs::chown(&path, Some(4711), None).is_err() {
            // Only root can give files away; without it no such file can be made here.
            return;
        }
        let refusal = check_private_file(&path).unwrap_err().to_string();
        assert!(refusal.contains("4711") && refusal.contains("chown"), "{refusal}");
    }
}
