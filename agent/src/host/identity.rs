//! Which computer this is: from the host's machine id to the computer ID.
//!
//! The machine id itself is secret (machine-id(5)): it is wiped after use and in no message or log.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use quorate_license::{ComputerId, MachineId, MachineIdError};
use zeroize::Zeroizing;

use crate::config::Identity;

/// No machine id is longer; what is cut off here is refused by its length.
const MAX_FILE_BYTES: u64 = 4096;

/// The computer ID can't be told.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The configured file can't be read.
    #[error(
        "the machine id can't be read from '{path}': {source}; check identity.machine_id_file and the file's permissions"
    )]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configured file holds no usable machine id.
    #[error("{source} (read from '{path}', which identity.machine_id_file names)")]
    FileUnusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: MachineIdError,
    },
    /// The host doesn't tell its machine id.
    #[error(
        "this host's machine id can't be read: {reason}; run 'systemd-machine-id-setup' on it, or name a file in identity.machine_id_file"
    )]
    HostUnreadable {
        /// Why.
        reason: String,
    },
    /// The host's machine id is not usable. An empty or unfinished one is common on prepared images.
    #[error("{source} (read from /var/lib/dbus/machine-id, or from /etc/machine-id where there is none)")]
    HostUnusable {
        /// What is wrong with it.
        source: MachineIdError,
    },
}

/// The computer ID of this host, or of the file that the configuration names. Blocks on the disk.
///
/// # Errors
/// [`IdentityError`] if there is no machine id, or one that names no host: empty, `uninitialized`,
/// all zeros, not 32 hexadecimal digits.
pub fn computer_id(identity: &Identity) -> Result<ComputerId, IdentityError> {
    let machine_id = match &identity.machine_id_file {
        Some(path) => {
            let text =
                read(path).map_err(|source| IdentityError::FileUnreadable { path: path.clone(), source })?;
            MachineId::parse(&text)
                .map_err(|source| IdentityError::FileUnusable { path: path.clone(), source })?
        }
        None => {
            let text = machine_uid::get()
                .map(Zeroizing::new)
                .map_err(|error| IdentityError::HostUnreadable { reason: error.to_string() })?;
            MachineId::parse(&text).map_err(|source| IdentityError::HostUnusable { source })?
        }
    };
    Ok(ComputerId::derive(&machine_id, identity.source))
}

fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize));
    File::open(path)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use quorate_license::ComputerIdSource;

    use super::*;

    const MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";

    fn from_file(content: &str, source: ComputerIdSource) -> Result<ComputerId, IdentityError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine-id");
        std::fs::write(&path, content).unwrap();
        computer_id(&Identity { machine_id_file: Some(path), source })
    }

    #[test]
    fn the_configured_file_gives_the_computer_id() {
        let id = from_file(&format!("{MACHINE_ID}\n"), ComputerIdSource::Host).unwrap();
        let expected = ComputerId::derive(&MachineId::parse(MACHINE_ID).unwrap(), ComputerIdSource::Host);
        assert_eq!(id, expected);
        let on_volume = from_file(MACHINE_ID, ComputerIdSource::Volume).unwrap();
        assert_eq!(on_volume.source(), ComputerIdSource::Volume);
    }

    #[test]
    fn ids_that_name_no_host_are_refused_with_what_to_do() {
        for (content, expected) in [
            ("", MachineIdError::Empty),
            ("uninitialized\n", MachineIdError::Uninitialized),
            (&"0".repeat(32), MachineIdError::AllZero),
            ("0123", MachineIdError::WrongLength { found: 4 }),
        ] {
            let error = from_file(content, ComputerIdSource::Host).unwrap_err();
            assert!(
                matches!(&error, IdentityError::FileUnusable { source, .. } if *source == expected),
                "{content:?}: {error}"
            );
            assert!(error.to_string().contains("identity.machine_id_file"), "{error}");
        }
    }

    #[test]
    fn no_message_holds_the_machine_id() {
        let wrong = format!("{MACHINE_ID}ff");
        let error = from_file(&wrong, ComputerIdSource::Host).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(MACHINE_ID));
    }

    #[test]
    fn a_missing_file_is_named() {
        let identity = Identity {
            machine_id_file: Some(PathBuf::from("/nowhere/machine-id")),
            source: ComputerIdSource::Host,
        };
        let error = computer_id(&identity).unwrap_err().to_string();
        assert!(error.contains("'/nowhere/machine-id'"), "{error}");
    }
}
