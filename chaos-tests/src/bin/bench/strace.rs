//! What a process asks of the operating system, and when: `strace` beside it, its output read back.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_chaos_tests::{
    Failure, Result, files,
    process::{Process, Start},
    wait::{self, PATIENCE, Seen},
};

/// Everything that reaches a disk or a peer.
const CALLS: &str = "write,pwrite64,writev,sendto,sendmsg,read,recvfrom,fdatasync,fsync";

/// `strace` beside a process. It goes when the process goes.
#[derive(Debug)]
pub(crate) struct Strace {
    process: Process,
    prefix: PathBuf,
}

/// One call that came back without an error.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// The thread that made it.
    pub(crate) thread: u32,
    /// When it began, in seconds since 1970.
    pub(crate) begun: f64,
    /// When it came back.
    pub(crate) ended: f64,
    /// Its name.
    pub(crate) name: String,
    /// The file's path, or the connection as `TCP:[HERE->THERE]`.
    pub(crate) target: String,
    /// What it returned: bytes, mostly.
    pub(crate) result: u64,
}

impl Strace {
    /// Begins to watch the process with this id; its calls go to files in `folder`.
    ///
    /// # Errors
    /// `strace` is not there, or may not watch the process.
    pub(crate) fn attach(name: &str, pid: u32, folder: &Path) -> Result<Self> {
        files::make_folder(folder)?;
        let (prefix, log) = (folder.join("calls"), folder.join("strace.log"));
        let arguments = ["-ff", "-ttt", "-T", "-yy", "-s", "0", "-e", CALLS, "-p", &pid.to_string(), "-o"];
        let mut arguments: Vec<_> = arguments.into_iter().map(Into::into).collect();
        arguments.push(prefix.clone().into());
        let mut process = Process::start(&Start {
            name: format!("strace of {name}"),
            program: "strace".into(),
            arguments,
            log: log.clone(),
            own_group: true,
            ..Default::default()
        })?;
        // It says so for each thread, and the last ones are attached within the same moment.
        wait::until(&format!("strace beside {name}"), PATIENCE, || {
            process.must_run()?;
            let said = files::read(&log)?;
            Ok(Seen::when(said.contains("attached"), || said))
        })?;
        Ok(Strace { process, prefix })
    }

    /// Ends it, and gives all calls in the order in which they came back.
    ///
    /// # Errors
    /// Its output can't be read.
    pub(crate) fn finish(mut self) -> Result<Vec<Call>> {
        self.process.signal(nix::sys::signal::Signal::SIGTERM)?;
        self.process.wait(Duration::from_secs(20))?;
        let folder = self.prefix.parent().unwrap_or(&self.prefix).to_owned();
        let mut calls = Vec::new();
        for path in files::entries(&folder)? {
            // One file for each thread: `calls.TID`.
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let Some(thread) = name.strip_prefix("calls.").and_then(|thread| thread.parse().ok()) else {
                continue;
            };
            let bytes = fs::read(&path).map_err(Failure::file("read", &path))?;
            let text = String::from_utf8_lossy(&bytes);
            calls.extend(text.lines().filter_map(|line| Call::parse(thread, line)));
        }
        calls.sort_by(|a, b| a.ended.total_cmp(&b.ended));
        Ok(calls)
    }
}

impl Call {
    /// A line such as `1764115200.25 write(6</db/7.log>, ""..., 3) = 3 <0.000015>`; none if the call failed, or was
    /// cut off by the end.
    fn parse(thread: u32, line: &str) -> Option<Self> {
        let (begun, rest) = line.split_once(' ')?;
        let (name, rest) = rest.split_once('(')?;
        let (rest, took) = rest.rsplit_once(" <")?;
        let (rest, result) = rest.rsplit_once(" = ")?;
        let begun: f64 = begun.parse().ok()?;
        let took: f64 = took.strip_suffix('>')?.parse().ok()?;
        let target = match rest.split_once('<') {
            // The target itself may hold `->`.
            Some((_, rest)) => rest.split(">,").next()?.trim_end_matches([')', '>']),
            None => return None,
        };
        Some(Call {
            thread,
            begun,
            ended: begun + took,
            name: name.to_owned(),
            target: target.to_owned(),
            result: result.parse().ok()?,
        })
    }

    /// Whether it synced a file.
    pub(crate) fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fdatasync" | "fsync")
    }

    /// Whether it wrote into a file or a connection.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self.name.as_str(), "write" | "pwrite64" | "writev" | "sendto" | "sendmsg")
    }

    /// Whether it read what came over a connection.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.name.as_str(), "read" | "recvfrom") && self.result > 0
    }

    /// Whether it is about the database's write-ahead log.
    pub(crate) fn on_log(&self) -> bool {
        let path = Path::new(&self.target);
        let number = path.file_stem().is_some_and(|stem| {
            let stem = stem.to_string_lossy();
            !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit())
        });
        number && path.extension().is_some_and(|extension| extension == "log")
    }

    /// Whether it is about the floor beside the database.
    pub(crate) fn on_floor(&self) -> bool {
        Path::new(&self.target).file_name().is_some_and(|name| name == "floor")
    }

    /// Whether it is about a connection between machines.
    pub(crate) fn on_network(&self) -> bool {
        self.target.starts_with("TCP")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_strace_are_read() {
        let sent = Call::parse(
            7,
            "10.5 sendto(40<TCP:[127.0.0.1:7400->127.0.0.2:512]>, \"\"..., 99, MSG_NOSIGNAL, NULL, 0) = 99 <0.25>",
        )
        .unwrap();
        assert_eq!((sent.begun, sent.ended, sent.result), (10.5, 10.75, 99));
        assert_eq!(sent.target, "TCP:[127.0.0.1:7400->127.0.0.2:512]");
        assert!(sent.is_write() && sent.on_network() && !sent.on_log());

        let synced = Call::parse(7, "10.5 fdatasync(6</data/store/db/000012.log>) = 0 <0.001>").unwrap();
        assert!(synced.is_sync() && synced.on_log() && !synced.on_floor());
        let floor = Call::parse(7, "10.5 fdatasync(7</data/store/floor>) = 0 <0.001>").unwrap();
        assert!(floor.is_sync() && floor.on_floor() && !floor.on_log());

        for none in [
            "10.5 recvfrom(40<TCP:[a->b]>, 0x7f, 8192, 0, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable) <0.00001>",
            "10.5 fdatasync(6</data/000012.log> <unfinished ...>",
            "10.5 +++ exited with 0 +++",
            "10.5 --- SIGTERM {si_signo=SIGTERM} ---",
        ] {
            assert_eq!(Call::parse(7, none), None, "{none}");
        }
    }
}
