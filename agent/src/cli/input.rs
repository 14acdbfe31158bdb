//! What commands read: secrets from files, standard input or a prompt, and a yes or no.

use std::{
    fs::File,
    io::{self, BufRead, IsTerminal, Read},
    path::Path,
};

use zeroize::Zeroizing;

use super::{
    error::{CliError, UsageError},
    output::to_stderr,
};

/// The largest secret that is read; tokens and keys are far smaller.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Reads a secret from a file, or from standard input if the file is `-`, without white space around it.
pub(crate) fn secret(what: &'static str, path: &Path) -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(String::new());
    let read = if is_stdin(path) {
        io::stdin().lock().take(MAX_SECRET_BYTES).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(MAX_SECRET_BYTES).read_to_string(&mut text))
    };
    read.map_err(|cause| CliError::File { what, path: path.to_owned(), cause })?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

/// Whether the name stands for standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Asks for a secret at the terminal, without showing it.
pub(crate) fn prompt(question: &str) -> Result<Zeroizing<String>, CliError> {
    rpassword::prompt_password(question)
        .map(Zeroizing::new)
        .map_err(|cause| CliError::System { what: "the terminal can't be read", cause })
}

/// Whether somebody can be asked.
pub(crate) fn interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a yes. Everything else is a no.
pub(crate) fn confirm(question: &str) -> Result<(), CliError> {
    if !interactive() {
        return Err(UsageError::ConfirmationNeeded.into());
    }
    to_stderr(&format!("{question} [y/N] "));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|cause| CliError::System { what: "the terminal can't be read", cause })?;
    if is_yes(&answer) { Ok(()) } else { Err(CliError::NotConfirmed) }
}

/// Asks for a name to be typed. Anything else is a no.
pub(crate) fn confirm_name(question: &str, name: &str) -> Result<(), CliError> {
    if !interactive() {
        return Err(UsageError::ConfirmationNeeded.into());
    }
    to_stderr(question);
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|cause| CliError::System { what: "the terminal can't be read", cause })?;
    if answer.trim() == name { Ok(()) } else { Err(CliError::NotConfirmed) }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_without_white_space_around_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "  QA-12345\r\n").unwrap();
        assert_eq!(secret("activation key", &file).unwrap().as_str(), "QA-12345");
        let missing = secret("activation key", &folder.path().join("none")).unwrap_err().to_string();
        assert!(
            missing.starts_with("the activation key ") && missing.contains("none can't be read"),
            "{missing}"
        );
    }

    #[test]
    fn only_a_clear_yes_is_one() {
        for (answer, expected) in
            [("y\n", true), ("YES\n", true), ("\n", false), ("", false), ("yep\n", false)]
        {
            assert_eq!(is_yes(answer), expected, "{answer:?}");
        }
    }
}
