//! What is known of the connections to one node: whether it can be reached, how much was sent, and
//! when the next attempt may be made.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use prometheus::IntCounter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::backoff::pause_after;

/// The connections to one node; shared by all of its channels.
pub struct Peer {
    name: String,
    reached: Mutex<Reached>,
    sent: IntCounter,
    received: IntCounter,
}

/// Whether the node can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    NotTried,
    Yes,
    No,
}

/// The attempts of one channel.
#[derive(Default)]
pub struct Attempts(Mutex<Failed>);

#[derive(Default)]
struct Failed {
    times: u32,
    next: Option<Instant>,
    reason: String,
}

impl Peer {
    /// A node that was not called yet. `sent` and `received` count bytes.
    pub fn new(name: String, sent: IntCounter, received: IntCounter) -> Arc<Self> {
        Arc::new(Peer { name, reached: Mutex::new(Reached::NotTried), sent, received })
    }

    /// A connection was made. The first after a failure is worth a line in the log.
    fn connected(&self) {
        let before = std::mem::replace(&mut *lock(&self.reached), Reached::Yes);
        if before != Reached::Yes {
            tracing::info!(name = self.name, "connected to a node");
        }
    }

    /// A connection was not made. The first time is worth a line in the log.
    fn failed(&self, reason: &io::Error) {
        let before = std::mem::replace(&mut *lock(&self.reached), Reached::No);
        if before != Reached::No {
            tracing::warn!(name = self.name, %reason, "a node can't be reached; it is tried again");
        }
    }
}

impl Attempts {
    /// Whether an attempt may be made now.
    ///
    /// # Errors
    /// Why the last one failed, while its pause lasts.
    pub fn may_begin(&self, now: Instant) -> io::Result<()> {
        let failed = lock(&self.0);
        match failed.next {
            Some(next) if now < next => Err(io::Error::new(
                io::ErrorKind::HostUnreachable,
                format!("not tried again yet after: {}", failed.reason),
            )),
            _ => Ok(()),
        }
    }

    /// Notes how an attempt ended, for this channel and for the node.
    pub fn ended(&self, now: Instant, result: &io::Result<()>, peer: Option<&Peer>) {
        let mut failed = lock(&self.0);
        match result {
            Ok(()) => {
                *failed = Failed::default();
                if let Some(peer) = peer {
                    peer.connected();
                }
            }
            Err(error) => {
                failed.times = failed.times.saturating_add(1);
                failed.next = Some(now + pause_after(failed.times));
                failed.reason = error.to_string();
                if let Some(peer) = peer {
                    peer.failed(error);
                }
            }
        }
    }

    /// The node was heard from: it may be called at once.
    pub fn forget(&self) {
        lock(&self.0).next = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection whose bytes are counted.
pub(super) struct Counted<S> {
    stream: S,
    peer: Option<Arc<Peer>>,
}

impl<S> Counted<S> {
    /// Counts the bytes of `stream` for `peer`.
    pub(super) fn new(stream: S, peer: Option<Arc<Peer>>) -> Self {
        Counted { stream, peer }
    }

    fn sent(&self, result: &Poll<io::Result<usize>>) {
        if let (Some(peer), Poll::Ready(Ok(bytes))) = (&self.peer, result) {
            peer.sent.inc_by(*bytes as u64);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Some(peer) = &self.peer {
            peer.received.inc_by((buffer.filled().len() - before) as u64);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buffer);
        self.sent(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.sent(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn peer() -> Arc<Peer> {
        let counter = |name| IntCounter::new(name, "test").unwrap();
        Peer::new("ms-2".to_owned(), counter("sent"), counter("received"))
    }

    #[test]
    fn after_a_failure_the_next_attempt_waits_and_a_success_forgets_it() {
        let (attempts, peer) = (Attempts::default(), peer());
        let refused = || Err(io::Error::new(io::ErrorKind::ConnectionRefused, "refused"));
        let mut now = Instant::now();
        attempts.may_begin(now).unwrap();
        attempts.ended(now, &refused(), Some(&peer));
        let waiting = attempts.may_begin(now).unwrap_err();
        assert!(waiting.to_string().ends_with("refused"), "{waiting}");
        for _ in 0..20 {
            now += Duration::from_millis(1500);
            attempts.may_begin(now).unwrap();
            attempts.ended(now, &refused(), Some(&peer));
        }
        now += Duration::from_millis(600);
        attempts.may_begin(now).unwrap_err();
        attempts.ended(now, &Ok(()), Some(&peer));
        attempts.may_begin(now).unwrap();
        // The pauses begin anew.
        attempts.ended(now, &refused(), Some(&peer));
        attempts.may_begin(now + Duration::from_millis(51)).unwrap();
        // Who was heard from is called at once.
        attempts.may_begin(now).unwrap_err();
        attempts.forget();
        attempts.may_begin(now).unwrap();
    }

    #[tokio::test]
    async fn bytes_are_counted_in_both_directions() {
        let (one, mut other) = tokio::io::duplex(64);
        let peer = peer();
        let mut counted = Counted::new(one, Some(peer.clone()));
        counted.write_all(b"hello").await.unwrap();
        other.write_all(b"hi").await.unwrap();
        let mut text = [0; 2];
        counted.read_exact(&mut text).await.unwrap();
        assert_eq!((peer.sent.get(), peer.received.get()), (5, 2));
    }
}
