//! Marks: the node was taken out of the cluster, the directory is a copy or was set back, its store is gone, its host is another computer now, or how late it was
//! when the agent ran last.

use quorate_license::{ComputerId, Timestamp};

use super::{DataDir, DataDirError};

const CHANGED_COMPUTER: &str = "computer-id-changed";
const OUTDATED: &str = "outdated";
const TIME: &str = "time";

impl DataDir {
    /// Why the node was taken out of the cluster, in words, if another node has told it.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn removed(&self) -> Result<Option<String>, DataDirError> {
        let text = self.read("removed")?;
        Ok(text.map(|text| String::from_utf8_lossy(&text).trim().to_owned()))
    }

    /// Marks the directory as that of a node that was taken out: it is kept, and no node starts on it.
    ///
    /// # Errors
    /// See [`DataDir::save_node_file`].
    pub fn save_removed(&self, reason: &str) -> Result<(), DataDirError> {
        self.write("removed", format!("{reason}\n").as_bytes())
    }

    /// With which code and words the cluster has refused a start on this directory, if it has: it is a copy, or was set
    /// back.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn outdated(&self) -> Result<Option<(String, String)>, DataDirError> {
        let Some(text) = self.read(OUTDATED)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&text);
        let (code, reason) = text.trim().split_once(' ').unwrap_or(("node_start_outdated", text.trim()));
        Ok(Some((code.to_owned(), reason.to_owned())))
    }

    /// Marks the directory as one that the cluster has refused: it is kept, and no node starts on it.
    ///
    /// # Errors
    /// See [`DataDir::save_node_file`].
    pub fn save_outdated(&self, code: &str, reason: &str) -> Result<(), DataDirError> {
        self.write(OUTDATED, format!("{code} {reason}\n").as_bytes())
    }

    /// Whether the store was made and is gone as a whole: the agent has started on this directory before, and
    /// there is neither database nor floor. What is missing of a store in parts, the store itself says.
    ///
    /// # Errors
    /// As [`DataDir::count_start`].
    pub fn store_is_lost(&self) -> Result<bool, DataDirError> {
        let gone = ["db/CURRENT", "floor"].iter().all(|name| !self.store().join(name).exists());
        Ok(gone && self.starts()? > 0)
    }

    /// Which other computer than the registered one was found here, and since when. None if there is no such mark,
    /// or one that can't be read: then the time begins anew.
    pub fn changed_computer(&self) -> Option<(ComputerId, Timestamp)> {
        let text = String::from_utf8(self.read(CHANGED_COMPUTER).ok()??).ok()?;
        let (computer, since) = text.trim().split_once(' ')?;
        Some((computer.parse().ok()?, Timestamp::from_unix_ms(since.parse().ok()?)))
    }

    /// Marks that the host has been another computer since this time.
    ///
    /// # Errors
    /// See [`DataDir::save_node_file`].
    pub fn save_changed_computer(&self, found: ComputerId, since: Timestamp) -> Result<(), DataDirError> {
        self.write(CHANGED_COMPUTER, format!("{found} {}\n", since.as_unix_ms()).as_bytes())
    }

    /// Takes that mark away.
    pub fn clear_changed_computer(&self) {
        // Without the mark there is nothing to clear; with one that stays the next change has less time.
        let _ = std::fs::remove_file(self.path().join(CHANGED_COMPUTER));
    }

    /// What the node reckoned as the cluster's time when it saved it last. None if it never has, or if the file can't be
    /// read: then the time goes on from what the store holds.
    pub fn reckoned_time(&self) -> Option<Timestamp> {
        String::from_utf8(self.read(TIME).ok()??).ok()?.trim().parse().ok()
    }

    /// Saves what the node reckons as the cluster's time.
    ///
    /// # Errors
    /// See [`DataDir::save_node_file`].
    pub fn save_reckoned_time(&self, time: Timestamp) -> Result<(), DataDirError> {
        self.write(TIME, format!("{time}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn directory() -> (tempfile::TempDir, DataDir) {
        let temp = tempfile::tempdir().unwrap();
        let dir = DataDir::new(&temp.path().join("data"));
        dir.create().unwrap();
        (temp, dir)
    }

    #[test]
    fn a_store_that_is_gone_after_a_start_is_lost() {
        let (_temp, dir) = directory();
        assert!(!dir.store_is_lost().unwrap(), "it was not made yet");
        dir.count_start().unwrap();
        assert!(dir.store_is_lost().unwrap());
        fs::create_dir_all(dir.store().join("db")).unwrap();
        assert!(dir.store_is_lost().unwrap(), "an empty folder is no store");
        fs::write(dir.store().join("floor"), "promises").unwrap();
        assert!(!dir.store_is_lost().unwrap(), "the store says itself what is missing");
        fs::remove_file(dir.store().join("floor")).unwrap();
        fs::write(dir.store().join("db/CURRENT"), "MANIFEST-000005\n").unwrap();
        assert!(!dir.store_is_lost().unwrap());
    }

    #[test]
    fn the_reason_of_a_removal_is_kept() {
        let (_temp, dir) = directory();
        assert_eq!(dir.removed().unwrap(), None);
        dir.save_removed("node ms-2 was taken out").unwrap();
        assert_eq!(dir.removed().unwrap().as_deref(), Some("node ms-2 was taken out"));
    }

    #[test]
    fn the_refusal_of_a_start_is_kept() {
        let (_temp, dir) = directory();
        assert_eq!(dir.outdated().unwrap(), None);
        dir.save_outdated("node_start_repeated", "number 2 was reported before").unwrap();
        let kept = ("node_start_repeated".to_owned(), "number 2 was reported before".to_owned());
        assert_eq!(dir.outdated().unwrap(), Some(kept));
    }
}
