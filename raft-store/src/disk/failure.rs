//! The first failed write or sync, which is final for the whole store.

use std::{
    io,
    sync::{Arc, OnceLock},
};

/// Remembers the first failure; everybody who writes looks at it first.
///
/// What a failed write or sync left behind can't be known: pages may be marked clean that never
/// reached the disk. So nothing is tried again, by any of the threads that write.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<OnceLock<(io::ErrorKind, String)>>);

impl Failure {
    /// Remembers `error`, if it is the first.
    pub(super) fn set(&self, error: &io::Error) {
        let _ = self.0.set((error.kind(), error.to_string()));
    }

    /// # Errors
    /// The first failure, if there was one.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.0.get() {
            None => Ok(()),
            Some((kind, reason)) => {
                Err(io::Error::new(*kind, format!("the store stopped after a failed write: {reason}")))
            }
        }
    }
}
