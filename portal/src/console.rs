//! Lines for whoever started the process. Everything else goes through `tracing`.

use std::io::{self, Write};

/// Writes a line of results to standard output.
///
/// # Errors
/// It is closed or full.
pub fn result(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

/// Writes a line of complaint to standard error. If that is closed, there is nobody to tell.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
