//! Which version of the licensed product runs here, noticed without a restart.
//!
//! ```text
//! the product's call ── wins, kept in data_dir/build ──┐
//! build.file, read every second ── then ───────────────┼──> watch::Receiver<Option<BuildNumber>>
//! build.number in the configuration ── then ───────────┘
//! ```

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use quorate_license::{BuildNumber, ParseIdError};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{config, durable_file};

/// How often the version file is read.
const PERIOD: Duration = Duration::from_secs(1);

/// The file in the data directory that keeps what the product told.
const REPORTED_FILE: &str = "build";

/// More than any build number with white space around it.
const MAX_FILE_BYTES: u64 = 4096;

/// Why a version file gives no build number.
#[derive(Debug, thiserror::Error)]
pub enum BuildFileError {
    /// It can't be read.
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    /// It holds something else.
    #[error("{0}")]
    Malformed(#[from] ParseIdError),
}

/// What the product told could not be kept.
#[derive(Debug, thiserror::Error)]
#[error(
    "the build number can't be kept in '{path}': {source}; check free space and permissions of the data directory"
)]
pub struct KeepBuildError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Knows the product's build number on this host. Clones share what they know.
#[derive(Debug, Clone)]
pub struct BuildWatcher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reported_path: PathBuf,
    number: Option<BuildNumber>,
    known: Mutex<Known>,
    /// One report is written at a time.
    writing: Arc<tokio::sync::Mutex<()>>,
    current: watch::Sender<Option<BuildNumber>>,
}

/// The last good answer of each source.
#[derive(Debug, Default)]
struct Known {
    reported: Option<BuildNumber>,
    from_file: Option<BuildNumber>,
}

impl BuildWatcher {
    /// Reads all sources once, then watches the file, if one is configured, on a task of `tracker`
    /// until `token` is cancelled.
    pub async fn start(
        config: &config::Build,
        data_dir: &Path,
        tracker: &TaskTracker,
        token: CancellationToken,
    ) -> BuildWatcher {
        let watcher = BuildWatcher {
            shared: Arc::new(Shared {
                reported_path: data_dir.join(REPORTED_FILE),
                number: config.number.clone(),
                known: Mutex::default(),
                writing: Arc::default(),
                current: watch::Sender::new(None),
            }),
        };
        let reported_path = watcher.shared.reported_path.clone();
        match read_in_background(reported_path.clone()).await {
            Ok(build) => watcher.learn(|known| known.reported = Some(build)),
            Err(BuildFileError::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
                watcher.learn(|_| {});
            }
            Err(error) => {
                tracing::warn!(file = %reported_path.display(), %error, "the build number that the product told can't be read; it counts again when the product tells it again");
                watcher.learn(|_| {});
            }
        }
        if let Some(path) = config.file.clone() {
            let mut file = WatchedFile { path, problem: None };
            watcher.read(&mut file).await;
            tracker.spawn(watcher.clone().watch(file, token));
        }
        watcher
    }

    /// The build number as it is now and whenever it changes; none while nobody told one.
    pub fn subscribe(&self) -> watch::Receiver<Option<BuildNumber>> {
        self.shared.current.subscribe()
    }

    /// The build number as it is now.
    pub fn current(&self) -> Option<BuildNumber> {
        self.shared.current.borrow().clone()
    }

    /// The product tells its version. It is on disk when this returns.
    ///
    /// # Errors
    /// [`KeepBuildError`] if it can't be kept; then nothing has changed.
    pub async fn report(&self, build: BuildNumber) -> Result<(), KeepBuildError> {
        let writing = self.shared.writing.clone().lock_owned().await;
        if self.known(|known| known.reported.as_ref() == Some(&build)) {
            return Ok(());
        }
        let watcher = self.clone();
        // All of it goes on if the caller goes away: what is on disk is what is known.
        let kept = tokio::task::spawn_blocking(move || {
            let _writing = writing;
            durable_file::replace(&watcher.shared.reported_path, format!("{build}\n").as_bytes(), 0o644)?;
            tracing::info!(%build, "the product told its build number");
            watcher.learn(|known| known.reported = Some(build));
            Ok(())
        });
        kept.await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|source| KeepBuildError { path: self.shared.reported_path.clone(), source })
    }

    async fn watch(self, mut file: WatchedFile, token: CancellationToken) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = token.cancelled() => return,
                _ = ticks.tick() => {}
            }
            // One read at a time: a share that hangs costs one thread, not one a second.
            tokio::select! {
                () = token.cancelled() => return,
                () = self.read(&mut file) => {}
            }
        }
    }

    async fn read(&self, file: &mut WatchedFile) {
        match read_in_background(file.path.clone()).await {
            Ok(build) => {
                file.is_well();
                self.learn(|known| known.from_file = Some(build));
            }
            Err(error) => file.has_problem(&error, self.current().as_ref()),
        }
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.shared.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes something new in and tells subscribers if it makes a difference.
    fn learn(&self, change: impl FnOnce(&mut Known)) {
        let build = self.known(|known| {
            change(known);
            known.reported.clone().or_else(|| known.from_file.clone()).or_else(|| self.shared.number.clone())
        });
        self.shared.current.send_if_modified(|current| {
            let modified = *current != build;
            *current = build;
            modified
        });
    }
}

/// The version file, and what was last said about it.
#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    problem: Option<String>,
}

impl WatchedFile {
    fn has_problem(&mut self, error: &BuildFileError, stays: Option<&BuildNumber>) {
        let problem = error.to_string();
        if self.problem.as_deref() != Some(&problem) {
            let stays = stays.map_or("none", BuildNumber::as_str);
            tracing::warn!(file = %self.path.display(), error = problem, build = stays, "the version file gives no build number; the last one stays");
            self.problem = Some(problem);
        }
    }

    fn is_well(&mut self) {
        if self.problem.take().is_some() {
            tracing::info!(file = %self.path.display(), "the version file can be read again");
        }
    }
}

async fn read_in_background(path: PathBuf) -> Result<BuildNumber, BuildFileError> {
    tokio::task::spawn_blocking(move || read(&path))
        .await
        .unwrap_or_else(|error| Err(BuildFileError::Unreadable(io::Error::other(error))))
}

fn read(path: &Path) -> Result<BuildNumber, BuildFileError> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Setup {
        folder: tempfile::TempDir,
        tracker: TaskTracker,
        token: CancellationToken,
    }

    impl Setup {
        fn new() -> Self {
            Setup {
                folder: tempfile::tempdir().unwrap(),
                tracker: TaskTracker::new(),
                token: CancellationToken::new(),
            }
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("VERSION")
        }

        async fn start(&self, number: Option<&str>) -> BuildWatcher {
            let config = config::Build {
                file: Some(self.file()),
                number: number.map(|number| number.parse().unwrap()),
            };
            BuildWatcher::start(&config, self.folder.path(), &self.tracker, self.token.clone()).await
        }
    }

    fn build(text: &str) -> Option<BuildNumber> {
        Some(text.parse().unwrap())
    }

    async fn becomes(watcher: &BuildWatcher, expected: &str) {
        let mut receiver = watcher.subscribe();
        let expected = build(expected);
        let waited = receiver.wait_for(|current| *current == expected);
        tokio::time::timeout(Duration::from_secs(20), waited).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_product_wins_over_the_file_and_the_file_over_the_configuration() {
        let setup = Setup::new();
        let watcher = setup.start(Some("1.0")).await;
        assert_eq!(watcher.current(), build("1.0"));
        fs::write(setup.file(), "2.0\n").unwrap();
        becomes(&watcher, "2.0").await;
        watcher.report("3.0".parse().unwrap()).await.unwrap();
        assert_eq!(watcher.current(), build("3.0"));
        fs::write(setup.file(), "2.1\n").unwrap();

        let restarted = setup.start(Some("1.0")).await;
        assert_eq!(restarted.current(), build("3.0"), "what the product told is kept");
    }

    #[tokio::test]
    async fn a_malformed_or_missing_file_leaves_the_last_good_number() {
        let setup = Setup::new();
        fs::write(setup.file(), "2.0").unwrap();
        let watcher = setup.start(None).await;
        assert_eq!(watcher.current(), build("2.0"));
        let mut file = WatchedFile { path: setup.file(), problem: None };
        for broken in ["not a version\n", ""] {
            fs::write(setup.file(), broken).unwrap();
            watcher.read(&mut file).await;
            assert!(file.problem.is_some(), "{broken:?}");
            assert_eq!(watcher.current(), build("2.0"));
        }
        fs::remove_file(setup.file()).unwrap();
        watcher.read(&mut file).await;
        assert_eq!(watcher.current(), build("2.0"));
        fs::write(setup.file(), "2.1").unwrap();
        watcher.read(&mut file).await;
        assert!(file.problem.is_none());
        assert_eq!(watcher.current(), build("2.1"));
    }

    #[tokio::test]
    async fn watching_ends_on_the_token() {
        let setup = Setup::new();
        let _watcher = setup.start(None).await;
        setup.tracker.close();
        setup.token.cancel();
        tokio::time::timeout(Duration::from_secs(10), setup.tracker.wait()).await.unwrap();
    }

    #[tokio::test]
    async fn a_report_that_can_not_be_kept_changes_nothing() {
        let setup = Setup::new();
        let watcher = setup.start(Some("1.0")).await;
        fs::create_dir(setup.folder.path().join(REPORTED_FILE)).unwrap();
        let error = watcher.report("3.0".parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("build"), "{error}");
        assert_eq!(watcher.current(), build("1.0"));
    }
}
