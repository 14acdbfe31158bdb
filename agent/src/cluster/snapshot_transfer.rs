//! Snapshots between nodes: an offer, then the file's bytes in chunks, at a bounded rate.
//!
//! ```text
//! offer (format, size, checksum) ─> newer than what is applied? ─> chunks ─> size, checksum ─> install
//! ```
//!
//! There is no deadline for the whole, which would be wrong for a large snapshot at a low rate: a
//! transfer lasts as long as it moves.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use quorate_proto::node::v1::SnapshotChunk;
use quorate_raft_store::{
    disk::{IncomingSnapshots, SNAPSHOT_FORMATS, SnapshotFile},
    raft_types::{LogId, Vote},
    wire,
};
use tokio::time::Instant;
use tonic::Status;

use super::{
    Cluster,
    receiver::{bad_message, check_sender, wire_node},
};
use crate::api::NodeCaller;

const CHUNK_BYTES: usize = 256 << 10;
/// At a low rate chunks are smaller, so that each of several receivers gets one every second.
const SMALLEST_CHUNK_BYTES: usize = 16 << 10;
const CHUNKS_A_SECOND: u64 = 16;
/// A transfer that does not move for so long is broken.
const STALLED: Duration = Duration::from_secs(20);
/// The receiver checks and installs at least this fast, once it has everything.
const INSTALLED_BYTES_PER_SECOND: u64 = 4 << 20;
/// A snapshot file begins with a magic word of this length, then its format.
const MAGIC_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 32;

/// A rate, shared by whoever sends: each takes its turn.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    /// When the next bytes may go.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// So many bytes a second; 0: no limit.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Pace { bytes_per_second, next: Mutex::default() }
    }

    /// How large a chunk is.
    fn chunk_bytes(&self) -> usize {
        if self.bytes_per_second == 0 {
            return CHUNK_BYTES;
        }
        let part = usize::try_from(self.bytes_per_second / CHUNKS_A_SECOND).unwrap_or(CHUNK_BYTES);
        part.clamp(SMALLEST_CHUNK_BYTES, CHUNK_BYTES)
    }

    /// Books `bytes`: when they may go. A rate that was not used is not made up for.
    fn book(&self, bytes: usize, now: Instant) -> Instant {
        if self.bytes_per_second == 0 {
            return now;
        }
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + cost);
        turn
    }
}

/// When a transfer last moved.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<Moved>>);

struct Moved {
    at: Instant,
    patience: Duration,
    /// The receiver takes it: there is a connection.
    begun: bool,
}

impl Progress {
    fn begin() -> Self {
        Progress(Arc::new(Mutex::new(Moved { at: Instant::now(), patience: STALLED, begun: false })))
    }

    fn moves(&self) -> MutexGuard<'_, Moved> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It moved; the next move comes within `patience`.
    fn moved(&self, patience: Duration) {
        *self.moves() = Moved { at: Instant::now(), patience, begun: true };
    }

    /// Whether the receiver began to take it.
    pub(super) fn begun(&self) -> bool {
        self.moves().begun
    }

    /// Waits until the transfer has not moved for too long.
    pub(super) async fn stalled(&self) {
        loop {
            let end = {
                let moved = self.moves();
                moved.at + moved.patience
            };
            if Instant::now() >= end {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// The sending side.
pub(super) struct Sending;

impl Sending {
    /// The messages that carry a snapshot, the offer first, and how they move. `to` is the receiver's
    /// name, for the log.
    ///
    /// # Errors
    /// The file can't be read.
    pub(super) async fn begin(
        vote: Vote,
        snapshot: SnapshotFile,
        pace: Arc<Pace>,
        to: String,
    ) -> io::Result<(impl Stream<Item = SnapshotChunk> + use<>, Progress)> {
        let read = snapshot.clone();
        let (format, checksum) = tokio::task::spawn_blocking(move || ends(&read)).await??;
        let (meta, bytes) = (snapshot.meta().clone(), snapshot.bytes());
        let offer = wire::SnapshotOffer { vote, meta, format, bytes, checksum };
        let first =
            SnapshotChunk { offer: wire::encode_snapshot_offer(&offer)?.into(), ..Default::default() };
        let progress = Progress::begin();
        let messages =
            stream::once(std::future::ready(first)).chain(chunks(snapshot, pace, progress.clone(), to));
        Ok((messages, progress))
    }
}

/// The file's format and checksum: behind its magic word, and at its end.
fn ends(snapshot: &SnapshotFile) -> io::Result<(u32, [u8; CHECKSUM_BYTES])> {
    let short = |_| io::Error::new(io::ErrorKind::UnexpectedEof, "the snapshot file is too short");
    let head = snapshot.read_at(MAGIC_BYTES as u64, 4)?;
    let tail = snapshot.read_at(snapshot.bytes().saturating_sub(CHECKSUM_BYTES as u64), CHECKSUM_BYTES)?;
    let format = <[u8; 4]>::try_from(head).map(u32::from_le_bytes).map_err(short)?;
    Ok((format, <[u8; CHECKSUM_BYTES]>::try_from(tail).map_err(short)?))
}

/// A snapshot's bytes, read chunk by chunk as they are sent. A read error ends the stream early, and
/// the receiver refuses what is incomplete.
fn chunks(
    snapshot: SnapshotFile,
    pace: Arc<Pace>,
    progress: Progress,
    to: String,
) -> impl Stream<Item = SnapshotChunk> + use<> {
    stream::unfold((snapshot, pace, progress, to, 0), |(snapshot, pace, progress, to, offset)| async move {
        if offset == 0 {
            let index = snapshot.meta().last_log_id.map(|id| id.index());
            tracing::info!(to, bytes = snapshot.bytes(), index, "sending a snapshot");
        }
        let (read, length) = (snapshot.clone(), pace.chunk_bytes());
        let chunk = match tokio::task::spawn_blocking(move || read.read_at(offset, length)).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => {
                tracing::error!(%error, path = %snapshot.path().display(), "a snapshot can't be read");
                return None;
            }
            Err(_) => return None,
        };
        if chunk.is_empty() {
            let installing = Duration::from_secs(snapshot.bytes() / INSTALLED_BYTES_PER_SECOND);
            progress.moved(STALLED + installing);
            return None;
        }
        let now = Instant::now();
        let turn = pace.book(chunk.len(), now);
        progress.moved(STALLED + turn.saturating_duration_since(now));
        tokio::time::sleep_until(turn).await;
        progress.moved(STALLED);
        let next = offset + chunk.len() as u64;
        Some((
            SnapshotChunk { data: chunk.into(), ..Default::default() },
            (snapshot, pace, progress, to, next),
        ))
    })
}

/// What came of an offered snapshot.
pub(super) enum Received {
    /// It is here, and is what was offered.
    Whole(Box<wire::SnapshotOffer>, Box<SnapshotFile>),
    /// All that it covers is applied here already; nothing was read.
    Known,
}

impl Cluster {
    /// Takes a snapshot in, chunk by chunk, into a file that is checked before Raft hears of it.
    ///
    /// # Errors
    /// A status that says what is wrong with it; nothing of it is kept.
    pub(super) async fn receive_snapshot(
        &self,
        caller: NodeCaller,
        chunks: impl Stream<Item = Result<SnapshotChunk, Status>> + Send + Unpin,
    ) -> Result<Received, Status> {
        let began = Instant::now();
        let received = receive(&self.incoming, self.view().applied, caller, chunks).await;
        match &received {
            Ok(Received::Whole(offer, _)) => {
                self.metrics.snapshot_receive.observe(began.elapsed().as_secs_f64());
                tracing::info!(
                    from = %caller.node, bytes = offer.bytes, milliseconds = began.elapsed().as_millis(),
                    index = offer.meta.last_log_id.map(|id| id.index()), "a snapshot was received"
                );
            }
            Ok(Received::Known) => {
                tracing::info!(from = %caller.node, "a snapshot is not newer than what this node has");
            }
            Err(status) => {
                self.metrics.snapshot_receive_failures.inc();
                tracing::warn!(from = %caller.node, reason = status.message(), "a snapshot was not received");
            }
        }
        received
    }
}

async fn receive(
    incoming: &IncomingSnapshots,
    applied: Option<LogId>,
    caller: NodeCaller,
    mut chunks: impl Stream<Item = Result<SnapshotChunk, Status>> + Send + Unpin,
) -> Result<Received, Status> {
    let first =
        next_chunk(&mut chunks).await?.ok_or_else(|| Status::invalid_argument("the snapshot is empty"))?;
    let offer = wire::decode_snapshot_offer(&first.offer).map_err(bad_message)?;
    check_sender(caller, wire_node(offer.vote))?;
    if !SNAPSHOT_FORMATS.contains(&offer.format) {
        return Err(Status::failed_precondition(format!(
            "the snapshot has format {}; this node reads formats {SNAPSHOT_FORMATS:?}: update its agent",
            offer.format
        )));
    }
    if offer.meta.last_log_id <= applied {
        return Ok(Received::Known);
    }
    // Raft takes both for granted: a snapshot of another history would stop this node.
    let (covers, leads) = (offer.meta.last_log_id, offer.vote.leader_id());
    if covers.is_some_and(|covers| covers.committed_leader_id().term > leads.term) {
        return Err(Status::failed_precondition(format!(
            "the snapshot covers entries of a later term than its sender's, {}",
            leads.term
        )));
    }
    if covers.map(|covers| covers.index()) <= applied.map(|applied| applied.index()) {
        return Err(Status::failed_precondition(
            "the snapshot covers another entry at an index that is applied here: it is of another history",
        ));
    }
    let incoming = incoming.clone();
    let mut receiver = blocking(move || incoming.receive()).await?;
    let mut received = 0u64;
    let mut end = Vec::new();
    while let Some(chunk) = next_chunk(&mut chunks).await? {
        received += chunk.data.len() as u64;
        if received > offer.bytes {
            return Err(Status::invalid_argument("the snapshot is larger than announced"));
        }
        keep_end(&mut end, &chunk.data);
        receiver = blocking(move || receiver.write(&chunk.data).map(|()| receiver)).await?;
    }
    if received != offer.bytes {
        return Err(Status::invalid_argument("the snapshot is incomplete"));
    }
    if end != offer.checksum {
        return Err(Status::invalid_argument("the snapshot's checksum is not the announced one"));
    }
    // Computes the checksum, and compares it with the one at the end.
    let snapshot = blocking(move || receiver.finish()).await?;
    if *snapshot.meta() == offer.meta {
        Ok(Received::Whole(Box::new(offer), Box::new(snapshot)))
    } else {
        Err(Status::invalid_argument("the snapshot is not the announced one"))
    }
}

/// Keeps the last bytes of what has come so far.
fn keep_end(end: &mut Vec<u8>, chunk: &[u8]) {
    end.extend_from_slice(&chunk[chunk.len().saturating_sub(CHECKSUM_BYTES)..]);
    end.drain(..end.len().saturating_sub(CHECKSUM_BYTES));
}

async fn next_chunk(
    chunks: &mut (impl Stream<Item = Result<SnapshotChunk, Status>> + Unpin),
) -> Result<Option<SnapshotChunk>, Status> {
    match tokio::time::timeout(STALLED, chunks.next()).await {
        Ok(chunk) => chunk.transpose(),
        Err(_) => Err(Status::deadline_exceeded("no chunk of the snapshot came in time")),
    }
}

async fn blocking<T: Send + 'static, E: std::fmt::Display + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Status::aborted(error.to_string())),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use openraft::{RaftSnapshotBuilder as _, storage::RaftStateMachine as _};
    use quorate_license::{ClusterId, Epoch, EpochId, NodeId, NodeRole};
    use quorate_raft_store::{
        disk::{Marker, Store, StoreMetrics, StoreOptions},
        raft_types::{Entry, EntryPayload, log_id},
        wire::SnapshotOffer,
    };
    use tonic::Code;

    use super::*;

    fn store(folder: &std::path::Path) -> Store {
        let epoch = Epoch { number: 1, id: EpochId([2; 16]) };
        Store::open(&StoreOptions {
            folder: folder.to_owned(),
            marker: Marker { cluster_id: ClusterId([1; 16]), epoch, node: NodeId(1) },
            metrics: StoreMetrics::register(&prometheus::Registry::new()).unwrap(),
            snapshot_key: None,
        })
        .unwrap()
    }

    /// A snapshot of a log with one entry.
    async fn snapshot(store: &mut Store) -> SnapshotFile {
        let entry = Entry { log_id: log_id(3, 7), payload: EntryPayload::Blank };
        store.machine.apply(stream::iter([Ok((entry, None))])).await.unwrap();
        store.machine.get_snapshot_builder().await.build_snapshot().await.unwrap().snapshot
    }

    #[tokio::test]
    async fn only_a_newer_snapshot_that_is_what_was_offered_is_taken() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let file = snapshot(&mut store(from.path())).await;
        let receiver = store(to.path());
        let sending = Sending::begin(
            Vote::new_committed(3, NodeId(2)),
            file,
            Arc::new(Pace::new(0)),
            "ms-2".to_owned(),
        );
        let (messages, progress) = sending.await.unwrap();
        assert!(!progress.begun());
        let messages: Vec<SnapshotChunk> = messages.collect().await;
        assert!(progress.begun());
        let offer = wire::decode_snapshot_offer(&messages[0].offer).unwrap();
        let caller = NodeCaller { node: NodeId(2), role: NodeRole::Management };
        let take = async |applied: Option<LogId>,
                          change: &dyn Fn(&mut SnapshotOffer),
                          data: &dyn Fn(&mut Vec<u8>)| {
            let (mut messages, mut offer) = (messages.clone(), offer.clone());
            change(&mut offer);
            messages[0].offer = wire::encode_snapshot_offer(&offer).unwrap().into();
            let mut bytes = messages[1].data.to_vec();
            data(&mut bytes);
            messages[1].data = bytes.into();
            let chunks = stream::iter(messages.into_iter().map(Ok));
            let received = receive(&receiver.incoming, applied, caller, chunks).await;
            received.map_err(|status| (status.code(), status.message().to_owned()))
        };
        let as_offered = |_: &mut SnapshotOffer| {};
        let whole = |_: &mut Vec<u8>| {};

        let taken = take(Some(log_id(2, 6)), &as_offered, &whole).await.ok().unwrap();
        assert!(matches!(taken, Received::Whole(taken, _) if *taken == offer));
        for applied in [log_id(3, 7), log_id(3, 8)] {
            let known = take(Some(applied), &as_offered, &|data| data.clear()).await.ok().unwrap();
            assert!(matches!(known, Received::Known), "{applied}: nothing of it is read");
        }
        let other_format = |offer: &mut SnapshotOffer| offer.format = 9;
        let other_sum = |offer: &mut SnapshotOffer| offer.checksum[0] ^= 1;
        let larger = |offer: &mut SnapshotOffer| offer.bytes += 1;
        let smaller = |offer: &mut SnapshotOffer| offer.bytes -= 1;
        let other_meta = |offer: &mut SnapshotOffer| offer.meta.last_log_id = Some(log_id(3, 9));
        let stranger = |offer: &mut SnapshotOffer| offer.vote = Vote::new_committed(3, NodeId(5));
        let earlier = |offer: &mut SnapshotOffer| offer.vote = Vote::new_committed(2, NodeId(2));
        let damaged = |data: &mut Vec<u8>| data[20] ^= 1;
        type Change<'c> = &'c dyn Fn(&mut SnapshotOffer);
        type Damage<'d> = &'d dyn Fn(&mut Vec<u8>);
        let refused: [(Change<'_>, Damage<'_>, Code, &str); 8] = [
            (&other_format, &whole, Code::FailedPrecondition, "has format 9"),
            (&other_sum, &whole, Code::InvalidArgument, "not the announced one"),
            (&larger, &whole, Code::InvalidArgument, "incomplete"),
            (&smaller, &whole, Code::InvalidArgument, "larger than announced"),
            (&other_meta, &whole, Code::InvalidArgument, "not the announced one"),
            (&stranger, &whole, Code::PermissionDenied, "claims to come from node"),
            (&earlier, &whole, Code::FailedPrecondition, "a later term than its sender's"),
            (&as_offered, &damaged, Code::Aborted, "snapshot"),
        ];
        for (change, data, code, said) in refused {
            let (found, message) = take(None, change, data).await.err().unwrap();
            assert_eq!(found, code, "{message}");
            assert!(message.contains(said), "{message}");
        }
        let (found, message) = take(Some(log_id(2, 7)), &as_offered, &whole).await.err().unwrap();
        assert!(found == Code::FailedPrecondition && message.contains("another history"), "{message}");
    }

    #[test]
    fn everybody_together_keeps_the_rate_and_an_unused_rate_is_not_made_up_for() {
        let pace = Pace::new(1_000);
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(pace.book(2_000, begin), begin);
        assert_eq!(pace.book(1_000, begin), after(2));
        assert_eq!(pace.book(1_000, begin), after(3));
        assert_eq!(pace.book(1_000, after(60)), after(60));
        assert_eq!(pace.book(1_000, after(60)), after(61));
        assert_eq!(
            [65_536, 1 << 20, 1 << 30, 0].map(|rate| Pace::new(rate).chunk_bytes() >> 10),
            [16, 64, 256, 256]
        );
        let unlimited = Pace::new(0);
        assert_eq!((unlimited.book(usize::MAX, begin), unlimited.book(1, begin)), (begin, begin));
    }

    #[test]
    fn the_end_is_found_however_the_bytes_are_cut() {
        let bytes: Vec<u8> = (0..=255).collect();
        for size in [1, 7, 31, 32, 33, 200, 256] {
            let mut end = Vec::new();
            bytes.chunks(size).for_each(|chunk| keep_end(&mut end, chunk));
            assert_eq!(end, bytes[256 - CHECKSUM_BYTES..], "{size}");
        }
    }

    #[tokio::test]
    async fn a_transfer_is_broken_when_it_does_not_move_and_not_before() {
        let progress = Progress::begin();
        progress.moved(Duration::from_millis(40));
        let moving = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                progress.moved(Duration::from_millis(400));
            }
            progress.moved(Duration::ZERO);
            std::future::pending::<()>().await;
        };
        let begin = Instant::now();
        tokio::select! {
            () = moving => {}
            () = progress.stalled() => {}
        }
        assert!(begin.elapsed() >= Duration::from_millis(100));
    }
}
