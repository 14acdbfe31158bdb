//! A note in a damaged store's folder, so that it is not used again until somebody has looked at it.
//!
//! ```text
//! quorate quarantine 1
//! reason: log entry 812 is missing, though later ones are there
//! file: db/000014.sst
//! ```
//!
//! Nothing is deleted and nothing is repaired. The note is for people: who has found out what is
//! wrong, and has put the files right, removes it, and the store is checked again.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use super::{error::OpenError, floor::sync_folder};

const NAME: &str = "quarantine";
const TITLE: &str = "quorate quarantine 1";

/// The place of the note in one store's folder.
#[derive(Debug, Clone)]
pub(super) struct Quarantine {
    folder: PathBuf,
}

impl Quarantine {
    /// For the store in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Quarantine { folder: folder.to_owned() }
    }

    /// # Errors
    /// [`OpenError::Damaged`] with what the note says, if there is one.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let path = self.folder.join(NAME);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let reason = text.lines().find_map(|line| line.strip_prefix("reason: "));
                let files = text.lines().filter_map(|line| line.strip_prefix("file: "));
                Err(OpenError::Damaged {
                    path: self.folder.clone(),
                    reason: reason.unwrap_or("the note gives no reason").to_owned(),
                    files: files.map(str::to_owned).collect(),
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(OpenError::Io { path, source }),
        }
    }

    /// Writes the note, unless there is one already, and gives the error that says the same.
    pub(super) fn enter(&self, reason: &dyn std::fmt::Display) -> OpenError {
        let reason = reason.to_string().replace('\n', " ");
        let files = self.files_named_in(&reason);
        if let Err(error) = self.write(&reason, &files) {
            tracing::warn!(%error, folder = %self.folder.display(), "the note of the quarantine can't be written");
        }
        OpenError::Damaged { path: self.folder.clone(), reason, files }
    }

    /// As [`Quarantine::enter`], for damage that is met while the node runs: if `error` is of that kind.
    pub(super) fn look_at(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData {
            let damaged = self.enter(error);
            tracing::error!(error = %damaged, "this node stops");
        }
    }

    fn write(&self, reason: &str, files: &[String]) -> io::Result<()> {
        let path = self.folder.join(NAME);
        let mut note = format!("{TITLE}\nreason: {reason}\n");
        for file in files {
            note.push_str(&format!("file: {file}\n"));
        }
        match fs::File::create_new(&path) {
            Ok(mut file) => {
                file.write_all(note.as_bytes())?;
                file.sync_all()?;
                sync_folder(&path)
            }
            // The first reason stands.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The files of the store that the reason names, and the database as a whole if it names none.
    fn files_named_in(&self, reason: &str) -> Vec<String> {
        let mut files = Vec::new();
        for folder in ["", "db", "snapshots"] {
            let Ok(entries) = fs::read_dir(self.folder.join(folder)) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
                if is_file && name.len() > 4 && reason.contains(&name) {
                    let relative = Path::new(folder).join(&name);
                    files.push(relative.display().to_string());
                }
            }
        }
        if files.is_empty() {
            files.push("db".to_owned());
        }
        files.sort();
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stands_until_the_note_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("db")).unwrap();
        fs::write(folder.path().join("db/000012.sst"), "x").unwrap();
        let quarantine = Quarantine::new(folder.path());
        quarantine.check().unwrap();
        quarantine.enter(&"block checksum mismatch in /x/db/000012.sst offset 3");
        quarantine.enter(&"something else");
        match quarantine.check() {
            Err(OpenError::Damaged { reason, files, .. }) => {
                assert!(reason.starts_with("block checksum mismatch"), "{reason}");
                assert_eq!(files, ["db/000012.sst"]);
            }
            other => panic!("{other:?}"),
        }
        fs::remove_file(folder.path().join("quarantine")).unwrap();
        quarantine.check().unwrap();
    }

    #[test]
    fn only_damage_leads_into_quarantine() {
        let folder = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(folder.path());
        quarantine.look_at(&io::Error::from(io::ErrorKind::StorageFull));
        quarantine.check().unwrap();
        quarantine.look_at(&io::Error::new(io::ErrorKind::InvalidData, "a record is damaged"));
        assert!(quarantine.check().is_err());
    }
}
