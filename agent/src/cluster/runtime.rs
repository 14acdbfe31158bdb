//! Raft's own threads.
//!
//! Raft's tasks and the connections between nodes are driven by a runtime of their own, so that
//! nothing else on this node (faces, TLS handshakes of clients, calls of the portal) can keep a
//! heartbeat waiting.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads that drive Raft: one on a machine of two cores or fewer, where a second costs more
/// wake-ups than it takes over; otherwise two.
fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores > 2 { 2 } else { 1 }
}

/// The runtime of Raft's tasks and of the connections between nodes. Its threads end with
/// [`RaftRuntime::stop`], or when it is dropped.
pub struct RaftRuntime {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl RaftRuntime {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system's, if it gives no threads.
    pub fn start() -> io::Result<Self> {
        let runtime =
            Builder::new_multi_thread().worker_threads(workers()).thread_name("raft").enable_all().build()?;
        Ok(RaftRuntime { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Where to spawn.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends the threads. What still runs on them is dropped at its next pause.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waited for: this is called from a task, which must not block.
            runtime.shutdown_background();
        }
    }
}

impl Drop for RaftRuntime {
    fn drop(&mut self) {
        self.stop();
    }
}
