//! Processes of a demo that was killed: found by the configuration file that they were started with, and ended.
//!
//! A process belongs to the folder when its program is `quorate` or `quorate-portal` and one of its arguments is
//! a configuration file in the folder. Nothing else is touched, whatever its name or number.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use quorate_chaos_tests::{Failure, Result};

const PROGRAMS: [&str; 2] = ["quorate", "quorate-portal"];

/// How long they may take after a request to end before they are killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends the processes of the folder, and gives their ids.
pub(crate) fn end(folder: &Path) -> Result<Vec<u32>> {
    let found = processes_of(folder);
    for pid in &found {
        send(*pid, Signal::SIGTERM)?;
    }
    let asked = Instant::now();
    loop {
        let left: Vec<u32> = processes_of(folder).into_iter().filter(|pid| found.contains(pid)).collect();
        if left.is_empty() {
            return Ok(found);
        }
        if asked.elapsed() > PATIENCE {
            for pid in left {
                send(pid, Signal::SIGKILL)?;
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The running processes that were started with a configuration file in the folder.
fn processes_of(folder: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| belongs(*pid, folder)).collect()
}

fn belongs(pid: u32, folder: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    // A process that has ended and was not waited for has no program any more.
    let Ok(program) = fs::read_link(process.join("exe")) else { return false };
    let name = program.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    // A program that was built again since is shown with this ending.
    let name = name.strip_suffix(" (deleted)").unwrap_or(&name);
    let Ok(command_line) = fs::read(process.join("cmdline")) else { return false };
    PROGRAMS.contains(&name) && names_config_in(&command_line, folder)
}

fn names_config_in(command_line: &[u8], folder: &Path) -> bool {
    let arguments = command_line.split(|byte| *byte == 0);
    arguments
        .map(|argument| argument.strip_prefix(b"--config=").unwrap_or(argument))
        .map(|argument| Path::new(OsStr::from_bytes(argument)))
        .any(|path| path.starts_with(folder) && path.extension().is_some_and(|ending| ending == "toml"))
}

fn send(pid: u32, signal: Signal) -> Result<()> {
    match kill(Pid::from_raw(pid.cast_signed()), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(cause) => {
            Err(Failure::End { name: "a process of an earlier demo".to_owned(), pid, cause: cause.into() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_with_a_configuration_in_the_folder_belong_to_it() {
        let folder = Path::new("/srv/demo");
        let line = |words: &[&str]| words.join("\0").into_bytes();
        assert!(names_config_in(
            &line(&["quorate", "--config", "/srv/demo/nodes/a/quorate.toml", "serve"]),
            folder
        ));
        assert!(names_config_in(
            &line(&["quorate", "serve", "--config=/srv/demo/portal/portal.toml"]),
            folder
        ));
        assert!(!names_config_in(
            &line(&["quorate", "--config", "/srv/demo-2/nodes/a/quorate.toml"]),
            folder
        ));
        assert!(!names_config_in(
            &line(&["quorate", "--config", "/etc/quorate/quorate.toml", "serve"]),
            folder
        ));
        assert!(!names_config_in(
            &line(&["quorate", "license", "inspect", "/srv/demo/nodes/a/default.lic"]),
            folder
        ));
    }

    #[test]
    fn this_test_does_not_belong_to_any_demo() {
        assert!(!belongs(std::process::id(), Path::new("/")));
    }
}
