//! The `quorate` and `quorate-portal` commands, run as a person or a script would.

use std::{
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Failure, Result, process::clean_command};

/// How long a command may take.
const DEADLINE: Duration = Duration::from_secs(180);

/// A command that is being put together.
#[derive(Debug, Clone)]
pub struct Cli {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    stdin: Option<String>,
    wrapper: Vec<OsString>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The command line, for messages.
    pub command: String,
    /// The exit code; absent when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// What a command says about its refusal with `-o json`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Refusal {
    /// The stable code.
    pub code: String,
    /// What happened, to which thing.
    pub message: String,
    /// What to do now.
    #[serde(default)]
    pub hint: Option<String>,
}

impl Cli {
    /// A program, with its first arguments.
    pub fn new<A: Into<OsString>>(program: &Path, arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Cli {
            program: program.to_owned(),
            arguments,
            environment: Vec::new(),
            stdin: None,
            wrapper: Vec::new(),
        }
    }

    /// Further arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A variable of the environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// What it reads from standard input; without this, there is nothing to read.
    pub fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// A command in front of the program, such as `unshare --uts`.
    pub fn wrapper(mut self, wrapper: &[OsString]) -> Self {
        self.wrapper = wrapper.to_vec();
        self
    }

    /// Runs it with `-o json` and reads its answer.
    ///
    /// # Errors
    /// It can't be run, ended with an error, or printed something else.
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        self.args(["-o", "json"]).run()?.success()?.parse()
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It can't be run, or did not end in time.
    pub fn run(self) -> Result<Answer> {
        let mut words: Vec<OsString> = self.wrapper.clone();
        words.push(self.program.clone().into());
        words.extend(self.arguments.iter().cloned());
        let command_line = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let program = PathBuf::from(words.remove(0));
        let mut command = clean_command(&program);
        command.args(words).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = |cause| Failure::Start { program: program.clone(), cause };
        let mut child = command.spawn().map_err(started)?;

        let (input, text) = (child.stdin.take(), self.stdin.unwrap_or_default());
        let writer = thread::spawn(move || {
            // A command that does not read its input closes it: no failure.
            input.is_some_and(|mut input| input.write_all(text.as_bytes()).is_ok())
        });
        let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(started)? {
                break Some(status);
            }
            if asked.elapsed() > DEADLINE {
                child.kill().and_then(|()| child.wait()).map_err(started)?;
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let _ = writer.join();
        let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
        match status {
            Some(status) => Ok(Answer { command: command_line, code: status.code(), stdout, stderr }),
            None => Err(Failure::TooLate {
                what: format!("the end of `{command_line}`"),
                waited: DEADLINE,
                last: format!("{stdout}{stderr}"),
            }),
        }
    }
}

fn collect(source: Option<impl std::io::Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut source) = source {
            let _ = source.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Answer {
    /// This answer, if the command ended well.
    ///
    /// # Errors
    /// It did not.
    pub fn success(self) -> Result<Self> {
        if self.code == Some(0) {
            return Ok(self);
        }
        let message = match self.refusal() {
            Ok(refusal) => {
                let hint = refusal.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                format!("{}: {}{hint}", refusal.code, refusal.message)
            }
            Err(_) => format!("{}{}", self.stdout.trim(), self.stderr.trim()),
        };
        Err(Failure::Refused { command: self.command, code: self.code, message })
    }

    /// Standard output, parsed.
    ///
    /// # Errors
    /// It is not the expected JSON.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.stdout).map_err(|cause| Failure::Output {
            command: self.command.clone(),
            reason: cause.to_string(),
            output: format!("{}{}", self.stdout, self.stderr),
        })
    }

    /// The refusal on standard error: the last JSON object there, since a log may stand before it.
    ///
    /// # Errors
    /// There is none.
    pub fn refusal(&self) -> Result<Refusal> {
        let starts = self.stderr.match_indices('{').map(|(at, _)| at);
        starts
            .filter_map(|at| {
                let mut values = serde_json::Deserializer::from_str(&self.stderr[at..]).into_iter::<Value>();
                values.next()?.ok().and_then(|value| serde_json::from_value(value).ok())
            })
            .next_back()
            .ok_or_else(|| Failure::Output {
                command: self.command.clone(),
                reason: "no {code, message, hint} on standard error".to_owned(),
                output: format!("{}{}", self.stdout, self.stderr),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Cli {
        Cli::new(Path::new("/bin/sh"), ["-c", script])
    }

    #[test]
    fn output_code_and_input_go_through() {
        let answer = shell("cat; echo no >&2; exit 4").stdin("a key\n").run().unwrap();
        assert_eq!(
            (answer.code, answer.stdout.as_str(), answer.stderr.as_str()),
            (Some(4), "a key\n", "no\n")
        );
    }

    #[test]
    fn a_refusal_is_found_behind_log_lines() {
        let script =
            "echo 'WARN {odd}' >&2; echo '{\"code\":\"a\",\"message\":\"b\",\"hint\":null}' >&2; exit 1";
        let answer = shell(script).run().unwrap();
        assert_eq!(answer.refusal().unwrap(), Refusal { code: "a".into(), message: "b".into(), hint: None });
        assert!(answer.success().unwrap_err().to_string().contains("exit code 1: a: b"));
    }

    #[test]
    fn variables_of_quorate_are_not_inherited() {
        let names = shell("env").run().unwrap().stdout;
        assert!(!names.lines().any(|line| line.starts_with("QUORATE_")), "{names}");
    }
}
