//! What readers see: the state as of some applied entry, swapped as a whole.
//!
//! Reading never waits for apply and never needs quorum.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::{
    digest::Digest,
    raft_types::{LogId, StoredMembership},
    state::State,
};

/// The state as of one applied entry.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The replicated state; what readers get holds no remembered requests, see [`State::for_readers`].
    pub state: State,
    /// The last applied entry; none before the first.
    pub applied: Option<LogId>,
    /// The membership as of that entry.
    pub membership: Arc<StoredMembership>,
    /// Digest of the whole state.
    pub digest: Digest,
}

impl View {
    /// Index of the last applied entry; 0 before the first.
    pub fn applied_index(&self) -> u64 {
        self.applied.map_or(0, |id| id.index())
    }
}

/// The newest view, and word of newer ones.
#[derive(Debug)]
pub struct Views {
    current: ArcSwap<View>,
    applied: watch::Sender<u64>,
}

impl Views {
    /// Starts with `view`.
    pub fn new(view: View) -> Self {
        let (applied, _) = watch::channel(view.applied_index());
        Views { current: ArcSwap::from_pointee(view), applied }
    }

    /// The newest view.
    pub fn current(&self) -> Arc<View> {
        self.current.load_full()
    }

    /// Tells the applied index whenever it moves.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Puts a newer view in place. Called by the state machine alone.
    pub fn publish(&self, view: View) {
        let index = view.applied_index();
        self.current.store(Arc::new(view));
        self.applied.send_replace(index);
    }
}
