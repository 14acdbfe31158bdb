//! Another time of day for real processes, by libfaketime: the programs under test are the same, the system's
//! clock alone tells them something else.
//!
//! ```text
//! FakeTime (one file)  ── environment() ──> node, portal, command line    one file: they jump together
//!        └─ move_days, set_ahead_ms: written into the file, seen at the next look at a clock
//! ```
//!
//! Only the time of day is moved. Monotonic clocks run on, so no timeout, heartbeat or election notices.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use quorate_license::{DAY_MS, Timestamp};

use crate::{Failure, Result, fake_portal, files};

/// Where distributions put the library, below the folder of the machine's libraries.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// A clock that runs ahead of this machine's, or behind it, by what its file says.
///
/// Several processes that look at one file always have the same time.
#[derive(Debug)]
pub struct FakeTime {
    library: PathBuf,
    file: PathBuf,
    ahead_ms: Mutex<i64>,
}

impl FakeTime {
    /// A clock that shows this machine's time until it is moved. `file` is where it is kept.
    ///
    /// # Errors
    /// libfaketime is not installed (`scripts/setup test` does it), or the file can't be written.
    pub fn start(file: &Path) -> Result<Self> {
        let clock = FakeTime { library: library()?, file: file.to_owned(), ahead_ms: Mutex::new(0) };
        clock.set_ahead_ms(0)?;
        Ok(clock)
    }

    /// What a process has to find in its environment to have this time.
    pub fn environment(&self) -> Vec<(String, OsString)> {
        [
            ("LD_PRELOAD", self.library.clone().into_os_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone().into_os_string()),
            // The file is read at each look at the clock (about 3 us), so no two processes are apart.
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
            ("NO_FAKE_STAT", "1".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// How far it is ahead of this machine's clock; behind it, if negative.
    pub fn ahead_ms(&self) -> i64 {
        *self.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how far it is ahead of this machine's clock, for all processes at once.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn set_ahead_ms(&self, ahead_ms: i64) -> Result<()> {
        let mut ahead = self.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner);
        // Written as a whole: half of a number would be another time.
        files::write_atomically(&self.file, &offset(ahead_ms))?;
        *ahead = ahead_ms;
        Ok(())
    }

    /// Moves it by this, forward or back, for all processes at once.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn move_ms(&self, by_ms: i64) -> Result<()> {
        self.set_ahead_ms(self.ahead_ms() + by_ms)
    }

    /// Moves it by so many days.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn move_days(&self, days: i64) -> Result<()> {
        self.move_ms(days * DAY_MS)
    }

    /// What it shows.
    pub fn now(&self) -> Timestamp {
        fake_portal::now().plus_ms(self.ahead_ms())
    }
}

/// As libfaketime reads it: seconds with a sign.
fn offset(ahead_ms: i64) -> String {
    let sign = if ahead_ms < 0 { '-' } else { '+' };
    format!("{sign}{}.{:03}\n", ahead_ms.unsigned_abs() / 1000, ahead_ms.unsigned_abs() % 1000)
}

fn library() -> Result<PathBuf> {
    let below = |folder: &str| -> Vec<PathBuf> {
        let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
        found.map(|entry| entry.path().join(LIBRARY)).collect()
    };
    let mut places: Vec<PathBuf> =
        ["/usr/lib", "/usr/lib64"].map(|folder| Path::new(folder).join(LIBRARY)).into();
    places.extend(below("/usr/lib"));
    places.into_iter().find(|place| place.is_file()).ok_or_else(|| {
        Failure::wrong(
            "libfaketime is not installed (Debian: libfaketime); install it with: scripts/setup test",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    #[test]
    fn an_offset_is_written_with_its_sign() {
        assert_eq!(offset(0), "+0.000\n");
        assert_eq!(offset(86_400_005), "+86400.005\n");
        assert_eq!(offset(-1_500), "-1.500\n");
    }

    #[test]
    fn processes_have_the_time_of_the_file_and_jump_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let clock = FakeTime::start(&folder.path().join("clock")).unwrap();
        let seen = || -> i64 {
            let mut date = Cli::new(Path::new("/bin/date"), ["+%s"]);
            for (name, value) in clock.environment() {
                date = date.env(&name, value);
            }
            date.run().unwrap().success().unwrap().stdout.trim().parse().unwrap()
        };
        for days in [0, 400, -700] {
            clock.move_days(days).unwrap();
            let off = seen() - clock.now().as_unix_ms() / 1000;
            assert!(off.abs() <= 5, "after {days} days: {off} s");
        }
        assert_eq!(clock.ahead_ms(), -300 * DAY_MS);
    }
}
