//! Why a step of driving a cluster failed, in words for whoever reads a test's or the demo's output.

use std::{io, path::PathBuf, time::Duration};

/// A step failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A program of the project is not built.
    #[error("the program {name} is not at {path}; build it first with: make build")]
    NotBuilt {
        /// Its name.
        name: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file or folder can't be used.
    #[error("can't {action} {path}: {cause}")]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// A program can't be started.
    #[error("can't start {program}: {cause}")]
    Start {
        /// The program.
        program: PathBuf,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// A process can't be signalled or waited for.
    #[error("can't end {name} (process {pid}): {cause}")]
    End {
        /// Whose process it is.
        name: String,
        /// Its id.
        pid: u32,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// A command ended with an error.
    #[error("`{command}` ended with {}: {message}", .code.map_or("a signal".to_owned(), |code| format!("exit code {code}")))]
    Refused {
        /// The command line.
        command: String,
        /// Its exit code; absent when a signal ended it.
        code: Option<i32>,
        /// What it said on standard error.
        message: String,
    },
    /// A command printed what nobody expected.
    #[error("`{command}` printed something else than expected ({reason}): {output}")]
    Output {
        /// The command line.
        command: String,
        /// What is wrong with it.
        reason: String,
        /// What it printed.
        output: String,
    },
    /// A server ended by itself.
    #[error("{name} ended by itself ({status}). The end of {log}:\n{tail}")]
    Ended {
        /// Whose process it was.
        name: String,
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// A condition did not come true in time.
    #[error("waited {} s for {what}; last seen: {last}", .waited.as_secs())]
    TooLate {
        /// The condition, in words.
        what: String,
        /// How long.
        waited: Duration,
        /// What the last look showed.
        last: String,
    },
    /// A gRPC call was refused or did not come through.
    #[error("{method} on {node}: {} ({message})", .code.as_deref().unwrap_or("no code"))]
    Call {
        /// The node that was asked.
        node: String,
        /// The method.
        method: &'static str,
        /// Quorate's stable code, where there is one.
        code: Option<String>,
        /// gRPC's code.
        grpc: tonic::Code,
        /// The reason in words.
        message: String,
    },
    /// An HTTP request did not come through.
    #[error("GET http://{address}{path}: {reason}")]
    Http {
        /// The server.
        address: String,
        /// The path.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// No loopback network is free.
    #[error(
        "no free network among 127.64.64.0/24 to 127.254.254.0/24 (tried {tried}); the last reason: {reason}"
    )]
    NoNetwork {
        /// How many were tried.
        tried: u32,
        /// Why the last one could not be had.
        reason: String,
    },
    /// A server of the test's own can't work.
    #[error("the server at {address} can't work: {reason}")]
    OwnServer {
        /// Its address.
        address: String,
        /// What went wrong.
        reason: String,
    },
    /// Something that must hold does not.
    #[error("{what}")]
    Wrong {
        /// What is wrong, in words.
        what: String,
    },
    /// The user pressed Ctrl-C, or the process was asked to end.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// A [`Failure::File`] for `path`, to be given to `map_err`.
    pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Failure::File { action, path, cause }
    }

    /// A [`Failure::Wrong`] in these words.
    pub fn wrong(what: impl Into<String>) -> Self {
        Failure::Wrong { what: what.into() }
    }
}
