//! The process itself: its memory, which holds keys, goes nowhere.

use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};

/// Turns core dumps of this process off, and keeps other processes of the same user from reading its memory.
///
/// `PR_SET_DUMPABLE` is what counts: a limit of 0 alone does not keep the kernel from handing a dump to a program
/// (`core_pattern` with a pipe, as systemd-coredump). The limit stands beside it for whatever this process starts.
/// A system that refuses costs no start: it is told, and the node runs.
pub fn without_core_dumps() {
    let dumpable = prctl::set_dumpable(false);
    let limited = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    if let Err(error) = dumpable.and(limited) {
        tracing::warn!(%error, "core dumps of this process can't be turned off: one would hold keys");
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::getrlimit;

    use super::*;

    #[test]
    fn this_process_leaves_no_core_behind() {
        without_core_dumps();
        assert!(!prctl::get_dumpable().unwrap());
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
    }
}
