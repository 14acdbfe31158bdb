//! The program `quorate`: the node, and the command line that asks it.

use quorate::cli;

fn main() -> cli::Exit {
    cli::run()
}
