//! The process itself: its memory, which holds keys, goes nowhere, and it may open as many files as it needs.

use nix::sys::{
    prctl,
    resource::{Resource, getrlimit, setrlimit},
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

/// Raises the limit of open files as far as it may go. Many systems begin with 1,024, which is less than the
/// connections that the listeners bear; who has the higher limit allowed it.
pub fn open_many_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_may_open_as_many_files_as_are_allowed() {
        open_many_files();
        let (now, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(now, most);
    }

    #[test]
    fn this_process_leaves_no_core_behind() {
        without_core_dumps();
        assert!(!prctl::get_dumpable().unwrap());
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
    }
}
