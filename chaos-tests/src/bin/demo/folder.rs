//! The demo's folder: held by one demo at a time, and made anew by each.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use quorate_chaos_tests::{Failure, Result, binaries, files};

use crate::{leftovers, report::Report};

/// The variable that names another folder.
const VARIABLE: &str = "DEMO_DIR";

/// Held by the demo that uses the folder; the lock ends with its process, however that ends.
const LOCK: &str = "demo.lock";

const CLUSTER_FILE: &str = "cluster.json";

/// What a demo puts into its folder. Anything else is not ours, and the folder not to be emptied.
pub(crate) const PARTS: [&str; 5] = [LOCK, CLUSTER_FILE, "portal", "nodes", "other-installation"];

/// The folder, while this demo holds it.
pub(crate) struct DemoFolder {
    path: PathBuf,
    _lock: File,
}

impl DemoFolder {
    /// Takes the folder: ends what a killed demo left running in it, and empties it.
    pub(crate) fn take(report: &Report) -> Result<Self> {
        let path = chosen()?;
        files::make_folder(&path)?;
        let path = path.canonicalize().map_err(Failure::file("find", &path))?;
        refuse_foreign(&path)?;
        let lock = lock(&path)?;
        let ended = leftovers::end(&path)?;
        if !ended.is_empty() {
            let list = ended.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            report.line(&format!("An earlier demo was not stopped; ended its processes {list}."));
        }
        for entry in files::entries(&path)?.into_iter().filter(|entry| !entry.ends_with(LOCK)) {
            if entry.is_dir() {
                files::remove_folder(&entry)?;
            } else {
                std::fs::remove_file(&entry).map_err(Failure::file("remove", &entry))?;
            }
        }
        Ok(DemoFolder { path, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that tells others about the demo.
    pub(crate) fn cluster_file(&self) -> PathBuf {
        self.path.join(CLUSTER_FILE)
    }
}

/// `DEMO_DIR`, otherwise `demo` in cargo's target folder, in which this program lies.
fn chosen() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let profile = binaries::profile_folder()?;
    Ok(profile.parent().unwrap_or(&profile).join("demo"))
}

fn refuse_foreign(path: &Path) -> Result<()> {
    let ours =
        |entry: &PathBuf| PARTS.iter().any(|part| entry.ends_with(part)) || entry.ends_with("cluster.new");
    match files::entries(path)?.iter().find(|entry| !ours(entry)) {
        None => Ok(()),
        Some(foreign) => Err(Failure::wrong(format!(
            "the folder {} holds {}, which is not of a demo, so it is not emptied; name an empty or new folder in {VARIABLE}",
            path.display(),
            foreign.display()
        ))),
    }
}

fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(Failure::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(Failure::wrong(format!(
                "a demo (process {}) runs in {}; stop it with Ctrl-C, or name another folder in {VARIABLE}",
                pid.trim(),
                folder.display()
            )));
        }
        Err(TryLockError::Error(cause)) => return Err(Failure::file("lock", path)(cause)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(Failure::file("write", path))?;
    Ok(file)
}
