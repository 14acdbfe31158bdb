//! Marks that keep a node from starting: it was taken out of the cluster, or its store is gone.

use super::{DataDir, DataDirError};

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

    /// Whether the store was made and is gone as a whole: the agent has started on this directory before, and
    /// there is neither database nor floor. What is missing of a store in parts, the store itself says.
    ///
    /// # Errors
    /// As [`DataDir::count_start`].
    pub fn store_is_lost(&self) -> Result<bool, DataDirError> {
        let gone = ["db/CURRENT", "floor"].iter().all(|name| !self.store().join(name).exists());
        Ok(gone && self.starts()? > 0)
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
}
