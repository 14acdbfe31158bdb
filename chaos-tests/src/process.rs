//! A server process: started with its output in a file, ended by its id, never by its name.

use std::{
    ffi::OsString,
    fs::File,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    Failure, Result, files,
    wait::{self, Seen},
};

/// How many lines of a log a failure shows.
const TAIL: usize = 25;

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

/// What to start, and how.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Whose process it is, for messages.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables on top of the cleaned environment.
    pub environment: Vec<(String, OsString)>,
    /// Gets standard output and standard error, behind what it holds already.
    pub log: PathBuf,
    /// Ctrl-C at the terminal does not reach it: the one who started it ends it.
    pub own_group: bool,
}

/// A command whose environment holds nothing that would change Quorate's programs unasked.
pub fn clean_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("QUORATE_") || text == "FAILPOINTS" || text == "NOTIFY_SOCKET" {
            command.env_remove(&name);
        }
    }
    command
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// The log can't be written or the program can't be started.
    pub fn start(start: &Start) -> Result<Self> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&start.log)
            .map_err(Failure::file("write", &start.log))?;
        let errors = log.try_clone().map_err(Failure::file("write", &start.log))?;
        let mut command = clean_command(&start.program);
        command.args(&start.arguments).envs(start.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        if start.own_group {
            command.process_group(0);
        }
        let child =
            command.spawn().map_err(|cause| Failure::Start { program: start.program.clone(), cause })?;
        Ok(Process { name: start.name.clone(), child, log: start.log.clone(), ended: None })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// That it still runs.
    ///
    /// # Errors
    /// It has ended; the failure shows the end of its log.
    pub fn must_run(&mut self) -> Result<()> {
        match self.ended() {
            None => Ok(()),
            Some(status) => Err(Failure::Ended {
                name: self.name.clone(),
                status: status.to_string(),
                log: self.log.clone(),
                tail: files::tail(&self.log, TAIL),
            }),
        }
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn kill(&mut self) -> Result<()> {
        if self.ended().is_some() {
            return Ok(());
        }
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map(|status| self.ended = Some(status))
            .map_err(|cause| Failure::End { name: self.name.clone(), pid: self.pid(), cause })
    }

    /// Sends it a signal; one that has ended gets none.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.ended().is_some() {
            return Ok(());
        }
        // Not waited for yet, so the id can't belong to another process.
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).map_err(|cause| Failure::End {
            name: self.name.clone(),
            pid: self.pid(),
            cause: cause.into(),
        })
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It still runs at the deadline.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {} (process {})", self.name, self.pid());
        wait::until(&what, deadline, || Ok(self.ended().map_or_else(|| Seen::not_yet("it runs"), Seen::Done)))
    }

    /// Asks it to end (SIGTERM), and kills it if it does not in time.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        let asked = std::time::Instant::now();
        // Not `wait::until`: this has to go on after Ctrl-C.
        while asked.elapsed() < patience {
            if let Some(status) = self.ended() {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill()?;
        Ok(self.ended.unwrap_or_else(|| ExitStatus::from_raw(Signal::SIGKILL as i32)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(folder: &Path, script: &str) -> Process {
        let arguments = vec!["-c".into(), script.into()];
        let log = folder.join("log");
        Process::start(&Start {
            name: "a shell".to_owned(),
            program: "/bin/sh".into(),
            arguments,
            log,
            ..Default::default()
        })
        .unwrap()
    }

    #[test]
    fn a_killed_process_is_gone_and_a_dropped_one_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start(folder.path(), "exec sleep 600");
        process.must_run().unwrap();
        process.kill().unwrap();
        assert_eq!(process.ended().unwrap().signal(), Some(9));
        let dropped = start(folder.path(), "exec sleep 600");
        let pid = Pid::from_raw(dropped.pid().cast_signed());
        drop(dropped);
        assert!(kill(pid, None).is_err());
    }

    #[test]
    fn a_process_that_ended_by_itself_shows_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start(folder.path(), "echo no such thing >&2; exit 3");
        assert_eq!(process.wait(wait::PATIENCE).unwrap().code(), Some(3));
        let said = process.must_run().unwrap_err().to_string();
        assert!(said.contains("exit status: 3") && said.contains("no such thing"), "{said}");
    }

    #[test]
    fn a_process_that_ignores_a_request_to_end_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start(folder.path(), "trap '' TERM; echo ready; while :; do sleep 0.05; done");
        wait::until("its trap", wait::PATIENCE, || {
            Ok(Seen::when(files::tail(&folder.path().join("log"), 1) == "ready", String::new))
        })
        .unwrap();
        assert_eq!(process.stop(Duration::from_millis(200)).unwrap().signal(), Some(9));
    }
}
