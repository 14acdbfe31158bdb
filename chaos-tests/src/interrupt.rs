//! Ctrl-C: remembered, so that whoever waits ends at once and everything that was started is stopped in order.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::{Failure, Result, client};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Whether the process was asked to end. Always false before [`watch`].
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// From now on SIGINT, SIGTERM and SIGHUP are remembered and don't end the process.
///
/// # Errors
/// The operating system refuses a handler.
pub fn watch() -> Result<()> {
    let refused = |cause| Failure::wrong(format!("can't listen for signals: {cause}"));
    let _context = client::runtime().enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind).map_err(refused)?;
        client::runtime().spawn(async move {
            while signals.recv().await.is_some() {
                REQUESTED.store(true, Ordering::Relaxed);
            }
        });
    }
    Ok(())
}
