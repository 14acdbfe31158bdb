//! The first failed write or sync, which is final for the whole store.

use std::{
    io,
    sync::{Arc, OnceLock},
};

use tokio::sync::Notify;

/// Remembers the first failure; everybody who writes looks at it first.
///
/// What a failed write or sync left behind can't be known: pages may be marked clean that never
/// reached the disk. So nothing is tried again, by any of the threads that write.
#[derive(Debug, Clone, Default)]
pub struct Failure(Arc<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    first: OnceLock<(io::ErrorKind, String)>,
    happened: Notify,
}

impl Failure {
    /// Remembers `error`, if it is the first.
    pub(super) fn set(&self, error: &io::Error) {
        let _ = self.0.first.set((error.kind(), error.to_string()));
        self.0.happened.notify_waiters();
    }

    /// # Errors
    /// The first failure, if there was one.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.0.first.get() {
            None => Ok(()),
            Some((kind, reason)) => {
                Err(io::Error::new(*kind, format!("the store stopped after a failed write: {reason}")))
            }
        }
    }

    /// Waits for the first failure. Who runs the store has to stop then: a thread may have failed that
    /// nobody waits for.
    pub async fn happened(&self) -> io::Error {
        loop {
            let happened = self.0.happened.notified();
            if let Err(error) = self.check() {
                return error;
            }
            happened.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_is_told_to_who_waits_and_to_who_comes_later() {
        let failure = Failure::default();
        failure.check().unwrap();
        let fail = async {
            failure.set(&io::Error::other("no space"));
            failure.set(&io::Error::other("a later one"));
        };
        // In this order: who waits is polled first.
        let (waiting, ()) = tokio::join!(failure.happened(), fail);
        for told in [waiting.to_string(), failure.happened().await.to_string()] {
            assert!(told.contains("no space"), "{told}");
        }
    }
}
