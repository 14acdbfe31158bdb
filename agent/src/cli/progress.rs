//! What happens meanwhile, on standard error: steps for people, and a sign of life on a terminal.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::{Format, Output, to_stderr};

/// Tells the steps of one command. Silent where a script reads.
pub(crate) struct Progress {
    spinner: Option<ProgressBar>,
    steps: bool,
}

impl Progress {
    /// Begins with what is waited for first.
    pub(crate) fn start(output: Output, waiting_for: &'static str) -> Self {
        let steps = output.format() == Format::Table;
        let spinner = (steps && io::stderr().is_terminal()).then(|| {
            let spinner = ProgressBar::new_spinner().with_message(waiting_for);
            // The template is a constant of this file; if it could not be read, the plain style would do.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        });
        Progress { spinner, steps }
    }

    /// A step was done.
    pub(crate) fn step(&self, text: &str) {
        let line = format!("- {}", text.replace(char::is_control, " "));
        match &self.spinner {
            Some(spinner) => spinner.println(line),
            None if self.steps => to_stderr(&format!("{line}\n")),
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
