//! `quorate completion`: a script that completes the command line in a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Context, Exit, args::Cli, error::CliError};

/// Arguments of `completion`.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(context: &Context, args: &CompletionArgs) -> Result<Exit, CliError> {
    context.output.write(&script(args.shell))?;
    Ok(Exit::Ok)
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "quorate", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_the_commands_but_not_the_hidden_ones() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let script = script(shell);
            assert!(script.contains("support-id") && script.contains("transfer-leader"), "{shell}");
        }
    }
}
