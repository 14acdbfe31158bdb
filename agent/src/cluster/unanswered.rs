//! Appends that wait for their answers, and for how long.
//!
//! Answers come in the order of the appends. A follower whose disk hangs takes appends and answers none, though its
//! connection is alive: nobody would notice, and the leader would keep its log for it for ever.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use tokio::time::Instant;

/// A stream on which nothing was answered for so long is ended.
const PATIENCE: Duration = Duration::from_secs(20);

/// The appends of one stream that were not answered yet.
#[derive(Debug, Clone)]
pub(super) struct Unanswered(Arc<Mutex<Waiting>>);

#[derive(Debug)]
struct Waiting {
    appends: u64,
    /// Since when nothing was answered, while appends wait.
    since: Instant,
    patience: Duration,
}

impl Waiting {
    /// When it has been too long, if nothing is answered until then.
    fn end(&self) -> Option<Instant> {
        (self.appends > 0).then(|| self.since + self.patience)
    }
}

impl Unanswered {
    pub(super) fn new() -> Self {
        Self::with_patience(PATIENCE)
    }

    fn with_patience(patience: Duration) -> Self {
        Unanswered(Arc::new(Mutex::new(Waiting { appends: 0, since: Instant::now(), patience })))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An append goes out.
    pub(super) fn sent(&self) {
        let mut waiting = self.waiting();
        if waiting.appends == 0 {
            waiting.since = Instant::now();
        }
        waiting.appends += 1;
    }

    /// An answer has come.
    pub(super) fn answered(&self) {
        let mut waiting = self.waiting();
        waiting.appends = waiting.appends.saturating_sub(1);
        waiting.since = Instant::now();
    }

    fn is_overdue(&self) -> bool {
        self.waiting().end().is_some_and(|end| end <= Instant::now())
    }

    /// Waits until an answer is overdue.
    pub(super) async fn overdue(self) {
        loop {
            let next = {
                let waiting = self.waiting();
                waiting.end().unwrap_or_else(|| Instant::now() + waiting.patience)
            };
            if self.is_overdue() {
                return;
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// The answers, and `end` behind them if one is overdue.
    pub(super) fn limit<'s, T: Send + 's>(
        &self,
        answers: impl Stream<Item = T> + Send + 's,
        end: impl FnOnce() -> T + Send + 's,
    ) -> impl Stream<Item = T> + Send + 's {
        let overdue = self.clone();
        let last = stream::once(async move { overdue.is_overdue().then(end) });
        answers.take_until(self.clone().overdue()).chain(last.filter_map(std::future::ready))
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    const SHORT: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn a_stream_ends_when_nothing_was_answered_for_too_long_and_not_before() {
        let unanswered = Unanswered::with_patience(SHORT);
        let (answer, answers) = tokio::sync::mpsc::channel(8);
        let mut answers = Box::pin(unanswered.limit(ReceiverStream::new(answers), || "overdue"));
        // Nothing was sent: nothing is waited for.
        assert!(tokio::time::timeout(3 * SHORT, answers.next()).await.is_err());
        // Two wait; each answer gives the other its time.
        unanswered.sent();
        unanswered.sent();
        let begin = Instant::now();
        tokio::time::sleep(SHORT / 2).await;
        answer.send("first").await.unwrap();
        unanswered.answered();
        assert_eq!(answers.next().await, Some("first"));
        assert_eq!(answers.next().await, Some("overdue"));
        assert!(begin.elapsed() >= SHORT / 2 + SHORT);
        assert_eq!(answers.next().await, None);
    }

    #[tokio::test]
    async fn a_stream_that_ends_by_itself_ends_so() {
        let unanswered = Unanswered::with_patience(SHORT);
        unanswered.sent();
        unanswered.answered();
        let answers = unanswered.limit(stream::iter(["last"]), || "overdue");
        assert_eq!(answers.collect::<Vec<_>>().await, ["last"]);
    }
}
